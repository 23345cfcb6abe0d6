// Names and colors of classes; the page numbers them from 1, and 0 is no class.

const rgb = (color) => `rgb(${color.join(" ")})`;
const classOf = (line) => content.classes[line - 1];
const className = (line) => (line ? classOf(line).name || String(classOf(line).id) : "(none)");

function swatch(line) {
  return styled(make("i", { class: "swatch", "aria-hidden": "true" }), { "--color": rgb(classOf(line).color) });
}

/** The color and the name of a class. */
function classLabel(line) {
  return make("span", { class: "class-label" }, line ? swatch(line) : null, make("span", { title: className(line) }, className(line)));
}
