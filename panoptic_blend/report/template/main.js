// Rendering of the state in the address, and global event handlers.

const DRAW = {
  overview: drawOverview,
  classes: drawClasses,
  confusion: drawConfusion,
  errors: drawErrors,
  segments: drawPatches,
  images: drawImages,
  curves: drawCurves,
};
const LISTS = ["images", "segments"]; // views that are lists, whose height depends on the window
const drawnWith = {};

/** Draw the parts that changed since the state `before`; null draws everything. */
function render(before) {
  const { view, set } = state;
  drawModes();
  for (const tab of byId("tabs").children) {
    const isShown = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !isShown;
    if (isShown && before?.view !== view) tab.scrollIntoView({ block: "nearest", inline: "nearest" }); // of narrow windows
  }
  const key = drawingKey();
  const isCovered = before && before.image !== "" && state.image !== ""; // the list keeps its order under the viewer
  if (!isCovered && (drawnWith[view] !== key || (before && before.view !== view && LISTS.includes(view)))) {
    drawnWith[view] = key;
    DRAW[view](byId(byId(`tab-${view}`).getAttribute("aria-controls")));
  }
  if (!LISTS.includes(view)) offerDownloads(byId(byId(`tab-${view}`).getAttribute("aria-controls")));
  if (view === "curves" && isInstances()) byId("score-plot").replaceWith(scorePlot());
  drawSets();
  drawViewer(before ?? state);
}

/** What the shown view depends on. */
function drawingKey() {
  const { view, of, set, kind } = state;
  const shared = [of, set, ...(isInstances() ? [kind, view === "curves" ? "" : scoreStep()] : [])];
  if (LISTS.includes(view)) return [...shared, state.thumbs, state.rank, state.sort, state.down, ...FILTERS.map((name) => state[name])].join("\n");
  return [...shared, state.matrix, state.lines, state.order, state.curve, state.match].join();
}

/** The choice of segments or instances, their tabs, and the slider of scores. */
function drawModes() {
  document.body.dataset.of = state.of;
  if (MODES.length > 1)
    fillChoice(
      byId("modes"),
      MODES.map((mode) => [mode, mode]),
      state.of,
      switchMode,
    );
  for (const tab of byId("tabs").children) tab.hidden = !VIEWS[state.of].includes(tab.dataset.view);
  for (const bar of document.querySelectorAll(".score-bar")) {
    bar.hidden = !isInstances();
    if (isInstances()) drawScoreBar(bar);
  }
}

/** Show segments or instances; the filters and the order of the other are given up. */
function switchMode(of = MODES[1 - MODES.indexOf(state.of)]) {
  const view = VIEWS[of].includes(state.view) ? state.view : "overview";
  const given = Object.fromEntries([...FILTERS, "order", "segment", "sort", "down"].map((key) => [key, DEFAULTS[key]]));
  show({ of, view, ...given }, true);
}

function drawSets() {
  if (isCompared)
    fillChoice(
      byId("sets"),
      setFiles().map((name, set) => [String(set), LETTERS[set], name]),
      state.set,
      (set) => show({ set }),
    );
}

function tabPressed(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const views = VIEWS[state.of];
  const next = views[(views.indexOf(state.view) + by + views.length) % views.length];
  show({ view: next }, true);
  byId(`tab-${next}`).focus();
}

function drawLists() {
  imageList.drawNear();
  patchList.drawNear();
}

async function start() {
  await Promise.all([readDetections(), readSegmentTable()]);
  document.title = `${content.sets[0]}: ${content.results ? "panoptic" : "instance"} report`;
  byId("brand").textContent = content.results ? "Panoptic report" : "Instance report";
  if (content.instances) byId("overview").before(scoreBar("score"));
  buildViewer();
  buildKeys(KEYS.filter(([key]) => isKey(key)));
  for (const tab of byId("tabs").children) {
    tab.addEventListener("click", () => {
      show({ view: tab.dataset.view }, true);
      window.scrollTo(0, 0);
    });
  }
  byId("tabs").addEventListener("keydown", tabPressed);
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", addressChanged);
  window.addEventListener("scroll", () => requestAnimationFrame(drawLists), { passive: true });
  window.addEventListener("resize", () =>
    requestAnimationFrame(() => {
      drawLists();
      if (opened) fitPanes(opened.found);
    }),
  );
  state = parsedState(location.hash);
  render(null);
}

start();
