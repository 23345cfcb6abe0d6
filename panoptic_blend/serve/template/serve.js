// Keys, and the start of the page.

const KEYS = [
  ["o", "choose pictures; they can be dropped and pasted, too"],
  ["c", "take a picture with the camera"],
  ["j k ← →", "next and previous picture"],
  ["x", "remove the picture"],
  ["1 2 3", "photo, map, both"],
  ["+ −", "opacity of the map"],
  ["[ ]", "lower and higher confidence"],
  ["{ }", "less and more overlap"],
  ["Esc", "let the chosen segment go"],
  ["?", "show these keys"],
];

function step(by) {
  const next = Math.max(0, Math.min(pictures.length - 1, current + by));
  if (next !== current && pictures.length) show(next);
}

const ACTIONS = {
  o: () => byId("files").click(),
  c: () => byId("camera").hidden || openCamera(),
  j: () => step(1),
  k: () => step(-1),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  x: () => shown() && remove(current),
  1: () => chooseLayer("photo"),
  2: () => chooseLayer("map"),
  3: () => chooseLayer("both"),
  "+": () => nudge("opacity", 10),
  "=": () => nudge("opacity", 10),
  "-": () => nudge("opacity", -10),
  "[": () => nudge("confidence", -5),
  "]": () => nudge("confidence", 5),
  "{": () => nudge("overlap", -5),
  "}": () => nudge("overlap", 5),
  Escape: () => shown()?.view && choose(chosenSegment),
  "?": () => byId("keys").showModal(),
};

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const movesSlider = event.target.matches?.("input[type=range]") && event.key.startsWith("Arrow");
  if (movesSlider || !Object.hasOwn(ACTIONS, event.key)) return;
  event.preventDefault();
  ACTIONS[event.key]();
}

function start() {
  byId("model").textContent = content.model;
  document.title = `${content.model}: panoptic segmentation`;
  readyControls();
  readyIncoming();
  readyCamera();
  buildKeys(KEYS);
  drawControls();
  drawStage();
  document.addEventListener("keydown", pressed);
  window.addEventListener("resize", () => requestAnimationFrame(() => shown()?.view && fitPanes(shown().view)));
}

start();
