// What is shown, kept in the address: a link or a reload comes back to it.

const DEFAULTS = {
  view: "overview",
  set: "0",
  q: "",
  class: "",
  cause: "",
  true: "",
  taken: "",
  sort: "pq",
  down: "",
  image: "",
  layer: "errors",
  layout: "one",
  opacity: "70",
  segment: "",
};
const VIEWS = ["overview", "classes", "confusion", "errors", "images"];
let state = { ...DEFAULTS };

/** The state that an address says, with nothing in it that the report does not have. */
function parsedState(hash) {
  const found = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (Object.hasOwn(DEFAULTS, key)) found[key] = value;
  }
  if (!VIEWS.includes(found.view)) found.view = DEFAULTS.view;
  if (!content.sets[found.set]) found.set = "0";
  if (!LAYERS.includes(found.layer)) found.layer = DEFAULTS.layer;
  if (!LAYOUTS.includes(found.layout)) found.layout = DEFAULTS.layout;
  if (!SORTS.some(([key]) => key === found.sort)) found.sort = DEFAULTS.sort;
  for (const key of ["class", "true", "taken"]) {
    if (found[key] !== "" && !(Number(found[key]) in [null, ...content.classes])) found[key] = "";
  }
  if (found.class === "0") found.class = "";
  if (found.cause !== "" && !content.causes[found.cause]) found.cause = "";
  if (found.image !== "" && !placeOfId.has(found.image)) found.image = "";
  found.opacity = String(Math.min(100, Math.max(0, Number(found.opacity) || 0)));
  return found;
}

const placeOfId = new Map(content.ids.map((id, place) => [String(id), place]));

function addressOf(shown) {
  const said = Object.entries(shown).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(said)}`;
}

/** Change what is shown; `step` makes it a step that the browser's Back undoes. */
function show(changes, step = false) {
  const before = state;
  state = { ...state, ...changes };
  const address = addressOf(state);
  if (address === (location.hash || "#")) return render(before);
  if (step) location.hash = address;
  else location.replace(address);
  render(before);
}

function addressChanged() {
  const found = parsedState(location.hash);
  if (addressOf(found) === addressOf(state)) return;
  const before = state;
  state = found;
  render(before);
}
