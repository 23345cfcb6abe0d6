// The overview: PQ, SQ and RQ with intervals, the difference of two result sets, sizes, where the points went.

/** Draws of one image are all alike: they say nothing of other images. */
const hasIntervals = content.ids.length > 1;

function drawOverview(section) {
  const set = Number(state.set);
  const level = Math.round(100 * content.resampling.level);
  section.replaceChildren(
    make(
      "div",
      { class: "cards" },
      GROUPS.map((group) => groupCard(group)),
    ),
    make(
      "p",
      { class: "note" },
      !hasIntervals
        ? "One image: there is no interval."
        : `Bars show the ${level} % interval of PQ over ${count(content.resampling.resamples)} ` +
        `draws of ${count(content.ids.length)} images ` +
        `(seed ${content.resampling.seed}): how far PQ would move with other images.`,
    ),
    make("div", { class: "columns" }, budgetSummary(set), sizesPanel(set), extremesPanel(set)),
  );
}

function groupCard(group) {
  const card = make("article", { class: "card figure", "data-group": group }, make("h2", {}, group));
  content.results.forEach((result, set) => {
    const { pq, sq, rq, n, low, high } = result.groups[group];
    if (isCompared) card.append(make("h3", { class: "set-name", title: content.sets[set] }, setName(set)));
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
  if (content.compared && content.results.some((result) => result.groups[group].n))
    card.append(differenceLine(content.compared.groups[group]));
  return card;
}

function differenceLine({ value, low, high, better }) {
  const verdict = low > 0 ? "B is better" : high < 0 ? "A is better" : "could be luck";
  return make(
    "div",
    { class: `difference ${low > 0 ? "up" : high < 0 ? "down" : ""}` },
    make("b", {}, `B − A ${signed(value)}`),
    ` (${signed(low)} to ${signed(high)}) `,
    make("span", { class: "verdict" }, verdict),
    make("span", { class: "share" }, `B better in ${percent(better)} % of draws`),
  );
}

/** Whose figures a panel shows, where there are two result sets. */
const ofSet = (set) => (isCompared ? make("small", { class: "of-set" }, setName(set)) : null);

function sizesPanel(set) {
  const sizes = Object.entries(content.results[set].sizes);
  const rows = GROUPS.map((group) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, group),
      sizes.map(([, groups]) => cell(groups[group].n ? percent(groups[group].pq) : "–")),
    ),
  );
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "PQ by size of segments", ofSet(set)),
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
    make("p", { class: "note" }, "Small: below 32² pixels; large: from 96² on."),
  );
}

/** The images to look at first: the worst ones, or those where two result sets differ most. */
function extremesPanel(set) {
  const first = (place) => (isCompared ? bySize(differenceOf(place)) : qualityOf(set, place));
  const scored = [...content.ids.keys()].filter((place) => first(place) !== null);
  const order = sortedRows(scored, first, false).slice(0, 8);
  const figures = (place) => [
    ...content.sets.map((_, shown) => make("span", { class: "number" }, percent(qualityOf(shown, place)))),
    isCompared ? differenceMark(differenceOf(place)) : null,
  ];
  const link = (place) =>
    make(
      "button",
      { class: "link", click: () => openImage(place) },
      make("span", { class: "name" }, content.names[place]),
      make("span", { class: "figures" }, figures(place)),
    );
  return make(
    "article",
    { class: "card" },
    make("h2", {}, isCompared ? "Images that differ most" : "Worst images"),
    make(
      "ol",
      { class: "extremes" },
      order.map((place) => make("li", {}, link(place))),
    ),
    make("button", { class: "quiet", click: () => browse({}) }, `Browse all ${count(content.ids.length)}`),
  );
}
