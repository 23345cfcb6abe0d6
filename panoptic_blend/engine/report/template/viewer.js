// One image, large: layers over the photo, what lies under the pointer, and its segments.

const LAYOUTS = ["one", "all"];
const viewer = byId("viewer");
let opened = null; // {place, found}: what the viewer shows
let rowsShown = "errors";

function buildViewer() {
  const range = make("input", { type: "range", id: "opacity", min: 0, max: 100, "aria-label": "Opacity of the layer",
    input: (event) => show({ opacity: event.target.value }) });
  viewer.append(
    make("header", { class: "viewer-head" },
      make("button", { id: "previous", class: "quiet", title: "Previous image (k, ←)", "aria-label": "Previous image", click: () => step(-1) }, "‹"),
      make("button", { id: "next", class: "quiet", title: "Next image (j, →)", "aria-label": "Next image", click: () => step(1) }, "›"),
      make("h2", { id: "viewer-name" }), make("span", { id: "viewer-place", class: "note" }), make("div", { id: "viewer-figures" }),
      make("button", { id: "close", class: "quiet", title: "Close (Esc)", "aria-label": "Close", click: closeViewer }, "✕")),
    make("div", { class: "viewer-tools" },
      make("div", { id: "layers", class: "choice", role: "group", "aria-label": "Layer" }),
      make("div", { id: "layout", class: "choice", role: "group", "aria-label": "Layout" }),
      make("label", { class: "field" }, make("span", {}, "Opacity"), range, make("output", { id: "opacity-value" })),
      make("ul", { class: "legend", id: "error-legend" }, ERROR_KINDS.map(([kind, label]) =>
        make("li", {}, styled(make("i", { class: "swatch" }), { "--color": `var(--${kind})` }), label)))),
    make("div", { class: "viewer-body" }, make("div", { id: "stage", tabindex: "-1" }),
      make("aside", { id: "segments-panel" },
        make("div", { class: "bar" }, make("div", { id: "rows-shown", class: "choice", role: "group", "aria-label": "Segments" }),
          make("div", { id: "viewer-sets", class: "choice", role: "group", "aria-label": "Result set" })),
        make("div", { class: "scroll" }, make("table", { class: "dense", id: "segments" })))),
  );
  viewer.addEventListener("cancel", (event) => { event.preventDefault(); closeViewer(); });
  viewer.addEventListener("close", () => { if (state.image !== "") closeViewer(); });
}

function closeViewer() {
  show({ image: "", segment: "" }, true);
}

/** Go to another image of those that the browser lists. */
function step(by) {
  if (!filtered.length) filtered = filteredPlaces();
  const at = filtered.indexOf(placeOfId.get(state.image));
  const next = filtered[Math.max(0, Math.min(filtered.length - 1, at + by))];
  if (next === undefined) return;
  current = filtered.indexOf(next);
  show({ image: String(content.ids[next]), segment: "" });
}

async function drawViewer(before) {
  if (state.image === "") {
    opened = null;
    hideTip();
    if (viewer.open) viewer.close();
    byId("list")?.querySelector(`[data-at="${current}"]`)?.focus({ preventScroll: true });
    return;
  }
  const place = placeOfId.get(state.image);
  if (!viewer.open) {
    viewer.showModal();
    byId("stage").focus({ preventScroll: true });
  }
  drawViewerTools(place);
  if (opened?.place !== place) {
    byId("stage").replaceChildren(make("p", { class: "note" }, "Reading …"));
    byId("segments").replaceChildren();
    try {
      const found = await details(place);
      if (placeOfId.get(state.image) !== place) return;
      opened = { place, found };
    } catch (error) {
      byId("stage").replaceChildren(make("p", { class: "note", role: "alert" }, error.message));
      return;
    }
    drawStage();
    drawSegments();
  } else {
    if (["set", "layer", "layout"].some((key) => before[key] !== state[key])) drawStage();
    if (before.set !== state.set || before.segment !== state.segment) drawSegments();
  }
  styled(byId("stage"), { "--opacity": Number(state.opacity) / 100 });
  drawSpotlight();
}

function drawViewerTools(place) {
  byId("viewer-name").textContent = content.names[place];
  if (!filtered.length) filtered = filteredPlaces();
  const at = filtered.indexOf(place);
  byId("viewer-place").textContent = at < 0 ? `id ${content.ids[place]}` : `${count(at + 1)} of ${count(filtered.length)}`;
  byId("viewer-figures").replaceChildren(...content.sets.flatMap((_, set) => [
    make("span", { class: "figure-pair", title: setName(set) }, isCompared ? `${"AB"[set]} ` : "PQ ", make("b", {}, percent(qualityOf(set, place)))),
    make("span", { class: "note" }, errorWords(errorsOf(set, place)))]));
  fillChoice(byId("layers"), LAYERS.map((layer, number) => [layer, layer, `Key ${number + 1}`]), state.layer,
    (layer) => show({ layer, layout: "one" }));
  fillChoice(byId("layout"), [["one", "One"], ["all", "All", "Photo, truth, prediction and errors side by side"]], state.layout,
    (layout) => show({ layout }));
  fillChoice(byId("viewer-sets"), isCompared ? content.sets.map((name, set) => [String(set), "AB"[set], name]) : [], state.set, (set) => show({ set }));
  byId("opacity").value = state.opacity;
  byId("opacity-value").textContent = `${state.opacity} %`;
  byId("error-legend").hidden = state.layout === "one" && state.layer !== "errors";
}

