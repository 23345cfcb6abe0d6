// Numbers, colors and names of the report.

const MODES = ["panoptic", "instances"].filter((mode) => (mode === "panoptic" ? content.results : content.instances));
const isInstances = () => state.of === "instances";
const GROUPS = ["All", "Things", "Stuff"];
const OUTCOMES = ["matched", "spurious", "missed", "ignored"];
const OUTCOME_KINDS = ["tp", "fp", "fn", "ignored"];
const percent = (fraction, digits = 1) => (fraction === null ? "–" : (100 * fraction).toFixed(digits));
const signed = (fraction, digits = 1) => (fraction < 0 ? "−" : "+") + Math.abs(100 * fraction).toFixed(digits);
const rgb = (color) => `rgb(${color.join(" ")})`;
/** The causes of errors of segments or of instances. */
const causeNames = () => (isInstances() ? content.instances : content).causes;
/** The file names of the result sets. */
const setFiles = () => (isInstances() ? content.instances.sets : content.sets);
const setName = (set) => (isCompared ? `${"AB"[set]}: ${setFiles()[set]}` : setFiles()[set]);
const isCompared = content.sets.length > 1;

/** The class of a row or column of the confusion matrix; 0 is no class. */
const classOf = (line) => content.classes[line - 1];
const className = (line) => (line ? classOf(line).name || String(classOf(line).id) : "(none)");

function swatch(line) {
  return styled(make("i", { class: "swatch", "aria-hidden": "true" }), { "--color": rgb(classOf(line).color) });
}

/** The color and the name of a class. */
function classLabel(line) {
  return make("span", { class: "class-label" }, line ? swatch(line) : null, make("span", { title: className(line) }, className(line)));
}

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
