// Pixels: from the output of the graph to RGBA, for ImageData.

import { GanportError } from "./errors.js";

/**
 * Return the images of a batch, each as a Uint8ClampedArray of RGBA pixels with a buffer of its own.
 * @param {Uint8Array|Float32Array} values Output of the graph. Float values are in [-1, 1]; others are clipped.
 * @param {number} count Number of images to return.
 * @param {object} image The description's part about images.
 */
export function toRgba(values, count, image) {
  const { height, width, channels, layout, dtype } = image, area = height * width;
  const isPlanar = layout === "NCHW"; // channels first
  const channelStep = isPlanar ? area : 1, pixelStep = isPlanar ? 1 : channels;
  const levels = dtype === "float32" ? toLevels(values) : values;
  return Array.from({ length: count }, (_, index) => {
    const rgba = new Uint8ClampedArray(area * 4).fill(255);
    const start = index * area * channels;
    for (let channel = 0; channel < Math.max(3, channels); channel++) {
      let from = start + (channels === 1 ? 0 : channel) * channelStep; // grey: three times the same channel
      for (let to = channel; to < rgba.length; to += 4, from += pixelStep) rgba[to] = levels[from];
    }
    return rgba;
  });
}

/** Return float values as levels from 0 to 255, with the arithmetic of float32. */
function toLevels(values) {
  const { fround } = Math;
  // A Uint8ClampedArray rounds half to even and clips, as the Python runtime does.
  const levels = new Uint8ClampedArray(values.length);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new GanportError("runtime", "The images can't be generated: the generator gave values that are NaN or infinite.");
    }
    levels[i] = fround(fround(values[i] + 1) * 127.5);
  }
  return levels;
}
