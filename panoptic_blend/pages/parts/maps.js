// Maps of segments as pictures: decoding, colors of classes, and the spotlight on one segment.

/** Decode bytes: base64, zlib. */
async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Decode a map to Uint16Array, from the values of its runs and then their lengths. */
async function unpacked(text, width, height) {
  const runs = new Uint16Array((await inflated(text)).buffer);
  const number = runs.length / 2;
  const map = new Uint16Array(width * height);
  for (let run = 0, at = 0; run < number; run += 1) {
    map.fill(runs[run], at, at + runs[number + run]);
    at += runs[number + run];
  }
  return map;
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
