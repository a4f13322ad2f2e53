// The generator, in a thread of its own, so that the page never waits for it.

import { labelOf, sampleLatents, slerp } from "./latents.js";

const RUNTIMES = {
  wasm: { script: "./onnxruntime/ort.wasm.bundle.min.mjs", binary: "ort-wasm-simd-threaded.wasm" },
  webgpu: { script: "./onnxruntime/ort.jspi.bundle.min.mjs", binary: "ort-wasm-simd-threaded.jspi.wasm" },
};
// A trial of WebGPU costs a second download; below this time for a batch on the CPU nobody would see the gain.
const WORTH_A_TRIAL_MS = 100;
const TRIAL_BATCH = 64;
const ERRORS_ONLY = 3;
const MOST_AT_ONCE = 64; // images: more take memory, and are no faster

let contract, model, table, engine;
const downloads = new AbortController(); // one that fails ends the others

/** Download with progress, in bytes of what was asked for. */
async function download(url, onProgress) {
  const response = await fetch(url, { signal: downloads.signal });
  if (!response.ok) throw new Error(`${url} is not there (the server says ${response.status}).`);
  const reader = response.body.getReader(), chunks = [];
  let received = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    received += part.value.length;
    onProgress(received);
  }
  const bytes = new Uint8Array(received);
  chunks.reduce((at, chunk) => (bytes.set(chunk, at), at + chunk.length), 0);
  return bytes;
}

async function openEngine(name, binary) {
  const ort = await import(RUNTIMES[name].script);
  ort.env.wasm.wasmBinary = binary;
  if (!self.crossOriginIsolated) ort.env.wasm.numThreads = 1; // threads need shared memory, which other pages don't get
  const session = await ort.InferenceSession.create(model, { executionProviders: [name], logSeverityLevel: ERRORS_ONLY });
  return { name, ort, session };
}

async function start() {
  const described = await fetch("./model.json");
  if (!described.ok) throw new Error("model.json is not there: the site is not complete.");
  const site = await described.json();
  contract = site.contract;
  const due = site.files, received = {};
  const progress = (name) => (count) => {
    received[name] = count;
    const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);
    postMessage({ kind: "progress", received: sum(received), total: sum(due) });
  };
  const [binary, bytes, numbers] = await Promise.all([
    download(`./onnxruntime/${RUNTIMES.wasm.binary}`, progress("runtime")),
    download("./generator.onnx", progress("model")),
    download("./normal.bin", progress("table")),
  ]);
  model = bytes;
  const view = new DataView(numbers.buffer);
  table = Float32Array.from({ length: numbers.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
  engine = await openEngine("wasm", binary);
  postMessage({ kind: "ready", contract, provider: engine.name });
}

function tensorsOf({ ort }, seeds, latents, labels) {
  const { input } = contract, count = labels.length;
  const tensors = {};
  if (input.kind === "seed") tensors[input.name] = new ort.Tensor("int64", BigInt64Array.from(seeds), [count]);
  else tensors[input.name] = new ort.Tensor("float32", latents, [count, input.dim]);
  if (input.labels) tensors.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [count]);
  return tensors;
}

async function run(chosen, tensors) {
  const outputs = await chosen.session.run(tensors, [contract.image.name]);
  return outputs[contract.image.name].getData();
}

/** Draw in the batches that the model takes. */
async function draw(seeds, latents, labels) {
  const { image, input } = contract;
  const size = contract.batch === "dynamic" ? Math.min(MOST_AT_ONCE, labels.length) : contract.batch;
  const each = image.height * image.width * image.channels;
  const pixels = new Uint8Array(labels.length * each);
  for (let at = 0; at < labels.length; at += size) {
    const count = Math.min(size, labels.length - at); // the last batch is filled up
    const filled = (values) => Array.from({ length: size }, (_, i) => values[at + Math.min(i, count - 1)]);
    const some = new Float32Array(size * input.dim);
    if (latents) some.set(latents.subarray(at * input.dim, (at + count) * input.dim));
    const drawn = await run(engine, tensorsOf(engine, seeds && filled(seeds), some, filled(labels)));
    pixels.set(drawn.subarray(0, count * each), at * each);
  }
  return pixels;
}

