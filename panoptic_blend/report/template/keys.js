// Keyboard shortcuts; `?` lists them.

const KEYS = [
  ["j k ← →", "next and previous image"],
  ["↑ ↓", "a row of images up or down"],
  ["Enter", "open the selected image"],
  ["1 2 3 4", "photo, truth, prediction, errors"],
  ["5", "all four layers side by side"],
  ["+ −", "opacity of the layer"],
  ["Z z 0", "zoom in, zoom out, show all of the photo"],
  ["s", "switch to the next result set"],
  ["[ ]", "lower and higher score"],
  ["t", "tag the image, or take the tag away"],
  ["m", "switch between masks and boxes"],
  ["p", "switch between panoptic segments and instances"],
  ["/", "search the images by name"],
  ["Esc", "close, or leave the search"],
  ["?", "show these keys"],
];
const keysDialog = byId("keys");

const isTyping = (target) => target.matches?.("input:not([type=range]), select, textarea");

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (keysDialog.open) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  action();
}

/** Whether a key has an effect in this report. */
function isKey(key) {
  const needed = { s: isCompared, "[": content.instances, "]": content.instances, m: KINDS.length > 1, p: MODES.length > 1 };
  return Boolean(needed[key[0]] ?? true);
}

function actionOf(event) {
  const { key } = event;
  if (!isKey(key)) return null;
  if (key === "p") return () => switchMode();
  if (isInstances() && "[]".includes(key)) return () => moveScore(key === "[" ? -1 : 1);
  if (isInstances() && key === "m") return () => show({ kind: KINDS[1 - KINDS.indexOf(shownKind())] });
  if (key === "?") return () => keysDialog.showModal();
  if (key === "s") return () => show({ set: String((Number(state.set) + 1) % content.sets.length) });
  if (key === "t" && (state.image !== "" || (state.view === "images" && current >= 0))) return () => tag([state.image === "" ? filtered[current] : placeOfId.get(state.image)]);
  if (state.image !== "") return viewerAction(key, event.target);
  if (key === "/")
    return () => {
      show({ view: "images" });
      byId("search").focus();
    };
  return state.view === "images" ? listAction(key, event.target) : null;
}

function viewerAction(key, target) {
  const isRange = target.matches?.("input[type=range]");
  if (key === "j" || (key === "ArrowRight" && !isRange)) return () => step(1);
  if (key === "k" || (key === "ArrowLeft" && !isRange)) return () => step(-1);
  if (LAYERS[Number(key) - 1]) return () => show({ layer: LAYERS[Number(key) - 1], layout: "one" });
  if (key === "Z") return () => zoomBy(1.5);
  if (key === "z") return () => zoomBy(1 / 1.5);
  if (key === "0") return () => zoomTo(1, 0.5, 0.5);
  if (key === "5") return () => show({ layout: "all" });
  const by = { "+": 10, "=": 10, "-": -10, "−": -10 }[key];
  if (by) return () => show({ opacity: String(Math.min(100, Math.max(0, Number(state.opacity) + by))) });
  return null;
}

function listAction(key, target) {
  const steps = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: imageList.across(), ArrowUp: -imageList.across() };
  const isFree = !target.closest?.("header, .bar");
  if (key in steps && (isFree || key === "j" || key === "k")) return () => moveCurrent(steps[key]);
  if (key === "Enter" && current >= 0 && !target.closest?.("a, button")) return () => openImage(filtered[current]);
  return null;
}
