// The worker. It downloads the model, opens it with onnxruntime and generates images in a thread of its own, so that the
// page stays responsive. ganport.js sends it one request at a time.

import { readDescription } from "./description.js";
import { GanportError, reasonOf, shown } from "./errors.js";
import { interpolate, sampleLatents, truncate } from "./latents.js";
import { toRgba } from "./pixels.js";

// WebGPU needs a second download. By default it is tried only if WebAssembly takes longer than this for TRIAL_BATCH images.
const WEBGPU_TRIAL_MS = 100;
const TRIAL_BATCH = 64;
const LARGEST_BATCH = 64; // larger batches take more memory and are not faster
const LARGEST_BATCH_PIXELS = 2 ** 20; // so batches of large images are smaller
const ERRORS_ONLY = 3; // onnxruntime's log level

let settings; // what ganport.js sent at the start: model, provider, threads and the addresses of onnxruntime's files
let description, model; // description of the generator, and bytes of its file
let backend; // the open session, and the onnxruntime that it belongs to

/**
 * Download a file.
 * @param {(received: number, total: ?number) => void} onProgress Called with the number of bytes so far and of all bytes.
 *   The total is null if the server does not state it, or states the size of the compressed file.
 */
async function download(url, onProgress = () => {}) {
  const fail = (reason, cause) => {
    throw new GanportError("download", `${url} can't be loaded (${reason}); check the address and the server.`, { cause });
  };
  const response = await fetch(url).catch((error) => fail(reasonOf(error), error));
  if (!response.ok) fail(`HTTP status ${response.status}`);
  const isCompressed = response.headers.has("content-encoding");
  const total = isCompressed ? null : Number(response.headers.get("content-length")) || null;
  const chunks = [];
  let received = 0;
  onProgress(received, total);
  const reader = response.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      chunks.push(part.value);
      received += part.value.length;
      onProgress(received, total);
    }
  } catch (error) {
    fail(reasonOf(error), error);
  }
  return joined(chunks, received);
}

function joined(chunks, size) {
  const bytes = new Uint8Array(size);
  let start = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, start);
    start += chunk.length;
  }
  return bytes;
}

/** Return a function that reports the progress of one of several downloads, as a message with the sums of all. */
function makeProgress(names) {
  const all = Object.fromEntries(names.map((name) => [name, { received: 0, total: null }]));
  const sum = (field) => Object.values(all).reduce((result, each) => result + each[field], 0);
  return (name) => (received, total) => {
    all[name] = { received, total: total === null ? null : Math.max(received, total) };
    const isKnown = Object.values(all).every((each) => each.total !== null);
    postMessage({ kind: "progress", loaded: sum("received"), total: isKnown ? sum("total") : null });
  };
}

async function start(message) {
  settings = message;
  const first = settings.provider === "webgpu" ? "webgpu" : "wasm";
  const problem = first === "webgpu" ? await webgpuProblem() : null;
  if (problem) {
    throw new GanportError("provider", `WebGPU is not available: ${problem}; use the provider "auto" or "wasm".`);
  }
  const progress = makeProgress(["runtime", "model"]);
  const { binary, size } = settings.runtimes[first];
  // The size of onnxruntime's file is known, so that the total is right even if the server compresses the file.
  const onRuntime = progress("runtime"), onModel = progress("model");
  const [binaryBytes, modelBytes] = await Promise.all([
    download(binary, (received, total) => onRuntime(received, total ?? size)),
    settings.model instanceof Uint8Array ? settings.model : download(settings.model, onModel),
  ]);
  model = modelBytes;
  description = readDescription(model);
  backend = await openBackend(first, binaryBytes);
  // WebGPU compiles its shaders in the first run, and only then it is known whether the device has all that is needed.
  if (first === "webgpu") await generateSeeds({ seeds: [firstSeed()], labels: [0], truncation: 1 });
  if (!mayTryWebgpu()) model = settings.model = null; // a second session is not opened, so the bytes are not needed
  postMessage({ kind: "ready", description, provider: first });
}

const firstSeed = () => BigInt(description.input.seeds?.[0] ?? 0);

/** Return why onnxruntime can't use WebGPU in this browser; null if it can. */
async function webgpuProblem() {
  if (!navigator.gpu) return "this browser does not have it, or the page is neither on https nor on localhost";
  if (!("Suspending" in WebAssembly)) return "this browser has no JavaScript Promise Integration for WebAssembly";
  if (!(await navigator.gpu.requestAdapter())) return "this device has no GPU that the browser can use";
  return null;
}

