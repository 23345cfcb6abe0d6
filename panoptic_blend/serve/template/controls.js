// The list of pictures, the sliders, the choice of the view, and the downloads.

const LAYERS = ["photo", "map", "both"];
let layer = "map";
let opacity = 60;

const SLIDERS = [
  ["confidence", "Confidence", "The least score of a thing ( [ and ] )"],
  ["overlap", "Overlap", "The part of a thing that others may cover ( { and } )"],
];
const DOWNLOADS = [
  ["map.png", "Map", "The map as a PNG of COCO panoptic"],
  ["coco.zip", "COCO", "JSON and PNG of COCO panoptic, as predict writes them"],
  ["labelme.json", "LabelMe", "Outlines to correct in LabelMe; put the file beside the photo"],
  ["drawing.jpg", "Drawing", "The map drawn over the photo"],
];

function drawPictures() {
  byId("pictures").replaceChildren(
    ...pictures.map((picture, place) =>
      make(
        "li",
        {},
        make(
          "button",
          { class: "thumb", title: picture.name, "aria-current": String(place === current), click: () => show(place) },
          make("img", { src: picture.photo, alt: picture.name }),
        ),
        make("button", { class: "remove", title: "Remove", "aria-label": `Remove ${picture.name}`, click: () => remove(place) }, "✕"),
      ),
    ),
  );
  byId("pictures").children[current]?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** A slider from 0 to 100 with its value. */
function slider(id, label, title, value, change) {
  const output = make("output", { for: id }, `${value} %`);
  const input = make("input", {
    type: "range",
    id,
    min: 0,
    max: 100,
    value,
    input: () => {
      output.textContent = `${input.value} %`;
      change(Number(input.value));
    },
  });
  return make("label", { class: "field", title }, make("span", {}, label), input, output);
}

function readyControls() {
  const fusion = SLIDERS.map(([key, label, title]) =>
    slider(key, label, title, Math.round(100 * settings[key]), (value) => {
      settings[key] = value / 100;
      drawControls();
      fuse();
    }),
  );
  byId("sliders").append(...fusion, slider("opacity", "Opacity", "Of the map ( + and − )", opacity, setOpacity));
  setOpacity(opacity);
}

function setOpacity(value) {
  opacity = value;
  styled(byId("stage"), { "--opacity": opacity / 100 });
}

/** Move a slider by keys, as if by hand. */
function nudge(id, by) {
  const input = byId(id);
  input.value = Number(input.value) + by;
  input.dispatchEvent(new Event("input"));
}

function drawControls() {
  byId("tools").hidden = !shown();
  fillChoice(
    byId("layers"),
    LAYERS.map((name, number) => [name, name, `Key ${number + 1}`]),
    layer,
    chooseLayer,
  );
  if (!shown()) return;
  byId("downloads").replaceChildren(
    ...DOWNLOADS.map(([file, label, title]) =>
      make("a", { class: "quiet", href: `${addressOf(shown(), file)}?${query()}`, download: true, title: `Download: ${title}` }, `↓ ${label}`),
    ),
  );
}

function chooseLayer(name) {
  layer = name;
  drawControls();
  drawStage();
}
