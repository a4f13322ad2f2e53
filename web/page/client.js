// WorkerClient: the page's side of the worker. It sends one request at a time, and drops requests that were cancelled.

export class WorkerClient {
  /** @param {(event) => void} onEvent Function that is called with the events progress, ready, provider and failed. */
  constructor(onEvent) {
    this.waiting = [];
    this.current = null;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onerror = (event) => onEvent({ kind: "failed", message: event.message || "The worker can't be started." });
    this.worker.onmessage = ({ data }) => {
      if (this.current && data.id === this.current.id) this.#finish(data);
      else onEvent(data);
    };
  }

  /** Generate one image per seed. Returns the RGBA pixels of all images in one Uint8ClampedArray. */
  generate(seeds, settings, signal) {
    return this.#send({ kind: "generate", seeds, ...settings }, signal);
  }

  /** Generate a walk through the seeds and back to the first, with `frames` images per step. Returns RGBA pixels. */
  walk(seeds, frames, settings, signal) {
    return this.#send({ kind: "walk", seeds, frames, ...settings }, signal);
  }

  #send(request, signal) {
    return new Promise((resolve, reject) => {
      const entry = { id: crypto.getRandomValues(new Uint32Array(2)).join("-"), request, resolve, reject, signal };
      // Walks and single images are what the user has just opened, so they come before the tiles of the gallery.
      if (request.kind === "walk" || request.seeds.length === 1) this.waiting.unshift(entry);
      else this.waiting.push(entry);
      this.#sendNext();
    });
  }

  #sendNext() {
    if (this.current) return;
    const entry = this.waiting.shift();
    if (!entry) return;
    if (entry.signal?.aborted) {
      entry.reject(new DOMException("The request was cancelled", "AbortError"));
      this.#sendNext();
      return;
    }
    this.current = entry;
    this.worker.postMessage({ id: entry.id, ...entry.request });
  }

  #finish(data) {
    const { resolve, reject } = this.current;
    this.current = null;
    if (data.kind === "images") resolve(data.rgba);
    else reject(new Error(data.message));
    this.#sendNext();
  }
}

/** Show the image with this index in a canvas, and give the canvas the size of the image. */
export function paint(canvas, rgba, index, { height, width }) {
  const size = height * width * 4;
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(rgba.slice(index * size, (index + 1) * size), width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  canvas.dataset.rendered = "yes";
}
