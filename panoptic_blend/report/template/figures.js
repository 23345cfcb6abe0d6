// The overview: PQ, SQ and RQ with intervals, the difference of two result sets, PQ by size, and the error budget.

/** All resamples of a single image are equal, so that an interval would be meaningless. */
const hasIntervals = content.ids.length > 1;

function drawOverview(section) {
  if (isInstances()) {
    drawPrecision(section);
    return;
  }
  const set = Number(state.set);
  const level = Math.round(100 * content.resampling.level);
  section.replaceChildren(
    verdictCard(set),
    make(
      "div",
      { class: "cards" },
      GROUPS.map((group) => groupCard(group)),
    ),
    make(
      "p",
      { class: "note" },
      `${filesWords()} `,
      !hasIntervals
        ? "A single image has no interval."
        : `Bars show the ${level} % bootstrap interval of PQ over ${count(content.resampling.resamples)} ` +
        `resamples of ${count(content.ids.length)} images ` +
        `(seed ${content.resampling.seed}): where PQ of many images of the same kind would be.` +
        tooRare(content.results[set].too_rare),
    ),
    extremesPanel(set),
    make("div", { class: "columns" }, budgetSummary(set), sizesPanel(set), besidePanel(), groupCards(set)),
  );
}

/** The names of the files that are shown; several result sets are named on the cards. */
const filesWords = () => `${isCompared ? "Results" : setFiles()[0]} against ${(isInstances() ? content.instances : content).truth}.`;

/** A sentence about classes in too few images for an interval. */
function tooRare(classes) {
  return classes ? ` Classes in too few images for an interval, ${count(classes)} here, make it unreliable.` : "";
}

function groupCard(group) {
  const card = make("article", { class: "card figure", "data-group": group }, make("h2", {}, group));
  content.results.forEach((result, set) => {
    const { pq, sq, rq, n, low, high } = result.groups[group];
    if (isCompared) card.append(make("h3", { class: "set-name", title: setFiles()[set] }, setName(set)));
    card.append(
      make(
        "div",
        { class: "big" },
        make("span", { class: "value", "data-set": set }, percent(n ? pq : null)),
        make("span", { class: "unit" }, "PQ"),
        n && hasIntervals ? make("span", { class: "bounds" }, `${percent(low)} – ${percent(high)}`) : null,
      ),
    );
    if (n && hasIntervals)
      card.append(intervalBar(pq, low, high, `PQ ${percent(pq)}, interval ${percent(low)} to ${percent(high)}`));
    card.append(
      make(
        "dl",
        { class: "small-figures" },
        [
          ["SQ", percent(n ? sq : null)],
          ["RQ", percent(n ? rq : null)],
          ["classes", String(n)],
        ].map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
      ),
    );
  });
  card.append(...commonMeans(group));
  if (content.results.some((result) => result.groups[group].n))
    card.append(...content.compared.map((compared, place) => differenceLine(compared.groups[group], place + 1)));
  return card;
}

/** A line about means over different classes, with the means over those classes that occur in all result sets. */
function commonMeans(group) {
  const numbers = content.results.map((result) => result.groups[group].n);
  const rows = classRows().filter((row) => group === "All" || row.category.thing === (group === "Things"));
  const common = rows.filter((row) => row.found.every(Boolean));
  if (numbers.every((number) => number === common.length)) return [];
  const means = content.results.map((_, set) => {
    const sum = common.reduce((total, row) => total + row.found[set].pq, 0);
    return `${LETTERS[set]} ${percent(common.length ? sum / common.length : null)}`;
  });
  return [make("p", { class: "note common" }, `These are means over different classes. Over the ${count(common.length)} that occur in all: ${means.join(", ")}.`)];
}

function differenceLine({ value, low, high, better }, set) {
  const verdict = low > 0 ? `${LETTERS[set]} is better` : high < 0 ? "A is better" : "not significant";
  return make(
    "div",
    { class: `difference ${low > 0 ? "up" : high < 0 ? "down" : ""}` },
    make("b", {}, `${differenceName(set)} ${signed(value)}`),
    ` (${signed(low)} to ${signed(high)}) `,
    make("span", { class: "verdict" }, verdict),
    make("span", { class: "share" }, `${LETTERS[set]} better in ${percent(better)} % of resamples`),
  );
}

/** The name of the result set that a panel shows, if there are two. */
const ofSet = (set) => (isCompared ? make("small", { class: "of-set" }, setName(set)) : null);

function sizesPanel(set) {
  const sizes = Object.entries(content.results[set].sizes);
  const rows = GROUPS.map((group) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, group),
      sizes.map(([, groups]) => sizeCell(groups[group])),
    ),
  );
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "PQ by segment size", ofSet(set)),
    make(
      "table",
      { class: "plain" },
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          headCell("PQ of"),
          sizes.map(([size]) => headCell(size, { numeric: true })),
        ),
      ),
      make("tbody", {}, rows),
    ),
    make("p", { class: "note" }, "Small: area below 32² pixels; large: from 96² pixels. In brackets: over how many classes, as other classes occur in each size."),
  );
}

/** PQ of one size, and the number of classes that it is a mean over. */
function sizeCell({ n, pq }) {
  return make("td", { class: "number" }, n ? percent(pq) : "–", make("small", { class: "classes" }, ` (${n})`));
}

/** Figures beside PQ, of every result set. */
function besidePanel() {
  const names = Object.keys(content.results[0].beside);
  const rowsOf = (set) => GROUPS.map((group) => [group, names.map((name) => percent(content.results[set].beside[name][group]))]);
  return make(
    "article",
    { class: "card", id: "beside" },
    make("h2", {}, "Figures beside PQ"),
    setsTable(names, rowsOf),
    make("p", { class: "note" }, "Those of pq --also. mIoU is of the panoptic maps; PQ-dagger has no threshold for stuff; covering weighs segments by area."),
  );
}

/** A table with rows [name, texts of figures] of every result set; a set is named if there are several. */
function setsTable(figures, rowsOf) {
  const row = (set, [name, texts]) =>
    make("tr", {}, isCompared ? cell(LETTERS[set], null) : null, make("th", { scope: "row" }, name), texts.map((text) => cell(text)));
  const rows = [...content.results.keys()].flatMap((set) => rowsOf(set).map((found) => row(set, found)));
  const heads = [...(isCompared ? ["Results"] : []), "Classes"].map((label) => headCell(label));
  const numbers = figures.map((label) => headCell(label, { numeric: true }));
  return make("div", { class: "scroll" }, make("table", { class: "plain" }, make("thead", {}, make("tr", {}, heads, numbers)), make("tbody", {}, rows)));
}

/** The images with the lowest PQ, or with the largest difference between two result sets; of equal ones, those with most errors. */
function extremesPanel(set) {
  const first = (place) => (isCompared ? bySize(differenceOf(place)) : qualityOf(set, place));
  const scored = [...content.ids.keys()].filter((place) => first(place) !== null);
  const order = sortedRows(sortedRows(scored, (place) => errorsOf(set, place), true), first, false).slice(0, STRIP);
  return make(
    "article",
    { class: "card", id: "extremes" },
    make("h2", {}, isCompared ? `Images that differ most: A, ${LETTERS[otherSet()]}, ${differenceName()}` : "Worst images"),
    make("div", { class: "strip-cards" }, order.map((place) => imageCard(place))),
    make("button", { class: "quiet", click: () => browse({}) }, `Browse all ${count(content.ids.length)}`),
  );
}
