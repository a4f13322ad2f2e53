// One image for each name, generated in the browser. The module lies in src/ganport, where `ganport web` wrote it.

import "./style.css";
import { GanportError, Generator, seedOf } from "./ganport/ganport.js";

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const input = element<HTMLInputElement>("name");
const progress = element<HTMLProgressElement>("progress");
const canvas = element<HTMLCanvasElement>("avatar");

function paint(image: ImageData): void {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")!.putImageData(image, 0, 0);
}

let running = new AbortController();
async function show(generator: Generator): Promise<void> {
  running.abort(); // the image of the last name is no longer needed
  const { signal } = (running = new AbortController());
  if (input.value === "") return; // nobody has an empty name
  try {
    const seed = seedOf(input.value);
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
