// Latents from seeds, as docs/contract.md describes. They have the same bits as in the Python runtime, because they come
// from integers, and from one table (normal latents) or from arithmetic that never rounds (uniform latents).

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85];
const ROUNDS = 10;
const LATENTS_PER_BLOCK = 8;
// Scale and offset of each uniform distribution. A 16-bit number h becomes h * scale + offset.
const UNIFORM_STEPS = { uniform: [2 ** -15, 2 ** -16 - 1], uniform01: [2 ** -16, 2 ** -17] };
export const SEED_LIMIT = 2n ** 63n;

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
 * @param {Float32Array} table The 4,096 magnitudes of normal latents, from normal.bin.
 */
export function sampleLatents(seeds, dim, distribution, table) {
  const toLatent = distribution === "normal" ? normalOf(table) : uniformOf(distribution);
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
  if (!(distribution in UNIFORM_STEPS)) throw new Error(`The distribution ${distribution} of the latents is unknown.`);
  const [scale, offset] = UNIFORM_STEPS[distribution];
  return (half) => half * scale + offset;
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
