// The data of one image, read from the page or from the folder beside it, and its maps as pictures.

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

/** Called by the files of the folder, which a page opened from a disk can read only as scripts. */
window.panopticReport = (name, found) => waiting.get(name)?.(found);

function details(place) {
  if (!loaded.has(place)) {
    const reading = readDetails(place);
    loaded.set(place, reading);
    reading.catch(() => loaded.delete(place)); // so that it is read again when the file is there
    if (loaded.size > KEPT_IMAGES) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(place);
}

async function readDetails(place) {
  const found = content.embedded ? JSON.parse(content.embedded[`${place}.js`]) : await readScript(String(place));
  const size = [found.width, found.height];
  if (content.results) {
    found.map = await unpacked(found.map, ...size);
    for (const set of found.sets) set.map = await unpacked(set.map, ...size);
  }
  if (content.instances) readInstances(found);
  return found;
}

/** The data of a script in the folder; throws an error unless it belongs to this report. */
async function readScript(name) {
  const found = await runScript(name);
  if (found.report !== content.report)
    throw new Error(`${content.folder} belongs to another report; put the folder of this report beside the page`);
  return found;
}

function runScript(name) {
  return new Promise((resolve, reject) => {
    const script = make("script", { src: assetAddress(`${name}.js`) });
    const ended = () => {
      script.remove();
      waiting.delete(name);
      reject(new Error(`${content.folder} is not beside this page, or incomplete; copy the complete folder there`)); // has no effect once it is resolved
    };
    waiting.set(name, resolve);
    script.addEventListener("error", ended);
    script.addEventListener("load", ended);
    document.head.append(script);
  });
}

/** Decode bytes: base64, zlib. */
async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Decode a map to Uint16Array: each row XOR the row above. */
async function unpacked(text, width, height) {
  const map = new Uint16Array((await inflated(text)).buffer);
  for (let at = width; at < width * height; at += 1) map[at] ^= map[at - width];
  return map;
}

/** A row of segments as an object; partner and nearest are indices of rows of the other map. */
function segmentOf([id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd]) {
  return { id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd: Boolean(isCrowd) };
}

/** Paint a canvas; `colorAt` returns [red, green, blue, alpha] of a pixel, or null for transparent. */
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

/** Whether the neighbor of a pixel to the right or below belongs to another segment. */
function isEdge(map, at, width) {
  return (
    ((at + 1) % width !== 0 && map[at] !== map[at + 1]) || (at + width < map.length && map[at] !== map[at + width])
  );
}

/** Segments in the colors of their classes with lines between them; void is hatched. */
function classLayer(map, rows, width, height) {
  const colors = rows.map((row) => [...classOf(row[1]).color, 255]);
  const edges = colors.map(edgeColor);
  return painted(width, height, (at) => {
    const place = map[at] - 1;
    if (place < 0) return voidColor(at, width);
    return isEdge(map, at, width) ? edges[place] : colors[place];
  });
}

/** A contrasting shade of a color: darker if it is light, lighter if it is dark. */
function edgeColor([red, green, blue, alpha]) {
  const isLight = 0.3 * red + 0.59 * green + 0.11 * blue > 110;
  const shade = (part) => (isLight ? 0.4 * part : part + 0.65 * (255 - part));
  return [shade(red), shade(green), shade(blue), alpha];
}

const voidColor = (at, width) =>
  ((at % width) + Math.floor(at / width)) % 8 < 2 ? [150, 155, 165, 255] : [40, 44, 52, 255];

/** Index in ERROR_KINDS of a pixel, from the rows of its segments (undefined: void). */
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

/** Highlight one segment: an outline around it, and everything else dimmed. */
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
