// What belongs to one image, read from the page or from the folder beside it, and its maps as pictures.

const LAYERS = ["photo", "truth", "prediction", "errors"];
const ERROR_KINDS = [
  ["matched", "matched"],
  ["outline", "inexact outline"],
  ["missed", "missed"],
  ["spurious", "spurious"],
  ["both", "missed and spurious"],
  ["ignored", "void or ignored"],
];
const waiting = new Map();
const loaded = new Map();
const KEPT_IMAGES = 12;

/** Where a file of the report is: within the page, or beside it. */
function assetAddress(name) {
  return content.embedded ? content.embedded[name] : `${encodeURIComponent(content.folder)}/${name}`;
}

/** Called by the files of the folder, which a page from a disk can only read as scripts. */
window.panopticReport = (name, found) => waiting.get(name)?.(found);

function details(place) {
  if (!loaded.has(place)) {
    const reading = readDetails(place);
    loaded.set(place, reading);
    reading.catch(() => loaded.delete(place)); // it may be read again, once the file is there
    if (loaded.size > KEPT_IMAGES) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(place);
}

async function readDetails(place) {
  const found = content.embedded ? JSON.parse(content.embedded[`${place}.js`]) : await readScript(String(place));
  const size = [found.width, found.height];
  found.map = await unpacked(found.map, ...size);
  for (const set of found.sets) set.map = await unpacked(set.map, ...size);
  return found;
}

/** What a script of the folder hands over; an error unless it is one of this very report. */
async function readScript(name) {
  const found = await runScript(name);
  if (found.report !== content.report)
    throw new Error(`${content.folder} belongs to another report than this page; bring the folder that came with it`);
  return found;
}

function runScript(name) {
  return new Promise((resolve, reject) => {
    const script = make("script", { src: assetAddress(`${name}.js`) });
    const ended = () => {
      script.remove();
      waiting.delete(name);
      reject(new Error(`${content.folder} is not beside this page, or not whole`)); // unless it has been resolved
    };
    waiting.set(name, resolve);
    script.addEventListener("error", ended);
    script.addEventListener("load", ended);
    document.head.append(script);
  });
}

/** A map as Uint16Array: base64, zlib, rows that are XOR with the one above. */
async function unpacked(text, width, height) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const map = new Uint16Array(await new Response(stream).arrayBuffer());
  for (let at = width; at < width * height; at += 1) map[at] ^= map[at - width];
  return map;
}

/** A row of the segments as an object; partner and nearest are places among the other side's rows. */
function segmentOf([id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd]) {
  return { id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd: Boolean(isCrowd) };
}

/** The colours of pixels as a canvas; `colorAt` gives [red, green, blue, alpha] of a place, or null. */
function painted(width, height, colorAt) {
  const canvas = make("canvas", { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let at = 0; at < width * height; at += 1) {
    const color = colorAt(at);
    if (color) picture.data.set(color, 4 * at);
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** Whether a pixel has a neighbour of another segment to the right or below. */
function isEdge(map, at, width) {
  return (
    ((at + 1) % width !== 0 && map[at] !== map[at + 1]) || (at + width < map.length && map[at] !== map[at + width])
  );
}

/** Segments in the colours of their classes, void hatched, with a line between segments. */
function classLayer(map, rows, width, height) {
  const colors = rows.map((row) => [...classOf(row[1]).color, 255]);
  const edges = colors.map(edgeColor);
  return painted(width, height, (at) => {
    const place = map[at] - 1;
    if (place < 0) return voidColor(at, width);
    return isEdge(map, at, width) ? edges[place] : colors[place];
  });
}

/** A shade of a colour that stands out from it: darker if it is light, lighter if it is dark. */
function edgeColor([red, green, blue, alpha]) {
  const isLight = 0.3 * red + 0.59 * green + 0.11 * blue > 110;
  const shade = (part) => (isLight ? 0.4 * part : part + 0.65 * (255 - part));
  return [shade(red), shade(green), shade(blue), alpha];
}

const voidColor = (at, width) =>
  ((at % width) + Math.floor(at / width)) % 8 < 2 ? [150, 155, 165, 255] : [40, 44, 52, 255];

/** Which of ERROR_KINDS a pixel is, from the rows of its segments (null: void). */
function errorKind(truth, prediction, truthPlace, predictionPlace) {
  const missed = truth?.[3] === 2;
  const spurious = prediction?.[3] === 1;
  if (missed || spurious) return missed && spurious ? 4 : missed ? 2 : 3;
  const isPair = truth?.[3] === 0 && truth[5] === predictionPlace;
  if (isPair) return 0;
  return truth?.[3] === 0 || (prediction?.[3] === 0 && truth) ? 1 : 5;
}

function errorLayer(found, set) {
  const { width, height, map } = found;
  const other = found.sets[set];
  const style = getComputedStyle(document.documentElement);
  const colors = ERROR_KINDS.map(([name]) => hexColor(style.getPropertyValue(`--${name}`)));
  return painted(width, height, (at) => {
    const [truthPlace, place] = [map[at] - 1, other.map[at] - 1];
    const kind = errorKind(other.truth[truthPlace], other.prediction[place], truthPlace, place);
    if (kind === 5) return ((at % width) + Math.floor(at / width)) % 8 < 2 ? colors[5] : null;
    const edge = isEdge(map, at, width) || isEdge(other.map, at, width);
    return edge ? colors[kind].map((part, channel) => (channel < 3 ? part * 0.6 : part)) : colors[kind];
  });
}

function hexColor(text) {
  const number = Number.parseInt(text.trim().slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255, 255];
}

/** One segment left as it is, everything else dimmed, with a line around it. */
function spotlight(map, place, width, height) {
  const value = place + 1;
  const isInside = (at) => at >= 0 && at < map.length && map[at] === value;
  const isRim = (at) =>
    !isInside(at) &&
    (isInside(at - width) ||
      isInside(at + width) ||
      (at % width > 0 && isInside(at - 1)) ||
      ((at + 1) % width > 0 && isInside(at + 1)));
  return painted(width, height, (at) => (isInside(at) ? null : isRim(at) ? [255, 255, 255, 255] : [0, 0, 0, 150]));
}
