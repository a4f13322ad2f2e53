// Viewer: one large image, or an animation that walks through several seeds and back to the first.

import { paint } from "./client.js";
import { SEED_LIMIT } from "./latents.js";

const FRAMES = 24; // frames from one seed to the next
const FRAME_MS = 1000 / 16;

export class Viewer {
  /**
   * @param {HTMLDialogElement} dialog Dialog that shows the image and the buttons.
   * @param {object} contract Contract of the generator.
   * @param {WorkerClient} client Client that generates the images.
   * @param {{onViewerChange, toggleSelected, isSelected, copyLink, showFailure, captionOf}} page Functions of the page.
   */
  constructor(dialog, contract, client, page) {
    Object.assign(this, { dialog, contract, client, page });
    this.requestId = 0; // identifies the last request; responses to earlier requests are dropped
    this.element = (id) => dialog.querySelector(`#${id}`);
    this.canWalk = contract.input.kind === "latent";
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
    await this.#request((signal) => this.client.generate([seed], settings, signal), (rgba) => this.#paint(rgba, 0));
  }

  /** Show an animation that walks through the seeds and back to the first. */
  async walk(seeds, settings) {
    this.#prepare({ seed: null, walk: seeds }, settings);
    this.element("caption").textContent = `Walk through ${seeds.join(", ")}`;
    await this.#request(
      (signal) => this.client.walk(seeds, FRAMES, settings, signal),
      (rgba) => this.#play(rgba, seeds.length * FRAMES),
    );
  }

  /** Open the dialog before the image is generated, with an empty canvas of the image's size. */
  #prepare(shown, settings) {
    this.#stop();
    this.shown = shown;
    this.settings = settings;
    this.requestId += 1;
    const isWalk = shown.walk.length > 0;
    for (const id of ["previous", "next"]) this.element(id).hidden = isWalk;
    this.element("add").hidden = isWalk || !this.canWalk;
    this.element("pause").hidden = !isWalk;
    const { width, height } = this.contract.image;
    Object.assign(this.element("large"), { width, height });
    delete this.element("large").dataset.rendered;
    if (!this.dialog.open) this.dialog.showModal();
    this.page.onViewerChange(shown);
  }

  async #request(send, show) {
    const { requestId } = this;
    const isStale = () => requestId !== this.requestId;
    try {
      const rgba = await send({ get aborted() { return isStale(); } });
      if (!isStale()) show(rgba);
    } catch (error) {
      if (isStale()) return;
      this.dialog.close();
      this.page.showFailure(error.message);
    }
  }

  #paint(rgba, index) {
    paint(this.element("large"), rgba, index, this.contract.image);
  }

  #play(rgba, count) {
    this.frame = 0;
    this.#paint(rgba, 0);
    this.timer = setInterval(() => {
      if (this.isPaused) return;
      this.frame = (this.frame + 1) % count;
      this.#paint(rgba, this.frame);
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
    this.requestId += 1;
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