async function openBackend(provider, binary) {
  const { script } = settings.runtimes[provider];
  let ort;
  try {
    ort = await import(/* @vite-ignore */ /* webpackIgnore: true */ script);
  } catch (error) {
    throw new GanportError("download", `${script} can't be loaded (${reasonOf(error)}); check that the file is there.`, { cause: error });
  }
  ort.env.wasm.wasmBinary = binary;
  const threads = settings.threads ?? (self.crossOriginIsolated ? null : 1); // threads need shared memory
  if (threads !== null) ort.env.wasm.numThreads = threads;
  let session;
  try {
    session = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: ERRORS_ONLY });
  } catch (error) {
    throw new GanportError("model", `onnxruntime can't open the model on ${provider} (${reasonOf(error)}); check the file with: ganport verify FILE`, { cause: error });
  }
  checkGraph(session);
  return { provider, ort, session };
}

/** Raise an error if the graph has other inputs or outputs than its description says. */
function checkGraph({ inputMetadata, outputMetadata }) {
  const { input, image, batch } = description;
  const fail = (problem) => {
    throw new GanportError("model", `The file's description does not belong to its graph: ${problem}; export the generator again.`);
  };
  const expected = [];
  if (input.kind === "latent") expected.push([input.name, "float32", [batch, input.dim]]);
  if (input.kind === "seed") expected.push([input.name, "int64", [batch]]);
  if (input.kind !== "fixed" && input.labels) {
    if (isOneHot()) expected.push(["label", "float32", [batch, input.labels.length]]);
    else expected.push(["label", "int64", [batch]]);
  }
  const names = (list) => list.join(", ") || "no input";
  const found = inputMetadata.map(({ name }) => name), wanted = expected.map(([name]) => name);
  if ([...found].sort().join() !== [...wanted].sort().join()) {
    fail(`the graph's inputs are ${names(found)}, and the description's are ${names(wanted)}`);
  }
  const { height, width, channels } = image;
  const imageShape = image.layout === "NCHW" ? [batch, channels, height, width] : [batch, height, width, channels];
  const check = (tensor, type, shape) => {
    // Sizes that are not fixed are texts, as is "dynamic".
    const isSame = shape.every((size, axis) => typeof size === "string" || typeof tensor.shape[axis] === "string" || tensor.shape[axis] === size);
    if (tensor.type !== type || tensor.shape.length !== shape.length || !isSame) {
      fail(`the graph's ${tensor.name} is ${tensor.type} [${tensor.shape}], and the description's is ${type} [${shape}]`);
    }
  };
  for (const [name, type, shape] of expected) check(inputMetadata.find((each) => each.name === name), type, shape);
  const output = outputMetadata.find(({ name }) => name === image.name);
  if (!output) fail(`the graph has no output ${shown(image.name)}`);
  check(output, image.dtype, imageShape);
}

const isOneHot = () => description.input.label_encoding === "one-hot";

/** Return the input tensors of one batch: seeds or latents, and labels if the generator has them. */
function makeTensors({ ort }, seeds, latents, labels) {
  const { input } = description, count = labels.length, tensors = {};
  if (input.kind === "seed") tensors[input.name] = new ort.Tensor("int64", BigInt64Array.from(seeds), [count]);
  if (input.kind === "latent") tensors[input.name] = new ort.Tensor("float32", latents, [count, input.dim]);
  if (!input.labels) return tensors;
  if (isOneHot()) tensors.label = new ort.Tensor("float32", oneHot(labels), [count, input.labels.length]);
  else tensors.label = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [count]);
  return tensors;
}

function oneHot(labels) {
  const size = description.input.labels.length, codes = new Float32Array(labels.length * size);
  labels.forEach((label, row) => (codes[row * size + label] = 1));
  return codes;
}

/** Return the number of images per run of the graph. */
function batchSize(count) {
  const { batch, image } = description;
  if (batch !== "dynamic") return batch;
  const most = Math.floor(LARGEST_BATCH_PIXELS / (image.height * image.width));
  return Math.min(count, LARGEST_BATCH, Math.max(1, most));
}

/** Generate images in batches of a size that the model accepts. Returns one array of RGBA pixels per image. */
async function generate(seeds, latents, labels) {
  const { input } = description, images = [], size = batchSize(labels.length);
  for (let start = 0; start < labels.length; start += size) {
    const count = Math.min(size, labels.length - start);
    // The last batch is filled up with copies of its last entry.
    const take = (values) => Array.from({ length: size }, (_, i) => values[start + Math.min(i, count - 1)]);
    const batchLatents = new Float32Array(size * input.dim);
    if (latents) batchLatents.set(latents.subarray(start * input.dim, (start + count) * input.dim));
    images.push(...(await run(makeTensors(backend, seeds && take(seeds), batchLatents, take(labels)), count)));
  }
  return images;
}

