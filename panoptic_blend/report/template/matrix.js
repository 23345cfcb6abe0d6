// The confusion matrix of the classes that occur, and the most confused pairs of classes.

const DENSE = 24; // the number of classes of a matrix that is still surveyed at a glance

function drawConfusion(section) {
  const set = Number(state.set);
  const entries = content.results[set].confusion[state.matrix];
  const choice = make("div", { class: "choice", role: "group", "aria-label": "Count", id: "matrix-kind" });
  fillChoice(
    choice,
    [
      ["segments", "Segments"],
      ["pixels", "Pixels"],
    ],
    state.matrix,
    (kind) => {
      show({ matrix: kind });
      section.querySelector(`#matrix-kind [data-value="${kind}"]`).focus();
    },
  );
  const explained =
    state.matrix === "segments"
      ? "Pairs of segments with an IoU above 0.5, of any classes; (none): missed or spurious segments. " +
        "Choose a cell to see its images."
      : "All pixels; (none) is void.";
  const all = occurringLines(entries);
  const most = mostConfused(entries, all);
  const lines = state.lines === "all" ? all : most;
  const extent = make("div", { class: "choice", role: "group", "aria-label": "Classes of the matrix", id: "matrix-lines" });
  if (most.length < all.length) {
    const options = [
      ["", `${most.filter(Boolean).length} most confused`],
      ["all", `all ${all.filter(Boolean).length} classes`],
    ];
    fillChoice(extent, options, state.lines, (chosen) => {
      show({ lines: chosen });
      section.querySelector(`#matrix-lines [data-value="${chosen}"]`).focus();
    });
  }
  section.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("h1", {}, "Truth in rows, prediction in columns"),
      choice,
      extent,
      make("p", { class: "note" }, explained),
    ),
    make(
      "div",
      { class: "columns matrix-columns" },
      make(
        "article",
        { class: "card" },
        make("h2", {}, `Confusion of ${state.matrix}`, ofSet(set)),
        make("div", { class: "scroll matrix-box", role: "region", "aria-label": "Confusion matrix" }, matrixTable(entries, lines)),
      ),
      confusedPanel(entries),
    ),
  );
}

const occurringLines = (entries) => [...new Set(entries.flatMap(([row, column]) => [row, column]))].sort((a, b) => a - b);

/** The classes that are confused most often, where there are so many that the matrix would be nearly empty. */
function mostConfused(entries, all) {
  if (all.length <= DENSE) return all;
  const sums = new Map();
  for (const [row, column, number] of entries) {
    if (row === column || !row || !column) continue;
    for (const line of [row, column]) sums.set(line, (sums.get(line) ?? 0) + number);
  }
  const first = sortedRows([...sums.keys()], (line) => sums.get(line), true).slice(0, DENSE);
  return first.length ? all.filter((line) => !line || first.includes(line)) : all;
}

function matrixTable(entries, lines) {
  const sums = new Map();
  const values = new Map();
  for (const [row, column, number] of entries) {
    sums.set(row, (sums.get(row) ?? 0) + number);
    values.set(row * 65536 + column, number);
  }
  const head = make(
    "tr",
    {},
    make("th", { class: "corner" }, "truth \\ prediction"),
    lines.map((line) => make("th", { scope: "col", class: "turned" }, make("span", {}, classLabel(line)))),
  );
  const body = lines.map((row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, classLabel(row)),
      lines.map((column) => matrixCell(row, column, values.get(row * 65536 + column) ?? 0, sums.get(row) ?? 0)),
    ),
  );
  const table = make("table", { class: "matrix", id: "matrix" }, make("thead", {}, head), make("tbody", {}, body));
  table.addEventListener("click", matrixClicked);
  table.addEventListener("keydown", matrixPressed);
  const first = table.querySelector("td[data-row]"); // Tab stops only here; the arrow keys move between cells
  if (first) first.tabIndex = 0;
  return table;
}

/** Enter opens a cell; arrow keys move to the next cell that is not empty. */
function matrixPressed(event) {
  if (event.key === "Enter" || event.key === " ") return matrixClicked(event);
  const [down, right] =
    { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
  const from = event.target.closest("td");
  if (down === undefined || !from) return undefined;
  event.preventDefault();
  const rows = from.closest("tbody").rows;
  let [row, column] = [from.parentElement.rowIndex - 1 + down, from.cellIndex + right];
  while (rows[row]?.cells[column] && rows[row].cells[column].dataset.row === undefined)
    [row, column] = [row + down, column + right];
  const found = rows[row]?.cells[column];
  if (found?.matches("td")) {
    [from.tabIndex, found.tabIndex] = [-1, 0];
    found.focus();
  }
  return undefined;
}

function matrixCell(row, column, number, sum) {
  const node = make("td", { class: row === column ? "same" : row && column ? "other" : "none" });
  if (!number) return node;
  const share = number / sum;
  node.textContent =
    state.matrix === "segments" ? compact(number) : share >= 0.0005 ? percent(share, share < 0.1 ? 1 : 0) : "·";
  node.title = `${className(row)} predicted as ${className(column)}: ${count(number)} (${percent(share)} % of the row)`;
  if (state.matrix === "segments" && row + column > 0)
    node.title += row === column ? "; shows the images in which the class occurs" : "; shows its images";
  styled(node, { "--share": Math.sqrt(share) });
  if (state.matrix === "segments" && (row || column)) {
    Object.assign(node.dataset, { row, column });
    node.tabIndex = -1;
  }
  return node;
}

const compact = (number) => (number < 10000 ? String(number) : `${Math.round(number / 1000)}k`);

function matrixClicked(event) {
  const { row, column } = event.target.closest("td")?.dataset ?? {};
  if (row === undefined) return;
  event.preventDefault();
  browse(row === column ? { class: row } : { true: row, taken: column });
}

function confusedPanel(entries) {
  const confused = entries.filter(([row, column]) => row !== column && row && column);
  const first = sortedRows(confused, (entry) => entry[2], true).slice(0, 30);
  const item = ([row, column, number]) => {
    const label = [classLabel(row), make("span", { class: "arrow" }, " → "), classLabel(column)];
    const words =
      state.matrix === "segments"
        ? make("button", { class: "link", click: () => browse({ true: String(row), taken: String(column) }) }, label)
        : make("span", {}, label);
    return make("li", {}, words, make("span", { class: "number" }, count(number)));
  };
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "Most confused classes"),
    first.length
      ? make("ol", { id: "confused" }, first.map(item))
      : make("p", { class: "note" }, "No classes are confused."),
  );
}
