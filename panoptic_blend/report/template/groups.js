// PQ of groups of images, such as sites, weather or cameras; a group leads to its images.

function groupCards(set) {
  const level = Math.round(100 * content.resampling.level);
  return Object.entries(content.results[set].columns).map(([column, groups]) => {
    const names = sortedRows(Object.keys(groups), (name) => groups[name].value, false);
    const known = names.filter((name) => groups[name].value !== null);
    const isSpread = known.length > 1 && groups[known[0]].value < groups[known.at(-1)].value;
    const row = (name) => {
      const { images, n, value, low, high } = groups[name];
      const open = () => browse({ group: `${column}\n${name}` });
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, make("button", { class: "link", click: open }, name || "(empty)")),
        cell(count(images)),
        cell(count(n)),
        cell(percent(value), "number strong"),
        cell(value === null || images < 2 ? "–" : `${percent(low)} – ${percent(high)}`),
      );
    };
    const heads = [headCell(column), ...["Images", "Classes", "PQ", `${level} % interval`].map((label) => headCell(label, { numeric: true }))];
    return make(
      "article",
      { class: "card" },
      make("h2", {}, `PQ by ${column}`, ofSet(set)),
      isSpread ? make("p", {}, "Lowest: ", make("b", {}, known[0]), ".") : null,
      make("div", { class: "scroll" }, make("table", { class: "plain groups" }, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, names.map(row)))),
      make("p", { class: "note" }, "PQ of each is over the classes that occur in it. Groups with other classes are other tasks."),
    );
  });
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
