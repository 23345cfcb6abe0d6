// Single segments of all images, cut out of their photos, with sliders and filters.

const PATCH = { width: 188, height: 202, gap: 12 };
const PATCH_PIXELS = [240, 160]; // of the canvas of a patch
const STRIP = 6; // the number of segments of a strip
const RANKS = [
  ["-area", "area"],
  ["-iou", "highest IoU"],
  ["iou", "lowest IoU"],
  ["-score", "highest score"],
  ["score", "lowest score"],
  ["name", "image"],
];
const patchList = new CardList("patches", PATCH, (row) => patchCard(tableSegment(Number(state.set), row)));
const photos = new Map(); // the photos that were drawn last, by place
const KEPT_PHOTOS = 24;

function drawPatches(section) {
  if (segmentSets === null) {
    section.replaceChildren(make("p", { class: "note", role: "alert" }, `${content.folder} is not beside this page, or belongs to another report; put the folder of this report there.`));
    return;
  }
  if (!byId("patches")) section.append(...patchParts());
  const set = Number(state.set);
  const matches = segmentFilter(set);
  const table = segmentSets[set];
  const rows = [...table.lines.keys()].filter(matches);
  const values = {
    area: (row) => table.areas[row],
    iou: (row) => table.ious[row],
    score: (row) => (Number.isNaN(table.scores[row]) ? null : table.scores[row]),
    name: (row) => content.names[table.places[row]],
  };
  const key = state.rank.replace("-", "");
  const sorted = sortedRows(rows, values[key], state.rank[0] === "-");
  drawPatchFilters(set, rows);
  byId("patches-found").textContent = `${count(rows.length)} of ${count(table.lines.length)} segments in ${count(new Set(rows.map((row) => table.places[row])).size)} images`;
  byId("suspect-note").hidden = state.suspect === "";
  drawIouNote();
  byId("strips").replaceChildren(...strips(set, rows));
  patchList.show(state.suspect === "" ? sorted : sortedRows(sorted, (row) => agreement(tableSegment(set, row)), true));
}

function patchParts() {
  return [
    make("div", { class: "bar filters", id: "patch-filters" }),
    make("div", { class: "bar" }, make("span", { id: "patches-found", class: "note", role: "status" }), make("button", { class: "quiet", id: "to-images", click: () => show({ view: "images" }, true) }, "Show their images")),
    make("p", { class: "note", id: "iou-note" }),
    make(
      "p",
      { class: "note", id: "suspect-note" },
      `Where the truth may be wrong: a true segment that was predicted with an IoU of ${SURE_IOU} or more and another class` +
        (hasScores() ? `, and a prediction with a score of ${SURE_SCORE} or more where the truth has no such segment. ` : ". ") +
        "These are hints, not findings: look at each of them." +
        (isCompared ? " Those on which most result sets agree come first." : ""),
    ),
    make("div", { id: "strips" }),
    make("div", { id: "patches", class: "card-list", role: "group", "aria-label": "Segments" }),
  ];
}

const hasScores = () => Boolean(content.results?.some((result) => result.has_scores));

function drawPatchFilters(set, rows) {
  const focused = document.activeElement?.id;
  const classes = sortedRows(classRows(), (row) => row.category.name, false).map((row) => [row.line, row.category.name]);
  const outcomes = OUTCOME_KINDS.map((kind, place) => [kind, OUTCOMES[place]]);
  const causes = content.causes.map((cause, place) => [place, cause]).filter(([, cause]) => cause !== "inexact outline");
  const isFiltered = FILTERS.some((key) => state[key]);
  byId("patch-filters").replaceChildren(
    select("patch-class", "Class", [["", "any"], ...classes], state.class, (value) => show({ class: value })),
    select("patch-outcome", "Outcome", [["", "any"], ...outcomes], state.outcome, (value) => show({ outcome: value })),
    select("patch-cause", "Cause", [["", "any"], ...causes], state.cause, (value) => show({ cause: value })),
    select("patch-area", "Size", [["", "any"], ...AREAS.map(([name]) => [name, name])], state.area, (value) => show({ area: value })),
    ...finderFields("patch"),
    rangeField("iou", "IoU"),
    ...(hasScores() ? [rangeField("score", "Score")] : []),
    select("patch-rank", "Sort", RANKS.filter(([key]) => hasScores() || !key.includes("score")), state.rank, (value) => show({ rank: value })),
    make("button", { class: "quiet", id: "suspect", "aria-pressed": String(state.suspect !== ""), click: () => show({ suspect: state.suspect ? "" : "1" }) }, "Truth to check"),
    ...(isFiltered ? [make("button", { class: "quiet", id: "patch-clear", click: () => show(NO_FILTERS) }, "Clear")] : []),
    ...(state.true !== "" || state.taken !== "" ? [make("span", { class: "chip" }, `${className(Number(state.true))} → ${className(Number(state.taken))}`)] : []),
  );
  if (focused) byId(focused)?.focus();
}

