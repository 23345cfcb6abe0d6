// PQ, SQ and RQ where segments match above another IoU than 0.50, from the segments of the page.

const STRICTEST = 99; // percent
const matchIou = () => (Number(state.match) || 50) / 100;

/** Counts and the sum of IoU of each class (1..C) of a result set; from 0.50 on no segment can be in two matches. */
function countsAbove(set, iou) {
  const table = segmentSets[set];
  const least = Math.fround(iou); // as the IoUs of the page are
  const sums = content.classes.map(() => ({ tp: 0, fp: 0, fn: 0, iou: 0 }));
  for (let row = 0; row < table.lines.length; row += 1) {
    const own = sums[table.lines[row] - 1];
    const isTruth = row < table.firsts[2 * table.places[row] + 1];
    const kind = OUTCOME_KINDS[table.outcomes[row]];
    const isMatch = kind === "tp" && table.ious[row] > least;
    if (isMatch && isTruth) [own.tp, own.iou] = [own.tp + 1, own.iou + table.ious[row]];
    else if (isMatch || kind === "ignored") continue;
    else if (isTruth) own.fn += 1;
    else if (!(kind === "tp" && table.ignorable[row])) own.fp += 1;
  }
  return sums;
}

/** PQ, SQ and RQ of a class with its counts, or null if it does not occur. */
function matchQuality({ tp, fp, fn, iou }) {
  const weight = tp + fp / 2 + fn / 2;
  return weight ? { pq: iou / weight, sq: iou / (tp || 1), rq: tp / weight, tp, fp, fn } : null;
}

/** The names of a class or of the groups, with their figures: means over the classes that occur, and sums of counts. */
function qualitiesAbove(set, iou, line) {
  const found = countsAbove(set, iou).map(matchQuality);
  if (line) return [[className(line), found[line - 1]]];
  return GROUPS.map((group) => {
    const known = found.filter((one, place) => one && (group === "All" || content.classes[place].thing === (group === "Things")));
    const sum = (key) => known.reduce((total, one) => total + one[key], 0);
    const means = ["pq", "sq", "rq"].map((key) => [key, sum(key) / known.length]);
    const counts = ["tp", "fp", "fn"].map((key) => [key, sum(key)]);
    return [group, known.length ? Object.fromEntries([...means, ...counts]) : null];
  });
}

/** The figures of every result set where segments match above an IoU that a slider chooses. */
function matchCard(line) {
  const moved = (event) => {
    byId("match-value").textContent = (event.target.value / 100).toFixed(2);
    byId("match-table").replaceChildren(matchTable(line, event.target.value / 100));
  };
  const chosen = (event) => {
    show({ match: event.target.value === "50" ? "" : event.target.value });
    byId("match").focus();
  };
  return make(
    "article",
    { class: "card" },
    make("h2", {}, "Figures at one of these IoUs"),
    make(
      "label",
      { class: "field range" },
      make("span", {}, "Match above an IoU of"),
      make("input", { type: "range", id: "match", min: 50, max: STRICTEST, value: Math.round(100 * matchIou()), input: moved, change: chosen }),
      make("output", { id: "match-value" }, matchIou().toFixed(2)),
    ),
    make("div", { id: "match-table" }, matchTable(line, matchIou())),
  );
}

function matchTable(line, iou) {
  const texts = (found) => [...["pq", "sq", "rq"].map((key) => percent(found && found[key])), ...["tp", "fp", "fn"].map((key) => (found ? count(found[key]) : "–"))];
  return setsTable(["PQ", "SQ", "RQ", "TP", "FP", "FN"], (set) => qualitiesAbove(set, iou, line).map(([name, found]) => [name, texts(found)]));
}
