// The image browser: search, filters and order of the images.

const SORTS = [
  ["pq", "PQ"],
  ["errors", "errors"],
  ["name", "name"],
  ["difference", "difference"],
];
const FILTERS = ["q", "class", "cause", "true", "taken", "from", "to", "tagged", "group", ...SEGMENT_FILTERS];
let filtered = [];
let current = -1;

const NO_FILTERS = Object.fromEntries(FILTERS.map((key) => [key, ""]));

/** Go to the images, or to single segments, with only these filters. */
function browse(filters, view = "images") {
  current = -1;
  show({ view, image: "", ...NO_FILTERS, ...filters }, true);
  window.scrollTo(0, 0);
}

/** Matched, missed and spurious segments of one image, or its instances at the chosen score. */
function countsOf(set, place) {
  if (isInstances()) return imageCounts(set, place);
  const { tp, fp, fn } = content.results[set].images;
  return { tp: tp[place], fp: fp[place], fn: fn[place] };
}

function errorsOf(set, place) {
  const { fp, fn } = countsOf(set, place);
  return fp + fn;
}

const qualityName = () => (isInstances() ? "F1" : "PQ");
/** PQ of one image, or F1 at the chosen score; null if nothing is scored. */
const qualityOf = (set, place) => (isInstances() ? ratesOf(imageCounts(set, place)).f1 : content.results[set].images.pq[place]);

/** Quality of one image in the compared set, minus that in A; null if one of them is null. */
function differenceOf(place) {
  const [first, second] = [0, otherSet()].map((set) => qualityOf(set, place));
  return first === null || second === null ? null : second - first;
}

/** The negative absolute difference, so that the largest comes first; null stays null. */
const bySize = (difference) => (difference === null ? null : -Math.abs(difference));

const SORT_VALUES = {
  pq: (set, place) => qualityOf(set, place),
  errors: (set, place) => -errorsOf(set, place),
  name: (set, place) => content.names[place],
  difference: (set, place) => (isCompared ? bySize(differenceOf(place)) : 0),
};

/** Whether one error of an image, [true class, predicted class, cause], matches the filters. */
function isWantedError(wanted, line, taken, cause) {
  return (
    (wanted.cause === null || wanted.cause === cause) &&
    (wanted.class === null || line === wanted.class || taken === wanted.class) &&
    (wanted.true === null || line === wanted.true) &&
    (wanted.taken === null || taken === wanted.taken)
  );
}

function filteredPlaces() {
  const set = Number(state.set);
  const { classes, errors } = isInstances() ? {} : content.results[set].images;
  const wanted = Object.fromEntries(
    ["class", "cause", "true", "taken"].map((key) => [key, state[key] === "" ? null : Number(state[key])]),
  );
  const asksForError = wanted.cause !== null || wanted.true !== null || wanted.taken !== null;
  const text = state.q.trim().toLowerCase();
  const [from, to] = [state.from === "" ? 0 : Number(state.from), state.to === "" ? 100 : Number(state.to)];
  const group = groupPlaces();
  const isSegmentWanted = hasSegmentFilter() ? segmentFilter(set) : null;
  const matches = (place) => {
    const quality = qualityOf(set, place);
    const isBounded = state.from !== "" || state.to !== "";
    if (isBounded && (quality === null || 100 * quality < from || 100 * quality > to)) return false;
    if (text && !content.names[place].toLowerCase().includes(text) && content.ids[place] !== text) return false;
    if (group && !group.has(place)) return false;
    if (state.tagged && !tagged.has(content.ids[place])) return false;
    if (isSegmentWanted) return hasSegment(isSegmentWanted, set, place);
    if (isInstances()) return (wanted.class === null && wanted.cause === null) || hasInstance(set, place, wanted.class, wanted.cause);
    if (!asksForError) return wanted.class === null || classes[place].includes(wanted.class);
    const found = errors[place];
    for (let at = 0; at < found.length; at += 3) {
      if (isWantedError(wanted, found[at], found[at + 1], found[at + 2])) return true;
    }
    return false;
  };
  const places = [...content.ids.keys()].filter(matches);
  return sortedRows(places, (place) => SORT_VALUES[state.sort](set, place), state.down === "1");
}

function drawImages(section) {
  if (!byId("list")) {
    section.append(...browserParts());
    checkFolder();
  }
  const place = filtered[current];
  filtered = filteredPlaces();
  current = filtered.indexOf(place);
  drawFilters();
  byId("found").textContent = `${count(filtered.length)} of ${count(content.ids.length)} images`;
  byId("nothing").hidden = filtered.length > 0;
  imageList.show(filtered);
  drawTags();
}

