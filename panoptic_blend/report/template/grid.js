// The cards of the image browser, with the chosen layer over each photo.

const imageList = new CardList("list", { width: isCompared ? 214 : 188, height: 196, gap: 12 }, (place, at) => imageCard(place, at));
const THUMBNAIL = 192; // the long side of a thumbnail in pixels

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
      "data-tagged": tagged.has(content.ids[place]),
      "aria-current": at === current ? "true" : null,
      click: (event) => openCard(event, place, at),
    },
    thumbnail(place, set),
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

/** The photo with the chosen layer of a result set over it. */
function thumbnail(place, set) {
  const photo = make("img", { src: assetAddress(`${place}.small.jpg`), alt: "", decoding: "async" });
  if (state.thumbs === "photo") return make("span", { class: "thumbnail" }, photo);
  const layer = state.thumbs;
  const canvas = make("canvas");
  drawLater(canvas, place, (_, found) => drawThumbnail(canvas, layer, set, found));
  return make("span", { class: "thumbnail" }, photo, canvas);
}

function drawThumbnail(canvas, layer, set, found) {
  const scale = Math.min(1, THUMBNAIL / Math.max(found.width, found.height));
  const [width, height] = [found.width, found.height].map((side) => Math.max(1, Math.round(scale * side)));
  const drawn = isInstances() ? instanceLayer(layer, set, found) : mapLayer(layer, set, reduced(found, width, height));
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").drawImage(drawn, 0, 0, width, height);
}

/** The data of an image with smaller maps. */
function reduced(found, width, height) {
  const small = (map) => sampled(map, found.width, [0, 0, found.width, found.height], width, height);
  return { ...found, width, height, map: small(found.map), sets: found.sets.map((set) => ({ ...set, map: small(set.map) })) };
}

/** Move the selection in the list and scroll to it. */
function moveCurrent(step) {
  if (!filtered.length) return;
  current = Math.max(0, Math.min(filtered.length - 1, current < 0 ? imageList.firstInSight() : current + step));
  imageList.reveal(current);
  byId("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
  imageList.cards.get(current)?.setAttribute("aria-current", "true");
  imageList.cards.get(current)?.focus({ preventScroll: true });
}
