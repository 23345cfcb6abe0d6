// The viewer of one image: its layers over the photo, one at a time or side by side.

const LAYOUTS = ["one", "all"];
const viewer = byId("viewer");
let opened = null; // {place, found}: the image in the viewer

function buildViewer() {
  const range = make("input", {
    type: "range",
    id: "opacity",
    min: 0,
    max: 100,
    "aria-label": "Opacity of the layer",
    input: (event) => show({ opacity: event.target.value }),
  });
  viewer.append(
    make(
      "header",
      { class: "viewer-head" },
      make(
        "button",
        {
          id: "previous",
          class: "quiet",
          title: "Previous image (k, ←)",
          "aria-label": "Previous image",
          click: () => step(-1),
        },
        "‹",
      ),
      make(
        "button",
        { id: "next", class: "quiet", title: "Next image (j, →)", "aria-label": "Next image", click: () => step(1) },
        "›",
      ),
      make("h2", { id: "viewer-name" }),
      make("span", { id: "viewer-place", class: "note" }),
      make("div", { id: "viewer-figures" }),
      make("button", { id: "tag", class: "quiet", title: "Tag the image (t)", click: () => tag([placeOfId.get(state.image)]) }),
      make(
        "button",
        { id: "close", class: "quiet", title: "Close (Esc)", "aria-label": "Close", click: closeViewer },
        "✕",
      ),
    ),
    make(
      "div",
      { class: "viewer-tools" },
      make("div", { id: "layers", class: "choice", role: "group", "aria-label": "Layer" }),
      make("div", { id: "layout", class: "choice", role: "group", "aria-label": "Layout" }),
      make("label", { class: "field" }, make("span", {}, "Opacity"), range, make("output", { id: "opacity-value" })),
      make(
        "div",
        { class: "field", role: "group", "aria-label": "Zoom" },
        make("button", { class: "quiet", id: "zoom-out", title: "Zoom out (z)", click: () => zoomBy(1 / 1.5) }, "−"),
        make("button", { class: "quiet", id: "zoom-value", title: "Show all of the photo (0)", click: () => zoomTo(1, 0.5, 0.5) }),
        make("button", { class: "quiet", id: "zoom-in", title: "Zoom in (Z); wheel and fingers zoom too", click: () => zoomBy(1.5) }, "+"),
      ),
      make("ul", { class: "legend", id: "error-legend" }),
      content.instances ? scoreBar("viewer-score") : null,
    ),
    make(
      "div",
      { class: "viewer-body" },
      make("div", { id: "stage", tabindex: "-1" }),
      make(
        "aside",
        { id: "segments-panel" },
        make(
          "div",
          { class: "bar" },
          make("div", { id: "rows-shown", class: "choice", role: "group", "aria-label": "Segments" }),
          make("div", { id: "viewer-sets", class: "choice", role: "group", "aria-label": "Result set" }),
        ),
        make("div", { class: "scroll" }, make("table", { class: "dense", id: "segments" })),
      ),
    ),
  );
  viewer.addEventListener("cancel", (event) => {
    event.preventDefault();
    closeViewer();
  });
  viewer.addEventListener("close", () => {
    if (state.image !== "") closeViewer();
  });
}

function closeViewer() {
  show({ image: "", segment: "" }, true);
}

/** Go to another image in the list of the image browser. */
function step(by) {
  if (!filtered.length) filtered = filteredPlaces();
  const at = filtered.indexOf(placeOfId.get(state.image));
  const next = filtered[Math.max(0, Math.min(filtered.length - 1, at + by))];
  if (next === undefined) return;
  current = filtered.indexOf(next);
  show({ image: content.ids[next], segment: "" });
}

async function drawViewer(before) {
  if (state.image === "") {
    leaveViewer();
    return;
  }
  const place = placeOfId.get(state.image);
  if (!viewer.open) {
    viewer.showModal();
    byId("stage").focus({ preventScroll: true });
  }
  drawViewerTools(place);
  styled(byId("stage"), { "--opacity": Number(state.opacity) / 100 });
  drawZoom();
  const isOther = opened?.place !== place;
  if (isOther && !(await openPlace(place))) return;
  const hasChanged = (...keys) => isOther || keys.some((key) => before[key] !== state[key]);
  if (hasChanged("of", "set", "layer", "layout")) drawStage();
  else if (hasChanged("kind", "score")) drawLayers();
  if (hasChanged("of", "set", "segment", "kind", "score")) drawSegments();
  if (hasChanged("of", "set", "layer", "layout", "segment", "kind", "score")) drawSpotlight();
}

/** Read the image for the viewer; returns whether it is still to be shown. */
async function openPlace(place) {
  opened = null; // the stage is empty, so that the next image is drawn completely
  byId("stage").replaceChildren(make("p", { class: "note" }, "Reading …"));
  byId("segments").replaceChildren();
  const isWanted = () => placeOfId.get(state.image) === place;
  try {
    const found = await details(place);
    if (isWanted()) opened = { place, found };
  } catch (error) {
    if (isWanted()) byId("stage").replaceChildren(make("p", { class: "note", role: "alert" }, error.message));
    return false;
  }
  return isWanted();
}

