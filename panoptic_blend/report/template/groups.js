// PQ of groups of images, such as sites, weather or cameras; a group leads to its images.

function groupCards(set) {
  const level = Math.round(100 * content.resampling.level);
  const sets = [...content.results.keys()];
  return Object.entries(content.results[set].columns).map(([column, groups]) => {
    const found = (shown, name) => content.results[shown].columns[column][name];
    const names = sortedRows(Object.keys(groups), (name) => groups[name].value, false);
    const row = (name) => {
      const { images, n, value, low, high } = groups[name];
      const open = () => browse({ group: `${column}\n${name}` });
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, make("button", { class: "link", click: open }, name || "(empty)")),
        cell(count(images)),
        cell(count(n)),
        sets.map((shown) => cell(percent(found(shown, name).value), shown === set ? "number strong" : "number")),
        cell(value === null || images < 2 ? "–" : `${percent(low)} – ${percent(high)}`),
      );
    };
    const figures = sets.map((shown) => (isCompared ? `PQ ${LETTERS[shown]}` : "PQ"));
    const interval = `${level} % interval${isCompared ? ` ${LETTERS[set]}` : ""}`;
    const heads = [headCell(column), ...["Images", "Classes", ...figures, interval].map((label) => headCell(label, { numeric: true }))];
    return make(
      "article",
      { class: "card" },
      make("h2", {}, `PQ by ${column}`, ofSet(set)),
      worstWords(sets.map((shown) => [shown, worstGroup(content.results[shown].columns[column])])),
      make("div", { class: "scroll" }, make("table", { class: "plain groups" }, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, names.map(row)))),
      make("p", { class: "note" }, "PQ of each is over the classes that occur in it. Groups with other classes are other tasks."),
    );
  });
}

/** The name of the group with the lowest PQ, or null if all are alike. */
function worstGroup(groups) {
  const known = sortedRows(Object.keys(groups).filter((name) => groups[name].value !== null), (name) => groups[name].value, false);
  return known.length > 1 && groups[known[0]].value < groups[known.at(-1)].value ? known[0] : null;
}

/** A sentence about the worst group of each result set, [set, name]. */
function worstWords(worst) {
  const named = worst.filter(([, name]) => name !== null);
  if (!named.length) return null;
  const isSame = new Set(worst.map(([, name]) => name)).size === 1;
  const words = isSame ? [make("b", {}, named[0][1])] : named.flatMap(([set, name], at) => [at ? ", " : "", `${LETTERS[set]} `, make("b", {}, name)]);
  return make("p", {}, "Lowest: ", words, ".");
}

/** The images of the chosen group, or null for all. */
function groupPlaces() {
  if (state.group === "") return null;
  const [column, name] = state.group.split("\n");
  return new Set(content.groups[column][name]);
}

const isGroup = (text) => {
  const [column, name] = text.split("\n");
  return name !== undefined && Object.hasOwn(content.groups ?? {}, column) && Object.hasOwn(content.groups[column], name);
};