/** The panes that are shown: [layer, result set]. With two result sets both are seen beside each other. */
function panes() {
  const sets = [...content.sets.keys()];
  if (state.layout === "one") return state.layer === "photo" || state.layer === "truth"
    ? [[state.layer, Number(state.set)]] : sets.map((set) => [state.layer, set]);
  return [["photo", 0], ["truth", 0], ...sets.flatMap((set) => [["prediction", set], ["errors", set]])];
}

function drawStage() {
  hideTip();
  const shown = panes();
  byId("stage").replaceChildren(...shown.map(([layer, set]) => pane(layer, set)));
  fitPanes();
}

/** Lay the panes out so that the pictures are as large as they can be; where the stage scrolls, only width counts. */
function fitPanes() {
  if (!opened) return;
  const stage = byId("stage");
  const ratio = opened.found.width / opened.found.height;
  const [gap, caption, number] = [12, 24, stage.children.length];
  const isScrolled = getComputedStyle(stage).overflowY === "visible";
  const [width, height] = [stage.clientWidth - 32, stage.clientHeight - 24];
  const widthIn = (columns) => {
    const rows = Math.ceil(number / columns);
    const across = (width - (columns - 1) * gap) / columns;
    return isScrolled ? across : Math.min(across, ((height - (rows - 1) * gap) / rows - caption) * ratio);
  };
  const options = isScrolled ? [number > 2 ? 2 : 1] : Array.from({ length: number }, (_, index) => index + 1);
  const columns = sortedRows(options, widthIn, true)[0];
  styled(stage, { "--ratio": ratio, "--columns": columns, "--pane": `${Math.floor(widthIn(columns))}px` });
}

function pane(layer, set) {
  const { place, found } = opened;
  const isOfSet = isCompared && (layer === "prediction" || layer === "errors");
  const title = layer[0].toUpperCase() + layer.slice(1) + (isOfSet ? ` ${"AB"[set]}` : "");
  const frame = make("div", { class: "frame", "data-layer": layer, "data-set": set },
    make("img", { src: assetAddress(`${place}.jpg`), alt: `Photo ${content.names[place]}`, draggable: "false" }),
    layerCanvas(layer, set, found), make("canvas", { class: "spotlight", width: found.width, height: found.height }),
    make("i", { class: "cross", hidden: true }));
  frame.addEventListener("pointermove", (event) => pointed(event, frame, set));
  frame.addEventListener("pointerleave", hideTip);
  frame.addEventListener("click", (event) => chosen(event, frame, set));
  return make("figure", { class: "pane" }, make("figcaption", {}, title,
    make("span", { class: "note" }, isOfSet ? content.sets[set] : "")), frame);
}

function layerCanvas(layer, set, found) {
  const { width, height } = found;
  if (layer === "photo") return null;
  const canvas = layer === "truth" ? classLayer(found.map, found.sets[set].truth, width, height)
    : layer === "prediction" ? classLayer(found.sets[set].map, found.sets[set].prediction, width, height)
      : errorLayer(found, set);
  canvas.classList.add("layer");
  return canvas;
}

/** Place in the maps that a pointer is at, with x and y as fractions. */
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
  showTip(event, [tipLine("truth", at, sets[0]), ...sets.map((shown) => tipLine("prediction", at, shown))]);
}

/** What is to say of the segment of one side at a pixel. */
function tipLine(side, at, set) {
  const { found } = opened;
  const map = side === "truth" ? found.map : found.sets[set].map;
  const label = side === "prediction" && isCompared ? `prediction ${"AB"[set]}` : side;
  const row = found.sets[set][side][map[at] - 1];
  if (!row) return make("div", { class: "tip-line" }, make("small", {}, label), make("span", {}, "void"));
  const segment = segmentOf(row);
  return make("div", { class: "tip-line" }, make("small", {}, label), classLabel(segment.line),
    make("span", { class: "note" }, `${outcomeWords(segment)} · #${segment.id}`));
}

function outcomeWords({ outcome, iou, cause, isCrowd }) {
  if (OUTCOME_KINDS[outcome] === "tp") return `matched, IoU ${iou.toFixed(3)}`;
  if (cause !== null) return `${OUTCOMES[outcome]}: ${content.causes[cause]}`;
  return isCrowd ? "crowd, ignored" : "ignored";
}

