// The shown picture with its map, the segment under the pointer, and the table of segments.

let chosenSegment = null; // the id of a segment

/** The segment of a row: its number in the map counts from 1. */
const segmentOf = ([id, line, area, score]) => ({ id, line, area, score });
const scoreText = (score) => (score === null ? "–" : score.toFixed(2));

function drawStage() {
  hideTip();
  const stage = byId("stage");
  const picture = shown();
  byId("segments-panel").hidden = !picture?.view;
  if (!picture?.view) {
    stage.replaceChildren(picture ? make("p", { class: "note" }, "Predicting …") : invitation());
    return;
  }
  const layers = layer === "both" ? ["photo", "map"] : [layer];
  stage.replaceChildren(...layers.map((name) => pane(picture, name)));
  fitPanes(picture.view);
  drawSpotlight();
  drawSegments();
}

function invitation() {
  return make(
    "div",
    { class: "invitation" },
    make("h1", {}, "Drop or paste pictures here"),
    make("p", { class: "note" }, `They go to the server of this page and no further. Model: ${content.model}`),
    make("button", { class: "quiet", click: () => byId("files").click() }, "Choose pictures"),
  );
}

function pane(picture, name) {
  const { view } = picture;
  const map = name === "map" ? classLayer(view.map, view.segments, view.width, view.height) : null;
  map?.classList.add("layer");
  const frame = photoFrame({ src: picture.photo, alt: `Photo ${picture.name}` }, map, view, { "data-layer": name });
  frame.addEventListener("pointermove", (event) => pointed(event, frame));
  frame.addEventListener("pointerleave", hideTip);
  frame.addEventListener("click", (event) => {
    pointed(event, frame); // touch screens have no hovering
    const row = rowAt(event, frame);
    choose(row ? segmentOf(row).id : null);
  });
  const size = `${picture.name} · ${picture.width} × ${picture.height}`;
  return make("figure", { class: "pane" }, make("figcaption", {}, name === "map" ? "Map" : "Photo", make("span", { class: "note" }, size)), frame);
}

function rowAt(event, frame) {
  const { view } = shown();
  return view.segments[view.map[pixelAt(event, frame, view).at] - 1];
}

function pointed(event, frame) {
  const { x, y } = pixelAt(event, frame, shown().view);
  markPoint(frame, x, y);
  const row = rowAt(event, frame);
  showTip(event, [row ? segmentLine(segmentOf(row)) : make("div", {}, "void")]);
}

function segmentLine({ line, area, score }) {
  const words = score === null ? "stuff" : `score ${scoreText(score)}`;
  return make("div", {}, classLabel(line), make("div", { class: "note" }, `${words} · ${share(area)} of the picture`));
}

const share = (area) => `${((100 * area) / (shown().width * shown().height)).toFixed(1)} %`;

/** Choose a segment by its id, or the chosen one again to let it go. */
function choose(id) {
  chosenSegment = id === chosenSegment ? null : id;
  drawSpotlight();
  drawSegments();
  byId("segments").querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function drawSpotlight() {
  const { map, segments, width, height } = shown().view;
  const place = segments.findIndex((row) => segmentOf(row).id === chosenSegment);
  lightUp(place < 0 ? null : spotlight(map, place, width, height));
}

function drawSegments() {
  const { segments } = shown().view;
  const heads = ["Segment", "Score", "Area"].map((label, column) => headCell(label, { numeric: column > 0 }));
  const focused = document.activeElement?.dataset?.segment;
  byId("found").textContent = segments.length === 1 ? "1 segment" : `${count(segments.length)} segments`;
  byId("segments").replaceChildren(make("thead", {}, make("tr", {}, heads)), make("tbody", {}, segments.map(segmentRow)));
  if (focused) byId("segments").querySelector(`[data-segment="${focused}"]`)?.focus({ preventScroll: true });
}

function segmentRow(row) {
  const { id, line, area, score } = segmentOf(row);
  return make(
    "tr",
    { "aria-selected": String(id === chosenSegment), class: "choosable", click: () => choose(id) },
    make("th", { scope: "row" }, make("button", { class: "link", "data-segment": id }, classLabel(line))),
    cell(scoreText(score), score === null ? "number faint" : "number"),
    cell(share(area)),
  );
}
