// Generate images in Node.js from a folder that `ganport web --module` wrote. This program needs no npm packages.
//
//     ganport web mnist --module ganport
//     node generate.mjs ganport/mnist.onnx 0,7,42 .   # seed0000000.pgm, seed0000007.pgm, seed0000042.pgm
//
// Grey images are written as PGM files, and colour images as PPM files, which most image viewers open.

import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [model, list, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node generate.mjs MODEL SEEDS FOLDER");
  process.exit(2);
}
const folder = path.dirname(model);
const load = (name) => import(pathToFileURL(path.resolve(folder, name)));

// Read the model and its description.
const { sampleLatents, defaultLabel } = await load("latents.js");
const { readDescription } = await load("description.js");
const bytes = await readFile(model);
const { input, image } = readDescription(bytes);

const ort = await load("onnxruntime/ort.wasm.bundle.min.mjs");
ort.env.wasm.wasmBinary = await readFile(path.join(folder, "onnxruntime/ort-wasm-simd-threaded.wasm"));
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(bytes);

const seeds = list.split(",").map(BigInt);
const latents = sampleLatents(seeds, input.dim, input.distribution);
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
