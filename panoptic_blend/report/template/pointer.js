// Words for the segments under the pointer, which is marked in all panes.

function pointed(event, frame, set) {
  if (!opened) return;
  const { at, x, y } = pixelAt(event, frame, opened.found);
  markPoint(frame, x, y);
  const sets = isCompared && (frame.dataset.layer === "photo" || frame.dataset.layer === "truth") ? [...content.sets.keys()] : [set];
  if (isInstances()) showTip(event, instanceTip(at, sets));
  else showTip(event, [tipLine("truth", at, sets[0]), ...sets.map((shown) => tipLine("prediction", at, shown))]);
}

/** The line of the tooltip for the segment of one map at a pixel. */
function tipLine(side, at, set) {
  const { found } = opened;
  const map = side === "truth" ? found.map : found.sets[set].map;
  const label = side === "prediction" && isCompared ? `prediction ${LETTERS[set]}` : side;
  const row = found.sets[set][side][map[at] - 1];
  if (!row) return make("div", { class: "tip-line" }, make("small", {}, label), make("span", {}, "void"));
  const segment = segmentOf(row);
  const nearest = found.sets[set][side === "truth" ? "prediction" : "truth"][segment.nearest];
  const isNear = segment.iou === null && nearest;
  return make(
    "div",
    { class: "tip-line" },
    make("small", {}, label),
    classLabel(segment.line),
    make("span", { class: "note" }, `${outcomeWords(segment)} · #${segment.id}`),
    isNear
      ? make("span", { class: "note" }, `IoU ${segment.nearestIou.toFixed(3)} with ${className(nearest[1])}`)
      : null,
  );
}

function outcomeWords({ outcome, iou, cause, isCrowd }) {
  if (OUTCOME_KINDS[outcome] === "tp") return `matched, IoU ${iou.toFixed(3)}`;
  if (cause !== null) return `${OUTCOMES[outcome]}: ${content.causes[cause]}`;
  return isCrowd ? "crowd, ignored" : "ignored";
}
