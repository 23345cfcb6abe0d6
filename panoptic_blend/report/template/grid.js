// The cards of the image browser; only the cards near the window are in the page.

const CARD = { width: isCompared ? 214 : 188, height: 196, gap: 12 };
let laidOut = ""; // the layout of the cards in the page
const cards = new Map(); // the cards in the page, by their index in the list

function gridColumns() {
  return Math.max(2, Math.floor((byId("list").clientWidth + CARD.gap) / (CARD.width + CARD.gap)));
}

/** Add the cards near the window to the list, whose height is that of all cards. */
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
  cards.forEach((card, at) => {
    if (at < first || at >= last) dropCard(at);
  });
  for (let at = first; at < last; at += 1) {
    if (cards.has(at)) continue;
    const card = styled(imageCard(filtered[at], at), {
      width: `${width - CARD.gap}px`,
      transform: `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * height}px)`,
    });
    cards.set(at, card);
    list.insertBefore(card, nextCard(at));
  }
}

function dropCard(at) {
  cards.get(at).remove();
  cards.delete(at);
}

/** The card in the page that follows an index, so that the order of Tab is that of the list. */
function nextCard(at) {
  const after = [...cards.keys()].filter((other) => other > at);
  return after.length ? cards.get(Math.min(...after)) : null;
}

function imageCard(place, at) {
  const set = Number(state.set);
  const { tp, fp, fn } = countsOf(set, place);
  const counts = [tp, fn, fp];
  const sum = counts.reduce((a, b) => a + b, 0) || 1;
  const kinds = ["var(--matched)", "var(--missed)", "var(--spurious)"];
  const figures = (isCompared ? [0, otherSet()] : [set]).map((shown) =>
    make(
      shown === set ? "b" : "span",
      { class: shown === set ? null : "even", title: `${qualityName()} of ${setName(shown)}` },
      percent(qualityOf(shown, place)),
    ),
  );
  if (isCompared) figures.push(differenceMark(differenceOf(place)));
  figures.push(make("span", { class: "errors" }, errorWords(errorsOf(set, place))));
  return make(
    "a",
    {
      class: "image",
      href: addressOf({ ...state, image: content.ids[place], segment: "" }),
      "data-place": place,
      "data-at": at,
      "aria-current": at === current ? "true" : null,
      click: (event) => openCard(event, place, at),
    },
    make("img", { src: assetAddress(`${place}.small.jpg`), alt: "", decoding: "async" }),
    make("span", { class: "name", title: content.names[place] }, content.names[place]),
    make("span", { class: "figures" }, figures),
    stackedBar(
      counts.map((number, kind) => [number / sum, kinds[kind]]),
      `${tp} matched, ${fn} missed, ${fp} spurious`,
    ),
  );
}

const errorWords = (number) => (number === 1 ? "1 error" : `${number} errors`);

function differenceMark(value) {
  if (value === null) return make("span", { class: "even" }, "–");
  return make("span", { class: value > 0.0005 ? "up" : value < -0.0005 ? "down" : "even" }, signed(value));
}

/** Index in the list of the first card that is completely in the window. */
function firstInSight() {
  const hidden = byId("tabs").closest("header").offsetHeight - byId("list").getBoundingClientRect().top;
  return Math.max(0, Math.ceil(hidden / (CARD.height + CARD.gap))) * gridColumns();
}

/** Move the selection in the list and scroll to it. */
function moveCurrent(step) {
  if (!filtered.length) return;
  current = Math.max(0, Math.min(filtered.length - 1, current < 0 ? firstInSight() : current + step));
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
