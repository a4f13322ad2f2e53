// Generate images in Node.js from a folder that `ganport web` wrote. This program needs no npm packages.
//
//     ganport web mnist --out site
//     node generate.mjs site 0,7,42 .   # seed0000000.pgm, seed0000007.pgm, seed0000042.pgm
//
// Grey images are written as PGM files, and colour images as PPM files, which most image viewers open.

import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [site, list, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node generate.mjs SITE SEEDS FOLDER");
  process.exit(2);
}
const load = (name) => import(pathToFileURL(path.resolve(site, name)));
const read = (name) => readFile(path.join(site, name));

// Load the contract of the model, and the table from which latents are computed.
const { sampleLatents, defaultLabel } = await load("latents.js");
const { contract } = JSON.parse(await read("model.json"));
const bytes = await read("normal.bin");
const table = Float32Array.from({ length: bytes.length / 4 }, (_, k) => bytes.readFloatLE(4 * k));

const ort = await load("onnxruntime/ort.wasm.bundle.min.mjs");
ort.env.wasm.wasmBinary = await read("onnxruntime/ort-wasm-simd-threaded.wasm");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await read("generator.onnx"));

const seeds = list.split(",").map(BigInt);
const { input, image } = contract;
const latents = sampleLatents(seeds, input.dim, input.distribution, table);
const inputs = { [input.name]: new ort.Tensor("float32", latents, [seeds.length, input.dim]) };
if (input.labels) {
  const labels = seeds.map((seed) => BigInt(defaultLabel(seed, input.labels.length)));
  inputs.label = new ort.Tensor("int64", BigInt64Array.from(labels), [seeds.length]);
}
const { data } = (await session.run(inputs))[image.name]; // uint8, (seeds, height, width, channels)

const size = image.height * image.width * image.channels;
const [magic, suffix] = image.channels === 1 ? ["P5", "pgm"] : ["P6", "ppm"];
const header = Buffer.from(`${magic}\n${image.width} ${image.height}\n255\n`);
for (const [index, seed] of seeds.entries()) {
  const file = path.join(out, `seed${String(seed).padStart(7, "0")}.${suffix}`);
  await writeFile(file, Buffer.concat([header, data.subarray(index * size, (index + 1) * size)]));
  console.log(file);
}
