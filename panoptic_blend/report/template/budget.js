// Error budget: bars and a table of the causes of lost PQ; a cause leads to its images.

const CAUSE_COLORS = [
  "#b5558d",
  "#8a6fd1",
  "#4f83cc",
  "#3aa6b9",
  "#d7b13c",
  "#7d8b99",
  "#d9603b",
  "#e49a45",
  "#a9b7a0",
];
const causeColor = (cause) => CAUSE_COLORS[cause % CAUSE_COLORS.length];

/** The figure of a budget: PQ, or AP50 of instances. */
const budgetName = () => (isInstances() ? "AP50" : "PQ");
const budgetValue = (budget) => (isInstances() ? budget.ap50 : budget.pq);

function budgetBar(budget, name) {
  const value = budgetValue(budget);
  const parts = budget.lost.map((share, cause) => [
    share,
    causeColor(cause),
    `${causeNames()[cause]}: ${percent(share)} lost`,
  ]);
  return stackedBar(
    [[value, "var(--kept)", `${budgetName()} ${percent(value)}`], ...parts],
    `${name}: ${budgetName()} ${percent(value)}, the rest lost to ${budget.lost
      .map((share, cause) => [share, causeNames()[cause]])
      .filter(([share]) => share > 0.0005)
      .map(([share, cause]) => `${cause} ${percent(share)}`)
      .join(", ")}`,
  );
}

function budgetLegend() {
  const item = (color, label) => make("li", {}, styled(make("i", { class: "swatch" }), { "--color": color }), label);
  return make(
    "ul",
    { class: "legend" },
    item("var(--kept)", budgetName()),
    causeNames().map((cause, place) => item(causeColor(place), cause)),
  );
}

/** The budgets of groups of classes: of all, things and stuff, or of all instances, and whether there are any. */
function groupBudgets(set) {
  if (isInstances()) return [["All", figuresOf(set).budget.all]];
  return GROUPS.map((group) => [group, content.results[set].groups[group]]);
}

const isEmptyBudget = (budget) => (isInstances() ? budget.ap50 === null : !budget.n);

function budgetSummary(set) {
  return make(
    "article",
    { class: "card" },
    make("h2", {}, `Points of ${budgetName()} lost to each cause`, ofSet(set)),
    make(
      "div",
      { class: "budget-bars" },
      groupBudgets(set).flatMap(([group, budget]) => [
        make("span", {}, group),
        budgetBar(budget, group),
        make("span", { class: "number" }, percent(isEmptyBudget(budget) ? null : budgetValue(budget))),
      ]),
    ),
    budgetLegend(),
  );
}

function drawErrors(section) {
  const set = Number(state.set);
  section.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("h1", {}, `Every lost point of ${budgetName()} has one cause`),
      make(
        "p",
        { class: "note" },
        `${budgetName()} if repaired: ${budgetName()} without the errors of this cause alone; the gains do not add up. ` +
          `Choose a cause to see its images${isInstances() ? " at the chosen score" : ""}.`,
      ),
    ),
    make(
      "div",
      { class: "columns" },
      make("div", { class: "stacked" }, budgetSummary(set), causeTable(set)),
      classBudgets(set),
    ),
  );
}

function causeTable(set) {
  const groups = groupBudgets(set);
  const [, all] = groups[0];
  const largest = Math.max(...all.lost, 1e-9);
  const order = sortedRows([...causeNames().keys()], (cause) => all.lost[cause], true);
  const row = (cause) => {
    const isBrowsable = causeNames()[cause] !== "inexact outline";
    const name = [styled(make("i", { class: "swatch" }), { "--color": causeColor(cause) }), causeNames()[cause]];
    const bar = styled(make("i", { class: "gain" }), {
      "--share": all.lost[cause] / largest,
      "--color": causeColor(cause),
    });
    return make(
      "tr",
      {},
      make(
        "th",
        { scope: "row" },
        isBrowsable
          ? make("button", { class: "link", "data-cause": cause, click: () => browse({ cause: String(cause) }) }, name)
          : make(
              "span",
              { class: "class-label", title: "1 − IoU of matched pairs, which occurs in nearly every image" },
              name,
            ),
      ),
      isInstances() ? cell(count(all.counts[cause])) : null,
      groups.map(([, budget]) => cell(percent(budget.lost[cause]))),
      make("td", { class: "wide" }, bar),
      cell(percent(all.mended[cause]), "number strong"),
      cell(all.mended[cause] === null ? "–" : signed(all.mended[cause] - budgetValue(all))),
    );
  };
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "Points lost", ofSet(set)),
    make(
      "div",
      { class: "scroll" },
      make(
        "table",
        { class: "plain", id: "causes" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            headCell("Cause"),
            isInstances() ? headCell("Errors", { numeric: true }) : null,
            groups.map(([group]) => headCell(isInstances() ? "Lost" : group, { numeric: true })),
            headCell(""),
            headCell(`${budgetName()} if repaired`, { numeric: true }),
            headCell("Gain", { numeric: true }),
          ),
        ),
        make("tbody", {}, order.map(row)),
      ),
    ),
  );
}

/** The classes that occur, with their budgets. */
function budgetRows(set) {
  if (!isInstances()) return classRows().map((row) => [row, row.found[set]]).filter(([, budget]) => budget);
  const budgets = figuresOf(set).budget.classes;
  return averageRows()
    .map((row) => [row, budgets[row.category.id]])
    .filter(([, budget]) => budget.ap50 !== null);
}

function classBudgets(set) {
  const rows = sortedRows(budgetRows(set), ([row, budget]) => (isInstances() ? -budgetValue(budget) : errorCount(row.found[set])), true);
  return make(
    "article",
    { class: "card" },
    make("h2", {}, `By class, ${isInstances() ? "lowest AP50" : "most errors"} first`, ofSet(set)),
    make(
      "div",
      { class: "budget-bars tall" },
      rows.flatMap(([row, budget]) => [
        make("button", { class: "link", click: () => browse({ class: String(row.line) }) }, classLabel(row.line)),
        budgetBar(budget, row.category.name),
        make("span", { class: "number" }, percent(budgetValue(budget))),
      ]),
    ),
  );
}