function showTip(event, lines) {
  const tip = byId("tip");
  if (tip.parentElement !== viewer) viewer.append(tip); // a modal dialog covers everything outside it
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const left = Math.min(event.clientX + 16, window.innerWidth - tip.offsetWidth - 8);
  const isLow = event.clientY + 20 + tip.offsetHeight > window.innerHeight;
  styled(tip, { left: `${Math.max(8, left)}px`, top: `${isLow ? event.clientY - tip.offsetHeight - 14 : event.clientY + 18}px` });
}

function hideTip() {
  byId("tip").hidden = true;
  for (const cross of byId("stage")?.querySelectorAll(".cross") ?? []) cross.hidden = true;
}

/** A click on a pixel chooses its segment: that of the truth in the truth, else the predicted one; again, none. */
function chosen(event, frame, set) {
  pointed(event, frame, set); // a finger does not hover
  const { at } = pixelAt(event, frame);
  const side = frame.dataset.layer === "prediction" ? "prediction" : "truth";
  const map = side === "truth" ? opened.found.map : opened.found.sets[set].map;
  chooseSegment(side, map[at] - 1, set);
}

function chooseSegment(side, place, set) {
  const name = place < 0 ? "" : `${side[0]}${place}`;
  rowsShown = name && rowsShown === "errors" && opened.found.sets[set][side][place][6] === null ? "all" : rowsShown;
  const changes = { set: String(set), segment: name === state.segment && String(set) === state.set ? "" : name };
  show(changes);
  byId("segments").querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function drawSpotlight() {
  if (!opened) return;
  const { found } = opened;
  const side = state.segment[0] === "p" ? "prediction" : "truth";
  const place = Number(state.segment.slice(1));
  const map = side === "truth" ? found.map : found.sets[Number(state.set)].map;
  const isChosen = state.segment !== "" && Boolean(found.sets[Number(state.set)][side][place]);
  const light = isChosen ? spotlight(map, place, found.width, found.height) : null;
  for (const canvas of byId("stage").querySelectorAll(".spotlight")) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (light) context.drawImage(light, 0, 0);
  }
}

function drawSegments() {
  if (!opened) return;
  fillChoice(byId("rows-shown"), [["errors", "Errors"], ["all", "All segments"]], rowsShown, (kind) => {
    rowsShown = kind;
    drawSegments();
  });
  const { truth, prediction } = opened.found.sets[Number(state.set)];
  const named = [...truth.map((row, place) => ["truth", place, segmentOf(row)]),
    ...prediction.map((row, place) => ["prediction", place, segmentOf(row)])];
  const wanted = named.filter(([, , segment]) => rowsShown === "all" || segment.cause !== null);
  const heads = ["Segment", "Outcome", "IoU", "Area", "With"].map((label, column) =>
    headCell(label, { numeric: column === 2 || column === 3 }));
  const focused = document.activeElement?.dataset?.segment;
  byId("segments").replaceChildren(make("thead", {}, make("tr", {}, heads)), make("tbody", {},
    wanted.length ? wanted.map((entry) => segmentRow(...entry, truth, prediction))
      : make("tr", {}, make("td", { colspan: 5, class: "note" }, "No errors in this image."))));
  if (focused) byId("segments").querySelector(`[data-segment="${focused}"]`)?.focus({ preventScroll: true });
}

function segmentRow(side, place, segment, truth, prediction) {
  const set = Number(state.set);
  const others = side === "truth" ? prediction : truth;
  const other = others[segment.partner ?? segment.nearest];
  const isChosen = state.segment === `${side[0]}${place}`;
  const iou = segment.iou ?? (segment.nearest === null ? null : segment.nearestIou);
  const kind = segment.cause === null ? (segment.outcome === 0 ? "matched" : "ignored") : side === "truth" ? "missed" : "spurious";
  return make("tr", { "aria-selected": String(isChosen), class: "choosable", click: () => chooseSegment(side, place, set) },
    make("th", { scope: "row" }, make("button", { class: "link", "data-segment": `${side[0]}${place}`,
      title: `segment ${segment.id} of the ${side}` }, classLabel(segment.line), make("small", {}, side))),
    make("td", { class: "outcome" }, styled(make("i", { class: "swatch" }), { "--color": `var(--${kind})` }),
      segment.cause === null ? (segment.isCrowd ? "crowd" : OUTCOMES[segment.outcome]) : content.causes[segment.cause]),
    cell(iou === null ? "–" : iou.toFixed(2), segment.iou === null ? "number faint" : "number"), cell(count(segment.area)),
    make("td", { class: segment.partner === null ? "faint" : null, title: segment.partner === null ? "nearest, of any class" : "matched with" },
      other ? classLabel(other[1]) : "–"));
}