/** Say that the sliders of IoU choose segments, and where the figures at the lowest IoU are, if it can be of a match. */
function drawIouNote() {
  const note = byId("iou-note");
  note.hidden = state.iou0 === "" && state.iou1 === "";
  const match = Math.min(STRICTEST, Number(state.iou0));
  const open = () => show({ view: "curves", curve: state.class, match: String(match) }, true);
  const link = match > 50 ? [" ", make("button", { class: "link inline", click: open }, `PQ with matches above ${(match / 100).toFixed(2)}`), "."] : [];
  note.replaceChildren("The sliders only choose segments: outcomes and all figures are those of matches above an IoU of 0.50.", ...link);
}

/** Two sliders for the lowest and the highest value in percent. */
function rangeField(key, label) {
  const slider = (end, none) => {
    const name = `${key}${end}`;
    return make("input", {
      type: "range",
      id: `slider-${name}`,
      min: 0,
      max: 100,
      value: state[name] === "" ? none : state[name],
      "aria-label": `${end ? "Highest" : "Lowest"} ${label}`,
      "aria-valuetext": boundText(name, none),
      change: (event) => show({ [name]: event.target.value === String(none) ? "" : event.target.value }),
      input: (event) => {
        byId(`value-${name}`).textContent = (event.target.value / 100).toFixed(2);
      },
    });
  };
  const text = (name, none) => make("output", { id: `value-${name}` }, boundText(name, none));
  const title = `Only segments with ${label === "IoU" ? "an IoU in this range; Curves has PQ at other thresholds" : "a score in this range"}`;
  return make("span", { class: "field range", title }, make("span", {}, label), slider(0, 0), text(`${key}0`, 0), "–", slider(1, 100), text(`${key}1`, 100));
}

const FINDERS = ["foundBy", "missedBy"];
const FINDER_NAMES = { foundBy: "Found by", missedBy: "Missed by" };

/** Buttons that choose by which of several result sets a true segment is found, and by which it is missed. */
function finderFields(id) {
  if (!isCompared || isInstances() || segmentSets === null) return [];
  const toggled = (key, set) => (state[key].includes(set) ? state[key].replace(set, "") : [...state[key], set].sort().join(""));
  const button = (key, other) => (set) =>
    make(
      "button",
      {
        id: `${id}-${key}-${set}`,
        title: `True segments that ${setName(set)} ${key === "foundBy" ? "finds" : "misses"}`,
        "aria-pressed": String(state[key].includes(set)),
        click: () => show({ [key]: toggled(key, set), [other]: state[other].replace(set, "") }),
      },
      LETTERS[set],
    );
  const group = (key, other) => {
    const buttons = Object.keys(content.sets).map(button(key, other));
    return make("span", { class: "field" }, make("span", {}, FINDER_NAMES[key]), make("span", { class: "choice", role: "group", "aria-label": FINDER_NAMES[key] }, buttons));
  };
  return [group("foundBy", "missedBy"), group("missedBy", "foundBy")];
}

const boundText = (name, none) => ((state[name] === "" ? none : Number(state[name])) / 100).toFixed(2);

/** Best, typical and worst segments of the chosen class, if nothing else is chosen. */
function strips(set, rows) {
  if (state.class === "" || FILTERS.some((key) => key !== "class" && state[key])) return [];
  const all = rows.map((row) => tableSegment(set, row));
  const matched = sortedRows(all.filter(({ side, outcome }) => side === "prediction" && outcome === 0), ({ iou }) => iou, true);
  const wrong = sortedRows(all.filter(({ cause }) => cause !== null), ({ area }) => area, true);
  const middle = Math.max(0, Math.floor((matched.length - STRIP) / 2));
  const named = [
    ["Best: the highest IoU", matched.slice(0, STRIP)],
    [`Typical: around the median IoU${matched.length ? ` of ${matched[Math.floor((matched.length - 1) / 2)].iou.toFixed(2)}` : ""}`, matched.length > 2 * STRIP ? matched.slice(middle, middle + STRIP) : []],
    ["Worst: the largest errors", wrong.slice(0, STRIP)],
  ].filter(([, found]) => found.length);
  return named.map(([name, found]) => make("section", { class: "strip" }, make("h2", {}, name), make("div", { class: "strip-cards" }, found.map(patchCard))));
}

