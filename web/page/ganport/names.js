// The seed of a name, as docs/contract.md describes. Browsers have SHA-256 in crypto.subtle, but not on pages that are
// loaded by plain http from another machine. So the hash is computed here.

import { GanportError, shown } from "./errors.js";
import { SEED_LIMIT } from "./latents.js";

const BLOCK_BYTES = 64;
// The constants of FIPS 180-4, sections 4.2.2 and 5.3.3.
const INITIAL_HASH = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const ROUND_CONSTANTS = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/**
 * Return the seed of a name, or of any other text, as a BigInt: the first 8 bytes of its SHA-256 hash without the
 * highest bit. The text is hashed as UTF-8 in Unicode's normal form C. `ganport.seed_of` in Python and the HTTP service
 * compute the same seed.
 */
export function seedOf(text) {
  if (typeof text !== "string" || text === "") {
    throw new GanportError("usage", `the text is ${shown(text)}; it must be a text of one or more characters.`);
  }
  if (/\p{Surrogate}/u.test(text)) {
    throw new GanportError("usage", `the text is ${shown(text)}, which is not valid Unicode: half of a surrogate pair is missing.`);
  }
  const [high, low] = sha256(new TextEncoder().encode(text.normalize("NFC")));
  return ((BigInt(high) << 32n) | BigInt(low)) % SEED_LIMIT;
}

const rotateRight = (word, bits) => (word >>> bits) | (word << (32 - bits));

/** Return the SHA-256 hash of bytes (FIPS 180-4, section 6.2), as eight 32-bit words. */
function sha256(bytes) {
  const padded = pad(bytes), hash = Uint32Array.from(INITIAL_HASH), words = new Uint32Array(64);
  for (let start = 0; start < padded.byteLength; start += BLOCK_BYTES) {
    for (let t = 0; t < 16; t++) words[t] = padded.getUint32(start + 4 * t);
    for (let t = 16; t < 64; t++) {
      const early = words[t - 15], late = words[t - 2];
      const first = rotateRight(early, 7) ^ rotateRight(early, 18) ^ (early >>> 3);
      const second = rotateRight(late, 17) ^ rotateRight(late, 19) ^ (late >>> 10);
      words[t] = words[t - 16] + first + words[t - 7] + second;
    }
    addBlock(hash, words);
  }
  return hash;
}

/** Return a view of the bytes with their padding: a 1 bit, zeros, and the number of bits, up to a whole block. */
function pad(bytes) {
  const length = Math.ceil((bytes.length + 9) / BLOCK_BYTES) * BLOCK_BYTES;
  const padded = new Uint8Array(length), view = new DataView(padded.buffer);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  view.setBigUint64(length - 8, 8n * BigInt(bytes.length));
  return view;
}

/** Update the hash with one block, whose 64 words are given. */
function addBlock(hash, words) {
  let [a, b, c, d, e, f, g, h] = hash;
  for (let t = 0; t < 64; t++) {
    const choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
    const sumE = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
    const sumA = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
    const first = (h + sumE + choice + ROUND_CONSTANTS[t] + words[t]) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + sumA + majority) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => (hash[index] += word));
}
