// A part of the page as a drawing of SVG, which keeps its words as words, and as a PNG.

const DRAWN_TEXT = ["font-family", "font-size", "font-weight", "letter-spacing"];
const DRAWN_SHAPE = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", ...DRAWN_TEXT, "text-anchor"];
const PNG_SCALE = 2;

/** Draw an element as it looks now: its boxes, words, pictures and drawings. */
function snapshotOf(node) {
  const frame = node.getBoundingClientRect();
  const [width, height] = [Math.ceil(frame.width), Math.ceil(frame.height)];
  const parts = [];
  const at = (box) => ({ x: (box.left - frame.left).toFixed(1), y: (box.top - frame.top).toFixed(1) });
  const visit = (element) => {
    if (element.matches(".save, [hidden]")) return;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || style.visibility === "hidden") return;
    parts.push(...boxParts(element, style, box, at));
    if (element.matches("svg")) {
      parts.push(drawingCopy(element, at(box), box));
      return;
    }
    for (const child of element.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) parts.push(...wordParts(child, style, at));
      else if (child.nodeType === Node.ELEMENT_NODE) visit(child);
    }
  };
  const paper = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
  visit(node);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height }, svg("rect", { width, height, fill: paper }), parts);
}

/** The background and the lower line of an element, and the picture that it is. */
function boxParts(element, style, box, at) {
  const parts = [];
  const size = { width: box.width.toFixed(1), height: box.height.toFixed(1) };
  const href = element.matches("canvas") ? element.toDataURL() : element.matches('img[src^="data:"]') ? element.src : null;
  const preserveAspectRatio = style.objectFit === "cover" ? "xMidYMid slice" : null;
  if (href) parts.push(svg("image", { ...at(box), ...size, href, opacity: style.opacity, preserveAspectRatio }));
  if (style.backgroundColor !== "rgba(0, 0, 0, 0)")
    parts.push(svg("rect", { ...at(box), ...size, fill: style.backgroundColor, opacity: style.opacity, rx: Number.parseFloat(style.borderRadius) || null }));
  if (Number.parseFloat(style.borderBottomWidth) > 0 && element.matches("th, td"))
    parts.push(svg("rect", { ...at({ left: box.left, top: box.bottom - 1 }), width: size.width, height: 1, fill: style.borderBottomColor }));
  return parts;
}

/** The words of a text, one element for each line of it. */
function wordParts(text, style, at) {
  const words = text.textContent;
  if (!words.trim()) return [];
  const range = document.createRange();
  const lines = [];
  for (let place = 0; place < words.length; place += 1) {
    range.setStart(text, place);
    range.setEnd(text, place + 1);
    const [box] = range.getClientRects();
    if (!box) continue;
    const line = lines.at(-1);
    if (line && Math.abs(line.box.top - box.top) < 2) line.words += words[place];
    else lines.push({ box, words: words[place] });
  }
  const attributes = Object.fromEntries(DRAWN_TEXT.map((name) => [name, style.getPropertyValue(name)]));
  return lines.map(({ box, words: line }) => svg("text", { ...at({ left: box.left, top: box.bottom - 0.24 * box.height }), fill: style.color, ...attributes }, line));
}

/** A copy of a drawing whose styles are attributes, as it has to look alike without the page. */
function drawingCopy(drawing, place, box) {
  const copy = drawing.cloneNode(true);
  const originals = [drawing, ...drawing.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((node, at) => {
    const style = getComputedStyle(originals[at]);
    for (const name of DRAWN_SHAPE) node.setAttribute(name, style.getPropertyValue(name));
    node.removeAttribute("class");
  });
  for (const [name, value] of Object.entries({ ...place, width: box.width, height: box.height })) copy.setAttribute(name, value);
  return copy;
}

const svgText = (drawing) => new XMLSerializer().serializeToString(drawing);

/** Paint a drawing as a PNG. */
async function pngOf(drawing) {
  const picture = make("img", { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(drawing))}` });
  await picture.decode();
  const canvas = make("canvas", { width: PNG_SCALE * drawing.getAttribute("width"), height: PNG_SCALE * drawing.getAttribute("height") });
  const context = canvas.getContext("2d");
  context.scale(PNG_SCALE, PNG_SCALE);
  context.drawImage(picture, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
