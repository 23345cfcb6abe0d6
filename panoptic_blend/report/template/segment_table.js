// The segments of all images of each result set, in columns, and those that match the filters.

const SEGMENT_COLUMNS = {
  counts: Uint16Array,
  lines: Uint16Array,
  outcomes: Uint8Array,
  causes: Uint8Array,
  ious: Float32Array,
  others: Uint16Array,
  areas: Uint32Array,
  scores: Float32Array,
  boxes: Uint16Array,
  ignorable: Uint8Array,
};
const NO_CAUSE = 255;
const SEGMENT_FILTERS = ["outcome", "iou0", "iou1", "score0", "score1", "area", "suspect", "foundBy", "missedBy"];
const AREAS = [
  ["small", 0, 32 ** 2],
  ["medium", 32 ** 2, 96 ** 2],
  ["large", 96 ** 2, Infinity],
];
const SURE_IOU = 0.8; // of a prediction of another class that makes the truth doubtful
const SURE_SCORE = 0.9; // of a prediction where the truth has no segment, that makes the truth doubtful
let segmentSets = null; // columns of each result set, or null where the folder is missing

async function readSegmentTable() {
  if (!content.results) return;
  try {
    const found = await readAsset("segments");
    segmentSets = await Promise.all(found.sets.map(readColumns));
  } catch {
    segmentSets = null; // the lists say what is missing
  }
}

/** Columns as typed arrays; `rows` are the places of the image, and `firsts` the first row of each image and side. */
async function readColumns(packed) {
  const found = {};
  for (const [name, Kind] of Object.entries(SEGMENT_COLUMNS)) found[name] = new Kind((await inflated(packed[name])).buffer);
  found.firsts = new Uint32Array(found.counts.length + 1);
  found.counts.forEach((number, at) => {
    found.firsts[at + 1] = found.firsts[at] + number;
  });
  found.places = new Uint32Array(found.lines.length);
  for (let at = 0; at < found.counts.length; at += 1) found.places.fill(at >> 1, found.firsts[at], found.firsts[at + 1]);
  return found;
}

/** One segment; `index` is its row in the data of its image. */
function tableSegment(set, row) {
  const table = segmentSets[set];
  const place = table.places[row];
  const isTruth = row < table.firsts[2 * place + 1];
  return {
    set,
    row,
    place,
    side: isTruth ? "truth" : "prediction",
    index: row - table.firsts[2 * place + (isTruth ? 0 : 1)],
    line: table.lines[row],
    outcome: table.outcomes[row],
    cause: table.causes[row] === NO_CAUSE ? null : table.causes[row],
    iou: table.ious[row],
    other: table.others[row],
    area: table.areas[row],
    score: Number.isNaN(table.scores[row]) ? null : table.scores[row],
    box: [...table.boxes.subarray(4 * row, 4 * row + 4)],
  };
}

const rowsOf = (set, place) => [segmentSets[set].firsts[2 * place], segmentSets[set].firsts[2 * place + 2]];
const hasSegmentFilter = () => !isInstances() && segmentSets !== null && SEGMENT_FILTERS.some((key) => state[key] !== "");
const filterNumber = (key) => (state[key] === "" ? null : Number(state[key]));

/** A function that tells whether the segment in a row of a result set matches the filters. */
function segmentFilter(set) {
  const table = segmentSets[set];
  const wanted = Object.fromEntries(["class", "cause", "true", "taken", "iou0", "iou1", "score0", "score1"].map((key) => [key, filterNumber(key)]));
  const [, least, most] = AREAS.find(([name]) => name === state.area) ?? ["", 0, Infinity];
  const outcome = state.outcome === "" ? null : OUTCOME_KINDS.indexOf(state.outcome);
  const isPair = (row) => {
    const isTruth = row < table.firsts[2 * table.places[row] + 1];
    const [line, taken] = table.causes[row] === content.causes.indexOf("wrong class") ? [table.lines[row], table.others[row]] : [table.lines[row], 0];
    return (wanted.true === null || (isTruth ? line : taken) === wanted.true) && (wanted.taken === null || (isTruth ? taken : line) === wanted.taken);
  };
  return (row) =>
    (wanted.class === null || table.lines[row] === wanted.class) &&
    (wanted.cause === null || table.causes[row] === wanted.cause) &&
    ((wanted.true === null && wanted.taken === null) || (table.causes[row] !== NO_CAUSE && isPair(row))) &&
    (outcome === null || table.outcomes[row] === outcome) &&
    (wanted.iou0 === null || table.ious[row] >= Math.fround(wanted.iou0 / 100)) &&
    (wanted.iou1 === null || table.ious[row] <= Math.fround(wanted.iou1 / 100)) &&
    (wanted.score0 === null || table.scores[row] >= wanted.score0 / 100) &&
    (wanted.score1 === null || table.scores[row] <= wanted.score1 / 100) &&
    table.areas[row] >= least &&
    table.areas[row] < most &&
    (state.suspect === "" || isSuspect(set, row)) &&
    ((state.foundBy === "" && state.missedBy === "") || hasFinders(set, row, state.foundBy, state.missedBy));
}

/**
 * Whether a segment makes the truth doubtful: a true segment that is predicted with nearly the same outline and another
 * class, or a prediction of high score where the truth has no segment like it.
 */
function isSuspect(set, row) {
  const table = segmentSets[set];
  const cause = content.causes[table.causes[row]];
  const isTruth = row < table.firsts[2 * table.places[row] + 1];
  if (cause === "wrong class") return isTruth && table.ious[row] >= Math.fround(SURE_IOU);
  return cause === "background" && table.scores[row] >= SURE_SCORE;
}

/** Whether a segment is one of the truth that all sets of the text `found`, like "02", match and all of `missed` miss. */
function hasFinders(set, row, found, missed) {
  const place = segmentSets[set].places[row];
  const index = row - segmentSets[set].firsts[2 * place];
  if (row >= segmentSets[set].firsts[2 * place + 1]) return false;
  const isIn = (sets, kind) => [...sets].every((shown) => OUTCOME_KINDS[segmentSets[shown].outcomes[truthRow(shown, place, index)]] === kind);
  return isIn(found, "tp") && isIn(missed, "fn");
}

/** The row of a true segment in a result set; all of them have the same true segments. */
const truthRow = (set, place, index) => segmentSets[set].firsts[2 * place] + index;

/** In how many result sets a true segment is taken for the same class as in this one. */
function agreement(segment) {
  if (segment.side !== "truth") return 1;
  return segmentSets.filter((table, set) => {
    const row = truthRow(set, segment.place, segment.index);
    return table.causes[row] === segment.cause && table.others[row] === segment.other;
  }).length;
}

/** Whether a segment of an image matches the filters. */
function hasSegment(matches, set, place) {
  const [first, end] = rowsOf(set, place);
  for (let row = first; row < end; row += 1) if (matches(row)) return true;
  return false;
}
