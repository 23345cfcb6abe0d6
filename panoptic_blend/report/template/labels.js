// A list of pictures and segments to go through by eye, with a decision for each. Names from files are only ever text.

const KEYS = [
  ["j k ↑ ↓", "next and previous entry"],
  ["y", content.decisions[0]],
  ["n", content.decisions[1]],
  ["u", "take the decision back"],
  ["z", "zoom to the marked place and back"],
  ["o", "show and hide the outlines"],
  ["/", "search files and words"],
  ["Esc", "leave the search"],
  ["?", "show these keys"],
];
const ANSWERS = ["yes", "no"];
const MARKS_OF_ANSWERS = { yes: "✓", no: "✗" };
const STORE = `panoptic-blend-labels-${content.report}`;

const decided = storedDecisions(); // "yes" or "no" by the number of an entry
const view = { sort: { key: "place", down: false }, query: "", kind: "", current: 0, isZoomed: true, hasOutlines: true };
let shown = [];

/** Earlier decisions of this page; a browser may not let a page that is a file keep any. */
function storedDecisions() {
  try {
    return new Map(Object.entries(JSON.parse(localStorage.getItem(STORE) ?? "{}")).map(([place, answer]) => [Number(place), answer]));
  } catch {
    return new Map();
  }
}

function storeDecisions() {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(decided)));
  } catch {
    // "Save decisions" still writes them to a file
  }
}

const places = () => content.entries.map((_, place) => place);
const SORT_VALUES = {
  place: (place) => place,
  score: (place) => content.entries[place].score,
  file: (place) => content.entries[place].file,
  words: (place) => `${content.entries[place].kind} ${content.entries[place].words}`,
  decision: (place) => decided.get(place) ?? null,
};

function isShown(place) {
  const { file, kind, words } = content.entries[place];
  return (view.kind === "" || kind === view.kind) && `${file} ${kind} ${words}`.toLowerCase().includes(view.query);
}

function draw() {
  shown = sortedRows(places().filter(isShown), SORT_VALUES[view.sort.key], view.sort.down);
  if (!shown.includes(view.current)) view.current = shown[0] ?? -1;
  drawList();
  drawEntry();
  drawProgress();
}

function sortBy(key) {
  view.sort = { key, down: view.sort.key === key ? !view.sort.down : key === "score" };
  draw();
  byId("list").querySelector(`[data-key="${key}"]`).focus();
}

function drawList() {
  const head = [
    ["place", "#", true],
    ["score", "Score", true],
    ["file", "File"],
    ["words", "What"],
    ["decision", "", false, "Decision"],
  ].map(([key, label, numeric, title]) => headCell(label, { key, sort: view.sort, numeric, onSort: sortBy, title }));
  byId("list").replaceChildren(make("thead", {}, make("tr", {}, head)), make("tbody", {}, shown.map(row)));
  byId("found").textContent = `${count(shown.length)} of ${count(content.entries.length)}`;
  markCurrent();
}

function row(place) {
  const { file, kind, words, score } = content.entries[place];
  return make(
    "tr",
    { "data-place": place, click: () => go(place) },
    cell(count(place + 1)),
    cell(score.toFixed(2)),
    make("td", { title: file }, file),
    make("td", { title: words }, kind || words),
    make("td", { class: "decision" }, MARKS_OF_ANSWERS[decided.get(place)] ?? ""),
  );
}

function markCurrent() {
  for (const line of byId("list").tBodies[0].rows) {
    const isCurrent = Number(line.dataset.place) === view.current;
    if (isCurrent) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
    if (isCurrent) line.scrollIntoView({ block: "nearest" });
  }
}

function go(place) {
  view.current = place;
  markCurrent();
  drawEntry();
}

function step(by) {
  const at = shown.indexOf(view.current);
  if (shown.length) go(shown[Math.max(0, Math.min(shown.length - 1, at + by))]);
}

/** The part of the picture to show: x, y, width, height. A small box is shown with what is around it. */
function part({ size: [height, width], box }) {
  if (!view.isZoomed || !box) return [0, 0, width, height];
  const [x0, y0, x1, y1] = box;
  const room = Math.max(24, (x1 - x0) * 0.6, (y1 - y0) * 0.6);
  const [left, top] = [Math.max(0, x0 - room), Math.max(0, y0 - room)];
  return [left, top, Math.min(width, x1 + room) - left, Math.min(height, y1 + room) - top];
}

