// The page: what is to be seen is one state, which the address holds; the wall and the viewer show it.

import { Engine } from "./engine.js";
import { labelOf } from "./latents.js";
import { MOST_STOPS, formatLink, parseLink, parseSeed } from "./link.js";
import { Viewer } from "./viewer.js";
import { Wall } from "./wall.js";

const part = (id) => document.getElementById(id);
const SHUFFLE_LIMIT = 1_000_000_000; // seeds that can still be read
const ENTERED_MS = 150;

let contract, wall, viewer, state;

function say(message, isFailure = false) {
  part("message").textContent = message;
  part("status").classList.toggle("failed", isFailure);
  part("status").hidden = message === "";
  if (message === "" || isFailure) part("progress").hidden = true;
}
const fail = (message) => say(`${message} Reload the page to try again.`, true);

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const engine = new Engine((event) => {
  if (event.kind === "progress") {
    say(`Loading the generator: ${megabytes(event.received)} of ${megabytes(event.total)} MB`);
    Object.assign(part("progress"), { hidden: false, max: event.total, value: event.received });
  }
  if (event.kind === "failed") fail(event.message);
  if (event.kind === "provider") document.body.dataset.provider = event.provider;
  if (event.kind === "ready") begin(event);
});

const settings = () => ({ label: state.label, truncation: state.truncation });

function keep() {
  history.replaceState(null, "", formatLink(state, contract.input.labels));
}

function nameOf(seed) {
  const { labels } = contract.input;
  return labels ? `Seed ${seed}: ${labels[state.label ?? labelOf(seed, labels.length)]}` : `Seed ${seed}`;
}

function begin(ready) {
  contract = ready.contract;
  const { image, input } = contract;
  document.body.dataset.provider = ready.provider;
  document.title = contract.name;
  part("name").textContent = contract.name;
  const data = contract.data?.name ? `, trained on ${contract.data.name}` : "";
  part("facts").textContent = `${image.width}×${image.height}${data}; drawn here, by your own device`;
  part("label-field").hidden = !input.labels;
  part("truncation-field").hidden = input.kind !== "latent";
  for (const label of ["any", ...(input.labels ?? [])]) part("label").add(new Option(label));
  const page = {
    open: (seed) => viewer.open(seed, settings()),
    choose,
    isChosen: (seed) => chosen.includes(seed),
    changed: (shown, closed) => {
      Object.assign(state, { image: shown.seed, walk: shown.walk });
      keep();
      if (closed != null) wall.focus(closed);
    },
    copyLink,
    fail,
    nameOf,
  };
  wall = new Wall(part("wall"), contract, engine, page);
  viewer = new Viewer(part("viewer"), contract, engine, page);
  say("");
  follow();
}

/** Show what the address says. */
function follow() {
  state = parseLink(location.hash, contract.input.labels);
  part("seed").value = state.seed;
  part("label").selectedIndex = state.label === null ? 0 : state.label + 1;
  part("truncation").value = state.truncation;
  const { image, walk } = state;
  wall.show(state.seed, settings());
  if (walk.length && viewer.canWalk) viewer.walk(walk, settings());
  else if (image !== null) viewer.open(image, settings());
  else part("viewer").close();
}

function restart(changes) {
  Object.assign(state, changes);
  keep();
  scrollTo(0, 0);
  wall.show(state.seed, settings());
}

const chosen = []; // seeds of the next walk
function choose(seed) {
  if (!viewer.canWalk) return;
  const place = chosen.indexOf(seed);
  if (place < 0 && chosen.length < MOST_STOPS) chosen.push(seed);
  else if (place >= 0) chosen.splice(place, 1);
  showChosen();
}

function showChosen() {
  part("walk").hidden = chosen.length === 0;
  part("stops").textContent = chosen.length < 2 ? `${chosen.join()}, and a second seed to walk to` : chosen.join(" → ");
  part("play").disabled = chosen.length < 2;
  wall.mark();
}

async function copyLink(button) {
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    prompt("The link:", location.href); // where the page may not write to the clipboard
  }
  setTimeout(() => (button.textContent = "Copy link"), 1500);
}

let entering;
part("seed").oninput = () => {
  const seed = parseSeed(part("seed").value);
  part("seed").setCustomValidity(seed === null ? "A whole number from 0 to 2^63 - 1" : "");
  clearTimeout(entering);
  if (seed !== null && wall) entering = setTimeout(() => restart({ seed }), ENTERED_MS);
};
part("label").onchange = () => restart({ label: part("label").selectedIndex - 1 < 0 ? null : part("label").selectedIndex - 1 });
part("truncation").oninput = () => {
  clearTimeout(entering);
  entering = setTimeout(() => restart({ truncation: Number(part("truncation").value) }), ENTERED_MS);
};
part("shuffle").onclick = () => {
  if (!wall) return;
  const seed = BigInt(Math.floor(Math.random() * SHUFFLE_LIMIT));
  part("seed").value = seed;
  restart({ seed });
};
part("link").onclick = (event) => copyLink(event.currentTarget);
part("controls").onsubmit = (event) => event.preventDefault();
part("play").onclick = () => viewer.walk([...chosen], settings());
part("clear").onclick = () => {
  chosen.length = 0;
  showChosen();
};
addEventListener("hashchange", () => contract && follow());
