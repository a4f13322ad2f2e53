// Generate the images of a generator that ganport exported, in the browser. ganport.d.ts describes the interface.
//
//     import { Generator } from "./ganport.js";
//     const generator = await Generator.load("faces.onnx");
//     const image = await generator.sample(7); // ImageData

import { GanportError, shown } from "./errors.js";
import { SEED_LIMIT, defaultLabel, sampleLatents } from "./latents.js";
import { seedOf } from "./names.js";

export { GanportError, seedOf };

const LARGEST_DIM = 65_536;
const CHUNK = 64; // largest number of images in one request of the worker; between two requests others come in
const WALK_CHUNK = 16; // frames of a walk in one request, so that the first frames come early
const MOST_FRAMES = 100_000;
const PROVIDERS = ["auto", "wasm", "webgpu"];

const usage = (message) => new GanportError("usage", message);

/**
 * Return the addresses of onnxruntime's files, and the sizes of its binaries in bytes. Each address is written out,
 * because bundlers only see files whose names are written out.
 */
function findRuntimes(base) {
  const at = (name, own) => (base === null ? own : new URL(`onnxruntime/${name}`, base)).href;
  return {
    wasm: {
      script: at("ort.wasm.bundle.min.mjs", new URL("./onnxruntime/ort.wasm.bundle.min.mjs", import.meta.url)),
      binary: at("ort-wasm-simd-threaded.wasm", new URL("./onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url)),
      size: 14239897,
    },
    webgpu: {
      script: at("ort.jspi.bundle.min.mjs", new URL("./onnxruntime/ort.jspi.bundle.min.mjs", import.meta.url)),
      binary: at("ort-wasm-simd-threaded.jspi.wasm", new URL("./onnxruntime/ort-wasm-simd-threaded.jspi.wasm", import.meta.url)),
      size: 16758545,
    },
  };
}

function startWorker(base) {
  // Bundlers recognise exactly this expression.
  if (base === null) return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  return new Worker(new URL("worker.js", base), { type: "module" });
}

/** Return the settings of `Generator.load` for the worker, after checks. */
function loadSettings(model, { provider, threads, base }) {
  if (!PROVIDERS.includes(provider)) throw usage(`provider is ${shown(provider)}; it must be one of: ${PROVIDERS.join(", ")}.`);
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    throw usage(`threads is ${shown(threads)}; it must be a whole number from 1 to 1,024.`);
  }
  if (threads > 1 && !globalThis.crossOriginIsolated) {
    throw new GanportError(
      "provider",
      `threads is ${threads}, and this page may have one only; send the headers Cross-Origin-Opener-Policy: same-origin ` +
        "and Cross-Origin-Embedder-Policy: require-corp, or leave out threads.",
    );
  }
  const address = base === undefined ? null : toUrl(String(base).replace(/\/?$/, "/"), "base");
  return { kind: "load", model: toModel(model), provider, threads, runtimes: findRuntimes(address), base: address };
}

function toUrl(text, name) {
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw usage(`${name} is ${shown(text)}; it must be an address.`);
  }
}

/** Return the address of a model, or a copy of its bytes, which can be given away to the worker. */
function toModel(model) {
  if (typeof model === "string" || model instanceof URL) return toUrl(String(model), "the model");
  if (model instanceof ArrayBuffer) return new Uint8Array(model.slice(0));
  if (ArrayBuffer.isView(model)) return new Uint8Array(model.buffer, model.byteOffset, model.byteLength).slice();
  throw usage(`the model is ${shown(model)}; it must be an address, or the bytes of an .onnx file.`);
}

/** Return a seed as a BigInt. */
function toSeed(value) {
  const isWhole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (isWhole && value >= 0 && BigInt(value) < SEED_LIMIT) return BigInt(value);
  const isLarge = typeof value === "number" && value > Number.MAX_SAFE_INTEGER;
  throw usage(`the seed is ${shown(value)}; it must be a whole number from 0 to 2^63 - 1${isLarge ? ", above 2^53 as a BigInt such as 7n" : ""}.`);
}

function toSeeds(values) {
  if (typeof values?.[Symbol.iterator] !== "function" || typeof values === "string") {
    throw usage(`seeds is ${shown(values)}; it must be a list of seeds.`);
  }
  return Array.from(values, toSeed);
}

/**
 * Return the latents of a seed, float32 (dim,). They have the same bits as those of the Python runtime.
 * @param {number|bigint} seed Seed in [0, 2 ** 63).
 * @param {number} dim Number of latents.
 * @param {string} distribution "normal", "uniform" for (-1, 1) or "uniform01" for (0, 1).
 */