/** Run the graph once, and return the first images of its batch. */
async function run(tensors, count) {
  const { image } = description;
  let values;
  try {
    const output = (await backend.session.run(tensors, [image.name]))[image.name];
    values = await output.getData();
  } catch (error) {
    throw new GanportError("runtime", `The images can't be generated on ${backend.provider}: ${reasonOf(error)}.`, { cause: error });
  }
  if (values.length < count * image.height * image.width * image.channels) {
    throw new GanportError("model", `The graph gave ${values.length} values for ${count} images; export the generator again.`);
  }
  return toRgba(values, count, image);
}

/** Generate one image per seed. */
async function generateSeeds({ seeds, labels, truncation }) {
  const { input } = description;
  if (input.kind === "fixed") return generateFixed(seeds);
  if (input.kind === "seed") return generate(seeds, null, labels);
  const latents = sampleLatents(seeds, input.dim, input.distribution);
  return generate(null, truncate(latents, truncation, input.distribution), labels);
}

/** Return the images of seeds of a generator without an input, which always generates the same images. */
async function generateFixed(seeds) {
  const known = description.input.seeds.map(BigInt);
  const images = await run({}, known.length);
  return seeds.map((seed) => images[known.indexOf(seed)].slice());
}

/** Generate the frames `from` to `to` of a walk through the seeds, as Sampler.walk does. */
async function generateWalk({ seeds, frames, from, to, label, truncation }) {
  const { dim, distribution } = description.input;
  const ends = seeds.map((seed) => sampleLatents([seed], dim, distribution));
  const latents = new Float32Array((to - from) * dim);
  for (let step = from; step < to; step++) {
    const leg = Math.floor(step / frames), position = (step - leg * frames) / frames;
    const point = interpolate(ends[leg % ends.length], ends[(leg + 1) % ends.length], position, distribution);
    latents.set(point, (step - from) * dim);
  }
  return generate(null, truncate(latents, truncation, distribution), Array(to - from).fill(label));
}

const mayTryWebgpu = () => settings.provider === "auto" && description.batch === "dynamic" && description.input.kind !== "fixed";

/** Return the images of a batch, and the time of a second run: the first run also compiles shaders. */
async function measureBatch() {
  const seeds = Array.from({ length: TRIAL_BATCH }, (_, seed) => BigInt(seed));
  const request = { seeds, labels: Array(TRIAL_BATCH).fill(0), truncation: 1 };
  await generateSeeds(request);
  const started = performance.now(), images = await generateSeeds(request);
  return { images, ms: performance.now() - started };
}

/** Change to WebGPU if it generates the same images in less time. */
async function tryWebgpu() {
  if (await webgpuProblem()) return;
  const cpu = backend, onCpu = await enqueue(measureBatch);
  if (onCpu.ms < WEBGPU_TRIAL_MS) return;
  const binary = await download(settings.runtimes.webgpu.binary); // the worker still answers requests
  await enqueue(async () => {
    try {
      backend = await openBackend("webgpu", binary);
      const onGpu = await measureBatch();
      const isSame = onGpu.images.every((image, i) => image.every((value, j) => Math.abs(value - onCpu.images[i][j]) <= 1));
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

function postFailure(id, error) {
  const code = error instanceof GanportError ? error.code : "runtime";
  postMessage({ kind: "failed", id, code, message: error instanceof GanportError ? error.message : `${reasonOf(error)}.` });
}

async function answer(request) {
  try {
    const images = await (request.kind === "walk" ? generateWalk(request) : generateSeeds(request));
    const buffers = images.map(({ buffer }) => buffer);
    postMessage({ kind: "images", id: request.id, buffers }, buffers);
  } catch (error) {
    postFailure(request.id, error);
  }
}

let isWebgpuTried = false;
onmessage = async ({ data: request }) => {
  if (request.kind === "load") {
    await enqueue(() => start(request)).catch((error) => postFailure(request.id, error));
    return;
  }
  await enqueue(() => answer(request));
  if (isWebgpuTried || !mayTryWebgpu()) return;
  isWebgpuTried = true;
  await tryWebgpu().catch((error) => console.info(`WebGPU is not used: ${reasonOf(error)}`));
  model = settings.model = null;
};
