// Rendering of the state in the address, and global event handlers.

const DRAW = {
  overview: drawOverview,
  classes: drawClasses,
  confusion: drawConfusion,
  errors: drawErrors,
  images: drawImages,
};
const drawnWith = {};

/** Draw the parts that changed since the state `before`; null draws everything. */
function render(before) {
  const { view, set } = state;
  for (const tab of byId("tabs").children) {
    const isShown = tab.dataset.view === view;
    tab.setAttribute("aria-selected", String(isShown));
    tab.tabIndex = isShown ? 0 : -1;
    byId(tab.dataset.view).hidden = !isShown;
  }
  const key = view === "images" ? [set, state.sort, state.down, ...FILTERS.map((name) => state[name])].join("\n") : [set, state.matrix, state.order].join();
  if (drawnWith[view] !== key || (before && before.view !== view && view === "images")) {
    drawnWith[view] = key;
    DRAW[view](byId(view));
  }
  drawSets();
  drawViewer(before ?? state);
}

function drawSets() {
  if (isCompared)
    fillChoice(
      byId("sets"),
      content.sets.map((name, set) => [String(set), `${"AB"[set]}`, name]),
      state.set,
      (set) => show({ set }),
    );
}

function tabPressed(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const next = VIEWS[(VIEWS.indexOf(state.view) + by + VIEWS.length) % VIEWS.length];
  show({ view: next }, true);
  byId(`tab-${next}`).focus();
}

function start() {
  document.title = `${content.sets[0]}: panoptic report`;
  byId("files").textContent = `${content.sets.map((_, set) => setName(set)).join("   ")}   against ${content.truth}`;
  buildViewer();
  buildKeys();
  for (const tab of byId("tabs").children) {
    tab.addEventListener("click", () => {
      show({ view: tab.dataset.view }, true);
      window.scrollTo(0, 0);
    });
  }
  byId("tabs").addEventListener("keydown", tabPressed);
  document.addEventListener("keydown", pressed);
  window.addEventListener("hashchange", addressChanged);
  window.addEventListener("scroll", () => requestAnimationFrame(drawNear), { passive: true });
  window.addEventListener("resize", () =>
    requestAnimationFrame(() => {
      drawNear();
      fitPanes();
    }),
  );
  state = parsedState(location.hash);
  render(null);
}

start();
