// The page. `state` describes what is shown. The page writes it to the address, and the gallery and the viewer render it.

import { Gallery } from "./gallery.js";
import { Generator } from "./ganport/ganport.js";
import { defaultLabel } from "./ganport/latents.js";
import { MAX_WALK_SEEDS, formatLink, parseLink, parseSeed } from "./link.js";
import { Viewer } from "./viewer.js";

const element = (id) => document.getElementById(id);
const RANDOM_SEED_LIMIT = 1_000_000_000; // random seeds have at most nine digits, which people can still read
const INPUT_DELAY_MS = 150; // pause after the last change of a field, before images are generated

let generator, gallery, viewer, state;

function showMessage(message, isFailure = false) {
  element("message").textContent = message;
  element("status").classList.toggle("failed", isFailure);
  element("status").hidden = message === "";
  if (message === "" || isFailure) element("progress").hidden = true;
}
const showFailure = (message) => showMessage(`${message} Reload the page to try again.`, true);

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

/** Show the progress of the downloads. The total is null if the server does not state it. */
function showProgress({ loaded, total }) {
  const amount = total === null ? megabytes(loaded) : `${megabytes(loaded)} of ${megabytes(total)}`;
  showMessage(`Loading the generator: ${amount} MB`);
  element("progress").hidden = false;
  if (total === null) element("progress").removeAttribute("value");
  else Object.assign(element("progress"), { max: total, value: loaded });
}

const settings = () => ({ label: state.label, truncation: state.truncation });

function updateAddress() {
  history.replaceState(null, "", formatLink(state, generator.labels));
}

function captionOf(seed) {
  const { labels } = generator;
  return labels.length ? `Seed ${seed}, label ${labels[state.label ?? defaultLabel(seed, labels.length)]}` : `Seed ${seed}`;
}

/** Load the generator, and show the page. */
async function start() {
  generator = await Generator.load("generator.onnx", { progress: showProgress });
  const { name, data, input } = generator.description, { width, height, labels } = generator;
  const showProvider = () => (document.body.dataset.provider = generator.provider);
  generator.addEventListener("providerchange", showProvider);
  showProvider();
  document.title = name;
  element("name").textContent = name;
  const source = data?.name ? `, trained on ${data.name}` : "";
  element("facts").textContent = `${width}×${height}${source}; generated on your device`;
  element("label-field").hidden = labels.length === 0;
  element("truncation-field").hidden = input.kind !== "latent";
  for (const label of ["any", ...labels]) element("label").add(new Option(label));
  const page = {
    openSeed: (seed) => viewer.open(seed, settings()),
    toggleSelected,
    isSelected: (seed) => selectedSeeds.includes(seed),
    onViewerChange: (shown, closedSeed) => {
      Object.assign(state, { image: shown.seed, walk: shown.walk });
      updateAddress();
      if (closedSeed != null) gallery.focus(closedSeed);
    },
    copyLink,
    showFailure,
    captionOf,
  };
  gallery = new Gallery(element("gallery"), generator, page);
  viewer = new Viewer(element("viewer"), generator, page);
  showMessage("");
  applyAddress();
}

/** Read the state from the address, and show it. */
function applyAddress() {
  state = parseLink(location.hash, generator.labels);
  element("seed").value = state.seed;
  element("label").selectedIndex = state.label === null ? 0 : state.label + 1;
  element("truncation").value = state.truncation;
  const { image, walk } = state;
  gallery.show(state.seed, settings());
  if (walk.length && viewer.canWalk) viewer.walk(walk, settings());
  else if (image !== null) viewer.open(image, settings());
  else element("viewer").close();
}

/** Change the state, and show the gallery from its top. */
function changeState(changes) {
  Object.assign(state, changes);
  updateAddress();
  scrollTo(0, 0);
  gallery.show(state.seed, settings());
}

const selectedSeeds = []; // seeds of the next walk
function toggleSelected(seed) {
  if (!viewer.canWalk) return;
  const index = selectedSeeds.indexOf(seed);
  if (index < 0 && selectedSeeds.length < MAX_WALK_SEEDS) selectedSeeds.push(seed);
  else if (index >= 0) selectedSeeds.splice(index, 1);
  showSelected();
}

function showSelected() {
  const count = selectedSeeds.length;
  element("walk").hidden = count === 0;
  element("walk-seeds").textContent = count < 2 ? `${selectedSeeds.join()} → select a second seed` : selectedSeeds.join(" → ");
  element("play").disabled = count < 2;
  gallery.markSelected();
}

async function copyLink(button) {
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    prompt("Link to these images:", location.href); // the browser does not let the page write to the clipboard
  }
  setTimeout(() => (button.textContent = "Copy link"), 1500);
}

let inputTimer;
element("seed").oninput = () => {
  const seed = parseSeed(element("seed").value);
  element("seed").setCustomValidity(seed === null ? "A seed is a whole number from 0 to 2^63 - 1" : "");
  clearTimeout(inputTimer);
  if (seed !== null && gallery) inputTimer = setTimeout(() => changeState({ seed }), INPUT_DELAY_MS);
};
element("label").onchange = () => {
  const index = element("label").selectedIndex - 1; // the first option, "any", requests no label
  changeState({ label: index < 0 ? null : index });
};
element("truncation").oninput = () => {
  clearTimeout(inputTimer);
  inputTimer = setTimeout(() => changeState({ truncation: Number(element("truncation").value) }), INPUT_DELAY_MS);
};
element("random").onclick = () => {
  if (!gallery) return;
  const seed = BigInt(Math.floor(Math.random() * RANDOM_SEED_LIMIT));
  element("seed").value = seed;
  changeState({ seed });
};
element("link").onclick = (event) => copyLink(event.currentTarget);
element("controls").onsubmit = (event) => event.preventDefault();
element("play").onclick = () => viewer.walk([...selectedSeeds], settings());
element("clear").onclick = () => {
  selectedSeeds.length = 0;
  showSelected();
};
addEventListener("hashchange", () => gallery && applyAddress());

start().catch((error) => showFailure(error.message));
