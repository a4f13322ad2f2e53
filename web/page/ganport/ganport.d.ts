// Types of ganport.js.

/** A seed: a whole number from 0 to 2 ** 63 - 1. Above 2 ** 53 it must be a BigInt. */
export type Seed = number | bigint;

/** The name of a label, or its index in `Generator.labels`. */
export type Label = string | number;

/** The distribution of latents: standard normal, uniform on (-1, 1), or uniform on (0, 1). */
export type Distribution = "normal" | "uniform" | "uniform01";

export type ErrorCode =
  /** An argument is not valid. */
  | "usage"
  /** A file can't be loaded. */
  | "download"
  /** The file is not a generator that this module can open. */
  | "model"
  /** The provider, or more than one thread, is not available in this browser or on this page. */
  | "provider"
  /** The generator failed while it generated images. */
  | "runtime"
  /** The generator is closed. */
  | "closed";

/** An error with a message that says what to do. */
export class GanportError extends Error {
  constructor(code: ErrorCode, message: string, options?: ErrorOptions);
  readonly name: "GanportError";
  readonly code: ErrorCode;
}

/** The description that the file holds: the contract, without the golden images. */
export interface Description {
  readonly format: number;
  readonly name: string;
  readonly created_by: string;
  readonly input: {
    readonly kind: "latent" | "seed" | "fixed";
    readonly name: string;
    readonly dim: number;
    readonly distribution: Distribution;
    readonly seeds?: readonly number[] | null;
    readonly labels?: readonly string[] | null;
    readonly label_encoding?: "index" | "one-hot";
  };
  readonly image: {
    readonly name: string;
    readonly height: number;
    readonly width: number;
    readonly channels: 1 | 3 | 4;
    readonly layout: "NHWC" | "NCHW";
    readonly dtype: "uint8" | "float32";
    readonly range: readonly [number, number];
  };
  readonly batch: "dynamic" | number;
  readonly precision: string;
  readonly [field: string]: unknown;
}

export interface LoadOptions {
  /** Stops the loading. The promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
  /** Called during the downloads, with bytes. The total is null if the server does not state the size of the model. */
  progress?: (event: { loaded: number; total: number | null }) => void;
  /** Number of threads of WebAssembly. By default onnxruntime chooses. More than one needs a cross-origin isolated page. */
  threads?: number;
  /**
   * "wasm": WebAssembly, on the CPU. "webgpu": WebGPU, or an error. "auto", the default: WebAssembly, and then WebGPU if
   * it generates the same images in less time.
   */
  provider?: "auto" | "wasm" | "webgpu";
  /** Address of the folder of this module, if a bundler moved ganport.js away from its other files. */
  base?: string | URL;
}

export interface SampleOptions {
  /** The label. By default each seed has its own: the seed modulo the number of labels. */
  label?: Label | null;
  /** From 0 to 1, the default. Below 1 the images are nearer to the average image and less varied. */
  truncation?: number;
  /** Cancels the request. The promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
}

export interface BatchOptions extends Omit<SampleOptions, "label"> {
  /** One label for all images, or a list with one label for each. */
  label?: Label | null | readonly Label[];
}

export interface WalkOptions extends SampleOptions {
  /** Whether the walk goes on from the last seed to the first. The default is true. */
  loop?: boolean;
}

/** A generator of images, in a worker. It sends the event "providerchange" if `provider` changes. */
export class Generator extends EventTarget {
  private constructor();

  /** Load a generator. `model` is the address of an .onnx file that ganport exported, or the file's bytes. */
  static load(model: string | URL | ArrayBuffer | ArrayBufferView, options?: LoadOptions): Promise<Generator>;

  readonly description: Description;
  /** Names of the labels; empty for a generator without labels. */
  readonly labels: readonly string[];
  readonly width: number;
  readonly height: number;
  /** The provider in use. With "auto" it may change from "wasm" to "webgpu" after the first images. */
  readonly provider: "wasm" | "webgpu";

  /** Generate the image of a seed. */
  sample(seed: Seed, options?: SampleOptions): Promise<ImageData>;

  /** Generate one image per seed, in the order of the seeds. */
  sampleBatch(seeds: Iterable<Seed>, options?: BatchOptions): Promise<ImageData[]>;

  /** Generate the frames of a walk from seed to seed. `frames` is their number from one seed to the next, 15 by default. */
  walk(seeds: Iterable<Seed>, frames?: number, options?: WalkOptions): AsyncGenerator<ImageData, void, undefined>;

  /** End the worker and release its memory. Requests that are not answered yet are rejected. */
  close(): void;
}

/** Return the latents of a seed. They have the same bits as those of the Python runtime. */
export function latents(seed: Seed, dim: number, distribution?: Distribution): Float32Array;

/**
 * Return the seed of a name, or of any other text. It is that of `ganport.seed_of` in Python, and of the HTTP service at
 * /v1/images/by-name/. Upper and lower case and spaces matter.
 */
export function seedOf(text: string): bigint;
