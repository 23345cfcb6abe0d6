// Zoom and pan of the photos on the stage; all of them show the same part.

const MOST_ZOOM = 16;
const touches = new Map(); // the pointers that are down, by id
let dragged = false; // whether the pointer has moved the photo since it went down, so that no click follows

/** The shown part: [zoom, x, y], the position of the middle of the frame as fractions of the photo. */
function zoomed() {
  const [zoom, x, y] = state.zoom.split(",").map(Number);
  return zoom > 1 ? [zoom, x, y] : [1, 0.5, 0.5];
}

/** Show a part of the photo, as near to the wanted one as the edges allow. */
function zoomTo(zoom, x, y) {
  const factor = Math.min(MOST_ZOOM, Math.max(1, zoom));
  const within = (middle) => Math.min(1 - 0.5 / factor, Math.max(0.5 / factor, middle));
  show({ zoom: factor <= 1.001 ? "" : [factor.toFixed(3), within(x).toFixed(4), within(y).toFixed(4)].join() });
}

/** Zoom by a factor so that the point of the photo under the pointer stays there. */
function zoomAt(event, frame, factor) {
  const box = frame.getBoundingClientRect();
  const [zoom, x, y] = zoomed();
  const next = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
  const [across, down] = [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  zoomTo(next, x + across / zoom - across / next, y + down / zoom - down / next);
}

/** Zoom by a factor around the middle. */
function zoomBy(factor) {
  const [zoom, x, y] = zoomed();
  zoomTo(zoom * factor, x, y);
}

function drawZoom() {
  const [zoom, x, y] = zoomed();
  for (const film of byId("stage").querySelectorAll(".film"))
    styled(film, { transform: `translate(${100 * (0.5 - x * zoom)}%, ${100 * (0.5 - y * zoom)}%) scale(${zoom})` });
  byId("stage").classList.toggle("zoomed", zoom > 1);
  byId("zoom-value").textContent = `${zoom.toFixed(zoom < 10 ? 1 : 0)} ×`;
}

/** Let the wheel zoom a frame, a dragged pointer move it, and two fingers do both. */
function makeZoomable(frame) {
  const wheel = (event) => {
    event.preventDefault();
    zoomAt(event, frame, Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 150));
  };
  frame.addEventListener("wheel", wheel, { passive: false });
  frame.addEventListener("dblclick", (event) => zoomAt(event, frame, 2));
  frame.addEventListener("pointerdown", (event) => {
    if (!touches.size) dragged = false;
    touches.set(event.pointerId, event);
  });
  frame.addEventListener("pointermove", (event) => {
    const before = touches.get(event.pointerId);
    if (!before || !event.buttons) return;
    const [other] = [...touches.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const [zoom, x, y] = zoomed();
    if (!other && zoom === 1) return;
    const box = frame.getBoundingClientRect();
    const moved = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (!dragged && !other && Math.hypot(...moved) < 4) return;
    if (!dragged) frame.setPointerCapture(event.pointerId);
    dragged = true;
    touches.set(event.pointerId, event);
    if (other) zoomAt(event, frame, span(event) / Math.max(1, span(before)));
    else zoomTo(zoom, x - moved[0] / box.width / zoom, y - moved[1] / box.height / zoom);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) frame.addEventListener(name, (event) => touches.delete(event.pointerId));
}
