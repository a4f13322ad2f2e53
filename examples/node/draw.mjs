// Draw images in Node.js from a folder that `ganport web` wrote; nothing else is installed.
//
//     ganport web mnist --out site
//     node draw.mjs site 0,7,42 .       # seed0000000.pgm, seed0000007.pgm, seed0000042.pgm
//
// Images are written as PGM, or PPM in colour, which most viewers open: a line of text, and the pixels.

import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [site, list, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node draw.mjs SITE SEEDS FOLDER");
  process.exit(2);
}
const load = (name) => import(pathToFileURL(path.resolve(site, name)));
const read = (name) => readFile(path.join(site, name));

const [{ sampleLatents, labelOf }, ort] = await Promise.all([load("latents.js"), load("onnxruntime/ort.wasm.bundle.min.mjs")]);
const { contract } = JSON.parse(await read("model.json"));
const numbers = await read("normal.bin");
const table = Float32Array.from({ length: numbers.length / 4 }, (_, k) => numbers.readFloatLE(4 * k));

ort.env.wasm.wasmBinary = await read("onnxruntime/ort-wasm-simd-threaded.wasm");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await read("generator.onnx"));

const seeds = list.split(",").map(BigInt);
const { input, image } = contract;
const inputs = { [input.name]: new ort.Tensor("float32", sampleLatents(seeds, input.dim, table), [seeds.length, input.dim]) };
if (input.labels) {
  const labels = seeds.map((seed) => BigInt(labelOf(seed, input.labels.length)));
  inputs.label = new ort.Tensor("int64", BigInt64Array.from(labels), [seeds.length]);
}
const { data } = (await session.run(inputs))[image.name]; // uint8, (seeds, height, width, channels)

const size = image.height * image.width * image.channels;
for (const [place, seed] of seeds.entries()) {
  const [kind, suffix] = image.channels === 1 ? ["P5", "pgm"] : ["P6", "ppm"];
  const file = path.join(out, `seed${String(seed).padStart(7, "0")}.${suffix}`);
  const head = Buffer.from(`${kind}\n${image.width} ${image.height}\n255\n`);
  await writeFile(file, Buffer.concat([head, data.subarray(place * size, (place + 1) * size)]));
  console.log(file);
}
