// Viewer: one large image, or an animation that walks through several seeds and back to the first.

import { SEED_LIMIT } from "./ganport/latents.js";
import { paint } from "./paint.js";

const FRAMES = 24; // frames from one seed to the next
const FRAME_MS = 1000 / 16;

export class Viewer {
  /**
   * @param {HTMLDialogElement} dialog Dialog that shows the image and the buttons.
   * @param {Generator} generator Generator of the images.
   * @param {{onViewerChange, toggleSelected, isSelected, copyLink, showFailure, captionOf}} page Functions of the page.
   */
  constructor(dialog, generator, page) {
    Object.assign(this, { dialog, generator, page });
    this.abortController = new AbortController(); // of the last request; a new request cancels it
    this.element = (id) => dialog.querySelector(`#${id}`);
    this.canWalk = generator.description.input.kind === "latent";
    this.element("previous").onclick = () => this.#openNeighbour(-1n);
    this.element("next").onclick = () => this.#openNeighbour(1n);
    this.element("add").onclick = () => this.#toggleSelected();
    this.element("save").onclick = () => this.#save();
    this.element("link-image").onclick = (event) => page.copyLink(event.currentTarget);
    this.element("close").onclick = () => dialog.close();
    this.element("pause").onclick = () => this.#setPaused(!this.isPaused);
    dialog.onclose = () => this.#onClose();
    dialog.onclick = (event) => event.target === dialog && dialog.close(); // a click beside the dialog
    dialog.onkeydown = (event) => this.#onKey(event);
  }

  /** Show the image of a seed. */
  async open(seed, settings) {
    this.#prepare({ seed, walk: [] }, settings);
    this.element("caption").textContent = this.page.captionOf(seed);
    this.#labelAddButton();
    await this.#request(async (signal) => {
      const image = await this.generator.sample(seed, { ...settings, signal });
      paint(this.element("large"), image);
    });
  }

  /** Show an animation that walks through the seeds and back to the first. */
  async walk(seeds, settings) {
    this.#prepare({ seed: null, walk: seeds }, settings);
    this.element("caption").textContent = `Walk through ${seeds.join(", ")}`;
    await this.#request(async (signal) => {
      const images = [];
      for await (const image of this.generator.walk(seeds, FRAMES, { ...settings, signal })) images.push(image);
      this.#play(images);
    });
  }

  /** Open the dialog before the image is generated, with an empty canvas of the image's size. */
  #prepare(shown, settings) {
    this.#stop();
    this.shown = shown;
    this.settings = settings;
    this.abortController.abort();
    const isWalk = shown.walk.length > 0;
    for (const id of ["previous", "next"]) this.element(id).hidden = isWalk;
    this.element("add").hidden = isWalk || !this.canWalk;
    this.element("pause").hidden = !isWalk;
    const { width, height } = this.generator;
    Object.assign(this.element("large"), { width, height });
    delete this.element("large").dataset.rendered;
    if (!this.dialog.open) this.dialog.showModal();
    this.page.onViewerChange(shown);
  }

  /** Run a function that generates images and shows them. The next request, or closing, cancels it. */
  async #request(generate) {
    const { signal } = (this.abortController = new AbortController());
    try {
      await generate(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.dialog.close();
      this.page.showFailure(error.message);
    }
  }

  #play(images) {
    const show = (frame) => {
      this.frame = frame;
      paint(this.element("large"), images[frame]);
    };
    show(0);
    this.timer = setInterval(() => {
      if (!this.isPaused) show((this.frame + 1) % images.length);
    }, FRAME_MS);
    this.#setPaused(matchMedia("(prefers-reduced-motion: reduce)").matches);
  }

  #setPaused(isPaused) {
    this.isPaused = isPaused;
    this.element("pause").textContent = isPaused ? "Play" : "Pause";
  }

  #stop() {
    clearInterval(this.timer);
  }

  #onClose() {
    this.#stop();
    this.abortController.abort();
    const { seed } = this.shown;
    this.shown = { seed: null, walk: [] };
    this.page.onViewerChange(this.shown, seed);
  }

  #openNeighbour(step) {
    const { seed } = this.shown;
    if (seed === null) return;
    const neighbour = seed + step;
    if (neighbour >= 0n && neighbour < SEED_LIMIT) this.open(neighbour, this.settings);
  }

  #toggleSelected() {
    if (this.shown.seed === null || !this.canWalk) return;
    this.page.toggleSelected(this.shown.seed);
    this.#labelAddButton();
  }

  #labelAddButton() {
    this.element("add").textContent = this.page.isSelected(this.shown.seed) ? "Remove from walk" : "Add to walk";
  }

  #save() {
    if (!this.element("large").dataset.rendered) return; // the canvas is still empty
    const { seed, walk } = this.shown;
    const name = walk.length ? `walk${String(this.frame).padStart(4, "0")}` : `seed${String(seed).padStart(7, "0")}`;
    this.element("large").toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const action = {
      ArrowLeft: () => this.#openNeighbour(-1n),
      ArrowRight: () => this.#openNeighbour(1n),
      w: () => this.#toggleSelected(),
      s: () => this.#save(),
      p: () => this.shown.walk.length && this.#setPaused(!this.isPaused),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}
