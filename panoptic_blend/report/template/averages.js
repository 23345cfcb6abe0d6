// The table of classes of instances: average precision of each class, and its counts at the chosen score.

const CLASS_FIGURES = ["AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR100"];
const AVERAGE_KEYS = ["name", "ap", ...LETTERS.split("").map((_, set) => `ap${set}`), "difference", ...CLASS_FIGURES, "instances", "tp", "fp", "fn", "f1"];

/** The classes with instances in the truth or detections, with their figures in each result set. */
function averageRows() {
  const step = scoreStep();
  const rows = [];
  content.classes.forEach((category, place) => {
    const found = [...content.instances.results.keys()].map((set) => figuresOf(set).classes[category.id] ?? null);
    if (!found.some(Boolean)) return;
    const counts = found.map((one, set) => one && countsAt(set, place + 1, step));
    const compared = differencesOf(content.instances)?.[shownKind()].classes[category.id] ?? null;
    rows.push({ line: place + 1, category, found, counts, compared });
  });
  return rows;
}

function averageValue(row, key) {
  const set = Number(state.set);
  const values = {
    name: () => row.category.name,
    ap: () => row.found[set]?.AP.value ?? null,
    difference: () => row.compared?.value ?? null,
    instances: () => row.found[set]?.instances ?? null,
    f1: () => row.counts[set] && ratesOf(row.counts[set]).f1,
  };
  if (/^ap\d$/.test(key)) return row.found[key[2]]?.AP.value ?? null;
  if (values[key]) return values[key]();
  return (CLASS_FIGURES.includes(key) ? row.found[set]?.[key].value : row.counts[set]?.[key]) ?? null;
}

function drawAverages(section) {
  const [order, sort] = classSorting(section, isCompared ? "ap0" : "ap", ["name"]);
  const head = (label, key, numeric, title) => headCell(label, { key, numeric, title, sort: order, onSort: sort });
  const rows = sortedRows(averageRows(), (row) => averageValue(row, order.key), order.down);
  const columns = [head("Class", "name")];
  if (isCompared) {
    columns.push(...content.sets.map((_, set) => head(`AP ${LETTERS[set]}`, `ap${set}`, true)));
    columns.push(head(differenceName(), "difference", true, `AP of ${LETTERS[otherSet()]} minus AP of A`));
  } else columns.push(head("AP", "ap", true, FIGURE_TITLES.AP));
  const from = `at a score of ${scoreText(scoreStep())} and IoU 0.50`;
  columns.push(
    headCell("Interval"),
    ...CLASS_FIGURES.map((name) => head(name, name, true, FIGURE_TITLES[name])),
    head("Instances", "instances", true, "instances in the truth, without crowds"),
    head("TP", "tp", true, `true positives ${from}`),
    head("FP", "fp", true, `false positives ${from}`),
    head("FN", "fn", true, `missed instances ${from}`),
    head("F1", "f1", true, `F1 ${from}`),
  );
  section.replaceChildren(...classTable(columns, rows.map(averageRow), `${KIND_NAMES[shownKind()]}. `));
}

function averageRow(row) {
  const set = Number(state.set);
  const found = row.found[set];
  const open = () => browse({ class: String(row.line) });
  const cells = [
    make("th", { scope: "row" }, make("button", { class: "link", click: open }, classLabel(row.line))),
    ...row.found.map((one, shown) => cell(percent(one?.AP.value ?? null), shown === set ? "number strong" : "number")),
  ];
  if (isCompared) cells.push(differenceCell(row.compared));
  if (!found) return make("tr", {}, cells, make("td", { colspan: CLASS_FIGURES.length + 6 }));
  const { value, low, high } = found.AP;
  const isKnown = hasIntervals && value !== null;
  const title = `AP ${percent(value)}, interval ${percent(low)} to ${percent(high)}`;
  return make(
    "tr",
    {},
    cells,
    make("td", { class: "wide" }, isKnown ? intervalBar(value, low, high, title) : null),
    CLASS_FIGURES.map((name) => cell(percent(found[name].value))),
    cell(count(found.instances)),
    ["tp", "fp", "fn"].map((key) => cell(count(row.counts[set][key]))),
    cell(percent(ratesOf(row.counts[set]).f1)),
  );
}
