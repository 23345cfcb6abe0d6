// The image browser: sorted, filtered, and only what is near the window is in the page.

const CARD = { width: 188, height: 196, gap: 12 };
const SORTS = [["pq", "PQ"], ["errors", "errors"], ["name", "name"], ["difference", "B − A"]];
const FILTERS = ["q", "class", "cause", "true", "taken"];
let filtered = [];
let current = -1;
let laidOut = ""; // what the cards in the page were placed with
const cards = new Map(); // the cards in the page, by their places in the list

/** Go to the images with these filters alone. */
function browse(filters) {
  current = -1;
  const cleared = Object.fromEntries(FILTERS.map((key) => [key, ""]));
  show({ view: "images", image: "", ...cleared, ...filters }, true);
  window.scrollTo(0, 0);
}

const errorsOf = (set, place) => content.results[set].images.fp[place] + content.results[set].images.fn[place];
const qualityOf = (set, place) => content.results[set].images.pq[place];

const SORT_VALUES = {
  pq: (set, place) => qualityOf(set, place),
  errors: (set, place) => -errorsOf(set, place),
  name: (set, place) => content.names[place],
  difference: (set, place) => isCompared ? -Math.abs(qualityOf(1, place) - qualityOf(0, place)) : 0,
};

/** Whether one mistake of an image, [true line, predicted line, cause], is what the filters ask for. */
function isWanted(wanted, line, taken, cause) {
  return (wanted.cause === null || wanted.cause === cause)
    && (wanted.class === null || line === wanted.class || taken === wanted.class)
    && (wanted.true === null || line === wanted.true) && (wanted.taken === null || taken === wanted.taken);
}

function filteredPlaces() {
  const set = Number(state.set);
  const { classes, errors } = content.results[set].images;
  const wanted = Object.fromEntries(["class", "cause", "true", "taken"].map(
    (key) => [key, state[key] === "" ? null : Number(state[key])]));
  const asksForError = wanted.cause !== null || wanted.true !== null || wanted.taken !== null;
  const text = state.q.trim().toLowerCase();
  const matches = (place) => {
    if (text && !content.names[place].toLowerCase().includes(text) && String(content.ids[place]) !== text) return false;
    if (!asksForError) return wanted.class === null || classes[place].includes(wanted.class);
    const found = errors[place];
    for (let at = 0; at < found.length; at += 3) {
      if (isWanted(wanted, found[at], found[at + 1], found[at + 2])) return true;
    }
    return false;
  };
  const places = [...content.ids.keys()].filter(matches);
  return sortedRows(places, (place) => SORT_VALUES[state.sort](set, place), state.down === "1");
}

function drawImages(section) {
  if (!byId("list")) section.append(...browserParts());
  filtered = filteredPlaces();
  current = Math.min(current, filtered.length - 1);
  drawFilters();
  byId("found").textContent = `${count(filtered.length)} of ${count(content.ids.length)} images`;
  byId("nothing").hidden = filtered.length > 0;
  laidOut = "";
  drawNear();
}

function browserParts() {
  const search = make("input", { id: "search", type: "search", placeholder: "Name or id  ( / )", "aria-label": "Name or id of an image",
    autocomplete: "off", spellcheck: "false", input: (event) => show({ q: event.target.value }) });
  return [
    make("div", { class: "bar filters" }, search, make("div", { class: "fields", id: "filters" }), make("span", { id: "found", role: "status" })),
    make("div", { id: "list", role: "group", "aria-label": "Images" }),
    make("p", { id: "nothing", class: "note", hidden: true }, "No image is like that. ",
      make("button", { class: "quiet", click: () => browse({}) }, "Show all")),
  ];
}

function drawFilters() {
  const focused = document.activeElement?.id;
  const search = byId("search");
  if (search.value !== state.q) search.value = state.q;
  const classes = sortedRows(classRows(), (row) => row.category.name, false).map((row) => [row.line, row.category.name]);
  const causes = content.causes.map((cause, place) => [place, cause]).filter(([, cause]) => cause !== "inexact outline");
  const isMixed = state.true !== "" || state.taken !== "";
  const parts = [
    select("filter-class", "Class", [["", "any"], ...classes], state.class, (value) => show({ class: value })),
    select("filter-cause", "Cause", [["", "any"], ...causes], state.cause, (value) => show({ cause: value })),
    select("sort", "Sort", SORTS.filter(([key]) => isCompared || key !== "difference"), state.sort,
      (value) => show({ sort: value, down: "" })),
    make("button", { id: "direction", class: "quiet", title: "Turn the order round", "aria-pressed": String(state.down === "1"),
      click: () => show({ down: state.down ? "" : "1" }) }, state.down ? "↑" : "↓"),
  ];
  if (isMixed) {
    parts.push(make("button", { class: "chip", id: "mixed", title: "Remove this filter", click: () => show({ true: "", taken: "" }) },
      `${className(Number(state.true))} → ${className(Number(state.taken))}`, " ✕"));
  }
  if (FILTERS.some((key) => state[key])) parts.push(make("button", { class: "quiet", id: "clear", click: () => browse({}) }, "Clear"));
  byId("filters").replaceChildren(...parts);
  if (focused && byId("filters").contains(byId(focused))) byId(focused).focus();
}

