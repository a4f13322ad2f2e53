// One image for each name, generated in the browser. The module lies in src/ganport, where `ganport web` wrote it.

import "./style.css";
import { GanportError, Generator } from "./ganport/ganport.js";

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const input = element<HTMLInputElement>("name");
const progress = element<HTMLProgressElement>("progress");
const canvas = element<HTMLCanvasElement>("avatar");

/** The seed of a name: the first eight bytes of its SHA-256, without the highest bit. */
async function seedOf(name: string): Promise<bigint> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  return new DataView(digest).getBigUint64(0) & 0x7fffffffffffffffn;
}

function paint(image: ImageData): void {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
}

let running = new AbortController();
async function show(generator: Generator): Promise<void> {
  running.abort(); // the image of the last name is no longer needed
  const { signal } = (running = new AbortController());
  const name = input.value;
  try {
    const seed = await seedOf(name);
    paint(await generator.sample(seed, { signal }));
    canvas.dataset.seed = String(seed);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

try {
  const generator = await Generator.load(new URL("./ganport/mnist.onnx", import.meta.url), {
    progress: ({ loaded, total }) => {
      if (total !== null) Object.assign(progress, { max: total, value: loaded });
    },
  });
  progress.hidden = true;
  input.oninput = () => show(generator);
  await show(generator);
} catch (error) {
  if (!(error instanceof GanportError)) throw error;
  element("status").textContent = error.message;
}
