// Curves of precision over recall, and of precision, recall and F1 over the score, as SVG.

const CURVE_IOUS = [
  ["50", "IoU 0.50"],
  ["75", "IoU 0.75"],
  ["mean", "IoU 0.50:0.95"],
];
const PLOT = { width: 480, height: 330, left: 44, right: 12, top: 20, bottom: 38 };
const SMALL = { width: 150, height: 96, left: 4, right: 4, top: 4, bottom: 4 };
const STROKES = ["plain", "dashed", "dotted", "dash-dot", "long", "sparse"]; // of the result sets

/** Positions in a plot of values from 0 to 1. */
function scales({ width, height, left, right, top, bottom }) {
  const across = (value) => left + value * (width - left - right);
  const up = (value) => height - bottom - value * (height - top - bottom);
  return [across, up];
}

/** A line of SVG through [x, y] of 0 to 1; it is interrupted where y is null. */
function linePath(points, frame) {
  const [across, up] = scales(frame);
  let isDown = false;
  const parts = [];
  for (const [x, y] of points) {
    if (y === null) isDown = false;
    else {
      parts.push(`${isDown ? "L" : "M"}${across(x).toFixed(1)} ${up(y).toFixed(1)}`);
      isDown = true;
    }
  }
  return parts.join("");
}

const HEIGHTS = [0.05, 0.1, 0.2, 0.5, 1]; // of the y axis of a plot that fits its lines

/**
 * Lines {points, kind, label} over axes from 0 to 1; `ticks` are the labels of the x axis, and `at` marks an x. With
 * `fitted`, the y axis ends above the highest point.
 */
function plot({ id, label, lines, xLabel, yLabel, ticks, at = null, fitted = false }) {
  const highest = Math.max(0, ...lines.flatMap(({ points }) => points.map(([, y]) => y)));
  const top = fitted ? HEIGHTS.find((height) => height >= highest) : 1;
  const [across, up] = scales(PLOT);
  const marks = [0, 0.2, 0.4, 0.6, 0.8, 1];
  return svg(
    "svg",
    { id, class: "plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": label },
    marks.map((mark, index) => [
      svg("path", { class: "grid", d: `M${across(0)} ${up(mark)}H${across(1)}M${across(mark)} ${up(0)}V${up(1)}` }),
      svg("text", { x: across(0) - 6, y: up(mark) + 4, "text-anchor": "end" }, percent(top * mark, 0)),
      svg("text", { x: across(mark), y: up(0) + 15, "text-anchor": "middle" }, ticks ? ticks[index] : percent(mark, 0)),
    ]).flat(),
    svg("text", { x: across(0.5), y: PLOT.height - 5, "text-anchor": "middle" }, xLabel),
    svg("text", { x: across(0), y: up(1) - 7 }, yLabel),
    at === null ? null : svg("path", { class: "at", d: `M${across(at)} ${up(0)}V${up(1)}` }),
    lines.map(({ points, kind, stroke, label: title }) =>
      svg("path", { class: `line ${kind} ${stroke}`, d: linePath(points.map(([x, y]) => [x, y === null ? null : y / top]), PLOT) }, svg("title", {}, title)),
    ),
  );
}

function drawCurves(section) {
  if (!isInstances()) {
    drawScoreCurves(section);
    return;
  }
  const line = Number(state.curve) || 0;
  const name = line ? className(line) : "mean of all classes";
  const rows = sortedRows(averageRows(), (row) => row.category.name, false);
  section.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("h1", {}, "Precision over recall"),
      select(
        "curve-class",
        "Class",
        [["", "mean of all"], ...rows.map((row) => [row.line, className(row.line)])],
        state.curve,
        (value) => show({ curve: value }),
      ),
      make("p", { class: "note" }, `${KIND_NAMES[shownKind()]}.`),
      setLegend(),
    ),
    make(
      "div",
      { class: "columns plots" },
      make(
        "article",
        { class: "card" },
        make("h2", {}, `Precision over recall: ${name}`),
        recallPlot(line, name),
        curveLegend(CURVE_IOUS.map(([key, label]) => [`iou${key}`, `${label}: AP ${averagesText(line, key)}`])),
      ),
      make(
        "article",
        { class: "card" },
        make("h2", {}, `Over the score, at IoU 0.50: ${line ? name : "all classes together"}`),
        scorePlot(),
        curveLegend([
          ["precision", "precision"],
          ["recall", "recall"],
          ["f1", "F1"],
        ]),
      ),
      calibrationCard([...content.instances.results.keys()], (set) => scoredDetections(set, line)),
    ),
    make("h1", { class: "below" }, "Every class, lowest AP first"),
    make(
      "div",
      { class: "small-plots" },
      sortedRows(averageRows(), (row) => averageValue(row, "ap"), false).map(smallPlot),
    ),
  );
}

