// The overview of instances: COCO's twelve figures with intervals, and what holds at the chosen score.

/** The twelve figures, in the order of COCO's own table. */
const FIGURE_TITLES = {
  AP: "average precision, mean over IoU 0.50, 0.55, ..., 0.95",
  AP50: "average precision at IoU 0.50",
  AP75: "average precision at IoU 0.75",
  AP_S: "average precision of small instances: area up to 32² pixels",
  AP_M: "average precision of medium instances",
  AP_L: "average precision of large instances: area from 96² pixels",
  AR1: "average recall with at most 1 detection per class and image",
  AR10: "average recall with at most 10 detections per class and image",
  AR100: "average recall with at most 100 detections per class and image",
  AR_S: "average recall of small instances",
  AR_M: "average recall of medium instances",
  AR_L: "average recall of large instances",
};

function drawPrecision(section) {
  const set = Number(state.set);
  section.replaceChildren(
    verdictCard(set),
    make(
      "div",
      { class: "cards" },
      KINDS.map((kind) => precisionCard(kind)),
      thresholdCard(),
    ),
    make("p", { class: "note", id: "against" }, [filesWords(), againstWords(), intervalWords(), ...content.instances.remarks.map((line) => `${line}.`)].join(" ")),
    extremesPanel(set),
    make("div", { class: "columns" }, budgetSummary(set), twelvePanel()),
  );
}

function againstWords() {
  const { against, truth } = content.instances;
  return against === "instances"
    ? `AP is against the instances of ${truth} (truth: instances).`
    : `AP is against the things in the maps of ${truth} (truth: panoptic): it is not the AP that papers state.`;
}

function intervalWords() {
  const { resamples, level, seed } = content.resampling;
  return hasIntervals
    ? `Bars show the ${Math.round(100 * level)} % bootstrap interval over ${count(resamples)} resamples of ` +
        `${count(content.ids.length)} images (seed ${seed}).` +
        tooRare(figuresOf(Number(state.set)).too_rare)
    : "A single image has no interval.";
}

function precisionCard(kind) {
  const card = make("article", { class: "card figure", "data-group": kind }, make("h2", {}, KIND_NAMES[kind]));
  content.instances.results.forEach((result, set) => {
    const { value, low, high } = result[kind].figures.AP;
    if (isCompared) card.append(make("h3", { class: "set-name", title: setFiles()[set] }, setName(set)));
    const isKnown = hasIntervals && value !== null;
    card.append(
      make(
        "div",
        { class: "big" },
        make("span", { class: "value", "data-set": set }, percent(value)),
        make("span", { class: "unit" }, "AP"),
        isKnown ? make("span", { class: "bounds" }, `${percent(low)} – ${percent(high)}`) : null,
      ),
    );
    if (isKnown) card.append(intervalBar(value, low, high, `AP ${percent(value)}, interval ${percent(low)} to ${percent(high)}`));
    card.append(smallFigures(["AP50", "AP75"].map((name) => [name, percent(result[kind].figures[name].value)])));
  });
  content.instances.compared.forEach((compared, place) => {
    const difference = compared[kind].figures.AP;
    if (difference.value !== null) card.append(differenceLine(difference, place + 1));
  });
  return card;
}

function smallFigures(pairs) {
  return make(
    "dl",
    { class: "small-figures" },
    pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
}

/** What holds at the chosen score, by the kind that is shown. */
function thresholdCard() {
  const step = scoreStep();
  const card = make(
    "article",
    { class: "card figure", "data-group": "score" },
    make("h2", {}, `${KIND_NAMES[shownKind()]} from a score of ${scoreText(step)}, at IoU 0.50`),
  );
  for (const set of content.instances.results.keys()) {
    const counts = countsAt(set, 0, step);
    const { precision, recall, f1 } = ratesOf(counts);
    if (isCompared) card.append(make("h3", { class: "set-name", title: setFiles()[set] }, setName(set)));
    card.append(
      make(
        "div",
        { class: "big" },
        make("span", { class: "value", "data-set": set }, percent(f1)),
        make("span", { class: "unit" }, "F1"),
      ),
      smallFigures([
        ["precision", percent(precision)],
        ["recall", percent(recall)],
        ["TP", count(counts.tp)],
        ["FP", count(counts.fp)],
        ["FN", count(counts.fn)],
      ]),
    );
  }
  return card;
}

function twelvePanel() {
  const sets = [...content.instances.results.keys()];
  const heads = KINDS.flatMap((kind) => [
    ...sets.map((set) => headCell(KIND_NAMES[kind] + (isCompared ? ` ${LETTERS[set]}` : ""), { numeric: true })),
    isCompared ? headCell(differenceName(), { numeric: true }) : headCell("Interval"),
  ]);
  const row = (name) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", title: FIGURE_TITLES[name] }, name),
      KINDS.flatMap((kind) => [
        ...sets.map((set) => cell(percent(content.instances.results[set][kind].figures[name].value), "number strong")),
        isCompared
          ? differenceCell(differencesOf(content.instances)[kind].figures[name])
          : boundsCell(content.instances.results[0][kind].figures[name]),
      ]),
    );
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "COCO's twelve figures"),
    make(
      "div",
      { class: "scroll" },
      make(
        "table",
        { class: "plain", id: "twelve" },
        make("thead", {}, make("tr", {}, headCell(""), heads)),
        make("tbody", {}, Object.keys(FIGURE_TITLES).map(row)),
      ),
    ),
  );
}

function boundsCell({ value, low, high }) {
  const isKnown = hasIntervals && value !== null;
  return cell(isKnown ? `${percent(low)} – ${percent(high)}` : "–", "bounds");
}