function gridColumns() {
  return Math.max(2, Math.floor((byId("list").clientWidth + CARD.gap) / (CARD.width + CARD.gap)));
}

/** Put the cards near the window into the list, which is as high as all would be. */
function drawNear() {
  const list = byId("list");
  if (!list || state.view !== "images") return;
  const columns = gridColumns();
  const width = (list.clientWidth + CARD.gap) / columns;
  const height = CARD.height + CARD.gap;
  styled(list, { height: `${Math.ceil(filtered.length / columns) * height}px` });
  const above = Math.max(0, -list.getBoundingClientRect().top);
  const first = Math.max(0, Math.floor(above / height) - 2) * columns;
  const last = Math.min(filtered.length, first + (Math.ceil(window.innerHeight / height) + 5) * columns);
  const layout = [columns, width, state.set].join();
  if (layout !== laidOut) cards.forEach((card, at) => dropCard(at));
  laidOut = layout;
  cards.forEach((card, at) => { if (at < first || at >= last) dropCard(at); });
  for (let at = first; at < last; at += 1) {
    if (cards.has(at)) continue;
    const card = styled(imageCard(filtered[at], at), { width: `${width - CARD.gap}px`,
      transform: `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * height}px)` });
    cards.set(at, card);
    list.insertBefore(card, nextCard(at));
  }
}

function dropCard(at) {
  cards.get(at).remove();
  cards.delete(at);
}

/** The card in the page that follows a place; the order of Tab is that of the list. */
function nextCard(at) {
  const after = [...cards.keys()].filter((other) => other > at);
  return after.length ? cards.get(Math.min(...after)) : null;
}

function imageCard(place, at) {
  const set = Number(state.set);
  const { tp, fp, fn } = content.results[set].images;
  const counts = [tp[place], fn[place], fp[place]];
  const sum = counts.reduce((a, b) => a + b, 0) || 1;
  const kinds = ["var(--matched)", "var(--missed)", "var(--spurious)"];
  const figures = content.sets.map((_, shown) => make(shown === set ? "b" : "span", { class: shown === set ? null : "even",
    title: `PQ of ${setName(shown)}` }, percent(qualityOf(shown, place))));
  if (isCompared) figures.push(differenceMark(qualityOf(1, place) - qualityOf(0, place)));
  figures.push(make("span", { class: "errors" }, errorWords(errorsOf(set, place))));
  return make("a", { class: "image", href: addressOf({ ...state, image: String(content.ids[place]), segment: "" }), "data-place": place,
    "data-at": at, "aria-current": at === current ? "true" : null, click: (event) => openCard(event, place, at) },
  make("img", { src: assetAddress(`${place}.small.jpg`), alt: "", decoding: "async" }),
  make("span", { class: "name", title: content.names[place] }, content.names[place]),
  make("span", { class: "figures" }, figures),
  stackedBar(counts.map((number, kind) => [number / sum, kinds[kind]]),
    `${tp[place]} matched, ${fn[place]} missed, ${fp[place]} spurious`));
}

const errorWords = (number) => number === 1 ? "1 error" : `${number} errors`;

function differenceMark(value) {
  return make("span", { class: value > 0.0005 ? "up" : value < -0.0005 ? "down" : "even" }, signed(value));
}

function openCard(event, place, at) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  current = at;
  openImage(place);
}

function openImage(place) {
  show({ image: String(content.ids[place]), segment: "" }, true);
}

/** Move the marked card of the list and bring it into sight. */
function moveCurrent(step) {
  if (!filtered.length) return;
  current = Math.max(0, Math.min(filtered.length - 1, current < 0 ? 0 : current + step));
  const list = byId("list");
  const height = CARD.height + CARD.gap;
  const top = list.getBoundingClientRect().top + Math.floor(current / gridColumns()) * height;
  const room = byId("tabs").closest("header").offsetHeight + 8;
  if (top < room) window.scrollBy(0, top - room);
  else if (top + height > window.innerHeight) window.scrollBy(0, top + height - window.innerHeight);
  drawNear();
  list.querySelector("[aria-current]")?.removeAttribute("aria-current");
  cards.get(current)?.setAttribute("aria-current", "true");
  cards.get(current)?.focus({ preventScroll: true });
}