function drawEntry() {
  const entry = content.entries[view.current];
  byId("stage").hidden = !entry;
  if (!entry) return;
  const { file, source, kind, words, picture, size, marks } = entry;
  byId("kind-shown").textContent = kind;
  byId("words").textContent = words;
  byId("file").textContent = [file, source].filter(Boolean).join(" · ");
  const drawing = byId("drawing");
  drawing.setAttribute("viewBox", part(entry).join(" "));
  drawing.setAttribute("aria-label", `${file}: ${words}`);
  const photo = svg("image", { href: assetAddress(`${picture}.jpg`), width: size[1], height: size[0], preserveAspectRatio: "none" });
  const lines = view.hasOutlines ? marks.flatMap(outlined) : [];
  drawing.replaceChildren(photo, ...lines);
  byId("legend").replaceChildren(
    ...content.legend.map((text, group) => {
      const labels = [...new Set(marks.filter((mark) => mark.group === group).map((mark) => mark.label))].join(", ");
      return make("li", {}, make("i", { class: `swatch group${group}` }), labels ? `${text}: ${labels}` : text);
    }),
  );
  byId("zoom").hidden = !entry.box;
  byId("zoom").setAttribute("aria-pressed", String(view.isZoomed));
  byId("outlines").setAttribute("aria-pressed", String(view.hasOutlines));
  for (const answer of ANSWERS) byId(answer).setAttribute("aria-pressed", String(decided.get(view.current) === answer));
}

/** An outline on a dark line, so that it is seen on every photo. */
function outlined({ path, label, group }) {
  const line = (kind) => svg("path", { d: path, class: `mark ${kind}` }, svg("title", {}, label));
  return [line("halo"), line(`group${group}`)];
}

function drawProgress() {
  byId("progress").textContent = `${count(decided.size)} of ${count(content.entries.length)} decided`;
  byId("save").disabled = decided.size === 0;
}

/** Decide the current entry and go to the next one; undefined takes the decision back. */
function decide(answer) {
  if (view.current < 0) return;
  if (answer) decided.set(view.current, answer);
  else decided.delete(view.current);
  storeDecisions();
  const line = byId("list").querySelector(`[data-place="${view.current}"] .decision`);
  if (line) line.textContent = MARKS_OF_ANSWERS[answer] ?? "";
  drawProgress();
  if (answer && shown.at(-1) !== view.current) step(1);
  else drawEntry();
}

const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;

/** Offer the decisions as a CSV file, with a line for each decided entry. */
function save() {
  const lines = [...decided.keys()]
    .sort((a, b) => a - b)
    .map((place) => {
      const { file, source, kind, words } = content.entries[place];
      return [file, source, kind, words, content.decisions[ANSWERS.indexOf(decided.get(place))]].map(quoted).join(",");
    });
  const text = ["file,data,what,words,decision", ...lines, ""].join("\r\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  make("a", { href: address, download: content.csv.replace(/\.csv$/, "_decisions.csv") }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function toggle(key) {
  view[key] = !view[key];
  drawEntry();
}

const ACTIONS = {
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  y: () => decide("yes"),
  n: () => decide("no"),
  u: () => decide(undefined),
  z: () => toggle("isZoomed"),
  o: () => toggle("hasOutlines"),
  "/": () => byId("search").focus(),
  "?": () => byId("keys").showModal(),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.target.matches?.("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (!Object.hasOwn(ACTIONS, event.key)) return;
  event.preventDefault();
  ACTIONS[event.key]();
}

function start() {
  document.title = content.title;
  byId("brand").textContent = content.title;
  const more = content.total > content.entries.length ? `the first ${count(content.entries.length)} of ${count(content.total)}, all of which are in ` : "";
  byId("shown").textContent = `${more}${content.csv}`;
  byId("notes").append(...content.notes.map((note) => make("li", {}, note)));
  const kinds = [...new Set(content.entries.map(({ kind }) => kind))].sort();
  byId("kind").append(...["", ...kinds].map((kind) => make("option", { value: kind }, kind || "All kinds")));
  byId("kind").hidden = kinds.length < 2;
  byId("kind").addEventListener("change", (event) => {
    view.kind = event.target.value;
    draw();
  });
  byId("search").addEventListener("input", (event) => {
    view.query = event.target.value.toLowerCase();
    draw();
  });
  ANSWERS.forEach((answer, place) => {
    byId(answer).textContent = `${content.decisions[place][0].toUpperCase()}${content.decisions[place].slice(1)} (${answer[0]})`;
    byId(answer).addEventListener("click", () => decide(answer));
  });
  byId("zoom").addEventListener("click", () => toggle("isZoomed"));
  byId("outlines").addEventListener("click", () => toggle("hasOutlines"));
  byId("save").addEventListener("click", save);
  document.addEventListener("keydown", pressed);
  buildKeys(KEYS);
  draw();
}

start();
