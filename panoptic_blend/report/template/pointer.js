// Tooltip with the segments under the pointer, which is marked in all panes.

/** Index of the pixel of the maps under the pointer, and its position x, y as fractions. */
function pixelAt(event, frame) {
  const box = frame.getBoundingClientRect();
  const { width, height } = opened.found;
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const column = Math.min(width - 1, Math.max(0, Math.floor(x * width)));
  const row = Math.min(height - 1, Math.max(0, Math.floor(y * height)));
  return { at: row * width + column, x, y };
}

function pointed(event, frame, set) {
  if (!opened) return;
  const { at, x, y } = pixelAt(event, frame);
  for (const cross of byId("stage").querySelectorAll(".cross")) {
    cross.hidden = cross.parentElement === frame;
    styled(cross, { left: `${100 * x}%`, top: `${100 * y}%` });
  }
  const sets = isCompared && (frame.dataset.layer === "photo" || frame.dataset.layer === "truth") ? [0, 1] : [set];
  if (isInstances()) showTip(event, instanceTip(at, sets));
  else showTip(event, [tipLine("truth", at, sets[0]), ...sets.map((shown) => tipLine("prediction", at, shown))]);
}

/** The line of the tooltip for the segment of one map at a pixel. */
function tipLine(side, at, set) {
  const { found } = opened;
  const map = side === "truth" ? found.map : found.sets[set].map;
  const label = side === "prediction" && isCompared ? `prediction ${"AB"[set]}` : side;
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

function showTip(event, lines) {
  const tip = byId("tip");
  if (tip.parentElement !== viewer) viewer.append(tip); // a modal dialog covers all elements outside it
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const left = Math.min(event.clientX + 16, window.innerWidth - tip.offsetWidth - 8);
  const isLow = event.clientY + 20 + tip.offsetHeight > window.innerHeight;
  styled(tip, {
    left: `${Math.max(8, left)}px`,
    top: `${isLow ? event.clientY - tip.offsetHeight - 14 : event.clientY + 18}px`,
  });
}

function hideTip() {
  byId("tip").hidden = true;
  for (const cross of byId("stage")?.querySelectorAll(".cross") ?? []) cross.hidden = true;
}
