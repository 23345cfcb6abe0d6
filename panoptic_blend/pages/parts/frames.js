// Photos with layers over them on the stage, the pointer that is marked in all of them, and the tooltip.

/**
 * A photo with a layer over it, or with none (null); `width` and `height` are those of the maps. The film of both may be
 * moved and scaled in its frame.
 */
function photoFrame(photo, layer, { width, height }, attributes = {}) {
  return make(
    "div",
    { class: "frame", ...attributes },
    make("div", { class: "film" }, make("img", { ...photo, draggable: "false" }), layer, make("canvas", { class: "spotlight", width, height })),
    make("i", { class: "cross", hidden: true }),
  );
}

/** Arrange the panes so that the images are as large as possible; if the stage scrolls, only the width matters. */
function fitPanes(size) {
  const stage = byId("stage");
  const ratio = size.width / size.height;
  const [gap, caption, number] = [12, 24, stage.children.length];
  const isScrolled = getComputedStyle(stage).overflowY === "visible";
  const [width, height] = [stage.clientWidth - 32, stage.clientHeight - 24];
  const widthIn = (columns) => {
    const rows = Math.ceil(number / columns);
    const across = (width - (columns - 1) * gap) / columns;
    return isScrolled ? across : Math.min(across, ((height - (rows - 1) * gap) / rows - caption) * ratio);
  };
  const options = isScrolled ? [number > 2 ? 2 : 1] : Array.from({ length: number }, (_, index) => index + 1);
  const columns = sortedRows(options, widthIn, true)[0];
  styled(stage, { "--ratio": ratio, "--columns": columns, "--pane": `${Math.floor(widthIn(columns))}px` });
}

/** Index of the pixel of the maps under the pointer, and its position x, y as fractions. */
function pixelAt(event, frame, { width, height }) {
  const box = frame.querySelector(".film").getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const column = Math.min(width - 1, Math.max(0, Math.floor(x * width)));
  const row = Math.min(height - 1, Math.max(0, Math.floor(y * height)));
  return { at: row * width + column, x, y };
}

/** Mark the place of the pointer in the other frames of the stage. */
function markPoint(frame, x, y) {
  for (const cross of byId("stage").querySelectorAll(".cross")) {
    const [film, own] = [cross.parentElement.querySelector(".film"), cross.parentElement].map((node) => node.getBoundingClientRect());
    cross.hidden = cross.parentElement === frame;
    styled(cross, { left: `${film.left - own.left + x * film.width}px`, top: `${film.top - own.top + y * film.height}px` });
  }
}

/** Draw the spotlight on a segment, a canvas of `spotlight`, in all frames of the stage; null takes it away. */
function lightUp(light) {
  for (const canvas of byId("stage").querySelectorAll(".spotlight")) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (light) context.drawImage(light, 0, 0);
  }
}

function showTip(event, lines) {
  const tip = byId("tip");
  const host = event.target.closest("dialog") ?? document.body; // a modal dialog covers all elements outside it
  if (tip.parentElement !== host) host.append(tip);
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const left = Math.min(event.clientX + 16, window.innerWidth - tip.offsetWidth - 8);
  const isLow = event.clientY + 20 + tip.offsetHeight > window.innerHeight;
  styled(tip, {
    left: `${Math.max(8, left)}px`,
    top: `${isLow ? event.clientY - tip.offsetHeight - 14 : event.clientY + 18}px`,
  });
}

function hideTip() {
  byId("tip").hidden = true;
  for (const cross of byId("stage")?.querySelectorAll(".cross") ?? []) cross.hidden = true;
}