function patchCard(segment) {
  const canvas = make("canvas", { width: PATCH_PIXELS[0], height: PATCH_PIXELS[1] });
  drawLater(canvas, segment.place, (_, found) => drawPatch(canvas, segment, found));
  const image = content.ids[segment.place];
  const address = { ...state, image, segment: `${segment.side[0]}${segment.index}` };
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show({ image, segment: address.segment }, true);
  };
  return make(
    "a",
    { class: "patch", href: addressOf(address), "data-row": segment.row, title: `${content.names[segment.place]}, ${count(segment.area)} pixels`, click: open },
    canvas,
    make("span", { class: "name" }, classLabel(segment.line)),
    make("span", { class: "outcome" }, styled(make("i", { class: "swatch" }), { "--color": `var(--${segmentKind(segment)})` }), patchWords(segment)),
    make("span", { class: "note" }, [segment.side, `IoU ${segment.iou.toFixed(2)}`, segment.score === null ? null : `score ${segment.score.toFixed(2)}`].filter(Boolean).join(" · ")),
  );
}

/** The name of the color of a segment. */
const segmentKind = ({ cause, outcome, side }) => (cause === null ? (outcome === 0 ? "matched" : "ignored") : side === "truth" ? "missed" : "spurious");

function patchWords({ cause, outcome, other, line }) {
  if (cause === null) return OUTCOMES[outcome];
  return content.causes[cause] === "wrong class" && other !== line ? `wrong class: ${className(other)}` : content.causes[cause];
}

/** The window of a picture around a box, with some room, in the shape of a patch. */
function patchWindow([x0, y0, x1, y1], { width, height }) {
  const [columns, rows] = PATCH_PIXELS;
  const room = Math.max(8, 0.15 * Math.max(x1 - x0, y1 - y0));
  const scale = Math.max((x1 - x0 + 2 * room) / columns, (y1 - y0 + 2 * room) / rows);
  const [across, down] = [Math.min(width, scale * columns), Math.min(height, scale * rows)];
  const within = (middle, length, whole) => Math.min(whole - length, Math.max(0, middle - length / 2));
  return [within((x0 + x1) / 2, across, width), within((y0 + y1) / 2, down, height), across, down];
}

async function drawPatch(canvas, segment, found) {
  const frame = patchWindow(segment.box, found);
  const photo = await photoAt(segment.place);
  const scale = Math.min(canvas.width / frame[2], canvas.height / frame[3]);
  const [columns, rows] = [Math.round(frame[2] * scale), Math.round(frame[3] * scale)];
  const at = [Math.floor((canvas.width - columns) / 2), Math.floor((canvas.height - rows) / 2)];
  const map = segment.side === "truth" ? found.map : found.sets[segment.set].map;
  const context = canvas.getContext("2d");
  context.drawImage(photo, ...frame, ...at, columns, rows);
  context.drawImage(spotlight(sampled(map, found.width, frame, columns, rows), segment.index, columns, rows), ...at);
}

/** The photo of an image; it has the size of the maps. */
async function photoAt(place) {
  if (!photos.has(place)) {
    const photo = make("img", { src: assetAddress(`${place}.jpg`) });
    photos.set(place, photo.decode().then(() => photo));
    if (photos.size > KEPT_PHOTOS) photos.delete(photos.keys().next().value);
  }
  return photos.get(place);
}

/** What the filters of single segments are, with a button that removes them. */
function segmentChip() {
  const words = SEGMENT_FILTERS.filter((key) => state[key] !== "").map((key) => {
    if (key === "suspect") return "truth to check";
    if (FINDERS.includes(key)) return `${FINDER_NAMES[key].toLowerCase()} ${[...state[key]].map((set) => LETTERS[set]).join(", ")}`;
    const bounds = { iou0: "IoU ≥", iou1: "IoU ≤", score0: "score ≥", score1: "score ≤" }[key];
    return bounds ? `${bounds} ${boundText(key, 0)}` : key === "outcome" ? OUTCOMES[OUTCOME_KINDS.indexOf(state.outcome)] : state[key];
  });
  return make("button", { class: "chip", id: "segment-chip", title: "Remove this filter", click: () => show(Object.fromEntries(SEGMENT_FILTERS.map((key) => [key, ""]))) }, words.join(", "), " ✕");
}
