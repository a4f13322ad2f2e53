// One image, large; or the way between some, which goes round.

import { paint } from "./engine.js";
import { SEED_LIMIT } from "./latents.js";

const FRAMES = 24; // from one seed to the next
const FRAME_MS = 1000 / 16;

export class Viewer {
  /** @param {{changed, choose, isChosen, copyLink, fail, nameOf}} page what the buttons tell, and ask */
  constructor(dialog, contract, engine, page) {
    Object.assign(this, { dialog, contract, engine, page });
    this.part = (id) => dialog.querySelector(`#${id}`);
    this.canWalk = contract.input.kind === "latent";
    this.part("previous").onclick = () => this.#go(-1n);
    this.part("next").onclick = () => this.#go(1n);
    this.part("add").onclick = () => this.#choose();
    this.part("save").onclick = () => this.#save();
    this.part("link-image").onclick = (event) => page.copyLink(event.currentTarget);
    this.part("close").onclick = () => dialog.close();
    this.part("pause").onclick = () => this.#pause(!this.isPaused);
    dialog.onclose = () => this.#closed();
    dialog.onclick = (event) => event.target === dialog && dialog.close(); // beside it
    dialog.onkeydown = (event) => this.#pressed(event);
  }

  /** Show the image of a seed. */
  async open(seed, settings) {
    this.#begin({ seed, walk: [] }, settings);
    this.part("caption").textContent = this.page.nameOf(seed);
    this.#mark();
    await this.#ask((signal) => this.engine.draw([seed], settings, signal), (rgba) => this.#paint(rgba, 0));
  }

  /** Walk through seeds, and back to the first. */
  async walk(seeds, settings) {
    this.#begin({ seed: null, walk: seeds }, settings);
    this.part("caption").textContent = `Walk through ${seeds.join(", ")}`;
    await this.#ask((signal) => this.engine.walk(seeds, FRAMES, settings, signal), (rgba) => this.#play(rgba, seeds.length * FRAMES));
  }

  #begin(shown, settings) {
    this.#stop();
    this.shown = shown;
    this.settings = settings;
    this.turn = (this.turn ?? 0) + 1;
    const isWalk = shown.walk.length > 0;
    for (const id of ["previous", "next"]) this.part(id).hidden = isWalk;
    this.part("add").hidden = isWalk || !this.canWalk;
    this.part("pause").hidden = !isWalk;
    const { width, height } = this.contract.image;
    Object.assign(this.part("large"), { width, height }); // empty, in the right proportions
    delete this.part("large").dataset.drawn;
    if (!this.dialog.open) this.dialog.showModal();
    this.page.changed(shown);
  }

  async #ask(request, use) {
    const { turn } = this;
    const isStale = () => turn !== this.turn; // something else is shown by now
    try {
      const rgba = await request({ get aborted() { return isStale(); } });
      if (!isStale()) use(rgba);
    } catch (error) {
      if (isStale()) return;
      this.dialog.close();
      this.page.fail(error.message);
    }
  }

  #paint(rgba, place) {
    paint(this.part("large"), rgba, place, this.contract.image);
    this.part("large").dataset.drawn = "yes";
  }

  #play(rgba, count) {
    this.isPaused = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.place = 0;
    this.#paint(rgba, 0);
    this.timer = setInterval(() => {
      if (this.isPaused) return;
      this.place = (this.place + 1) % count;
      this.#paint(rgba, this.place);
    }, FRAME_MS);
    this.#pause(this.isPaused);
  }

  #pause(isPaused) {
    this.isPaused = isPaused;
    this.part("pause").textContent = isPaused ? "Play" : "Pause";
  }

  #stop() {
    clearInterval(this.timer);
  }

  #closed() {
    this.#stop();
    this.turn += 1;
    const { seed } = this.shown;
    this.shown = { seed: null, walk: [] };
    this.page.changed(this.shown, seed);
  }

  #go(step) {
    const { seed } = this.shown;
    if (seed === null) return;
    const next = seed + step;
    if (next >= 0n && next < SEED_LIMIT) this.open(next, this.settings);
  }

  #choose() {
    if (this.shown.seed === null || !this.canWalk) return;
    this.page.choose(this.shown.seed);
    this.#mark();
  }

  #mark() {
    this.part("add").textContent = this.page.isChosen(this.shown.seed) ? "Remove from walk" : "Add to walk";
  }

  #save() {
    if (!this.part("large").dataset.drawn) return; // there is nothing to be seen yet
    const { seed, walk } = this.shown;
    const name = walk.length ? `walk${String(this.place).padStart(4, "0")}` : `seed${String(seed).padStart(7, "0")}`;
    this.part("large").toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, "image/png");
  }

  #pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const act = {
      ArrowLeft: () => this.#go(-1n), ArrowRight: () => this.#go(1n), w: () => this.#choose(), s: () => this.#save(),
      p: () => this.shown.walk.length && this.#pause(!this.isPaused),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}
