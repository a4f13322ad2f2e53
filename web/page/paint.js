/** Show an image in a canvas, and give the canvas the size of the image. */
export function paint(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.dataset.rendered = "yes";
}
