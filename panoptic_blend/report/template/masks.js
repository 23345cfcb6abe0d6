// Instances of one image over the photo: run lengths or boxes become pictures, and the pixels that they cover.

const INSTANCE_KINDS = [
  ["matched", "true positive"],
  ["spurious", "false positive"],
  ["missed", "missed"],
  ["ignored", "crowd, or ignored"],
];
const SHARP = 1280; // the least long side of a picture of instances, so that boxes of small photos have thin lines

/** Turn the rows of an image into objects; for each kind, a detection has an outcome, cause, near instance and IoU. */
function readInstances(found) {
  const rows = found.instances;
  rows.truth = rows.truth.map(([line, isCrowd, area, box, mask], place) => ({
    side: "truth",
    place,
    line,
    isCrowd: Boolean(isCrowd),
    area,
    box,
    mask,
  }));
  rows.sets = rows.sets.map((set) =>
    set.map(([line, score, box, mask, ...matches], place) => ({
      side: "prediction",
      place,
      line,
      score,
      step: stepOf(score),
      box,
      mask,
      matches: matches.map(([outcome, cause, near, iou]) => ({ outcome, cause, near, iou })),
    })),
  );
}

/** What a detection has taken by the kind that is shown. */
const matchOf = (detection) => detection.matches[KINDS.indexOf(shownKind())];

/** What an instance is at the chosen score; a true instance is found if a shown detection has taken it. */
function instanceKind(instance, set) {
  if (instance.side === "prediction") return ["matched", "spurious", "", "ignored"][matchOf(instance).outcome];
  if (instance.isCrowd) return "ignored";
  const hasTaken = ({ outcome, near }) => outcome === 0 && near === instance.place;
  return shownDetections(set).some((found) => hasTaken(matchOf(found))) ? "matched" : "missed";
}

const shownDetections = (set) => opened.found.instances.sets[set].filter((found) => found.step >= scoreStep());

/** The instances of a layer, those to be painted first at the front. */
function layerInstances(layer, set) {
  const { truth } = opened.found.instances;
  const largestFirst = sortedRows(truth, (instance) => instance.area, true);
  const found = sortedRows(shownDetections(set), (instance) => instance.score, false);
  if (layer === "truth") return largestFirst;
  if (layer === "prediction") return found;
  const missed = largestFirst.filter((instance) => ["missed", "ignored"].includes(instanceKind(instance, set)));
  return layer === "errors" ? [...missed, ...found] : [];
}

/**
 * Decode the compressed run lengths of COCO, numbers of pixels outside and inside in turn, column by column: five bits
 * a character, the lowest first, with a sign; from the fourth on, the difference to the number before the last.
 */
function runLengths(text) {
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    let code = 32;
    while (code & 32) {
      code = text.charCodeAt(at) - 48;
      at += 1;
      value |= (code & 31) << shift;
      shift += 5;
    }
    if (code & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/** The pixels of an instance in its picture (row by row), and those of its rim. */
function pixelsOf(instance) {
  if (instance.pixels) return instance.pixels;
  const { width, height } = opened.found;
  const inside = new Uint8Array(width * height);
  const pixels = [];
  let at = 0;
  runLengths(instance.mask).forEach((length, turn) => {
    if (turn % 2)
      for (let place = at; place < at + length; place += 1) {
        const pixel = (place % height) * width + Math.floor(place / height);
        inside[pixel] = 1;
        pixels.push(pixel);
      }
    at += length;
  });
  const isRim = (pixel) =>
    pixel % width === 0 ||
    (pixel + 1) % width === 0 ||
    !inside[pixel - 1] ||
    !inside[pixel + 1] ||
    !inside[pixel - width] ||
    !inside[pixel + width];
  instance.pixels = { inside, pixels, rim: pixels.filter(isRim) };
  return instance.pixels;
}

const isMask = (instance) => shownKind() === "mask" && instance.mask !== null;

/** Whether an instance covers a pixel. */
function covers(instance, at) {
  if (isMask(instance)) return Boolean(pixelsOf(instance).inside[at]);
  const { width } = opened.found;
  const [x, y, across, down] = instance.box;
  const [column, row] = [(at % width) + 0.5, Math.floor(at / width) + 0.5];
  return column >= x && column <= x + across && row >= y && row <= y + down;
}

/** The instances of one side that cover a pixel, the smallest first. */
function instancesAt(side, set, at) {
  const candidates = side === "truth" ? opened.found.instances.truth : shownDetections(set);
  return sortedRows(
    candidates.filter((instance) => covers(instance, at)),
    (instance) => instance.box[2] * instance.box[3],
    false,
  );
}

/** A shade of the color of a class, so that neighbors differ. */
function shade([red, green, blue], place) {
  const share = 0.45 * ((place * 0.618034) % 1);
  return [red, green, blue].map((part) => Math.round(part + share * (255 - part)));
}

function colorOf(instance, layer, set) {
  if (layer !== "errors") return [...shade(classOf(instance.line).color, instance.place), 255];
  return hexColor(getComputedStyle(document.documentElement).getPropertyValue(`--${instanceKind(instance, set)}`));
}

/** Masks as areas with a rim, boxes as lines, in the size of the picture or a multiple of it. */
function instanceLayer(layer, set, found) {
  const { width, height } = found;
  const factor = Math.max(1, Math.ceil(SHARP / Math.max(width, height)));
  const canvas = make("canvas", { class: "smooth", width: factor * width, height: factor * height });
  const context = canvas.getContext("2d");
  const shown = layerInstances(layer, set).map((instance) => [instance, colorOf(instance, layer, set)]);
  const areas = make("canvas", { width, height });
  const picture = areas.getContext("2d").createImageData(width, height);
  for (const [instance, color] of shown) if (isMask(instance)) paintMask(picture.data, instance, color);
  areas.getContext("2d").putImageData(picture, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(areas, 0, 0, canvas.width, canvas.height);
  context.lineWidth = Math.max(2, Math.round(canvas.width / (state.layout === "all" ? 160 : 400)));
  for (const [instance, color] of shown) {
    if (isMask(instance)) continue;
    context.strokeStyle = rgb(color.slice(0, 3));
    context.setLineDash(instance.side === "truth" && layer === "errors" ? [3 * context.lineWidth, 2 * context.lineWidth] : []);
    context.strokeRect(...instance.box.map((length) => factor * length));
  }
  return canvas;
}

function paintMask(data, instance, [red, green, blue]) {
  const { pixels, rim } = pixelsOf(instance);
  for (const pixel of pixels) data.set([red, green, blue, 170], 4 * pixel);
  const edge = edgeColor([red, green, blue, 255]);
  for (const pixel of rim) data.set(edge, 4 * pixel);
}

/** Everything but one instance dimmed. */
function instanceSpotlight(instance, width, height) {
  return painted(width, height, (at) => (covers(instance, at) ? null : [0, 0, 0, 150]));
}
