// The state of the page, stored in the address, so that links and reloads restore it.

const DEFAULTS = {
  of: MODES[0],
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
  zoom: "",
  matrix: "segments",
  lines: "",
  ...Object.fromEntries(SEGMENT_FILTERS.map((key) => [key, ""])),
  tagged: "",
  group: "",
  thumbs: "prediction",
  rank: "-area",
  order: "",
  kind: "",
  score: "",
  curve: "",
  match: "",
};
const VIEWS = {
  panoptic: ["overview", "classes", "confusion", "curves", "errors", "segments", "images"],
  instances: ["overview", "classes", "curves", "errors", "images"],
};
let state = { ...DEFAULTS };

/** Whether a text is an index of a list, and not "length" or another property. */
const isPlace = (list, text) => Object.keys(list).includes(text);

/** Parse the state in an address; invalid values are replaced by defaults. */
function parsedState(hash) {
  const found = { ...DEFAULTS };
  for (const [key, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (Object.hasOwn(DEFAULTS, key)) found[key] = value;
  }
  if (!MODES.includes(found.of)) found.of = DEFAULTS.of;
  if (!VIEWS[found.of].includes(found.view)) found.view = DEFAULTS.view;
  if (!isPlace(content.sets, found.set)) found.set = "0";
  if (!LAYERS.includes(found.layer)) found.layer = DEFAULTS.layer;
  if (!LAYOUTS.includes(found.layout)) found.layout = DEFAULTS.layout;
  if (!SORTS.some(([key]) => key === found.sort)) found.sort = DEFAULTS.sort;
  if (!["segments", "pixels"].includes(found.matrix)) found.matrix = DEFAULTS.matrix;
  if (!LAYERS.includes(found.thumbs)) found.thumbs = DEFAULTS.thumbs;
  checkSegmentFilters(found);
  if (!/^\d+(\.\d+)?(,[01](\.\d+)?){2}$/.test(found.zoom)) found.zoom = "";
  if (!isGroup(found.group)) found.group = "";
  if (found.tagged !== "1") found.tagged = "";
  if (!(/^\d\d$/.test(found.match) && Number(found.match) > 50)) found.match = "";
  if (!RANKS.some(([key]) => key === found.rank)) found.rank = DEFAULTS.rank;
  if (found.lines !== "all") found.lines = "";
  if (!isClassOrder(found.order, found.of)) found.order = "";
  if (!KINDS.includes(found.kind)) found.kind = "";
  if (found.score !== "" && !isPlace(content.instances?.steps ?? [], found.score)) found.score = "";
  for (const key of ["class", "true", "taken", "curve"]) {
    if (found[key] !== "" && !(Number(found[key]) in [null, ...content.classes])) found[key] = "";
  }
  for (const key of ["class", "curve"]) if (found[key] === "0") found[key] = "";
  for (const key of ["from", "to"]) {
    if (!(Number(found[key]) >= 0 && Number(found[key]) <= 100)) found[key] = "";
  }
  if (found.cause !== "" && !isPlace((found.of === "instances" ? content.instances : content).causes, found.cause)) found.cause = "";
  if (found.image !== "" && !placeOfId.has(found.image)) found.image = "";
  found.opacity = String(Math.min(100, Math.max(0, Number(found.opacity) || 0)));
  return found;
}

/** Replace invalid filters of segments by none. */
function checkSegmentFilters(found) {
  for (const key of ["iou0", "iou1", "score0", "score1"]) if (!(Number(found[key]) >= 0 && Number(found[key]) <= 100)) found[key] = "";
  if (!OUTCOME_KINDS.includes(found.outcome)) found.outcome = "";
  if (!AREAS.some(([name]) => name === found.area)) found.area = "";
  if (found.suspect !== "1") found.suspect = "";
  for (const key of FINDERS) if (!isCompared || ![...found[key]].every((set) => isPlace(content.sets, set))) found[key] = "";
}

const placeOfId = new Map(content.ids.map((id, place) => [id, place]));

function addressOf(shown) {
  const changed = Object.entries(shown).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(changed)}`;
}

let written = location.hash; // the last address written by the page
let waitingToWrite = null;
const PATIENCE = 300; // ms; browsers ignore addresses that change too often, as while a slider moves

/** Change the state; with `step`, the Back button of the browser undoes the change. */
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

/** Handle Back, Forward and typed addresses. */
function addressChanged() {
  if (location.hash === written) return;
  clearTimeout(waitingToWrite);
  waitingToWrite = null;
  written = location.hash;
  const before = state;
  state = parsedState(location.hash);
  render(before);
}
