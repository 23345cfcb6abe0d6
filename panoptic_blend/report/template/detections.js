// The table of instances of the open image, their tooltip, and the selected one.

/** The selected instance, whose name is in the state, unless its score is too low to be shown. */
function selectedInstance() {
  const candidates = [...opened.found.instances.truth, ...shownDetections(Number(state.set))];
  return candidates.find((instance) => nameOf(instance) === state.segment) ?? null;
}

/** Select the smallest instance at a clicked pixel: of the truth in its pane, else of the predictions. */
function instanceChosen(at, layer, set) {
  const sides = layer === "truth" || layer === "photo" ? ["truth", "prediction"] : ["prediction", "truth"];
  const instance = sides.flatMap((side) => instancesAt(side, set, at))[0];
  chooseInstance(instance ? nameOf(instance) : "", set);
}

/** "t" or "p", and the place in the truth or among the detections. */
const nameOf = ({ side, place }) => `${side[0]}${place}`;

function chooseInstance(name, set) {
  show({ set: String(set), segment: name === state.segment && String(set) === state.set ? "" : name });
  byId("segments").querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function instanceWords(instance, set) {
  const kind = instanceKind(instance, set);
  if (instance.side === "truth") return instance.isCrowd ? "crowd" : kind === "matched" ? "found" : "missed";
  const { cause } = matchOf(instance);
  return cause === null ? (kind === "matched" ? "true positive" : "ignored") : `false: ${content.instances.causes[cause]}`;
}

/** Lines of the tooltip: up to three instances of each side at a pixel. */
function instanceTip(at, sets) {
  const line = (label, instance, set) => {
    const { iou, near: place } = instance.matches ? matchOf(instance) : {};
    const near = opened.found.instances.truth[place];
    return make(
      "div",
      { class: "tip-line" },
      make("small", {}, label),
      classLabel(instance.line),
      make("span", { class: "note" }, instanceWords(instance, set) + (instance.side === "prediction" ? `, score ${instance.score.toFixed(3)}` : "")),
      near ? make("span", { class: "note" }, `IoU ${iou.toFixed(3)} with ${className(near.line)}`) : null,
    );
  };
  const lines = instancesAt("truth", sets[0], at).slice(0, 3).map((instance) => line("truth", instance, sets[0]));
  for (const set of sets) {
    const label = isCompared ? `prediction ${LETTERS[set]}` : "prediction";
    lines.push(...instancesAt("prediction", set, at).slice(0, 3).map((instance) => line(label, instance, set)));
  }
  return lines.length ? lines : [make("div", { class: "tip-line" }, make("small", {}, "no instance"))];
}

function drawDetections() {
  const set = Number(state.set);
  offerRows("All instances");
  const found = sortedRows(shownDetections(set), (instance) => instance.score, true);
  const truth = opened.found.instances.truth;
  const wanted = [...truth, ...found].filter(
    (instance) => rowsShown === "all" || ["missed", "spurious"].includes(instanceKind(instance, set)),
  );
  const rows = wanted.map((instance) => instanceRow(instance, set));
  const nothing = rowsShown === "all" ? "Nothing is here." : "No errors at this score.";
  fillRows(["Instance", "Outcome", "IoU", "Score", "With"], rows, nothing);
}

function instanceRow(instance, set) {
  const { iou = null, near: place, outcome } = instance.matches ? matchOf(instance) : {};
  const near = opened.found.instances.truth[place];
  const name = nameOf(instance);
  return make(
    "tr",
    { "aria-selected": String(state.segment === name), class: "choosable", click: () => chooseInstance(name, set) },
    make(
      "th",
      { scope: "row" },
      make("button", { class: "link", "data-segment": name }, classLabel(instance.line), make("small", {}, instance.side)),
    ),
    make(
      "td",
      { class: "outcome" },
      styled(make("i", { class: "swatch" }), { "--color": `var(--${instanceKind(instance, set)})` }),
      instanceWords(instance, set),
    ),
    cell(iou === null ? "–" : iou.toFixed(2), outcome === 0 ? "number" : "number faint"),
    cell(instance.side === "prediction" ? instance.score.toFixed(3) : "–"),
    make("td", { class: outcome === 0 ? null : "faint", title: outcome === 0 ? "taken" : "nearest, of any class" }, near ? classLabel(near.line) : "–"),
  );
}
