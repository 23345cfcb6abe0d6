// The table of segments of the open image, and the selected segment.

let rowsShown = "errors";

/** Select the segment at a clicked pixel: of the prediction in its pane, else of the truth; again deselects it. */
function chosen(event, frame, set) {
  pointed(event, frame, set); // touch screens have no hovering
  const { at } = pixelAt(event, frame, opened.found);
  if (isInstances()) {
    instanceChosen(at, frame.dataset.layer, set);
    return;
  }
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
  lightUp(state.segment === "" ? null : selectedLight());
}

/** The spotlight on the selected segment or instance, or null if there is none. */
function selectedLight() {
  const { found } = opened;
  if (isInstances()) {
    const instance = selectedInstance();
    return instance && instanceSpotlight(instance, found.width, found.height);
  }
  const side = state.segment[0] === "p" ? "prediction" : "truth";
  const place = Number(state.segment.slice(1));
  const map = side === "truth" ? found.map : found.sets[Number(state.set)].map;
  return found.sets[Number(state.set)][side][place] ? spotlight(map, place, found.width, found.height) : null;
}

function drawSegments() {
  if (!opened) return;
  if (isInstances()) {
    drawDetections();
    return;
  }
  offerRows("All segments");
  const { truth, prediction } = opened.found.sets[Number(state.set)];
  const named = [
    ...truth.map((row, place) => ["truth", place, segmentOf(row)]),
    ...prediction.map((row, place) => ["prediction", place, segmentOf(row)]),
  ];
  const isWanted = hasSegmentFilter() ? shownSegments(opened.place, Number(state.set)) : () => true;
  const wanted = named.filter(([side, place, segment]) => (rowsShown === "all" || segment.cause !== null) && isWanted(side, place));
  const rows = wanted.map((entry) => segmentRow(...entry, truth, prediction));
  fillRows(["Segment", "Outcome", "IoU", "Area", "With"], rows, "No errors in this image.");
}

/** A function that tells whether a segment of an image matches the filters. */
function shownSegments(place, set) {
  const { firsts } = segmentSets[set];
  const matches = segmentFilter(set);
  return (side, index) => matches(firsts[2 * place + (side === "truth" ? 0 : 1)] + index);
}

/** The choice between the rows of errors and all rows of the image, which `all` names. */
function offerRows(all) {
  fillChoice(
    byId("rows-shown"),
    [
      ["errors", "Errors"],
      ["all", all],
    ],
    rowsShown,
    (kind) => {
      rowsShown = kind;
      drawSegments();
    },
  );
}

/** Fill the table of the image; without rows it says `nothing`. The row with the focus keeps it. */
function fillRows(names, rows, nothing) {
  const heads = names.map((label, column) => headCell(label, { numeric: column === 2 || column === 3 }));
  const focused = document.activeElement?.dataset?.segment;
  byId("segments").replaceChildren(
    make("thead", {}, make("tr", {}, heads)),
    make(
      "tbody",
      {},
      rows.length ? rows : make("tr", {}, make("td", { colspan: names.length, class: "note" }, nothing)),
    ),
  );
  if (focused) byId("segments").querySelector(`[data-segment="${focused}"]`)?.focus({ preventScroll: true });
}

function segmentRow(side, place, segment, truth, prediction) {
  const set = Number(state.set);
  const others = side === "truth" ? prediction : truth;
  const other = others[segment.partner ?? segment.nearest];
  const isChosen = state.segment === `${side[0]}${place}`;
  const iou = segment.iou ?? (segment.nearest === null ? null : segment.nearestIou);
  const kind = segmentKind({ ...segment, side });
  return make(
    "tr",
    { "aria-selected": String(isChosen), class: "choosable", click: () => chooseSegment(side, place, set) },
    make(
      "th",
      { scope: "row" },
      make(
        "button",
        { class: "link", "data-segment": `${side[0]}${place}`, title: `segment ${segment.id} of the ${side}` },
        classLabel(segment.line),
        make("small", {}, side),
      ),
    ),
    make(
      "td",
      { class: "outcome" },
      styled(make("i", { class: "swatch" }), { "--color": `var(--${kind})` }),
      segment.cause === null ? (segment.isCrowd ? "crowd" : OUTCOMES[segment.outcome]) : content.causes[segment.cause],
    ),
    cell(iou === null ? "–" : iou.toFixed(2), segment.iou === null ? "number faint" : "number"),
    cell(count(segment.area)),
    make(
      "td",
      {
        class: segment.partner === null ? "faint" : null,
        title: segment.partner === null ? "nearest, of any class" : "matched with",
      },
      other ? classLabel(other[1]) : "–",
    ),
  );
}
