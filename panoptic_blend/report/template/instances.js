// The instances of the result sets: the scores of all detections, and what they count for at the chosen score.

const KINDS = content.instances?.kinds ?? []; // "mask" and "box", as far as all result sets have them
const KIND_NAMES = { mask: "Masks", box: "Boxes" };
const IGNORED = 255; // of a detection that counts neither as true nor as false
const TRUE = 128; // is added to the step of a true positive

const shownKind = () => state.kind || KINDS[0];
/** The figures of a result set for the kind of overlap that is shown. */
const figuresOf = (set) => content.instances.results[set][shownKind()];

/** Decode the detections of every result set: one byte for each by kind, and its class, image by image. */
async function readDetections() {
  if (!content.instances) return;
  for (const result of content.instances.results) {
    const { counts, classes } = result.detections;
    result.starts = [0];
    for (const number of counts) result.starts.push(result.starts.at(-1) + number);
    result.classes = new Uint16Array((await inflated(classes)).buffer);
    for (const kind of KINDS) {
      result[kind].outcomes = await inflated(result[kind].outcomes);
      result[kind].causes = await inflated(result[kind].causes);
    }
  }
}

/** The step of the slider, an index of `content.instances.steps`: by default that of the best F1 of the first set. */
const scoreStep = () => (state.score === "" ? bestStep(0) : Number(state.score));
const scoreText = (step) => String(Number(content.instances.steps[step].toPrecision(4)));
/** The last step that shows a detection of this score. */
const stepOf = (score) => content.instances.steps.findLastIndex((lowest) => lowest <= score);

/** Counts of a class, or of all (0), at a step: true and false positives, and misses. */
function countsAt(set, line, step) {
  const found = figuresOf(set);
  const lines = line ? [line] : Object.keys(found.counts).map(Number);
  const sums = { tp: 0, fp: 0, fn: 0 };
  for (const one of lines) {
    const { tp, fp, truths } = found.counts[one] ?? { tp: [], fp: [], truths: 0 };
    sums.tp += tp[step] ?? 0;
    sums.fp += fp[step] ?? 0;
    sums.fn += truths - (tp[step] ?? 0);
  }
  return sums;
}

/** Precision, recall and F1 of counts; null over nothing. */
function ratesOf({ tp, fp, fn }) {
  const share = (part, whole) => (whole ? part / whole : null);
  return { precision: share(tp, tp + fp), recall: share(tp, tp + fn), f1: share(2 * tp, 2 * tp + fp + fn) };
}

const bestSteps = new Map();

/** The step with the best F1 of all classes together; of equal ones, the lowest. */
function bestStep(set) {
  const key = `${shownKind()} ${set}`;
  if (!bestSteps.has(key)) {
    const rates = content.instances.steps.map((_, step) => ratesOf(countsAt(set, 0, step)).f1 ?? 0);
    bestSteps.set(key, rates.indexOf(Math.max(...rates)));
  }
  return bestSteps.get(key);
}

/** Counts of one image at the chosen score. */
function imageCounts(set, place) {
  const result = content.instances.results[set];
  const { outcomes } = result[shownKind()];
  const step = scoreStep();
  const counts = { tp: 0, fp: 0, fn: content.instances.classes[place].length };
  for (let at = result.starts[place]; at < result.starts[place + 1]; at += 1) {
    if (outcomes[at] === IGNORED || outcomes[at] % TRUE < step) continue;
    if (outcomes[at] >= TRUE) {
      counts.tp += 1;
      counts.fn -= 1;
    } else counts.fp += 1;
  }
  return counts;
}

/**
 * Whether an image has an instance of a class, true or detected at the chosen score, or null for any class; with a
 * cause, whether such a detection is false because of it or, for the last cause, whether such an instance is missed.
 */
function hasInstance(set, place, line, cause) {
  const result = content.instances.results[set];
  const { outcomes, causes } = result[shownKind()];
  const step = scoreStep();
  const isWanted = (found) => line === null || found === line;
  let missed = content.instances.classes[place].filter(isWanted).length;
  if (cause === null && missed) return true;
  for (let at = result.starts[place]; at < result.starts[place + 1]; at += 1) {
    if (outcomes[at] === IGNORED || outcomes[at] % TRUE < step || !isWanted(result.classes[at])) continue;
    if (cause === null || causes[at] === cause) return true;
    if (outcomes[at] >= TRUE) missed -= 1;
  }
  return cause === content.instances.causes.length - 1 && missed > 0;
}

// The slider of scores: one above the figures, one in the viewer.

function scoreBar(id) {
  return make(
    "div",
    { id, class: "score-bar" },
    make("div", { class: "choice kinds", role: "group", "aria-label": "Compared by" }),
    make(
      "label",
      { class: "field" },
      make("span", {}, "Score"),
      make("input", {
        type: "range",
        class: "score",
        min: 0,
        max: content.instances.steps.length - 1,
        "aria-label": "Lowest score of a detection",
        title: "Lowest score of a detection ( [ ] )",
        input: (event) => show({ score: event.target.value }),
      }),
      make("output", { class: "score-value" }),
    ),
    make("button", { class: "quiet best", click: () => show({ score: String(bestStep(Number(state.set))) }) }),
    make("span", { class: "note rates", role: "status" }),
  );
}

function drawScoreBar(bar) {
  const set = Number(state.set);
  const step = scoreStep();
  fillChoice(
    bar.querySelector(".kinds"),
    KINDS.length > 1 ? KINDS.map((kind) => [kind, KIND_NAMES[kind], `IoU of ${KIND_NAMES[kind].toLowerCase()}`]) : [],
    shownKind(),
    (kind) => show({ kind }),
  );
  const slider = bar.querySelector(".score");
  if (slider.value !== String(step)) slider.value = step;
  slider.setAttribute("aria-valuetext", scoreText(step));
  bar.querySelector(".score-value").textContent = scoreText(step);
  const best = bestStep(set);
  const button = bar.querySelector(".best");
  button.textContent = `Best F1 ${percent(ratesOf(countsAt(set, 0, best)).f1)} at ${scoreText(best)}`;
  button.setAttribute("aria-pressed", String(step === best));
  const { precision, recall, f1 } = ratesOf(countsAt(set, 0, step));
  const figure = (value) => make("b", {}, percent(value));
  bar
    .querySelector(".rates")
    .replaceChildren("at IoU 0.50: precision ", figure(precision), " recall ", figure(recall), " F1 ", figure(f1));
}

/** Move the slider by steps. */
function moveScore(by) {
  const last = content.instances.steps.length - 1;
  show({ score: String(Math.min(last, Math.max(0, scoreStep() + by))) });
}
