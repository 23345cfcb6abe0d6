// What is shown, kept in the address: a link or a reload comes back to it.

const DEFAULTS = {
  view: "overview",
  set: "0",
  q: "",
  class: "",
  cause: "",
  true: "",
  taken: "",
  from: "",
  to: "",
  sort: "pq",
  down: "",
  image: "",
  layer: "errors",
  layout: "one",
  opacity: "70",
  segment: "",
  matrix: "segments",
  order: "",
};
const VIEWS = ["overview", "classes", "confusion", "errors", "images"];
let state = { ...DEFAULTS };

/** Whether a text is one of the places of a list, and not "length" or another of its properties. */
const isPlace = (list, text) => Object.keys(list).includes(text);

/** The state that an address says, with nothing in it that the report does not have. */
function parsedState(hash) {
  const found = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (Object.hasOwn(DEFAULTS, key)) found[key] = value;
  }
  if (!VIEWS.includes(found.view)) found.view = DEFAULTS.view;
  if (!isPlace(content.sets, found.set)) found.set = "0";
  if (!LAYERS.includes(found.layer)) found.layer = DEFAULTS.layer;
  if (!LAYOUTS.includes(found.layout)) found.layout = DEFAULTS.layout;
  if (!SORTS.some(([key]) => key === found.sort)) found.sort = DEFAULTS.sort;
  if (!["segments", "pixels"].includes(found.matrix)) found.matrix = DEFAULTS.matrix;
  if (!isClassOrder(found.order)) found.order = "";
  for (const key of ["class", "true", "taken"]) {
    if (found[key] !== "" && !(Number(found[key]) in [null, ...content.classes])) found[key] = "";
  }
  if (found.class === "0") found.class = "";
  for (const key of ["from", "to"]) {
    if (!(Number(found[key]) >= 0 && Number(found[key]) <= 100)) found[key] = "";
  }
  if (found.cause !== "" && !isPlace(content.causes, found.cause)) found.cause = "";
  if (found.image !== "" && !placeOfId.has(found.image)) found.image = "";
  found.opacity = String(Math.min(100, Math.max(0, Number(found.opacity) || 0)));
  return found;
}

const placeOfId = new Map(content.ids.map((id, place) => [String(id), place]));

function addressOf(shown) {
  const said = Object.entries(shown).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(said)}`;
}

let written = location.hash; // the address as the page itself left it
let waitingToWrite = null;
const PATIENCE = 300; // ms; browsers ignore addresses that change all the time, as under a slider

/** Change what is shown; `step` makes it a step that the browser's Back undoes. */
function show(changes, step = false) {
  const before = state;
  state = { ...state, ...changes };
  if (step) {
    if (waitingToWrite !== null) writeAddress(before);
    location.hash = addressOf(state);
    written = location.hash;
  } else {
    clearTimeout(waitingToWrite);
    waitingToWrite = setTimeout(() => writeAddress(state), PATIENCE);
  }
  render(before);
}

function writeAddress(shown) {
  clearTimeout(waitingToWrite);
  waitingToWrite = null;
  location.replace(addressOf(shown));
  written = location.hash;
}

/** Back, Forward or an address typed in. */
function addressChanged() {
  if (location.hash === written) return;
  clearTimeout(waitingToWrite);
  waitingToWrite = null;
  written = location.hash;
  const before = state;
  state = parsedState(location.hash);
  render(before);
}
