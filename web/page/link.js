// The state of the page as text in the address, after #. A link therefore shows the same images on any device.

import { SEED_LIMIT } from "./ganport/latents.js";

export const MAX_WALK_SEEDS = 32; // limit, because all frames of a walk are in memory

/** Return the seed that a text represents, or null if the text is not a seed. */
export function parseSeed(text) {
  return /^\d{1,19}$/.test(text ?? "") && BigInt(text) < SEED_LIMIT ? BigInt(text) : null;
}

/**
 * Return the state that an address describes. Values that are not valid are ignored.
 * @returns {{seed: BigInt, label: ?number, truncation: number, image: ?BigInt, walk: BigInt[]}}
 */
export function parseLink(hash, labels) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const label = labels.indexOf(parameters.get("label"));
  const truncation = Number(parameters.get("truncation") ?? 1);
  const walk = (parameters.get("walk") ?? "").split(",").map(parseSeed).filter((seed) => seed !== null);
  return {
    seed: parseSeed(parameters.get("seed")) ?? 0n,
    label: label < 0 ? null : label,
    truncation: truncation >= 0 && truncation <= 1 ? truncation : 1,
    image: parseSeed(parameters.get("image")),
    walk: walk.length < 2 ? [] : walk.slice(0, MAX_WALK_SEEDS),
  };
}

/** Return the part of the address that describes a state, with the #. */
export function formatLink({ seed, label, truncation, image, walk }, labels) {
  const parameters = new URLSearchParams({ seed: String(seed) });
  if (label !== null) parameters.set("label", labels[label]);
  if (truncation !== 1) parameters.set("truncation", String(truncation));
  if (image !== null) parameters.set("image", String(image));
  if (walk.length) parameters.set("walk", walk.join(","));
  return `#${parameters.toString().replaceAll("%2C", ",")}`;
}
