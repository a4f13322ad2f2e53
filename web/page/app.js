// The page. `state` describes what is shown. The page writes it to the address, and the gallery and the viewer render it.

import { WorkerClient } from "./client.js";
import { Gallery } from "./gallery.js";
import { defaultLabel } from "./latents.js";
import { MAX_WALK_SEEDS, formatLink, parseLink, parseSeed } from "./link.js";
import { Viewer } from "./viewer.js";

const element = (id) => document.getElementById(id);
const RANDOM_SEED_LIMIT = 1_000_000_000; // random seeds have at most nine digits, which people can still read
const INPUT_DELAY_MS = 150; // pause after the last change of a field, before images are generated

let contract, gallery, viewer, state;

function showMessage(message, isFailure = false) {
  element("message").textContent = message;
  element("status").classList.toggle("failed", isFailure);
  element("status").hidden = message === "";
  if (message === "" || isFailure) element("progress").hidden = true;
}
const showFailure = (message) => showMessage(`${message} Reload the page to try again.`, true);

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const client = new WorkerClient((event) => {
  if (event.kind === "progress") {
    showMessage(`Loading the generator: ${megabytes(event.received)} of ${megabytes(event.total)} MB`);
    Object.assign(element("progress"), { hidden: false, max: event.total, value: event.received });
  }
  if (event.kind === "failed") showFailure(event.message);
  if (event.kind === "provider") document.body.dataset.provider = event.provider;
  if (event.kind === "ready") start(event);
});

const settings = () => ({ label: state.label, truncation: state.truncation });

function updateAddress() {
  history.replaceState(null, "", formatLink(state, contract.input.labels));
}

function captionOf(seed) {
  const { labels } = contract.input;
  return labels ? `Seed ${seed}, label ${labels[state.label ?? defaultLabel(seed, labels.length)]}` : `Seed ${seed}`;
}

/** Show the page. It is called when the worker has loaded the generator. */
function start(ready) {
  contract = ready.contract;
  const { image, input } = contract;
  document.body.dataset.provider = ready.provider;
  document.title = contract.name;
  element("name").textContent = contract.name;
  const data = contract.data?.name ? `, trained on ${contract.data.name}` : "";
  element("facts").textContent = `${image.width}×${image.height}${data}; generated on your device`;
  element("label-field").hidden = !input.labels;
  element("truncation-field").hidden = input.kind !== "latent";
  for (const label of ["any", ...(input.labels ?? [])]) element("label").add(new Option(label));
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
  gallery = new Gallery(element("gallery"), contract, client, page);
  viewer = new Viewer(element("viewer"), contract, client, page);
  showMessage("");
  applyAddress();
}

/** Read the state from the address, and show it. */
function applyAddress() {
  state = parseLink(location.hash, contract.input.labels);
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
addEventListener("hashchange", () => contract && applyAddress());