/** Show a message above the images if their folder is missing or belongs to another report. */
async function checkFolder() {
  if (content.embedded) return;
  try {
    await readScript("report");
  } catch (error) {
    byId("folder-trouble").textContent = error.message;
    byId("folder-trouble").hidden = false;
  }
}

function browserParts() {
  const search = make("input", {
    id: "search",
    type: "search",
    placeholder: "Name or id  ( / )",
    "aria-label": "Name or id of an image",
    autocomplete: "off",
    spellcheck: "false",
    input: (event) => show({ q: event.target.value }),
  });
  return [
    make(
      "div",
      { class: "bar filters" },
      search,
      make("span", { class: "field" }, make("span", { id: "quality-name" }), bound("from", "minimum", 0), "–", bound("to", "maximum", 100)),
      make("div", { class: "fields", id: "filters" }),
    ),
    make("div", { class: "bar list-bar" }, make("div", { class: "fields", id: "list-tools" }), make("span", { id: "found", role: "status" })),
    make("p", { id: "folder-trouble", role: "alert", hidden: true }),
    make("div", { id: "list", role: "group", "aria-label": "Images" }),
    make(
      "p",
      { id: "nothing", class: "note", hidden: true },
      "No image matches these filters. ",
      make("button", { class: "quiet", click: () => browse({}) }, "Show all"),
    ),
  ];
}

/** A typed percentage, limited to 0 to 100. */
const clamped = (text) => (text === "" ? "" : String(Math.min(100, Math.max(0, Number(text)))));

/** An input field for a bound of PQ in percent. */
function bound(key, label, none) {
  return make("input", {
    id: `filter-${key}`,
    type: "number",
    min: 0,
    max: 100,
    step: "any",
    placeholder: none,
    "aria-label": label,
    change: (event) => show({ [key]: clamped(event.target.value) }),
  });
}

function drawFilters() {
  const focused = document.activeElement?.id;
  const fields = { q: "search", from: "filter-from", to: "filter-to" }; // these stay in the page, the others are created anew
  for (const [key, id] of Object.entries(fields)) {
    if (byId(id).value !== state[key]) byId(id).value = state[key];
  }
  byId("quality-name").textContent = qualityName();
  const classes = sortedRows(isInstances() ? averageRows() : classRows(), (row) => row.category.name, false).map((row) => [
    row.line,
    row.category.name,
  ]);
  const causes = causeNames()
    .map((cause, place) => [place, cause])
    .filter(([, cause]) => cause !== "inexact outline");
  const isMixed = state.true !== "" || state.taken !== "";
  const parts = [
    select("filter-class", "Class", [["", "any"], ...classes], state.class, (value) => show({ class: value })),
    select("filter-cause", "Cause", [["", "any"], ...causes], state.cause, (value) => show({ cause: value })),
    select(
      "sort",
      "Sort",
      SORTS.filter(([key]) => isCompared || key !== "difference").map(([key, label]) => [key, key === "pq" ? qualityName() : key === "difference" ? differenceName() : label]),
      state.sort,
      (value) => show({ sort: value, down: "" }),
    ),
    make(
      "button",
      {
        id: "direction",
        class: "quiet",
        title: "Reverse the order",
        "aria-pressed": String(state.down === "1"),
        click: () => show({ down: state.down ? "" : "1" }),
      },
      state.down ? "↑" : "↓",
    ),
  ];
  parts.push(select("thumbs", "Show", LAYERS.map((layer) => [layer, layer]), state.thumbs, (value) => show({ thumbs: value })));
  parts.push(...finderFields("filter"));
  if (hasSegmentFilter()) parts.push(segmentChip());
  if (state.group !== "") parts.push(make("button", { class: "chip", id: "group", title: "Remove this filter", click: () => show({ group: "" }) }, state.group.replace("\n", ": "), " ✕"));
  if (isMixed) {
    parts.push(
      make(
        "button",
        { class: "chip", id: "mixed", title: "Remove this filter", click: () => show({ true: "", taken: "" }) },
        `${className(Number(state.true))} → ${className(Number(state.taken))}`,
        " ✕",
      ),
    );
  }
  if (FILTERS.some((key) => state[key]))
    parts.push(make("button", { class: "quiet", id: "clear", click: () => browse({}) }, "Clear"));
  byId("filters").replaceChildren(...parts);
  if (focused && byId("filters").contains(byId(focused))) byId(focused).focus();
}

function openCard(event, place, at) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  current = at ?? -1; // of the list
  openImage(place);
}

function openImage(place) {
  show({ image: content.ids[place], segment: "" }, true);
}
