// Numbers, colors and names of the report.

const MODES = ["panoptic", "instances"].filter((mode) => (mode === "panoptic" ? content.results : content.instances));
const isInstances = () => state.of === "instances";
const GROUPS = ["All", "Things", "Stuff"];
const OUTCOMES = ["matched", "spurious", "missed", "ignored"];
const OUTCOME_KINDS = ["tp", "fp", "fn", "ignored"];
const percent = (fraction, digits = 1) => (fraction === null ? "–" : (100 * fraction).toFixed(digits));
const signed = (fraction, digits = 1) => (fraction < 0 ? "−" : "+") + Math.abs(100 * fraction).toFixed(digits);
/** The causes of errors of segments or of instances. */
const causeNames = () => (isInstances() ? content.instances : content).causes;
/** The file names of the result sets. */
const setFiles = () => (isInstances() ? content.instances.sets : content.sets);
const setName = (set) => (isCompared ? `${LETTERS[set]}: ${setFiles()[set]}` : setFiles()[set]);
const isCompared = content.sets.length > 1;
const LETTERS = "ABCDEF"; // of the result sets
/** The set that is compared with A: the chosen one, or B. */
const otherSet = () => Number(state.set) || 1;
const differenceName = (set = otherSet()) => `${LETTERS[set]} − A`;
const differencesOf = (found, set = otherSet()) => found.compared[set - 1] ?? null;

/** A value from 0 to 1 as a dot on a track, with its interval. */
function intervalBar(value, low, high, title) {
  const bar = make("span", { class: "interval", title }, make("i", { class: "range" }), make("i", { class: "dot" }));
  return styled(bar, { "--low": low, "--high": high, "--value": value });
}

/** A stacked bar of `parts`: [fraction, color, title]. */
function stackedBar(parts, label) {
  const bar = make("span", { class: "stack", role: "img", "aria-label": label });
  for (const [share, color, title] of parts) {
    if (share > 0.0005) bar.append(styled(make("i", { title }), { "--share": share, "--color": color }));
  }
  return bar;
}