/** What a canvas takes, RGBA, of what the generator draws. */
function toRgba(pixels, count) {
  const { height, width, channels, layout } = contract.image, area = height * width;
  const rgba = new Uint8ClampedArray(count * area * 4).fill(255);
  const step = layout === "NCHW" ? area : 1, stride = layout === "NCHW" ? 1 : channels;
  for (let image = 0; image < count; image++) {
    for (let pixel = 0; pixel < area; pixel++) {
      const from = image * area * channels + pixel * stride, to = (image * area + pixel) * 4;
      for (let channel = 0; channel < Math.max(3, channels); channel++) {
        rgba[to + channel] = pixels[from + (channels === 1 ? 0 : channel) * step];
      }
    }
  }
  return rgba;
}

async function drawSeeds({ seeds, label, truncation }) {
  const { input } = contract;
  const labels = seeds.map((seed) => label ?? (input.labels ? labelOf(seed, input.labels.length) : 0));
  if (input.kind === "seed") return draw(seeds, null, labels);
  return draw(null, sampleLatents(seeds, input.dim, table).map((value) => value * Math.fround(truncation)), labels);
}

/** The way from seed to seed and back to the first, as Sampler.walk draws it. */
async function drawWalk({ seeds, label, frames, truncation }) {
  const { dim, labels } = contract.input;
  const ends = seeds.map((seed) => sampleLatents([seed], dim, table));
  const latents = new Float32Array(seeds.length * frames * dim);
  for (let step = 0; step < seeds.length * frames; step++) {
    const leg = Math.floor(step / frames);
    latents.set(slerp(ends[leg], ends[(leg + 1) % ends.length], step / frames - leg), step * dim);
  }
  const shown = label ?? (labels ? labelOf(seeds[0], labels.length) : 0);
  return draw(null, latents.map((value) => value * Math.fround(truncation)), Array(seeds.length * frames).fill(shown));
}

async function timed() {
  const seeds = Array.from({ length: TRIAL_BATCH }, (_, seed) => BigInt(seed));
  await drawSeeds({ seeds, truncation: 1 }); // shaders are compiled, memory is had
  const started = performance.now(), pixels = await drawSeeds({ seeds, truncation: 1 });
  return { pixels, ms: performance.now() - started };
}

/** Change to WebGPU where it is there and draws the same images in less time. */
async function considerWebgpu() {
  if (!navigator.gpu || !("Suspending" in WebAssembly) || contract.batch !== "dynamic") return;
  const cpu = engine, onCpu = await inTurn(timed);
  if (onCpu.ms < WORTH_A_TRIAL_MS || !(await navigator.gpu.requestAdapter())) return;
  const binary = await download(`./onnxruntime/${RUNTIMES.webgpu.binary}`, () => {}); // images are drawn meanwhile
  await inTurn(async () => {
    try {
      engine = await openEngine("webgpu", binary);
      const onGpu = await timed();
      const isSame = onGpu.pixels.every((value, i) => Math.abs(value - onCpu.pixels[i]) <= 1);
      if (!isSame || onGpu.ms >= onCpu.ms) engine = cpu;
      const beside = `${TRIAL_BATCH} images in ${onGpu.ms.toFixed()} ms, WebAssembly ${onCpu.ms.toFixed()} ms`;
      console.info(`WebGPU: ${beside}, the same images: ${isSame}; ${engine.name} draws`);
    } catch (error) {
      engine = cpu;
      throw error;
    }
  });
  postMessage({ kind: "provider", provider: engine.name });
}

// One thing at a time: a session takes no more.
let last = Promise.resolve();
function inTurn(task) {
  const result = last.then(task);
  last = result.catch(() => {});
  return result;
}

async function answer(request) {
  if (!engine) return; // that it failed was said
  try {
    const started = performance.now();
    const pixels = await (request.kind === "walk" ? drawWalk(request) : drawSeeds(request));
    const { height, width, channels } = contract.image;
    const count = pixels.length / (height * width * channels), rgba = toRgba(pixels, count);
    postMessage({ kind: "drawn", id: request.id, rgba, count, ms: performance.now() - started }, [rgba.buffer]);
  } catch (error) {
    postMessage({ kind: "failed", id: request.id, message: `Can't draw: ${error.message ?? error}` });
  }
}

let isTried = false;
onmessage = async ({ data: request }) => {
  await inTurn(() => answer(request));
  if (!engine || isTried) return;
  isTried = true;
  considerWebgpu().catch((error) => console.info(`WebGPU is not used: ${error.message}`));
};
inTurn(start).catch((error) => {
  downloads.abort();
  postMessage({ kind: "failed", message: String(error.message ?? error) });
});
