// Lists of cards of one size; only the cards near the window are in the page.

class CardList {
  /** `size` are width, height and gap in pixels; `build(item, at)` makes a card; `columns` is the least number. */
  constructor(id, size, build, columns = 2) {
    Object.assign(this, { id, size, build, columns, items: [], cards: new Map(), layout: "" });
  }

  get node() {
    return byId(this.id);
  }

  across() {
    return Math.max(this.columns, Math.floor((this.node.clientWidth + this.size.gap) / (this.size.width + this.size.gap)));
  }

  /** Show other items; all cards are made anew. */
  show(items) {
    this.items = items;
    this.layout = "";
    this.drawNear();
  }

  /** Add the cards near the window, and remove the others; the height of the list is that of all cards. */
  drawNear() {
    const list = this.node;
    if (!list || list.offsetParent === null) return;
    const columns = this.across();
    const width = (list.clientWidth + this.size.gap) / columns;
    const height = this.size.height + this.size.gap;
    styled(list, { height: `${Math.ceil(this.items.length / columns) * height}px` });
    const above = Math.max(0, -list.getBoundingClientRect().top);
    const first = Math.max(0, Math.floor(above / height) - 2) * columns;
    const last = Math.min(this.items.length, first + (Math.ceil(window.innerHeight / height) + 5) * columns);
    const layout = [columns, width].join();
    for (const at of [...this.cards.keys()]) if (layout !== this.layout || at < first || at >= last) this.drop(at);
    this.layout = layout;
    for (let at = first; at < last; at += 1) {
      if (this.cards.has(at)) continue;
      const card = styled(this.build(this.items[at], at), {
        width: `${width - this.size.gap}px`,
        transform: `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * height}px)`,
      });
      this.cards.set(at, card);
      list.insertBefore(card, this.next(at));
    }
  }

  drop(at) {
    this.cards.get(at).remove();
    this.cards.delete(at);
  }

  /** The card in the page that follows an index, so that the order of Tab is that of the list. */
  next(at) {
    const after = [...this.cards.keys()].filter((other) => other > at);
    return after.length ? this.cards.get(Math.min(...after)) : null;
  }

  /** Index of the first card that is completely in the window. */
  firstInSight() {
    const hidden = byId("tabs").closest("header").offsetHeight - this.node.getBoundingClientRect().top;
    return Math.max(0, Math.ceil(hidden / (this.size.height + this.size.gap))) * this.across();
  }

  /** Scroll until a card is in the window. */
  reveal(at) {
    const height = this.size.height + this.size.gap;
    const top = this.node.getBoundingClientRect().top + Math.floor(at / this.across()) * height;
    const room = byId("tabs").closest("header").offsetHeight + 8;
    if (top < room) window.scrollBy(0, top - room);
    else if (top + height > window.innerHeight) window.scrollBy(0, top + height - window.innerHeight);
    this.drawNear();
  }
}

// Pictures that need the data of an image are drawn one after another, as far as they are still in the page.

const drawings = [];
let isDrawing = false;

/** Call `draw(canvas, found)` with the data of the image at a place, once it is the turn of the canvas. */
function drawLater(canvas, place, draw) {
  drawings.push({ canvas, place, draw });
  if (!isDrawing) drawWaiting();
  return canvas;
}

async function drawWaiting() {
  isDrawing = true;
  while (drawings.length) {
    await new Promise((resolve) => setTimeout(resolve)); // the page answers between two pictures
    const { canvas, place, draw } = drawings.shift();
    if (!canvas.isConnected) continue;
    try {
      await draw(canvas, await details(place));
    } catch {
      canvas.hidden = true; // the list says that its folder is missing
    }
  }
  isDrawing = false;
}

/** A window of a map in another size, by its nearest pixels. */
function sampled(map, width, [left, top, across, down], columns, rows) {
  const found = new Uint16Array(columns * rows);
  for (let row = 0; row < rows; row += 1) {
    const from = Math.floor(top + ((row + 0.5) * down) / rows) * width;
    for (let column = 0; column < columns; column += 1)
      found[row * columns + column] = map[from + Math.floor(left + ((column + 0.5) * across) / columns)];
  }
  return found;
}