function leaveViewer() {
  opened = null;
  if (!viewer.open) return;
  hideTip();
  viewer.close();
  imageList.cards.get(current)?.focus({ preventScroll: true });
}

function drawViewerTools(place) {
  byId("viewer-name").textContent = content.names[place];
  if (!filtered.length) filtered = filteredPlaces();
  const at = filtered.indexOf(place);
  byId("viewer-place").textContent =
    at < 0 ? `id ${content.ids[place]}` : `${count(at + 1)} of ${count(filtered.length)}`;
  byId("viewer-figures").replaceChildren(
    ...content.sets.flatMap((_, set) => [
      make(
        "span",
        { class: "figure-pair", title: setName(set) },
        isCompared ? `${LETTERS[set]} ` : `${qualityName()} `,
        make("b", {}, percent(qualityOf(set, place))),
      ),
      make("span", { class: "note" }, errorWords(errorsOf(set, place))),
    ]),
  );
  fillChoice(
    byId("layers"),
    LAYERS.map((layer, number) => [layer, layer, `Key ${number + 1}`]),
    state.layer,
    (layer) => show({ layer, layout: "one" }),
  );
  fillChoice(
    byId("layout"),
    [
      ["one", "One"],
      ["all", "All", "Photo, truth, prediction and errors side by side"],
    ],
    state.layout,
    (layout) => show({ layout }),
  );
  fillChoice(
    byId("viewer-sets"),
    isCompared ? setFiles().map((name, set) => [String(set), LETTERS[set], name]) : [],
    state.set,
    (set) => show({ set }),
  );
  drawTags();
  byId("opacity").value = state.opacity;
  byId("opacity-value").textContent = `${state.opacity} %`;
  byId("error-legend").replaceChildren(
    ...(isInstances() ? INSTANCE_KINDS : ERROR_KINDS).map(([kind, label]) =>
      make("li", {}, styled(make("i", { class: "swatch" }), { "--color": `var(--${kind})` }), label),
    ),
  );
  byId("error-legend").hidden = state.layout === "one" && state.layer !== "errors";
}

/** The panes to show: [layer, result set]; two result sets are shown side by side. */
function panes() {
  const sets = [...content.sets.keys()];
  if (state.layout === "one")
    return state.layer === "photo" || state.layer === "truth"
      ? [[state.layer, Number(state.set)]]
      : sets.map((set) => [state.layer, set]);
  return [
    ["photo", 0],
    ["truth", 0],
    ...sets.flatMap((set) => [
      ["prediction", set],
      ["errors", set],
    ]),
  ];
}

function drawStage() {
  hideTip();
  const shown = panes();
  byId("stage").replaceChildren(...shown.map(([layer, set]) => pane(layer, set)));
  fitPanes(opened.found);
  drawZoom();
}

/** Draw the layers again in their panes, as while the slider of scores moves. */
function drawLayers() {
  for (const frame of byId("stage").querySelectorAll(".frame")) {
    const { layer, set } = frame.dataset;
    frame.querySelector(".layer")?.replaceWith(layerCanvas(layer, Number(set), opened.found));
  }
}

function pane(layer, set) {
  const { place, found } = opened;
  const isOfSet = isCompared && (layer === "prediction" || layer === "errors");
  const title = layer[0].toUpperCase() + layer.slice(1) + (isOfSet ? ` ${LETTERS[set]}` : "");
  const photo = { src: assetAddress(`${place}.jpg`), alt: `Photo ${content.names[place]}` };
  const frame = photoFrame(photo, layerCanvas(layer, set, found), found, { "data-layer": layer, "data-set": set });
  frame.addEventListener("pointermove", (event) => pointed(event, frame, set));
  frame.addEventListener("pointerleave", hideTip);
  frame.addEventListener("click", (event) => {
    if (!dragged) chosen(event, frame, set);
  });
  makeZoomable(frame);
  return make(
    "figure",
    { class: "pane" },
    make("figcaption", {}, title, make("span", { class: "note" }, isOfSet ? setFiles()[set] : "")),
    frame,
  );
}

function layerCanvas(layer, set, found) {
  if (layer === "photo") return null;
  const canvas = isInstances() ? instanceLayer(layer, set, found) : mapLayer(layer, set, found);
  canvas.classList.add("layer");
  return canvas;
}

function mapLayer(layer, set, found) {
  const { width, height } = found;
  return layer === "truth"
      ? classLayer(found.map, found.sets[set].truth, width, height)
      : layer === "prediction"
        ? classLayer(found.sets[set].map, found.sets[set].prediction, width, height)
        : errorLayer(found, set);
}
