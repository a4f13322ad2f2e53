// Gallery: an endless grid of images by seed. Only the rows near the visible part are in the page.

import { SEED_LIMIT } from "./ganport/latents.js";
import { paint } from "./paint.js";

const GAP = 6; // pixels between two tiles, as in style.css
const MIN_TILE = 72; // approximate smallest width of a tile in pixels
const SPARE_ROWS = 4; // number of rows in the page above, and below, the visible part
const BATCH = 64; // largest number of images in one request
const MAX_HEIGHT = 8_000_000; // height of the gallery in pixels; browsers limit a page to about 16 million

export class Gallery {
  /**
   * @param {HTMLElement} element Element that holds the tiles.
   * @param {Generator} generator Generator of the images.
   * @param {{openSeed, toggleSelected, isSelected, showFailure}} page Functions of the page.
   */
  constructor(element, generator, page) {
    Object.assign(this, { element, generator, page });
    this.rows = new Map(); // rows in the page, by index
    addEventListener("scroll", () => this.#fill(), { passive: true });
    addEventListener("resize", () => this.#fill());
    new ResizeObserver(() => this.#layOut()).observe(element);
    element.addEventListener("click", (event) => this.#onClick(event));
    element.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** Show the images of `firstSeed` and of the seeds that follow it. */
  show(firstSeed, settings) {
    this.firstSeed = firstSeed;
    this.settings = settings;
    this.#clear();
    this.#layOut();
  }

  /** Show which tiles are selected. */
  markSelected() {
    for (const tile of this.element.querySelectorAll(".tile")) {
      tile.classList.toggle("selected", this.page.isSelected(BigInt(tile.dataset.seed)));
    }
  }

  /** Compute the size of the tiles and the number of columns and rows. The visible seeds stay visible. */
  #layOut() {
    if (this.settings === undefined) return;
    const { width, height } = this.generator;
    const scale = Math.max(1, Math.round(MIN_TILE / width));
    const available = this.element.clientWidth;
    const tile = Math.min(width * scale, available);
    const columns = Math.max(1, Math.floor((available + GAP) / (tile + GAP)));
    const scrolled = Math.max(0, -this.element.getBoundingClientRect().top);
    const topIndex = this.rowHeight ? Math.floor(scrolled / this.rowHeight) * this.columns : 0;
    const hasChanged = columns !== this.columns || tile !== this.tile;
    if (hasChanged) this.#clear();
    Object.assign(this, { tile, columns, rowHeight: (tile * height) / width + GAP });
    const rowsLeft = (SEED_LIMIT - this.firstSeed + BigInt(columns - 1)) / BigInt(columns);
    const maxRows = Math.floor(MAX_HEIGHT / this.rowHeight);
    this.rowCount = rowsLeft < BigInt(maxRows) ? Number(rowsLeft) : maxRows;
    this.element.style.height = `${this.rowCount * this.rowHeight}px`;
    if (hasChanged && topIndex > 0) scrollBy(0, Math.floor(topIndex / columns) * this.rowHeight - scrolled);
    this.#fill();
  }

  #clear() {
    for (const row of this.rows.values()) row.abortController.abort();
    this.rows.clear();
    this.element.replaceChildren();
  }

  /** Remove rows that are far from the visible part, and add those that are missing. */
  #fill() {
    if (!this.rowHeight) return;
    const top = -this.element.getBoundingClientRect().top / this.rowHeight;
    const from = Math.max(0, Math.floor(top) - SPARE_ROWS);
    const to = Math.min(this.rowCount, Math.ceil(top + innerHeight / this.rowHeight) + SPARE_ROWS);
    for (const [index, row] of this.rows) {
      if (index >= from && index < to) continue;
      if (row.element.contains(document.activeElement)) continue; // a tile of the row has the keyboard focus
      row.abortController.abort();
      row.element.remove();
      this.rows.delete(index);
    }
    const tiles = [];
    for (let index = from; index < to; index++) {
      if (!this.rows.has(index)) tiles.push(...this.#addRow(index));
    }
    for (let start = 0; start < tiles.length; start += BATCH) this.#render(tiles.slice(start, start + BATCH));
    this.#makeReachable(Math.max(from, Math.ceil(top)));
  }

  /** Let the Tab key reach one tile: the tile that had the focus last, or else the first tile of the row. */
  #makeReachable(row) {
    if (this.element.querySelector('.tile[tabindex="0"]')) return;
    const first = this.rows.get(row)?.element.querySelector(".tile");
    if (first) first.tabIndex = 0;
  }

  /** Add a row of empty tiles. Returns the seed, the canvas and the abort signal of each tile. */
  #addRow(index) {
    const row = document.createElement("div");
    row.className = "row";
    row.style.top = `${index * this.rowHeight}px`;
    const abortController = new AbortController();
    const tiles = [];
    for (let column = 0; column < this.columns; column++) {
      const seed = this.firstSeed + BigInt(index * this.columns + column);
      if (seed >= SEED_LIMIT) break;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tile";
      button.classList.toggle("selected", this.page.isSelected(seed));
      button.dataset.seed = seed;
      button.setAttribute("aria-label", `Seed ${seed}`);
      button.tabIndex = -1;
      button.style.width = `${this.tile}px`;
      button.style.height = `${this.rowHeight - GAP}px`;
      const canvas = document.createElement("canvas");
      button.append(canvas);
      row.append(button);
      tiles.push({ seed, canvas, signal: abortController.signal });
    }
    // Screen readers read the rows in the order of the document, so each row is inserted at its position.
    const following = [...this.rows.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
    this.element.insertBefore(row, following === undefined ? null : this.rows.get(following).element);
    this.rows.set(index, { element: row, abortController });
    return tiles;
  }

  /** Generate the images of some tiles, and show them. */
  async #render(tiles) {
    const signal = abortedWithAll(new Set(tiles.map((tile) => tile.signal)));
    try {
      const images = await this.generator.sampleBatch(tiles.map(({ seed }) => seed), { ...this.settings, signal });
      tiles.forEach(({ canvas }, index) => paint(canvas, images[index]));
    } catch (error) {
      if (error.name !== "AbortError") this.page.showFailure(error.message);
    }
  }

  #onClick(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const seed = BigInt(tile.dataset.seed);
    if (event.shiftKey) this.page.toggleSelected(seed);
    else this.page.openSeed(seed);
  }

