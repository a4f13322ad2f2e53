// What is seen, as the part of the address behind #: a link shows the same images anywhere.

import { SEED_LIMIT } from "./latents.js";

export const MOST_STOPS = 32; // of a walk, all frames of which are held in memory

/** A seed of what was written, or null. */
export function parseSeed(text) {
  return /^\d{1,19}$/.test(text ?? "") && BigInt(text) < SEED_LIMIT ? BigInt(text) : null;
}

/**
 * @returns {{seed: BigInt, label: ?number, truncation: number, image: ?BigInt, walk: BigInt[]}}
 * What can't be is as if it had not been said.
 */
export function parseLink(hash, labels) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const place = labels ? labels.indexOf(said.get("label")) : -1;
  const truncation = Number(said.get("truncation") ?? 1);
  const walk = (said.get("walk") ?? "").split(",").map(parseSeed).filter((seed) => seed !== null);
  return {
    seed: parseSeed(said.get("seed")) ?? 0n,
    label: place < 0 ? null : place,
    truncation: truncation >= 0 && truncation <= 1 ? truncation : 1,
    image: parseSeed(said.get("image")),
    walk: walk.length < 2 ? [] : walk.slice(0, MOST_STOPS),
  };
}

export function formatLink({ seed, label, truncation, image, walk }, labels) {
  const said = new URLSearchParams({ seed: String(seed) });
  if (label !== null) said.set("label", labels[label]);
  if (truncation !== 1) said.set("truncation", String(truncation));
  if (image !== null) said.set("image", String(image));
  if (walk.length) said.set("walk", walk.join(","));
  return `#${said.toString().replaceAll("%2C", ",")}`;
}
