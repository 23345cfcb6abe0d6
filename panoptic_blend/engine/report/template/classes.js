// The table of classes, sorted by any column; a row leads to the images of its class.

let classSort = { key: "pq", down: false };

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
  pq2: (row) => row.found[1]?.pq ?? null,
  difference: (row) => row.compared?.value ?? null,
};

function classValue(row, key) {
  if (key in CLASS_VALUES) return CLASS_VALUES[key](row);
  return row.found[Number(state.set)]?.[key] ?? null;
}

function drawClasses(section) {
  const sort = (key) => {
    classSort = { key, down: key === classSort.key ? !classSort.down : !["name", "kind"].includes(key) };
    drawClasses(section);
    section.querySelector(`[data-key="${key}"]`)?.focus();
  };
  const head = (label, key, numeric, title) => headCell(label, { key, numeric, title, sort: classSort, onSort: sort });
  const rows = sortedRows(classRows(), (row) => classValue(row, classSort.key), classSort.down);
  const columns = [head("Class", "name"), head("Kind", "kind"), head("PQ", "pq", true), headCell("Interval")];
  if (isCompared) columns.push(head("B − A", "difference", true, "PQ of B minus PQ of A"));
  columns.push(
    head("SQ", "sq", true),
    head("RQ", "rq", true),
    head("TP", "tp", true, "matched pairs"),
    head("FP", "fp", true, "spurious predictions"),
    head("FN", "fn", true, "missed segments"),
    headCell("Where the points went"),
  );
  section.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("h1", {}, `${rows.length} classes occur`),
      make(
        "p",
        { class: "note" },
        isCompared ? `Figures of ${setName(Number(state.set))}.` : "",
        " Choose a class to see its images.",
      ),
    ),
    make(
      "div",
      { class: "scroll" },
      make(
        "table",
        { class: "dense", id: "class-table" },
        make("thead", {}, make("tr", {}, columns)),
        make("tbody", {}, rows.map(classRow)),
      ),
    ),
    budgetLegend(),
  );
}

function classRow(row) {
  const found = row.found[Number(state.set)];
  const open = make(
    "button",
    { class: "link", click: () => browse({ class: String(row.line) }) },
    classLabel(row.line),
  );
  const cells = [make("th", { scope: "row" }, open), cell(row.category.thing ? "thing" : "stuff", "kind")];
  if (found)
    cells.push(
      cell(percent(found.pq), "number strong"),
      make(
        "td",
        { class: "wide" },
        intervalBar(
          found.pq,
          found.low,
          found.high,
          `PQ ${percent(found.pq)}, interval ${percent(found.low)} to ${percent(found.high)}`,
        ),
      ),
    );
  else cells.push(cell("–"), cell(""));
  if (isCompared) cells.push(differenceCell(row.compared));
  if (found) {
    cells.push(
      ...["sq", "rq"].map((key) => cell(percent(found[key]))),
      ...["tp", "fp", "fn"].map((key) => cell(count(found[key]))),
    );
    cells.push(make("td", { class: "wide" }, budgetBar(found, row.category.name)));
  } else cells.push(...Array.from({ length: 6 }, () => cell("–")));
  return make("tr", {}, cells);
}

function differenceCell(compared) {
  if (!compared) return cell("–");
  const { value, low, high } = compared;
  return make(
    "td",
    { class: `number ${low > 0 ? "up" : high < 0 ? "down" : ""}`, title: `interval ${signed(low)} to ${signed(high)}` },
    signed(value),
  );
}
