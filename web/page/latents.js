// Latents from seeds, as docs/contract.md describes. Integers and one table give the same bits as the Python runtime.

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57];
const KEY_STEPS = [0x9e3779b9, 0xbb67ae85];
const ROUNDS = 10;
const LATENTS_PER_BLOCK = 8;
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
 * @param {Float32Array} table The 4,096 magnitudes, from normal.bin.
 */
export function sampleLatents(seeds, dim, table) {
  const latents = new Float32Array(seeds.length * dim);
  const words = new Uint32Array(4);
  seeds.forEach((seed, row) => {
    const keyLow = Number(seed & 0xffffffffn) | 0, keyHigh = Number(seed >> 32n) | 0;
    for (let j = 0; j < dim; j++) {
      if (j % LATENTS_PER_BLOCK === 0) philox(j / LATENTS_PER_BLOCK, keyLow, keyHigh, words);
      const word = words[(j % LATENTS_PER_BLOCK) >> 1];
      const half = j % 2 === 0 ? word >>> 16 : word & 0xffff;
      const magnitude = table[(half >> 3) & 0xfff];
      latents[row * dim + j] = half & 0x8000 ? -magnitude : magnitude;
    }
  });
  return latents;
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
