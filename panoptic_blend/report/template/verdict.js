// What is wrong with the results, in words. Every number is a figure of the page, or a count of its segments.

const CAUSE_WORDS = {
  "wrong class": "segments with the wrong class",
  duplicate: "duplicates of segments that are found already",
  split: "segments that are found in several pieces",
  merged: "neighbors that are found as one segment",
  "poor outline": "segments of the right class with an IoU of only 0.3 to 0.5",
  swallowed: "segments that a segment of another class covers",
  missed: "missed segments",
  background: "predictions that fit no true segment",
  "inexact outline": "inexact outlines of segments that are found",
  classification: "detections with the wrong class",
  localization: "detections with an IoU of only 0.1 to 0.5",
  both: "detections with the wrong class and place",
};
const SIZE_NAMES = ["small (below 32² pixels)", "medium-sized", "large (from 96² pixels)"];
const FEW = 5; // the number of classes that a sentence names

/** What a cause means, in words about segments or instances. */
function causeWords(name) {
  const words = CAUSE_WORDS[name] ?? name;
  return isInstances() ? words.replaceAll("segment", "instance") : words;
}

/** The card at the top of the overview: a sentence, and what follows from the figures. */
function verdictCard(set) {
  const [, budget] = groupBudgets(set)[0];
  if (isEmptyBudget(budget)) return "";
  return make(
    "article",
    { class: "card", id: "verdict" },
    make("h2", {}, "What is wrong", ofSet(set)),
    make("p", { class: "lead" }, ...leadWords(budget)),
    make("ul", { class: "facts" }, facts(set, budget).map((fact) => make("li", {}, fact))),
  );
}

/** The causes that lost something, the largest first. */
const rankedCauses = (budget) => sortedRows([...causeNames().keys()], (cause) => budget.lost[cause], true).filter((cause) => budget.lost[cause] > 0.0005);

function leadWords(budget) {
  const value = budgetValue(budget);
  const [first, second] = rankedCauses(budget);
  const name = `${budgetName()} is ${percent(value)}`;
  if (first === undefined) return [`${name}: nothing is wrong.`];
  const link = (cause) => causeLink(cause, causeWords(causeNames()[cause]));
  const extent = 2 * budget.lost[first] > 1 - value ? "most are" : "the largest share is";
  const more = second === undefined ? [] : [", then ", link(second), ` (${percent(budget.lost[second])})`];
  return [`${name}. Of the ${percent(1 - value)} points that are missing, ${extent} lost to `, link(first), ` (${percent(budget.lost[first])})`, ...more, "."];
}

function causeLink(cause, words) {
  if (causeNames()[cause] === "inexact outline") return words;
  return make("button", { class: "link inline", click: () => browse({ cause: String(cause) }) }, words);
}

function facts(set, budget) {
  const [first, second] = rankedCauses(budget);
  const found = [];
  if (first !== undefined && budget.mended[first] !== null)
    found.push(`If ${second === undefined ? "this cause" : "the first of these causes"} alone were repaired, ${budgetName()} would be ${percent(budget.mended[first])}.`);
  if (!isInstances()) found.push(sizeFact(set, first), hopelessFact(set), confusedFact(set), suspectFact(set));
  const differences = isInstances() ? content.instances.compared.map((one) => one[shownKind()].figures.AP) : content.compared.map((one) => one.groups.All);
  found.push(...differences.map((difference, place) => [comparedFact(difference, place), ...changedFact(place + 1)]));
  return found.filter(Boolean);
}

/** Where the errors of a cause are concentrated, if more than half of them have one size. */
function sizeFact(set, cause) {
  const sizes = content.results[set].errors_by_size[cause];
  const sum = sizes?.reduce((a, b) => a + b, 0);
  const at = sizes?.findIndex((number) => 2 * number > sum);
  if (!sum || at < 0) return null;
  return `${count(sizes[at])} of the ${count(sum)} segments with this error are ${SIZE_NAMES[at]}.`;
}

/** The classes of which nothing is found, and what they cost together. */
function hopelessFact(set) {
  const rows = classRows().filter((row) => row.found[set]);
  const lost = sortedRows(rows.filter((row) => row.found[set].tp === 0), (row) => errorCount(row.found[set]), true);
  if (!lost.length) return null;
  const links = lost.slice(0, FEW).flatMap((row, at) => [at ? ", " : "", make("button", { class: "link inline", click: () => browse({ class: String(row.line) }) }, className(row.line))]);
  const more = lost.length > FEW ? ` and ${lost.length - FEW} more` : "";
  return [`${lost.length} of ${rows.length} classes have PQ 0, which costs ${percent(lost.length / rows.length)} points: `, ...links, `${more}.`];
}

function confusedFact(set) {
  const confused = content.results[set].confusion.segments.filter(([row, column]) => row !== column && row && column);
  const [first] = sortedRows(confused, (entry) => entry[2], true);
  if (!first || first[2] < 2) return null;
  const [row, column, number] = first;
  const link = make("button", { class: "link inline", click: () => browse({ true: String(row), taken: String(column) }) }, `${className(row)} as ${className(column)}`);
  return ["Most often confused: ", link, `, ${count(number)} times.`];
}

/** How many segments make the truth doubtful. */
function suspectFact(set) {
  const number = segmentSets ? segmentSets[set].lines.reduce((sum, _, row) => sum + isSuspect(set, row), 0) : 0;
  return number ? ["Worth a check of the truth: ", segmentsLink({ suspect: "1" }, `${count(number)} ${number === 1 ? "segment" : "segments"}`), "."] : null;
}

/** How many segments one result set finds and A misses, and vice versa. */
function changedFact(other) {
  if (isInstances() || !segmentSets) return [];
  const link = (foundBy, missedBy) => {
    const number = segmentSets[other].lines.reduce((sum, _, row) => sum + hasFinders(other, row, foundBy, missedBy), 0);
    return segmentsLink({ set: String(other), foundBy, missedBy }, count(number));
  };
  const [own, first] = [String(other), "0"];
  return [` ${LETTERS[other]} finds `, link(own, first), " segments that A misses, and misses ", link(first, own), " that A finds."];
}

const segmentsLink = (filters, words) => make("button", { class: "link inline", click: () => browse(filters, "segments") }, words);

function comparedFact({ value, low, high }, place) {
  if (value === null) return "";
  const letter = LETTERS[place + 1];
  const better = value > 0 ? letter : "A";
  if (Math.max(-low, high) < 0.0005) return `${letter} and A do not differ.`;
  if (!(low > 0 || high < 0)) return `${letter} and A differ by ${signed(value)}, which may be chance (${signed(low)} to ${signed(high)}).`;
  return `${better} is better than ${value > 0 ? "A" : letter}: ${differenceName(place + 1)} is ${signed(value)} (${signed(low)} to ${signed(high)}).`;
}
