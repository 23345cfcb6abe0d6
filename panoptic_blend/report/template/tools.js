// Helpers for elements, numbers and colors. Strings from files become text, never markup.

const content = JSON.parse(document.getElementById("content").textContent);
const MODES = ["panoptic", "instances"].filter((mode) => (mode === "panoptic" ? content.results : content.instances));
const isInstances = () => state.of === "instances";
const GROUPS = ["All", "Things", "Stuff"];
const OUTCOMES = ["matched", "spurious", "missed", "ignored"];
const OUTCOME_KINDS = ["tp", "fp", "fn", "ignored"];
const byId = (id) => document.getElementById(id);

/** Create an element with attributes (functions are event listeners) and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set CSS properties of an element by script, because the content policy forbids inline styles. */
function styled(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

const percent = (fraction, digits = 1) => (fraction === null ? "–" : (100 * fraction).toFixed(digits));
const signed = (fraction, digits = 1) => (fraction < 0 ? "−" : "+") + Math.abs(100 * fraction).toFixed(digits);
const count = (number) => number.toLocaleString("en");
const rgb = (color) => `rgb(${color.join(" ")})`;
/** The causes of errors of segments or of instances. */
const causeNames = () => (isInstances() ? content.instances : content).causes;
/** The file names of the result sets. */
const setFiles = () => (isInstances() ? content.instances.sets : content.sets);
const setName = (set) => (isCompared ? `${"AB"[set]}: ${setFiles()[set]}` : setFiles()[set]);
const isCompared = content.sets.length > 1;

/** The class of a row or column of the confusion matrix; 0 is no class. */
const classOf = (line) => content.classes[line - 1];
const className = (line) => (line ? classOf(line).name || String(classOf(line).id) : "(none)");

function swatch(line) {
  return styled(make("i", { class: "swatch", "aria-hidden": "true" }), { "--color": rgb(classOf(line).color) });
}

/** The color and the name of a class. */
function classLabel(line) {
  return make("span", { class: "class-label" }, line ? swatch(line) : null, make("span", { title: className(line) }, className(line)));
}

/** A value from 0 to 1 as a dot on a track, with its interval. */
function intervalBar(value, low, high, title) {
  const bar = make("span", { class: "interval", title }, make("i", { class: "range" }), make("i", { class: "dot" }));
  return styled(bar, { "--low": low, "--high": high, "--value": value });
}

/** A stacked bar of `parts`: [fraction, color, title]. */
function stackedBar(parts, label) {
  const bar = make("span", { class: "stack", role: "img", "aria-label": label });
  for (const [share, color, title] of parts) {
    if (share > 0.0005) bar.append(styled(make("i", { title }), { "--share": share, "--color": color }));
  }
  return bar;
}

/** A header cell of a table; with a key it sorts the table. */
function headCell(label, options = {}) {
  const { key, sort, numeric, onSort, title } = options;
  const cell = make("th", { scope: "col", class: numeric ? "number" : null, title });
  if (!key) {
    cell.append(label);
    return cell;
  }
  const isSorted = sort.key === key;
  cell.setAttribute("aria-sort", isSorted ? (sort.down ? "descending" : "ascending") : "none");
  cell.append(
    make(
      "button",
      { class: "sorter", "data-key": key, click: () => onSort(key) },
      label,
      make("span", { class: "arrow", "aria-hidden": "true" }, isSorted ? (sort.down ? "↓" : "↑") : ""),
    ),
  );
  return cell;
}

/** Sort rows by a value, which may be a number, text, or null (last). */
function sortedRows(rows, value, down) {
  const direction = down ? -1 : 1;
  return rows
    .map((row) => [value(row), row])
    .sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return direction * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    })
    .map(([, row]) => row);
}

function cell(text, kind = "number") {
  return make("td", { class: kind }, text);
}

/** Fill a group of buttons, of which one is pressed; the focus is kept. */
function fillChoice(group, options, chosen, choose) {
  const focused = group.contains(document.activeElement) ? document.activeElement.dataset.value : null;
  group.replaceChildren(
    ...options.map(([value, label, title]) =>
      make(
        "button",
        {
          "aria-pressed": String(value === chosen),
          "data-value": value,
          title,
          click: () => choose(value),
        },
        label,
      ),
    ),
  );
  if (focused !== null) group.querySelector(`[data-value="${focused}"]`)?.focus();
}

function select(id, label, options, chosen, choose) {
  const box = make(
    "select",
    { id, change: (event) => choose(event.target.value) },
    options.map(([value, text]) => make("option", { value, selected: String(value) === String(chosen) }, text)),
  );
  return make("label", { class: "field" }, make("span", {}, label), box);
}