const curvesOf = (set, line) => figuresOf(set).curves[line ? classOf(line).id : "all"] ?? null;
const overRecall = (values) => values.map((value, at) => [at / (values.length - 1), value]);

function recallPlot(line, name) {
  const lines = [...content.instances.results.keys()].flatMap((set) =>
    CURVE_IOUS.filter(() => curvesOf(set, line)).map(([key, label]) => ({
      points: overRecall(curvesOf(set, line)[key]),
      kind: `iou${key}`,
      stroke: STROKES[set],
      label: `${label} ${isCompared ? LETTERS[set] : ""}`,
    })),
  );
  return plot({ id: "recall-plot", label: `Precision over recall, ${name}`, lines, xLabel: "recall %", yLabel: "precision %" });
}

/** AP of each result set, to which the curve belongs. */
function averagesText(line, key) {
  const name = { 50: "AP50", 75: "AP75", mean: "AP" }[key];
  return [...content.instances.results.keys()]
    .map((set) => (line ? figuresOf(set).classes[classOf(line).id] : figuresOf(set).figures)?.[name].value ?? null)
    .map((value) => percent(value))
    .join(" / ");
}

function scorePlot() {
  const { steps } = content.instances;
  const line = Number(state.curve) || 0;
  const last = steps.length - 1;
  const lines = [...content.instances.results.keys()].flatMap((set) => {
    const rates = steps.map((_, step) => ratesOf(countsAt(set, line, step)));
    return ["precision", "recall", "f1"].map((key) => ({
      points: rates.map((rate, step) => [step / last, rate[key]]),
      kind: key,
      stroke: STROKES[set],
      label: `${key} ${isCompared ? LETTERS[set] : ""}`,
    }));
  });
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => scoreText(Math.round(share * last)));
  const at = scoreStep() / last;
  return plot({ id: "score-plot", label: "Precision, recall and F1 over the score", lines, xLabel: "lowest score", yLabel: "%", ticks, at });
}

/** The scores of detections of a class, or of all (0), to the next lower step, and whether each is right. */
function scoredDetections(set, line) {
  const { outcomes } = figuresOf(set);
  const { classes } = content.instances.results[set];
  const { steps } = content.instances;
  return [...outcomes.keys()]
    .filter((at) => outcomes[at] !== IGNORED && (!line || classes[at] === line))
    .map((at) => [steps[outcomes[at] % TRUE], outcomes[at] >= TRUE]);
}

function curveLegend(entries) {
  return make(
    "ul",
    { class: "legend" },
    entries.map(([kind, label]) => make("li", {}, make("i", { class: `swatch ${kind}` }), label)),
  );
}

/** The strokes of the result sets, if there are several. */
function setLegend() {
  if (!isCompared) return null;
  const line = (set) => svg("svg", { class: "stroke", viewBox: "0 0 30 8" }, svg("path", { class: `line ${STROKES[set]}`, d: "M0 4H30" }));
  return make("ul", { class: "legend strokes" }, content.sets.map((_, set) => make("li", {}, line(set), setName(set))));
}

/** A class with its curves, which shows them large. */
function smallPlot(row) {
  const lines = [...content.instances.results.keys()].flatMap((set) =>
    CURVE_IOUS.filter(() => curvesOf(set, row.line)).map(([key]) =>
      svg("path", { class: `line iou${key} ${STROKES[set]}`, d: linePath(overRecall(curvesOf(set, row.line)[key]), SMALL) }),
    ),
  );
  const choose = () => {
    show({ curve: String(row.line) });
    window.scrollTo(0, 0);
  };
  return make(
    "button",
    { class: "small-plot", "data-line": row.line, "aria-pressed": String(state.curve === String(row.line)), click: choose },
    classLabel(row.line),
    make("b", {}, row.found.map((one) => percent(one?.AP.value ?? null)).join(" / ")),
    svg("svg", { viewBox: `0 0 ${SMALL.width} ${SMALL.height}`, "aria-hidden": "true" }, svg("path", { class: "grid", d: `M4 92H146M4 4V92` }), lines),
  );
}
