// Curves of panoptic results whose segments have scores, and how well scores tell what is right.

const BINS = 10; // of a plot of calibration
const SCORE_MARKS = 100; // the number of scores at which curves are computed

/** The predictions of a class, or of all (0): [score or NaN, IoU or null where it is false, class], without ignored ones. */
function predictedSegments(set, line) {
  const table = segmentSets[set];
  const found = [];
  for (let place = 0; place < content.ids.length; place += 1) {
    for (let row = table.firsts[2 * place + 1]; row < table.firsts[2 * place + 2]; row += 1) {
      if (table.outcomes[row] === 3 || (line && table.lines[row] !== line)) continue;
      found.push([table.scores[row], table.outcomes[row] === 0 ? table.ious[row] : null, table.lines[row]]);
    }
  }
  return found;
}

/** Counts and sums of IoU by class of the predictions from a score on, or without one, for all scores that curves show. */
function countsOverScores(found) {
  const steps = Array.from({ length: SCORE_MARKS + 1 }, () => new Map());
  for (const [score, iou, line] of found) {
    const last = Number.isNaN(score) ? SCORE_MARKS : Math.min(SCORE_MARKS, Math.floor(SCORE_MARKS * score + 1e-6));
    for (let step = 0; step <= last; step += 1) {
      if (!steps[step].has(line)) steps[step].set(line, { tp: 0, fp: 0, iou: 0 });
      const sums = steps[step].get(line);
      if (iou === null) sums.fp += 1;
      else [sums.tp, sums.iou] = [sums.tp + 1, sums.iou + iou];
    }
  }
  return steps;
}

/** PQ of the things if predictions below each score were left out; null where no thing would occur. */
function qualityOverScores(set, line, steps) {
  const rows = classRows().filter((row) => row.found[set] && (line ? row.line === line : row.category.thing));
  return steps.map((sums) => {
    const values = rows.map((row) => {
      const { tp: all, fn: missed } = row.found[set];
      const { tp, fp, iou } = sums.get(row.line) ?? { tp: 0, fp: 0, iou: 0 };
      const weight = tp + fp / 2 + (all + missed - tp) / 2;
      return weight ? iou / weight : null;
    });
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
  });
}

/**
 * Bins of scores: the mean score and the share of right ones, and how far both are apart on average, as `pq --also
 * calibration` computes them. Scores `outside` of 0 to 1 are no probabilities and have no bins.
 */
function calibration(pairs) {
  const outside = pairs.filter(([score]) => score < 0 || score > 1).length;
  if (outside) return { points: [], error: null, total: pairs.length, outside };
  const bins = Array.from({ length: BINS }, () => ({ number: 0, score: 0, right: 0 }));
  for (const [score, isRight] of pairs) {
    const bin = bins[Math.max(0, Math.ceil(BINS * score - 1e-6) - 1)]; // the upper end belongs to it; scores are float32
    bin.number += 1;
    bin.score += score;
    bin.right += isRight ? 1 : 0;
  }
  const filled = bins.filter(({ number }) => number);
  const total = filled.reduce((sum, { number }) => sum + number, 0);
  const error = total ? filled.reduce((sum, { score, right }) => sum + Math.abs(score - right), 0) / total : null;
  return { points: filled.map(({ number, score, right }) => [score / number, right / number]), error, total, outside };
}

function calibrationCard(sets, pairsOf) {
  const found = sets.map((set) => ({ set, ...calibration(pairsOf(set)) }));
  const lines = found.map(({ set, points }) => ({ points, kind: "f1", stroke: STROKES[set], label: `calibration ${isCompared ? LETTERS[set] : ""}` }));
  const ideal = { points: [[0, 0], [1, 1]], kind: "ideal", stroke: "dotted", label: "perfectly calibrated" };
  const words = found.map(({ set, error, total, outside }) => {
    const figure = outside ? `none, as ${count(outside)} scores are not between 0 and 1` : `${percent(error)} points over ${count(total)} predictions`;
    return `${isCompared ? `${LETTERS[set]}: ` : ""}${figure}`;
  });
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "Calibration: share of right predictions over the score"),
    plot({ id: "calibration-plot", label: "Share of right predictions over the score", lines: [ideal, ...lines], xLabel: "score", yLabel: "%", ticks: SCORE_TICKS }),
    make("p", { class: "note" }, `Below the dotted line, scores promise too much. Expected calibration error, in ${BINS} bins: ${words.join("; ")}.`),
  );
}

const SCORE_TICKS = ["0", "0.2", "0.4", "0.6", "0.8", "1"];

