// The worker. It loads the generator and generates images in a separate thread, so that the page stays responsive.

import { defaultLabel, interpolate, sampleLatents, truncate } from "./latents.js";

const RUNTIMES = {
  wasm: { script: "./onnxruntime/ort.wasm.bundle.min.mjs", binary: "ort-wasm-simd-threaded.wasm" },
  webgpu: { script: "./onnxruntime/ort.jspi.bundle.min.mjs", binary: "ort-wasm-simd-threaded.jspi.wasm" },
};
// WebGPU needs a second download. It is tried only if the CPU takes longer than this for a batch of TRIAL_BATCH images.
const WEBGPU_TRIAL_MS = 100;
const TRIAL_BATCH = 64;
const MAX_BATCH = 64; // largest number of images in a batch; larger batches take more memory and are not faster
const ERRORS_ONLY = 3; // onnxruntime's log level

let contract, model, table; // contract of the generator, bytes of its file, magnitudes of the latents
let backend; // the open session, and the onnxruntime that it belongs to
const downloads = new AbortController(); // if one download fails, the others are cancelled

/** Download a file. `onProgress` is called with the number of bytes so far. */
async function download(url, onProgress) {
  const response = await fetch(url, { signal: downloads.signal });
  if (!response.ok) throw new Error(`${url} can't be loaded (HTTP status ${response.status}).`);
  const reader = response.body.getReader(), chunks = [];
  let received = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
    received += part.value.length;
    onProgress(received);
  }
  const bytes = new Uint8Array(received);
  let start = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, start);
    start += chunk.length;
  }
  return bytes;
}

async function openBackend(provider, binary) {
  const ort = await import(RUNTIMES[provider].script);
  ort.env.wasm.wasmBinary = binary;
  if (!self.crossOriginIsolated) ort.env.wasm.numThreads = 1; // without isolation there is no shared memory for threads
  const session = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: ERRORS_ONLY });
  return { provider, ort, session };
}

