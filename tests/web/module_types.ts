// Uses of the module's types. TypeScript compiles this file together with the example of Vite.

import { GanportError, Generator, latents, seedOf, type Description, type Label, type Seed } from "./ganport/ganport.js";

export async function use(): Promise<void> {
  const controller = new AbortController();
  const generator: Generator = await Generator.load("generator.onnx", {
    signal: controller.signal,
    progress: ({ loaded, total }) => console.log(total === null ? loaded : loaded / total),
    threads: 1,
    provider: "webgpu",
    base: "/ganport/",
  });
  await Generator.load(new Uint8Array(8));
  const seeds: Seed[] = [7, 2n ** 60n];
  const label: Label | undefined = generator.labels[0];
  const image: ImageData = await generator.sample(7, { label, truncation: 0.5, signal: controller.signal });
  const images: ImageData[] = await generator.sampleBatch(seeds, { label: ["a", 1] });
  for await (const frame of generator.walk(seeds, 24, { loop: false })) frame.data.fill(0);
  const description: Description = generator.description;
  const channels: 1 | 3 | 4 = description.image.channels;
  const values: Float32Array = latents(7, 100, "uniform");
  const named: bigint = seedOf("Ada");
  generator.addEventListener("providerchange", () => console.log(generator.provider === "wasm"));
  generator.close();
  console.log(image.width, images.length, channels, values.length, named);

  // @ts-expect-error: a seed is not a text
  await generator.sample("7");
  // @ts-expect-error: there is no such provider
  await Generator.load("generator.onnx", { provider: "cuda" });
  // @ts-expect-error: generators come from `Generator.load`
  new Generator();
  // @ts-expect-error: the size can't be changed
  generator.width = 5;
}

export function explain(error: unknown): string {
  if (!(error instanceof GanportError)) throw error;
  switch (error.code) {
    case "usage":
    case "model":
      return error.message;
    default:
      return error.name;
  }
}