/** The curves of panoptic results: over the IoU of a match, and over the score where there are scores. */
function drawScoreCurves(section) {
  const line = Number(state.curve) || 0;
  const classes = sortedRows(classRows(), (row) => row.category.name, false);
  const isScored = hasScores() && segmentSets !== null && (!line || classOf(line).thing);
  section.replaceChildren(
    make(
      "div",
      { class: "bar" },
      make("h1", {}, line ? className(line) : "All classes"),
      select("curve-class", "Class", [["", "all"], ...classes.map((row) => [row.line, className(row.line)])], state.curve, (value) => show({ curve: value })),
      setLegend(),
    ),
    make("div", { class: "columns plots" }, thresholdsCard(line), segmentSets === null ? null : matchCard(line), isScored ? scoreCards(line) : []),
  );
}

const GROUP_KINDS = { All: "f1", Things: "recall", Stuff: "precision" };

/** PQ over the IoU above which segments match, of a class or of the groups of classes. */
function thresholdsCard(line) {
  const sets = [...content.results.keys()];
  const curves = (set) => {
    const { groups, classes } = content.results[set].stricter;
    return line ? { All: classes[classOf(line).id] } : groups;
  };
  const { ious } = content.results[0].stricter;
  const lines = sets.flatMap((set) =>
    Object.entries(curves(set)).filter(([, values]) => values).map(([group, values]) => ({
      points: values.map((value, at) => [2 * ious[at] - 1, value]),
      kind: GROUP_KINDS[group],
      stroke: STROKES[set],
      label: isCompared ? `${group} ${LETTERS[set]}` : group,
    })),
  );
  const mean = (values) => percent(values && values[0] !== null ? values.reduce((a, b) => a + b, 0) / values.length : null);
  const means = sets.map((set) => (isCompared ? `${LETTERS[set]} ` : "") + mean(curves(set).All)).join(", ");
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "PQ over the IoU above which segments match"),
    plot({ id: "iou-plot", label: "PQ over the IoU of a match", lines, xLabel: "IoU", yLabel: "PQ", ticks: ["0.5", "0.6", "0.7", "0.8", "0.9", "1"], at: 2 * matchIou() - 1, fitted: true }),
    line ? null : curveLegend(GROUPS.map((group) => [GROUP_KINDS[group], group])),
    make("p", { class: "note" }, `PQ has 0.50. The mean over 0.50, 0.55, ..., 0.95 is ${means}: it falls the less, the better the outlines are.`),
  );
}

/** Precision over recall, PQ over the lowest score, and calibration of a class of things, or of all (0). */
function scoreCards(line) {
  const name = line ? className(line) : "all things";
  const things = classRows().filter((row) => row.category.thing && (!line || row.line === line));
  const scored = [...content.sets.keys()].filter((set) => content.results[set].has_scores);
  const found = scored.map((set) => {
    const segments = predictedSegments(set, line);
    return { set, segments, steps: countsOverScores(segments), stroke: STROKES[set], label: isCompared ? LETTERS[set] : name };
  });
  const rates = ({ set, steps }) => {
    const truths = things.filter((row) => row.found[set]).reduce((sum, row) => sum + row.found[set].tp + row.found[set].fn, 0);
    return steps.map((sums) => {
      const [tp, fp] = ["tp", "fp"].map((key) => things.reduce((sum, row) => sum + (sums.get(row.line)?.[key] ?? 0), 0));
      return ratesOf({ tp, fp, fn: truths - tp });
    });
  };
  const recalls = found.map((one) => ({
    ...one,
    points: rates(one).filter(({ precision }) => precision !== null).map(({ precision, recall }) => [recall ?? 0, precision]),
    kind: GROUP_KINDS.Things,
  }));
  const qualities = found.map((one) => ({
    ...one,
    points: qualityOverScores(one.set, line, one.steps).map((value, step) => [step / SCORE_MARKS, value]),
    kind: GROUP_KINDS.Things,
  }));
  const best = qualities.map(({ set, points }) => {
    const [score, value] = sortedRows(points, ([, quality]) => quality, true)[0];
    return value === null ? null : `${isCompared ? `${LETTERS[set]} ` : ""}${percent(value)} from a score of ${score.toFixed(2)} on`;
  });
  return [
    make("article", { class: "card" }, make("h2", {}, `Precision over recall: ${name}`), plot({ id: "recall-plot", label: "Precision over recall", lines: recalls, xLabel: "recall %", yLabel: "precision %" })),
    make(
      "article",
      { class: "card" },
      make("h2", {}, `PQ without segments of a lower score: ${name}`),
      plot({ id: "score-plot", label: "PQ over the lowest score", lines: qualities, xLabel: "lowest score", yLabel: "PQ", ticks: SCORE_TICKS, fitted: true }),
      make("p", { class: "note" }, `Their pixels would be void, which changes nothing for other segments. Best: ${best.filter(Boolean).join(", ") || "–"}.`),
    ),
    calibrationCard(scored, (set) => {
      const { segments } = found.find((one) => one.set === set);
      return segments.filter(([score]) => !Number.isNaN(score)).map(([score, iou]) => [score, iou !== null]);
    }),
  ];
}
