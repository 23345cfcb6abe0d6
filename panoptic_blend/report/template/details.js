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
  const found = await readAsset(String(place));
  const size = [found.width, found.height];
  if (content.results) {
    found.map = await unpacked(found.map, ...size);
    for (const set of found.sets) set.map = await unpacked(set.map, ...size);
  }
  if (content.instances) readInstances(found);
  return found;
}

/** The data of a script, from the page or the folder. */
const readAsset = async (name) => (content.embedded ? JSON.parse(content.embedded[`${name}.js`]) : readScript(name));

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

/** A row of segments as an object; partner and nearest are indices of rows of the other map. */
function segmentOf([id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd]) {
  return { id, line, area, outcome, iou, partner, cause, nearest, nearestIou, isCrowd: Boolean(isCrowd) };
}

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
