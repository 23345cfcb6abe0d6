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
function instanceKind(instance, set, found = opened.found) {
  if (instance.side === "prediction") return ["matched", "spurious", "", "ignored"][matchOf(instance).outcome];
  if (instance.isCrowd) return "ignored";
  const hasTaken = ({ outcome, near }) => outcome === 0 && near === instance.place;
  return shownDetections(set, found).some((detection) => hasTaken(matchOf(detection))) ? "matched" : "missed";
}

const shownDetections = (set, found = opened.found) => found.instances.sets[set].filter((detection) => detection.step >= scoreStep());

/** The instances of a layer, in the order in which they are painted. */
function layerInstances(layer, set, found) {
  const { truth } = found.instances;
  const largestFirst = sortedRows(truth, (instance) => instance.area, true);
  const detected = sortedRows(shownDetections(set, found), (instance) => instance.score, false);
  if (layer === "truth") return largestFirst;
  if (layer === "prediction") return detected;
  const missed = largestFirst.filter((instance) => ["missed", "ignored"].includes(instanceKind(instance, set, found)));
  return layer === "errors" ? [...missed, ...detected] : [];
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

/** The pixels of a mask in its picture (row by row), those of its rim, and where its runs end, column by column. */
function pixelsOf(instance, found = opened.found) {
  if (instance.pixels) return instance.pixels;
  const { width, height } = found;
  const ends = [];
  const inside = new Uint8Array(width * height);
  const pixels = [];
  runLengths(instance.mask).forEach((length, turn) => {
    const start = ends.at(-1) ?? 0;
    ends.push(start + length);
    for (let place = start; turn % 2 && place < start + length; place += 1) {
      const pixel = (place % height) * width + Math.floor(place / height);
      inside[pixel] = 1;
      pixels.push(pixel);
    }
  });
  const isRim = (pixel) =>
    pixel % width === 0 ||
    (pixel + 1) % width === 0 ||
    !inside[pixel - 1] ||
    !inside[pixel + 1] ||
    !inside[pixel - width] ||
    !inside[pixel + width];
  instance.pixels = { all: Uint32Array.from(pixels), rim: Uint32Array.from(pixels.filter(isRim)), ends };
  return instance.pixels;
}

const isMask = (instance) => shownKind() === "mask" && instance.mask !== null;

/** Whether an instance covers a pixel. */
function covers(instance, at) {
  const { width, height } = opened.found;
  const [column, row] = [at % width, Math.floor(at / width)];
  if (isMask(instance)) return pixelsOf(instance).ends.findIndex((end) => column * height + row < end) % 2 === 1;
  const [x, y, across, down] = instance.box;
  return column + 0.5 >= x && column + 0.5 <= x + across && row + 0.5 >= y && row + 0.5 <= y + down;
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

function colorOf(instance, layer, set, found) {
  if (layer !== "errors") return [...shade(classOf(instance.line).color, instance.place), 255];
  return hexColor(getComputedStyle(document.documentElement).getPropertyValue(`--${instanceKind(instance, set, found)}`));
}

/** Masks as areas with a rim, boxes as lines, in the size of the picture or a multiple of it. */
function instanceLayer(layer, set, found) {
  const { width, height } = found;
  const factor = Math.max(1, Math.ceil(SHARP / Math.max(width, height)));
  const canvas = make("canvas", { class: "smooth", width: factor * width, height: factor * height });
  const context = canvas.getContext("2d");
  const shown = layerInstances(layer, set, found).map((instance) => [instance, colorOf(instance, layer, set, found)]);
  const areas = make("canvas", { width, height });
  const picture = areas.getContext("2d").createImageData(width, height);
  for (const [instance, color] of shown) if (isMask(instance)) paintMask(picture.data, instance, color, found);
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

function paintMask(data, instance, [red, green, blue], found) {
  const { all, rim } = pixelsOf(instance, found);
  for (const pixel of all) data.set([red, green, blue, 170], 4 * pixel);
  const edge = edgeColor([red, green, blue, 255]);
  for (const pixel of rim) data.set(edge, 4 * pixel);
}

/** Everything but one instance dimmed. */
function instanceSpotlight(instance, width, height) {
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(0 0 0 / .59)";
  context.fillRect(0, 0, width, height);
  if (!isMask(instance)) {
    context.clearRect(...instance.box);
    return canvas;
  }
  const picture = context.getImageData(0, 0, width, height);
  for (const pixel of pixelsOf(instance).all) picture.data[4 * pixel + 3] = 0;
  context.putImageData(picture, 0, 0);
  return canvas;
}
