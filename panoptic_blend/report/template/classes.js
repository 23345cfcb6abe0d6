// The table of classes, sorted by any column; a row leads to the images of its class.

const CLASS_KEYS = ["name", "kind", "pq", ...LETTERS.split("").map((_, set) => `pq${set}`), "difference", "sq", "rq", "tp", "fp", "fn", "errors"];

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
    const compared = differencesOf(content)?.classes[category.id] ?? null;
    if (found.some(Boolean)) rows.push({ line: place + 1, category, found, compared });
  });
  return rows;
}

const CLASS_VALUES = {
  name: (row) => row.category.name,
  kind: (row) => (row.category.thing ? "thing" : "stuff"),
  difference: (row) => row.compared?.value ?? null,
};

/** False positives and negatives of a class in one result set. */
const errorCount = (found) => (found ? found.fp + found.fn : null);

function classValue(row, key) {
  if (key === "errors") return errorCount(row.found[Number(state.set)]);
  if (/^pq\d$/.test(key)) return row.found[key[2]]?.pq ?? null;
  if (key in CLASS_VALUES) return CLASS_VALUES[key](row);
  return row.found[Number(state.set)]?.[key] ?? null;
}

function drawClasses(section) {
  if (isInstances()) {
    drawAverages(section);
    return;
  }
  const [classSort, sort] = classSorting(section, "-errors", ["name", "kind"]);
  const head = (label, key, numeric, title) => headCell(label, { key, numeric, title, sort: classSort, onSort: sort });
  const rows = sortedRows(classRows(), (row) => classValue(row, classSort.key), classSort.down);
  const columns = [head("Class", "name"), head("Kind", "kind")];
  if (isCompared) {
    columns.push(...content.sets.map((_, set) => head(`PQ ${LETTERS[set]}`, `pq${set}`, true)));
    columns.push(head(differenceName(), "difference", true, `PQ of ${LETTERS[otherSet()]} minus PQ of A`));
  } else columns.push(head("PQ", "pq", true));
  columns.push(
    headCell("Interval"),
    head("SQ", "sq", true),
    head("RQ", "rq", true),
    head("Errors", "errors", true, "missed segments and spurious predictions"),
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
  return make("tr", {}, cells, found ? figureCells(found, row.category.name) : make("td", { colspan: 8 }));
}

function figureCells(found, name) {
  const title = `PQ ${percent(found.pq)}, interval ${percent(found.low)} to ${percent(found.high)}`;
  return [
    make("td", { class: "wide" }, found.rare ? rareNote() : hasIntervals ? intervalBar(found.pq, found.low, found.high, title) : null),
    ...["sq", "rq"].map((key) => cell(percent(found[key]))),
    cell(count(errorCount(found))),
    ...["tp", "fp", "fn"].map((key) => cell(count(found[key]))),
    make("td", { class: "wide" }, budgetBar(found, name)),
  ];
}

const rareNote = () => (hasIntervals ? make("small", {}, "in too few images") : null);

function differenceCell(compared) {
  if (!compared || compared.value === null) return cell("–");
  const { value, low, high } = compared;
  return make(
    "td",
    { class: `number ${low > 0 ? "up" : high < 0 ? "down" : ""}`, title: `interval ${signed(low)} to ${signed(high)}` },
    signed(value),
  );
}
