// Elements of all pages. Strings from files become text, never markup.

const content = JSON.parse(document.getElementById("content").textContent);
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

/** Create an element of SVG; the page has one of which the name of SVG is taken, so that no address is in the page. */
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(byId("drawing").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set CSS properties of an element by script, because the content policy forbids inline styles. */
function styled(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

const count = (number) => number.toLocaleString("en");

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
