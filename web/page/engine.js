// The page's side of the worker: ask for images, get them back; what nobody waits for any more is not drawn.

export class Engine {
  /** @param {(event) => void} onEvent is told of progress, ready, provider and failed */
  constructor(onEvent) {
    this.waiting = [];
    this.asked = null;
    this.drawn = { images: 0, ms: 0 };
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onerror = (event) => onEvent({ kind: "failed", message: event.message || "The worker can't be started." });
    this.worker.onmessage = ({ data }) => {
      if (this.asked && data.id === this.asked.id) this.#finish(data);
      else onEvent(data);
    };
  }

  /** RGBA of one image per seed, Uint8ClampedArray. */
  draw(seeds, settings, signal) {
    return this.#ask({ kind: "draw", seeds, ...settings }, signal);
  }

  /** RGBA of the way through the seeds and back to the first, so many frames from one to the next. */
  walk(seeds, frames, settings, signal) {
    return this.#ask({ kind: "walk", seeds, frames, ...settings }, signal);
  }

  #ask(request, signal) {
    return new Promise((resolve, reject) => {
      const asked = { id: crypto.getRandomValues(new Uint32Array(2)).join("-"), request, resolve, reject, signal };
      // A walk or a large image is what somebody has just asked for: it goes first.
      if (request.kind === "walk" || request.seeds.length === 1) this.waiting.unshift(asked);
      else this.waiting.push(asked);
      this.#next();
    });
  }

  #next() {
    if (this.asked) return;
    const asked = this.waiting.shift();
    if (!asked) return;
    if (asked.signal?.aborted) {
      asked.reject(new DOMException("No longer needed", "AbortError"));
      this.#next();
      return;
    }
    this.asked = asked;
    this.worker.postMessage({ id: asked.id, ...asked.request });
  }

  #finish(data) {
    const { resolve, reject } = this.asked;
    this.asked = null;
    if (data.kind === "drawn") {
      this.drawn.images += data.count;
      this.drawn.ms += data.ms;
      resolve(data.rgba);
    } else {
      reject(new Error(data.message));
    }
    this.#next();
  }
}

/** Put one image of many into a canvas of its size. */
export function paint(canvas, rgba, place, { height, width }) {
  const size = height * width * 4;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba.slice(place * size, (place + 1) * size), width, height), 0, 0);
}