async function start() {
  const response = await fetch("./model.json");
  if (!response.ok) throw new Error(`model.json can't be loaded (HTTP status ${response.status}); the site is incomplete.`);
  const site = await response.json();
  contract = site.contract;
  const sum = (sizes) => Object.values(sizes).reduce((total, size) => total + size, 0);
  const received = {};
  const reportProgress = (name) => (count) => {
    received[name] = count;
    postMessage({ kind: "progress", received: sum(received), total: sum(site.files) });
  };
  const [binary, modelBytes, tableBytes] = await Promise.all([
    download(`./onnxruntime/${RUNTIMES.wasm.binary}`, reportProgress("runtime")),
    download("./generator.onnx", reportProgress("model")),
    download("./normal.bin", reportProgress("table")),
  ]);
  model = modelBytes;
  const view = new DataView(tableBytes.buffer);
  table = Float32Array.from({ length: tableBytes.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
  backend = await openBackend("wasm", binary);
  postMessage({ kind: "ready", contract, provider: backend.provider });
}

/** Return the input tensors of one batch: seeds or latents, and labels if the generator has them. */
function makeTensors({ ort }, seeds, latents, labels) {
  const { input } = contract, count = labels.length;
  const tensors = {};
  if (input.kind === "seed") tensors[input.name] = new ort.Tensor("int64", BigInt64Array.from(seeds), [count]);
  else tensors[input.name] = new ort.Tensor("float32", latents, [count, input.dim]);
  if (input.labels) tensors.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [count]);
  return tensors;
}

/** Generate images in batches of a size that the model accepts. Returns all pixels in one Uint8Array. */
async function generate(seeds, latents, labels) {
  const { image, input } = contract;
  const size = contract.batch === "dynamic" ? Math.min(MAX_BATCH, labels.length) : contract.batch;
  const imageSize = image.height * image.width * image.channels;
  const pixels = new Uint8Array(labels.length * imageSize);
  for (let start = 0; start < labels.length; start += size) {
    const count = Math.min(size, labels.length - start);
    // The last batch is filled up with copies of its last entry.
    const take = (values) => Array.from({ length: size }, (_, i) => values[start + Math.min(i, count - 1)]);
    const batchLatents = new Float32Array(size * input.dim);
    if (latents) batchLatents.set(latents.subarray(start * input.dim, (start + count) * input.dim));
    const tensors = makeTensors(backend, seeds && take(seeds), batchLatents, take(labels));
    const outputs = await backend.session.run(tensors, [image.name]);
    const generated = await outputs[image.name].getData();
    pixels.set(generated.subarray(0, count * imageSize), start * imageSize);
  }
  return pixels;
}

/** Return the pixels of a generator as RGBA, for a canvas. */
function toRgba(pixels, count) {
  const { height, width, channels, layout } = contract.image, area = height * width;
  const rgba = new Uint8ClampedArray(count * area * 4).fill(255);
  const isPlanar = layout === "NCHW"; // channels first
  const channelStep = isPlanar ? area : 1, pixelStep = isPlanar ? 1 : channels;
  for (let image = 0; image < count; image++) {
    for (let pixel = 0; pixel < area; pixel++) {
      const from = image * area * channels + pixel * pixelStep, to = (image * area + pixel) * 4;
      for (let channel = 0; channel < Math.max(3, channels); channel++) {
        rgba[to + channel] = pixels[from + (channels === 1 ? 0 : channel) * channelStep];
      }
    }
  }
  return rgba;
}

/** Generate one image per seed. If `label` is null, each seed has its default label. */
async function generateSeeds({ seeds, label, truncation }) {
  const { input } = contract;
  const labels = seeds.map((seed) => label ?? (input.labels ? defaultLabel(seed, input.labels.length) : 0));
  if (input.kind === "seed") return generate(seeds, null, labels);
  const latents = sampleLatents(seeds, input.dim, input.distribution, table);
  return generate(null, truncate(latents, truncation, input.distribution), labels);
}

/** Generate the frames of a walk through the seeds and back to the first, as Sampler.walk does. */
async function generateWalk({ seeds, label, frames, truncation }) {
  const { dim, distribution, labels } = contract.input;
  const ends = seeds.map((seed) => sampleLatents([seed], dim, distribution, table));
  const latents = new Float32Array(seeds.length * frames * dim);
  for (let step = 0; step < seeds.length * frames; step++) {
    const leg = Math.floor(step / frames);
    const position = (step - leg * frames) / frames;
    latents.set(interpolate(ends[leg], ends[(leg + 1) % ends.length], position, distribution), step * dim);
  }
  const walkLabel = label ?? (labels ? defaultLabel(seeds[0], labels.length) : 0);
  const truncated = truncate(latents, truncation, distribution);
  return generate(null, truncated, Array(seeds.length * frames).fill(walkLabel));
}

/** Return the pixels of a batch, and the time of a second run: the first run also compiles shaders. */
async function measureBatch() {
  const seeds = Array.from({ length: TRIAL_BATCH }, (_, seed) => BigInt(seed));
  await generateSeeds({ seeds, truncation: 1 });
  const started = performance.now(), pixels = await generateSeeds({ seeds, truncation: 1 });
  return { pixels, ms: performance.now() - started };
}

/** Change to WebGPU if it generates the same images in less time. */
async function tryWebgpu() {
  if (!navigator.gpu || !("Suspending" in WebAssembly) || contract.batch !== "dynamic") return;
  const cpu = backend, onCpu = await enqueue(measureBatch);
  if (onCpu.ms < WEBGPU_TRIAL_MS || !(await navigator.gpu.requestAdapter())) return;
  const binary = await download(`./onnxruntime/${RUNTIMES.webgpu.binary}`, () => {}); // the worker still answers requests
  await enqueue(async () => {
    try {
      backend = await openBackend("webgpu", binary);
      const onGpu = await measureBatch();
      const isSame = onGpu.pixels.every((value, i) => Math.abs(value - onCpu.pixels[i]) <= 1);
      if (!isSame || onGpu.ms >= onCpu.ms) backend = cpu;
      const times = `${TRIAL_BATCH} images in ${onGpu.ms.toFixed()} ms, WebAssembly ${onCpu.ms.toFixed()} ms`;
      console.info(`WebGPU: ${times}, same images: ${isSame}, provider: ${backend.provider}`);
    } catch (error) {
      backend = cpu;
      throw error;
    }
  });
  postMessage({ kind: "provider", provider: backend.provider });
}

// Tasks run one after the other, because a session does not support concurrent runs.
let lastTask = Promise.resolve();
function enqueue(task) {
  const result = lastTask.then(task);
  lastTask = result.catch(() => {});
  return result;
}

async function answer(request) {
  if (!backend) return; // the start failed, and the page shows why
  try {
    const pixels = await (request.kind === "walk" ? generateWalk(request) : generateSeeds(request));
    const { height, width, channels } = contract.image;
    const rgba = toRgba(pixels, pixels.length / (height * width * channels));
    postMessage({ kind: "images", id: request.id, rgba }, [rgba.buffer]);
  } catch (error) {
    postMessage({ kind: "failed", id: request.id, message: `The images can't be generated: ${error.message ?? error}.` });
  }
}

let isWebgpuTried = false;
onmessage = async ({ data: request }) => {
  await enqueue(() => answer(request));
  if (!backend || isWebgpuTried) return;
  isWebgpuTried = true;
  tryWebgpu().catch((error) => console.info(`WebGPU is not used: ${error.message}`));
};
enqueue(start).catch((error) => {
  downloads.abort();
  postMessage({ kind: "failed", message: String(error.message ?? error) });
});
