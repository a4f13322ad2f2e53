// Render cartoon faces, the images on which the pretrained networks `faces` were trained.
//
//     npm ci --ignore-scripts --prefix scripts/render_faces
//     node scripts/render_faces/render.mjs faces            # 8,000 PNGs of 128x128
//     node scripts/render_faces/render.mjs faces 500 64     # 500 PNGs of 64x64
//     node scripts/render_faces/render.mjs others 2000 128 8000  # 2,000 faces from number 8000 on
//
// Face number n is drawn from the seed "adventurer-n". The pretrained networks saw the numbers 0 to 7999.
// The design "Adventurer" is by Lisa Wischofsky, licence CC BY 4.0; the code of DiceBear is under MIT.

import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import * as adventurer from "@dicebear/adventurer";
import { createAvatar } from "@dicebear/core";
import { Resvg } from "@resvg/resvg-js";

const BACKGROUNDS = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf"];
const USAGE =
  "usage: node render.mjs FOLDER [COUNT] [SIZE] [FIRST]: 1 to 100000 faces (8000) of 16 to 1024 pixels (128), from number FIRST (0) on";

const render = (number, size) => {
  const face = createAvatar(adventurer, { seed: `adventurer-${number}`, backgroundColor: BACKGROUNDS });
  return new Resvg(face.toString(), { fitTo: { mode: "width", value: size } }).render().asPng();
};

const readNumber = (text, fallback, least, most) => {
  const number = text === undefined ? fallback : Number(text);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  console.error(`error: ${text} is not a whole number from ${least} to ${most}; ${USAGE}`);
  process.exit(2);
};

const [folder, countText, sizeText, firstText, ...others] = process.argv.slice(2);
if (folder === undefined || others.length) {
  console.error(USAGE);
  process.exit(2);
}
const count = readNumber(countText, 8_000, 1, 100_000);
const size = readNumber(sizeText, 128, 16, 1_024);
const first = readNumber(firstText, 0, 0, 1_000_000);
await mkdir(folder, { recursive: true });
for (let number = first; number < first + count; number += 1) {
  const file = join(folder, `${String(number).padStart(5, "0")}.png`);
  await writeFile(`${file}.part`, render(number, size)); // a script that is stopped leaves no half image
  await rename(`${file}.part`, file);
}
console.log(`${folder}: ${count} faces of ${size}x${size}`);
