// The table of classes, sorted by any column; a row leads to the images of its class.

const CLASS_KEYS = ["name", "kind", "pq", "pq0", "pq1", "difference", "sq", "rq", "tp", "fp", "fn"];

/** Whether a text is a column to sort by; a leading "-" means descending. */
const isClassOrder = (text, mode) => (mode === "instances" ? AVERAGE_KEYS : CLASS_KEYS).includes(text.replace(/^-/, ""));

/** The order of a table of classes, and a function that sorts it by a column; columns of `texts` begin ascending. */
function classSorting(section, initial, texts) {
  const chosen = state.order || initial;
  const order = { key: chosen.replace(/^-/, ""), down: chosen[0] === "-" };
  const sort = (key) => {
    const isDown = key === order.key ? !order.down : !texts.includes(key);
    show({ order: `${isDown ? "-" : ""}${key}` });
    section.querySelector(`[data-key="${key}"]`)?.focus();
  };
  return [order, sort];
}

function classRows() {
  const rows = [];
  content.classes.forEach((category, place) => {
    const found = content.results.map((result) => result.classes[category.id] ?? null);
    const compared = content.compared?.classes[category.id] ?? null;
    if (found.some(Boolean)) rows.push({ line: place + 1, category, found, compared });
  });
  return rows;
}

const CLASS_VALUES = {
  name: (row) => row.category.name,
  kind: (row) => (row.category.thing ? "thing" : "stuff"),
  pq0: (row) => row.found[0]?.pq ?? null,
  pq1: (row) => row.found[1]?.pq ?? null,
  difference: (row) => row.compared?.value ?? null,
};

function classValue(row, key) {
  if (key in CLASS_VALUES) return CLASS_VALUES[key](row);
  return row.found[Number(state.set)]?.[key] ?? null;
}

function drawClasses(section) {
  if (isInstances()) {
    drawAverages(section);
    return;
  }
  const [classSort, sort] = classSorting(section, isCompared ? "pq0" : "pq", ["name", "kind"]);
  const head = (label, key, numeric, title) => headCell(label, { key, numeric, title, sort: classSort, onSort: sort });
  const rows = sortedRows(classRows(), (row) => classValue(row, classSort.key), classSort.down);
  const columns = [head("Class", "name"), head("Kind", "kind")];
  if (isCompared) {
    columns.push(head("PQ A", "pq0", true), head("PQ B", "pq1", true));
    columns.push(head("B − A", "difference", true, "PQ of B minus PQ of A"));
  } else columns.push(head("PQ", "pq", true));
  columns.push(
    headCell("Interval"),
    head("SQ", "sq", true),
    head("RQ", "rq", true),
    head("TP", "tp", true, "matched pairs"),
    head("FP", "fp", true, "false positives: spurious predictions"),
    head("FN", "fn", true, "false negatives: missed segments"),
    headCell("PQ and points lost to each cause"),
  );
  section.replaceChildren(...classTable(columns, rows.map(classRow)), budgetLegend());
}

/** The heading of a table of classes, whose note begins with `remark`, and the table. */
function classTable(columns, rows, remark = "") {
  const compared = isCompared ? `Interval and the columns after it: ${setName(Number(state.set))}. ` : "";
  return [
    make(
      "div",
      { class: "bar" },
      make("h1", {}, `${rows.length} classes occur`),
      make("p", { class: "note" }, remark, compared, "Choose a class to see its images."),
    ),
    make(
      "div",
      { class: "scroll" },
      make(
        "table",
        { class: "dense", id: "class-table" },
        make("thead", {}, make("tr", {}, columns)),
        make("tbody", {}, rows),
      ),
    ),
  ];
}

function classRow(row) {
  const set = Number(state.set);
  const found = row.found[set];
  const open = () => browse({ class: String(row.line) });
  const cells = [
    make("th", { scope: "row" }, make("button", { class: "link", click: open }, classLabel(row.line))),
    cell(row.category.thing ? "thing" : "stuff", "kind"),
    ...row.found.map((one, shown) => cell(one ? percent(one.pq) : "–", shown === set ? "number strong" : "number")),
  ];
  if (isCompared) cells.push(differenceCell(row.compared));
  return make("tr", {}, cells, found ? figureCells(found, row.category.name) : make("td", { colspan: 7 }));
}

function figureCells(found, name) {
  const title = `PQ ${percent(found.pq)}, interval ${percent(found.low)} to ${percent(found.high)}`;
  return [
    make("td", { class: "wide" }, hasIntervals ? intervalBar(found.pq, found.low, found.high, title) : null),
    ...["sq", "rq"].map((key) => cell(percent(found[key]))),
    ...["tp", "fp", "fn"].map((key) => cell(count(found[key]))),
    make("td", { class: "wide" }, budgetBar(found, name)),
  ];
}

function differenceCell(compared) {
  if (!compared || compared.value === null) return cell("–");
  const { value, low, high } = compared;
  return make(
    "td",
    { class: `number ${low > 0 ? "up" : high < 0 ? "down" : ""}`, title: `interval ${signed(low)} to ${signed(high)}` },
    signed(value),
  );
}
