// Latents from seeds, as docs/contract.md describes. They have the same bits as in the Python runtime, because they come
// from integers, and from one table (normal latents) or from arithmetic that never rounds (uniform latents).

import { GanportError, shown } from "./errors.js";

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85];
const ROUNDS = 10;
const LATENTS_PER_BLOCK = 8;
// Scale and offset of each uniform distribution. A 16-bit number h becomes h * scale + offset.
export const UNIFORM_STEPS = { uniform: [2 ** -15, 2 ** -16 - 1], uniform01: [2 ** -16, 2 ** -17] };
export const SEED_LIMIT = 2n ** 63n;
const MAGNITUDES = 4096;

/** Return the high 32 bits of the product of two 32-bit words, as a signed number. */
function multiplyHigh(a, b) {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) | 0;
}

/**
 * Compute Philox4x32-10 (Salmon et al., SC 2011) of the counter (block, 0, 0, 0).
 * The result is four 32-bit words, which are written to `words`.
 */
export function philox(block, keyLow, keyHigh, words) {
  let first = block, second = 0, third = 0, fourth = 0, key = keyLow, otherKey = keyHigh;
  for (let round = 0; round < ROUNDS; round++) {
    const high = multiplyHigh(first, MULTIPLIERS[0]), low = Math.imul(first, MULTIPLIERS[0]);
    const otherHigh = multiplyHigh(third, MULTIPLIERS[1]), otherLow = Math.imul(third, MULTIPLIERS[1]);
    first = otherHigh ^ second ^ key;
    second = otherLow;
    third = high ^ fourth ^ otherKey;
    fourth = low;
    key = (key + KEY_STEPS[0]) | 0;
    otherKey = (otherKey + KEY_STEPS[1]) | 0;
  }
  words[0] = first;
  words[1] = second;
  words[2] = third;
  words[3] = fourth;
}

/**
 * Return the latents of the seeds, of shape (seeds.length, dim), in one Float32Array.
 * @param {BigInt[]} seeds Seeds in [0, 2n ** 63n).
 * @param {number} dim Number of latents per seed.
 * @param {string} distribution "normal"; "uniform" for the uniform distribution on (-1, 1), "uniform01" for (0, 1).
 */
export function sampleLatents(seeds, dim, distribution = "normal") {
  const toLatent = distribution === "normal" ? normalOf(normalTable()) : uniformOf(distribution);
  const latents = new Float32Array(seeds.length * dim);
  const words = new Uint32Array(4);
  seeds.forEach((seed, row) => {
    const keyLow = Number(seed & 0xffffffffn) | 0, keyHigh = Number(seed >> 32n) | 0;
    for (let j = 0; j < dim; j++) {
      if (j % LATENTS_PER_BLOCK === 0) philox(j / LATENTS_PER_BLOCK, keyLow, keyHigh, words);
      const word = words[(j % LATENTS_PER_BLOCK) >> 1];
      const half = j % 2 === 0 ? word >>> 16 : word & 0xffff;
      latents[row * dim + j] = toLatent(half);
    }
  });
  return latents;
}

/** Return a function from a 16-bit number to a normal variate. */
function normalOf(table) {
  return (half) => {
    const magnitude = table[(half >> 3) & 0xfff];
    return half & 0x8000 ? -magnitude : magnitude;
  };
}

/** Return a function from a 16-bit number to a uniform variate. */
function uniformOf(distribution) {
  if (!Object.hasOwn(UNIFORM_STEPS, distribution)) {
    const known = ["normal", ...Object.keys(UNIFORM_STEPS)].join(", ");
    throw new GanportError("usage", `distribution is ${shown(distribution)}; it must be one of: ${known}.`);
  }
  const [scale, offset] = UNIFORM_STEPS[distribution];
  return (half) => half * scale + offset;
}

// Coefficients of AS 241 (Wichura, "The percentage points of the normal distribution", Applied Statistics 1988), from the
// highest power to the lowest: numerator and denominator near the median, in the tail, and far in the tail.
const CENTRE = [
  [2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.387132872796366608],
  [5.226495278852854561e3, 2.8729085735721942674e4, 3.930789580009271061e4, 2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1],
];
const TAIL = [
  [7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550, 4.6303378461565452959, 1.42343711074968357734],
  [1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1],
];

function polynomial(coefficients, x) {
  let sum = 0;
  for (let power = 0; power < coefficients.length; power++) sum = sum * x + coefficients[power];
  return sum;
}

const ratio = ([numerator, denominator], x) => polynomial(numerator, x) / polynomial(denominator, x);

/** Return the standard normal quantile of 1/2 + offset, for offsets from 0 to 1/2 - 2 ** -14. */
function normalQuantile(offset) {
  if (offset <= 0.425) return offset * ratio(CENTRE, 0.180625 - offset * offset);
  return ratio(TAIL, Math.sqrt(-Math.log(0.5 - offset)) - 1.6);
}

let table;
/**
 * Return the 4,096 magnitudes of normal latents. Entry k is the standard normal quantile of 1/2 + (k + 1/2) / 8192.
 * Engines may compute the last bit of a logarithm differently. This does not change the table: each quantile is far from
 * the border between two float32 numbers, which a test checks.
 */
export function normalTable() {
  table ??= Float32Array.from({ length: MAGNITUDES }, (_, k) => normalQuantile((k + 0.5) / (2 * MAGNITUDES)));
  return table;
}

/** Scale latents towards the mean of their distribution by a factor from 0 to 1, with the rounding of float32. */
export function truncate(latents, truncation, distribution) {
  if (truncation === 1) return latents;
  const { fround } = Math, factor = fround(truncation), mean = distribution === "uniform01" ? 0.5 : 0;
  return latents.map((value) => mean + fround(factor * fround(value - mean)));
}

/** Interpolate between two latent vectors: normal latents on their great circle, uniform latents on a straight line. */
export function interpolate(first, second, fraction, distribution) {
  if (distribution === "normal") return slerp(first, second, fraction);
  return Float32Array.from(first, (value, j) => (1 - fraction) * value + fraction * second[j]);
}

/** Interpolate between two latent vectors on their great circle (Shoemake 1985), or on a line if they are parallel. */
export function slerp(first, second, fraction) {
  let product = 0, firstSquare = 0, secondSquare = 0;
  for (let j = 0; j < first.length; j++) {
    product += first[j] * second[j];
    firstSquare += first[j] ** 2;
    secondSquare += second[j] ** 2;
  }
  const lengths = Math.sqrt(firstSquare) * Math.sqrt(secondSquare);
  const angle = Math.acos(Math.min(1, Math.max(-1, product / Math.max(lengths, Number.MIN_VALUE))));
  const sine = Math.sin(angle);
  const weight = (part) => (sine > 1e-6 ? Math.sin(part * angle) / sine : part);
  const firstWeight = weight(1 - fraction), secondWeight = weight(fraction);
  return Float32Array.from(first, (value, j) => firstWeight * value + secondWeight * second[j]);
}

/** Return the index of a seed's default label: the seed modulo the number of labels. */
export function defaultLabel(seed, labelCount) {
  return Number(seed % BigInt(labelCount));
}
