// The wall of images: endless, since only the rows that can be seen are there.

import { paint } from "./engine.js";
import { SEED_LIMIT } from "./latents.js";

const GAP = 6; // pixels, as in style.css
const SMALLEST_TILE = 72;
const SPARE_ROWS = 4; // drawn beyond what is seen, above and below
const BATCH = 64;
const LONGEST = 8_000_000; // pixels: browsers end pages at some 16 million

export class Wall {
  /**
   * @param {HTMLElement} element
   * @param {object} contract
   * @param {Engine} engine
   * @param {{open, choose, isChosen, fail}} page what the tiles tell, and ask
   */
  constructor(element, contract, engine, page) {
    Object.assign(this, { element, contract, engine, page });
    this.rows = new Map();
    addEventListener("scroll", () => this.#fill(), { passive: true });
    addEventListener("resize", () => this.#fill());
    new ResizeObserver(() => this.#layOut()).observe(element);
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** Show the images from a seed on. */
  show(first, settings) {
    this.first = first;
    this.settings = settings;
    this.#clear();
    this.#layOut();
  }

  /** Mark the tiles anew, after seeds were chosen. */
  mark() {
    for (const tile of this.element.querySelectorAll(".tile")) {
      tile.classList.toggle("chosen", this.page.isChosen(BigInt(tile.dataset.seed)));
    }
  }

  #layOut() {
    if (this.settings === undefined) return;
    const { width, height } = this.contract.image;
    const scale = Math.max(1, Math.round(SMALLEST_TILE / width));
    const room = this.element.clientWidth;
    const tile = Math.min(width * scale, room);
    const columns = Math.max(1, Math.floor((room + GAP) / (tile + GAP)));
    const top = Math.max(0, -this.element.getBoundingClientRect().top); // what is seen stays seen
    const seen = this.rowHeight ? Math.floor(top / this.rowHeight) * this.columns : 0;
    const isOther = columns !== this.columns || tile !== this.tile;
    if (isOther) this.#clear();
    Object.assign(this, { tile, columns, rowHeight: (tile * height) / width + GAP });
    const left = (SEED_LIMIT - this.first + BigInt(columns - 1)) / BigInt(columns);
    const most = Math.floor(LONGEST / this.rowHeight);
    this.count = left < BigInt(most) ? Number(left) : most;
    this.element.style.height = `${this.count * this.rowHeight}px`;
    if (isOther && seen > 0) scrollBy(0, Math.floor(seen / columns) * this.rowHeight - top);
    this.#fill();
  }

  #clear() {
    for (const row of this.rows.values()) row.stop.abort();
    this.rows.clear();
    this.element.replaceChildren();
  }

  #fill() {
    if (!this.rowHeight) return;
    const top = -this.element.getBoundingClientRect().top / this.rowHeight;
    const from = Math.max(0, Math.floor(top) - SPARE_ROWS);
    const to = Math.min(this.count, Math.ceil(top + innerHeight / this.rowHeight) + SPARE_ROWS);
    for (const [index, row] of this.rows) {
      if (index >= from && index < to) continue;
      if (row.element.contains(document.activeElement)) continue; // the keyboard is there
      row.stop.abort();
      row.element.remove();
      this.rows.delete(index);
    }
    const tiles = [];
    for (let index = from; index < to; index++) {
      if (!this.rows.has(index)) tiles.push(...this.#addRow(index));
    }
    for (let at = 0; at < tiles.length; at += BATCH) this.#draw(tiles.slice(at, at + BATCH));
    this.#letTabIn(Math.max(from, Math.ceil(top)));
  }

  /** The keyboard enters at one tile: the one that it left, or the first that is seen. */
  #letTabIn(row) {
    if (this.element.querySelector('.tile[tabindex="0"]')) return;
    const first = this.rows.get(row)?.element.querySelector(".tile");
    if (first) first.tabIndex = 0;
  }

  #addRow(index) {
    const row = document.createElement("div");
    row.className = "row";
    row.style.top = `${index * this.rowHeight}px`;
    const stop = new AbortController();
    const tiles = [];
    for (let column = 0; column < this.columns; column++) {
      const seed = this.first + BigInt(index * this.columns + column);
      if (seed >= SEED_LIMIT) break;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tile";
      button.classList.toggle("chosen", this.page.isChosen(seed));
      button.dataset.seed = seed;
      button.setAttribute("aria-label", `Seed ${seed}`);
      button.tabIndex = -1;
      button.style.width = `${this.tile}px`;
      button.style.height = `${this.rowHeight - GAP}px`;
      const canvas = document.createElement("canvas");
      button.append(canvas);
      row.append(button);
      tiles.push({ seed, canvas, stop });
    }
    // Rows stand in the page in their order, for those who read it by ear.
    const following = [...this.rows.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
    this.element.insertBefore(row, following === undefined ? null : this.rows.get(following).element);
    this.rows.set(index, { element: row, stop });
    return tiles;
  }

  async #draw(tiles) {
    const isGone = { get aborted() { return tiles.every(({ stop }) => stop.signal.aborted); } };
    try {
      const rgba = await this.engine.draw(tiles.map(({ seed }) => seed), this.settings, isGone);
      tiles.forEach(({ canvas }, place) => paint(canvas, rgba, place, this.contract.image));
      tiles.forEach(({ canvas }) => (canvas.dataset.drawn = "yes"));
    } catch (error) {
      if (error.name !== "AbortError") this.page.fail(error.message);
    }
  }

  #clicked(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const seed = BigInt(tile.dataset.seed);
    if (event.shiftKey) this.page.choose(seed);
    else this.page.open(seed);
  }

  #pressed(event) {
    const tile = event.target.closest(".tile");
    if (!tile || event.altKey || event.ctrlKey || event.metaKey) return;
    const seed = BigInt(tile.dataset.seed);
    if (event.key.toLowerCase() === "w") {
      this.page.choose(seed);
      return;
    }
    const page = BigInt(this.columns * Math.max(1, Math.floor(innerHeight / this.rowHeight) - 1));
    const columns = BigInt(this.columns);
    const step = {
      ArrowLeft: -1n, ArrowRight: 1n, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page, Home: this.first - seed,
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.focus(seed + step);
  }

  /** Bring a seed's tile into sight, and the keyboard to it. */
  focus(seed) {
    const place = seed - this.first;
    if (place < 0n || place >= BigInt(this.count) * BigInt(this.columns) || seed >= SEED_LIMIT) return;
    const top = Math.floor(Number(place) / this.columns) * this.rowHeight + this.element.getBoundingClientRect().top;
    const header = document.querySelector("header").getBoundingClientRect().bottom;
    if (top < header + GAP) scrollBy(0, top - header - GAP);
    if (top + this.rowHeight > innerHeight) scrollBy(0, top + this.rowHeight - innerHeight + GAP);
    this.#fill();
    const tile = this.element.querySelector(`.tile[data-seed="${seed}"]`);
    if (!tile) return;
    this.element.querySelector('.tile[tabindex="0"]')?.setAttribute("tabindex", "-1");
    tile.tabIndex = 0;
    tile.focus({ preventScroll: true });
  }
}
