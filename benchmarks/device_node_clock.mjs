// Measures how long onnxruntime-web runs in a program that uses it, and prints the milliseconds of each run:
//
//     node --import ./device_node_clock.mjs generate.mjs MODEL SEEDS FOLDER

import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const RUNS = 20;

const folder = path.dirname(process.argv[2]);
const ort = await import(pathToFileURL(path.resolve(folder, "onnxruntime/ort.wasm.bundle.min.mjs")));
const create = ort.InferenceSession.create;
ort.InferenceSession.create = async (...options) => {
  const session = await create.apply(ort.InferenceSession, options);
  const run = session.run.bind(session);
  session.run = async (inputs) => {
    const images = await run(inputs);
    for (let count = 0; count < RUNS; count++) {
      const started = performance.now();
      await run(inputs);
      console.log(`clock ${performance.now() - started}`);
    }
    return images;
  };
  return session;
};