  #onKey(event) {
    const tile = event.target.closest(".tile");
    if (!tile || event.altKey || event.ctrlKey || event.metaKey) return;
    const seed = BigInt(tile.dataset.seed);
    if (event.key.toLowerCase() === "w") {
      this.page.toggleSelected(seed);
      return;
    }
    const columns = BigInt(this.columns);
    const page = BigInt(Math.max(1, Math.floor(innerHeight / this.rowHeight) - 1)) * columns;
    const step = {
      ArrowLeft: -1n,
      ArrowRight: 1n,
      ArrowUp: -columns,
      ArrowDown: columns,
      PageUp: -page,
      PageDown: page,
      Home: this.firstSeed - seed,
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.focus(seed + step);
  }

  /** Scroll to the tile of a seed, and give it the keyboard focus. */
  focus(seed) {
    const index = seed - this.firstSeed;
    if (index < 0n || index >= BigInt(this.rowCount) * BigInt(this.columns) || seed >= SEED_LIMIT) return;
    const row = Math.floor(Number(index) / this.columns);
    const top = row * this.rowHeight + this.element.getBoundingClientRect().top;
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

/** Return a signal that is aborted when all of the given signals are aborted. */
function abortedWithAll(signals) {
  const controller = new AbortController();
  let left = signals.size;
  for (const signal of signals) signal.addEventListener("abort", () => --left === 0 && controller.abort(), { once: true });
  return controller.signal;
}