export function latents(seed, dim, distribution = "normal") {
  if (!Number.isInteger(dim) || dim < 1 || dim > LARGEST_DIM) {
    throw usage(`dim is ${shown(dim)}; it must be a whole number from 1 to 65,536.`);
  }
  return sampleLatents([toSeed(seed)], dim, distribution);
}

export class Generator extends EventTarget {
  #worker;
  #description;
  #provider;
  #waiting = []; // requests that the worker has not got yet
  #current = null; // the request that the worker is working on
  #lastId = 0;
  #failure = null; // the error that each further call raises: the generator was closed, or the worker ended

  constructor(worker, { description, provider }) {
    super();
    this.#worker = worker;
    this.#description = description;
    this.#provider = provider;
    worker.onmessage = ({ data }) => this.#onMessage(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#end(new GanportError("runtime", `The worker stopped (${event.message || "no reason given"}); load the generator again.`));
    };
  }

  static async load(model, { signal, progress, threads, provider = "auto", base } = {}) {
    signal?.throwIfAborted();
    const { base: address, ...message } = loadSettings(model, { provider, threads, base });
    let worker;
    try {
      worker = startWorker(address);
    } catch (error) {
      throw new GanportError("download", `The worker can't be started (${error.message}); worker.js must be on the page's own host.`, { cause: error });
    }
    let onAbort;
    try {
      const ready = await new Promise((resolve, reject) => {
        onAbort = () => reject(signal.reason);
        signal?.addEventListener("abort", onAbort);
        worker.onerror = (event) => {
          event.preventDefault();
          const reason = event.message || "the file can't be loaded, or the page's Content-Security-Policy forbids it";
          reject(new GanportError("download", `worker.js can't be started: ${reason}; check that it lies beside ganport.js.`));
        };
        worker.onmessage = ({ data }) => {
          if (data.kind === "progress") progress?.({ loaded: data.loaded, total: data.total });
          if (data.kind === "ready") resolve(data);
          if (data.kind === "failed") reject(new GanportError(data.code, data.message));
        };
        worker.postMessage(message, message.model instanceof Uint8Array ? [message.model.buffer] : []);
      });
      return new Generator(worker, ready);
    } catch (error) {
      worker.terminate();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  get description() {
    return this.#description;
  }
  get labels() {
    return this.#description.input.labels ?? [];
  }
  get width() {
    return this.#description.image.width;
  }
  get height() {
    return this.#description.image.height;
  }
  get provider() {
    return this.#provider;
  }

  async sample(seed, options) {
    const [image] = await this.sampleBatch([seed], options);
    return image;
  }

  async sampleBatch(seeds, { label, truncation = 1, signal } = {}) {
    const known = toSeeds(seeds);
    if (known.length === 0) throw usage("seeds is empty; give one or more seeds.");
    this.#checkFixedSeeds(known);
    this.#checkTruncation(truncation);
    const labels = this.#labelsOf(known, label);
    const images = [];
    for (let start = 0; start < known.length; start += CHUNK) {
      const part = (values) => values.slice(start, start + CHUNK);
      images.push(...(await this.#request({ kind: "seeds", seeds: part(known), labels: part(labels), truncation }, signal)));
    }
    return images;
  }

  walk(seeds, frames = 15, { label, truncation = 1, loop = true, signal } = {}) {
    const known = toSeeds(seeds);
    if (this.#description.input.kind !== "latent") {
      throw usage("This generator takes no latents, so it has no walk; export it with: ganport export --input latent");
    }
    if (known.length < 2) throw usage(`seeds has ${known.length} entries; a walk needs two or more seeds.`);
    if (!Number.isInteger(frames) || frames < 1 || frames > MOST_FRAMES) {
      throw usage(`frames is ${shown(frames)}; it must be a whole number from 1 to 100,000.`);
    }
    this.#checkTruncation(truncation);
    const [only] = this.#labelsOf([known[0]], label);
    const request = { kind: "walk", seeds: known, frames, label: only, truncation };
    return this.#frames(request, loop ? known.length * frames : (known.length - 1) * frames + 1, signal);
  }

  close() {
    this.#end(new GanportError("closed", "The generator is closed; load it again."));
  }

  /** Yield the frames of a walk. While the caller works on some frames, the next ones are generated. */
  async *#frames(request, count, signal) {
    const stop = new AbortController(); // the caller may leave the loop early
    const onAbort = () => stop.abort(signal.reason);
    signal?.addEventListener("abort", onAbort);
    if (signal?.aborted) onAbort();
    const ask = (from) => {
      const frames = this.#request({ ...request, from, to: Math.min(from + WALK_CHUNK, count) }, stop.signal);
      frames.catch(() => {}); // the error is raised where the frames are awaited
      return frames;
    };
    try {
      let next = ask(0);
      for (let from = 0; from < count; from += WALK_CHUNK) {
        const images = await next;
        if (from + WALK_CHUNK < count) next = ask(from + WALK_CHUNK);
        for (const image of images) {
          stop.signal.throwIfAborted();
          yield image;
        }
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      stop.abort();
    }
  }

  #checkFixedSeeds(seeds) {
    const { kind, seeds: known } = this.#description.input;
    if (kind !== "fixed") return;
    const other = seeds.find((seed) => !known.includes(Number(seed)));
    if (other !== undefined) throw usage(`the seed is ${other}, and this generator has the seeds ${shown(known)} only.`);
  }

  #checkTruncation(truncation) {
    if (typeof truncation !== "number" || !(truncation >= 0 && truncation <= 1)) {
      throw usage(`truncation is ${shown(truncation)}; it must be a number from 0 to 1.`);
    }
    if (truncation !== 1 && this.#description.input.kind !== "latent") {
      throw usage("This generator takes no latents, so it has no truncation; export it with: ganport export --input latent");
    }
  }

  /** Return the index of each image's label; 0 for generators without labels. */
  #labelsOf(seeds, label) {
    const { labels } = this, isFixed = this.#description.input.kind === "fixed";
    if (label === undefined || label === null) {
      return seeds.map((seed) => (labels.length ? defaultLabel(seed, labels.length) : 0));
    }
    if (isFixed) throw usage("This generator has fixed seeds, and their labels can't be chosen; leave out label.");
    if (!Array.isArray(label)) return Array(seeds.length).fill(this.#labelIndex(label));
    if (label.length !== seeds.length) {
      throw usage(`label has ${label.length} entries for ${seeds.length} images; give one for each, or one for all.`);
    }
    return label.map((each) => this.#labelIndex(each));
  }

  #labelIndex(label) {
    const { labels } = this;
    if (Number.isInteger(label) && label >= 0 && label < labels.length) return label;
    const index = typeof label === "string" ? labels.indexOf(label) : -1;
    if (index >= 0) return index;
    const known = labels.length ? `one of ${shown(labels)}, or an index into this list` : "left out, because this generator has no labels";
    throw usage(`label is ${shown(label)}; it must be ${known}.`);
  }

  /** Send a request to the worker when it is free. Returns the images as ImageData. */
  async #request(message, signal) {
    signal?.throwIfAborted();
    if (this.#failure) throw this.#failure;
    let onAbort;
    try {
      const buffers = await new Promise((resolve, reject) => {
        const entry = { id: ++this.#lastId, message, resolve, reject };
        onAbort = () => {
          this.#waiting = this.#waiting.filter((each) => each !== entry);
          reject(signal.reason); // if the worker is already at work, its answer is dropped
        };
        signal?.addEventListener("abort", onAbort);
        // Single images and walks are what the user has just opened, so they come before the batches.
        if (message.kind === "walk" || message.seeds.length === 1) this.#waiting.unshift(entry);
        else this.#waiting.push(entry);
        this.#sendNext();
      });
      const { width, height } = this;
      return buffers.map((buffer) => new ImageData(new Uint8ClampedArray(buffer), width, height));
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #sendNext() {
    if (this.#current || this.#waiting.length === 0) return;
    this.#current = this.#waiting.shift();
    const { id, message } = this.#current;
    this.#worker.postMessage({ id, ...message });
  }

  #onMessage(data) {
    if (data.kind === "provider") {
      this.#provider = data.provider;
      this.dispatchEvent(new Event("providerchange"));
    }
    if (!this.#current || data.id !== this.#current.id) return;
    const { resolve, reject } = this.#current;
    this.#current = null;
    if (data.kind === "images") resolve(data.buffers);
    else reject(new GanportError(data.code, data.message));
    this.#sendNext();
  }

  #end(error) {
    if (this.#failure) return;
    this.#failure = error;
    this.#worker.terminate();
    for (const { reject } of [this.#current, ...this.#waiting].filter(Boolean)) reject(error);
    this.#current = null;
    this.#waiting = [];
  }
}
