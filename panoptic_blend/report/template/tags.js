// Tagged images, which the browser keeps for this report, and lists of images as files.

const TAG_STORE = `panoptic-blend-tags-${content.report}`;
const tagged = storedTags(); // the ids of the tagged images

/** Earlier tags of this page; a browser may not let a page that is a file keep any. */
function storedTags() {
  try {
    return new Set(JSON.parse(localStorage.getItem(TAG_STORE) ?? "[]").filter((id) => content.ids.includes(id)));
  } catch {
    return new Set();
  }
}

function storeTags() {
  try {
    localStorage.setItem(TAG_STORE, JSON.stringify([...tagged]));
  } catch {
    // "Save list" still writes them to a file
  }
}

/** Tag images, or take their tags away if all have one. */
function tag(places) {
  const ids = places.map((place) => content.ids[place]);
  const isTagged = ids.length > 0 && ids.every((id) => tagged.has(id));
  for (const id of ids) {
    if (isTagged) tagged.delete(id);
    else tagged.add(id);
  }
  storeTags();
  for (const card of document.querySelectorAll(".image")) card.toggleAttribute("data-tagged", tagged.has(content.ids[card.dataset.place]));
  drawTags();
}

/** What depends on the tags outside of the list of images. */
function drawTags() {
  const button = byId("tag");
  const isTagged = tagged.has(state.image);
  button.setAttribute("aria-pressed", String(isTagged));
  button.replaceChildren(isTagged ? "★" : "☆", make("span", {}, isTagged ? " tagged" : " tag"));
  if (byId("list-tools")) fillListTools();
}

/** The buttons about the whole list: tag it, show the tagged ones only, and save it. */
function fillListTools() {
  const shown = filtered.length;
  const isEvery = shown > 0 && filtered.every((place) => tagged.has(content.ids[place]));
  byId("list-tools").replaceChildren(
    make("button", { class: "quiet", id: "tag-all", click: () => tag(filtered) }, isEvery ? `Untag ${count(shown)}` : `Tag ${count(shown)}`),
    make(
      "button",
      { class: "quiet", id: "only-tagged", "aria-pressed": String(state.tagged !== ""), click: () => show({ tagged: state.tagged ? "" : "1" }) },
      `★ ${count(tagged.size)} tagged`,
    ),
    make("button", { class: "quiet", id: "save-list", title: "File names, one in each line, as data export takes them", click: saveList }, `Save list of ${count(shown)}`),
    ...(isInstances() ? [] : [make("button", { class: "quiet", id: "to-segments", click: () => show({ view: "segments" }, true) }, "Single segments")]),
  );
}

/** Offer the file names of the listed images, one in each line. */
function saveList() {
  offer("images.txt", "text/plain", filtered.map((place) => `${content.names[place]}\n`).join(""));
}

/** Offer a text or a blob as a file. */
function offer(name, type, data) {
  const address = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
