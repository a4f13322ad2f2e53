// The description of a generator: a JSON document in the metadata of its .onnx file, as docs/contract.md specifies.
// It is read without onnxruntime and without a copy of the weights. The file may be damaged or harmful, so each length
// is compared with the number of bytes that are left, and each field of the document is checked.

import { GanportError, shown } from "./errors.js";
import { SEED_LIMIT, UNIFORM_STEPS } from "./latents.js";

const METADATA_KEY = "ganport";
const NEWEST_FORMAT = 4;
const LARGEST_SIZE = 65_536; // limit for the number of latents, of labels, and of pixels per side
const LARGEST_METADATA = 2 ** 26; // limit for the description in bytes; golden images take the most of it

// Protocol Buffers' wire types (https://protobuf.dev/programming-guides/encoding)
const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
// Field numbers of ModelProto and of StringStringEntryProto (onnx.proto)
const MODEL_METADATA = 14, ENTRY_KEY = 1, ENTRY_VALUE = 2;

const fail = (problem) => {
  throw new GanportError("model", `This is not a generator that this module can open: ${problem}.`);
};
const DAMAGED = "the file is damaged, or it is not an ONNX file";

/**
 * Return the description that an .onnx file holds, as a checked JSON document without the golden images.
 * @param {Uint8Array} bytes Content of the file.
 */
export function readDescription(bytes) {
  rejectOtherKinds(bytes);
  const found = [];
  readFields(bytes, (number, value) => {
    if (number === MODEL_METADATA && value instanceof Uint8Array) found.push(readEntry(value));
  });
  const texts = found.filter(([key]) => key === METADATA_KEY).map(([, text]) => text);
  if (texts.length === 0) fail("it has no description; create a file that has one with: ganport export FILE");
  if (texts.length > 1) fail("it has two descriptions");
  let document;
  try {
    document = JSON.parse(texts[0]);
  } catch {
    fail("its description is not JSON");
  }
  return checkDescription(document);
}

/** Raise an error that names the kind of a file that is often given by mistake. */
function rejectOtherKinds(bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, 40));
  if (bytes.length === 0) fail("the file is empty");
  if (/^\s*</.test(start)) fail("it is a web page, which many servers send for a wrong address; check the address");
  if (start.startsWith("version https://git-lfs")) fail("it is a Git LFS pointer; download the model itself");
  if (start.slice(4, 8) === "ORTM") fail("it is an .ort file; give the .onnx file");
}

/** Return the key and the value of an entry of the metadata. Values of other programs are not decoded. */
function readEntry(message) {
  let key = "", content = new Uint8Array();
  readFields(message, (number, value) => {
    if (!(value instanceof Uint8Array)) return;
    if (number === ENTRY_KEY) key = value.length === METADATA_KEY.length ? decode(value) : "";
    if (number === ENTRY_VALUE) content = value;
  });
  if (key !== METADATA_KEY) return [key, ""];
  if (content.length > LARGEST_METADATA) fail(`its description has ${content.length} bytes`);
  return [key, decode(content)];
}

function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return fail("its description is not UTF-8");
  }
}

/** Call `onField` with the number and the value of each field of a message: a number, or a view of bytes. */
function readFields(bytes, onField) {
  let offset = 0;
  const readVarint = () => {
    // Numbers above 2 ** 53 are rounded. As a length they are too large in any case.
    for (let value = 0, shift = 0; shift < 70; shift += 7) {
      if (offset >= bytes.length) fail(DAMAGED);
      const byte = bytes[offset++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return fail(DAMAGED);
  };
  while (offset < bytes.length) {
    const tag = readVarint(), number = Math.floor(tag / 8), type = tag % 8;
    if (number === 0 || tag > 0xffffffff) fail(DAMAGED);
    if (type === VARINT) {
      onField(number, readVarint());
      continue;
    }
    const length = { [FIXED32]: () => 4, [FIXED64]: () => 8, [BYTES]: readVarint }[type]?.() ?? fail(DAMAGED);
    if (length > bytes.length - offset) fail(DAMAGED);
    onField(number, bytes.subarray(offset, offset + length));
    offset += length;
  }
}

/** Return a description of which each field is checked that the module reads. */
function checkDescription(document) {
  const wrong = (path, expected, value) => fail(`its description has ${path} ${shown(value)}, and expected is ${expected}`);
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isSize = (value) => Number.isInteger(value) && value >= 1 && value <= LARGEST_SIZE;
  const check = (path, isRight, expected) => {
    const value = path.split(".").reduce((parent, name) => (Object.hasOwn(parent, name) ? parent[name] : undefined), document);
    if (!isRight(value)) wrong(path, expected, value);
  };
  const oneOf = (...known) => [(value) => known.includes(value), known.join(" or ")];
  const isText = (value) => typeof value === "string";
  const size = [isSize, `a whole number from 1 to ${LARGEST_SIZE}`];

  if (!isObject(document)) fail("its description is not a JSON object");
  const { format } = document;
  if (Number.isInteger(format) && format > NEWEST_FORMAT) {
    fail(`its description has format ${format}, and this module reads up to ${NEWEST_FORMAT}; install a newer ganport`);
  }
  check("format", (value) => Number.isInteger(value) && value >= 1, `a number from 1 to ${NEWEST_FORMAT}`);
  check("name", isText, "a text");
  check("input", isObject, "an object");
  check("input.kind", ...oneOf("latent", "seed", "fixed"));
  check("input.name", isText, "a text");
  check("input.dim", ...size);
  check("input.distribution", ...oneOf("normal", ...(format >= 3 ? Object.keys(UNIFORM_STEPS) : [])));
  if (document.input.labels != null) check("input.labels", areLabels, "two or more different names");
  if (Object.hasOwn(document.input, "label_encoding")) check("input.label_encoding", ...oneOf("index", "one-hot"));
  if (document.input.kind === "fixed") check("input.seeds", areSeeds, "a list of seeds");
  check("image", isObject, "an object");
  check("image.name", isText, "a text");
  for (const side of ["height", "width"]) check(`image.${side}`, ...size);
  check("image.channels", ...oneOf(1, 3, 4));
  check("image.layout", ...oneOf("NHWC", "NCHW"));
  check("image.dtype", ...oneOf("uint8", "float32"));
  if (document.batch !== "dynamic") check("batch", ...size);
  const { golden, ...description } = document; // the golden images are large, and only `ganport verify` needs them
  return description;
}

function areLabels(value) {
  if (!Array.isArray(value) || value.length < 2 || value.length > LARGEST_SIZE) return false;
  return value.every((name) => typeof name === "string" && name !== "") && new Set(value).size === value.length;
}

function areSeeds(value) {
  const isSeed = (seed) => Number.isSafeInteger(seed) && seed >= 0 && BigInt(seed) < SEED_LIMIT;
  return Array.isArray(value) && value.length >= 1 && value.length <= LARGEST_SIZE && value.every(isSeed);
}
