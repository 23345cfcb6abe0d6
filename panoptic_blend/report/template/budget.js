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

function budgetBar({ pq, lost }, name) {
  const parts = lost.map((share, cause) => [
    share,
    causeColor(cause),
    `${content.causes[cause]}: ${percent(share)} lost`,
  ]);
  return stackedBar(
    [[pq, "var(--kept)", `PQ ${percent(pq)}`], ...parts],
    `${name}: PQ ${percent(pq)}, the rest lost to ${lost
      .map((share, cause) => [share, content.causes[cause]])
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
    item("var(--kept)", "PQ"),
    content.causes.map((cause, place) => item(causeColor(place), cause)),
  );
}

function budgetSummary(set) {
  const groups = content.results[set].groups;
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "Points of PQ lost to each cause", ofSet(set)),
    make(
      "div",
      { class: "budget-bars" },
      GROUPS.flatMap((group) => [
        make("span", {}, group),
        budgetBar(groups[group], group),
        make("span", { class: "number" }, percent(groups[group].n ? groups[group].pq : null)),
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
      make("h1", {}, "Every lost point of PQ has one cause"),
      make(
        "p",
        { class: "note" },
        "PQ if repaired: PQ without the errors of this cause alone; the gains do not add up. Choose a cause to see its images.",
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
  const groups = content.results[set].groups;
  const largest = Math.max(...groups.All.lost, 1e-9);
  const order = sortedRows([...content.causes.keys()], (cause) => groups.All.lost[cause], true);
  const row = (cause) => {
    const isBrowsable = content.causes[cause] !== "inexact outline";
    const name = [styled(make("i", { class: "swatch" }), { "--color": causeColor(cause) }), content.causes[cause]];
    const bar = styled(make("i", { class: "gain" }), {
      "--share": groups.All.lost[cause] / largest,
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
      GROUPS.map((group) => cell(percent(groups[group].lost[cause]))),
      make("td", { class: "wide" }, bar),
      cell(percent(groups.All.mended[cause]), "number strong"),
      cell(signed(groups.All.mended[cause] - groups.All.pq)),
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
            GROUPS.map((group) => headCell(group, { numeric: true })),
            headCell(""),
            headCell("PQ if repaired", { numeric: true }),
            headCell("Gain", { numeric: true }),
          ),
        ),
        make("tbody", {}, order.map(row)),
      ),
    ),
  );
}

function classBudgets(set) {
  const rows = sortedRows(
    classRows().filter((row) => row.found[set]),
    (row) => row.found[set].pq,
    false,
  );
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "By class, worst first", ofSet(set)),
    make(
      "div",
      { class: "budget-bars tall" },
      rows.flatMap((row) => [
        make("button", { class: "link", click: () => browse({ class: String(row.line) }) }, classLabel(row.line)),
        budgetBar(row.found[set], row.category.name),
        make("span", { class: "number" }, percent(row.found[set].pq)),
      ]),
    ),
  );
}
