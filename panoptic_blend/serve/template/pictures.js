// The pictures of the page: sent to the server once, shown with the settings of the sliders.

const pictures = []; // {id, name, width, height, file, photo, view, fusedWith}; `photo` is an address
let current = -1;
const shown = () => pictures[current];
const settings = { ...content.settings };
const RETRIES = 20;

/** Show a message in the head of the page, as an alert or as what is being done. */
function say(text, isAlert = false) {
  byId("message").textContent = text;
  byId("message").title = text;
  byId("message").classList.toggle("alert", isAlert);
}

/** The answer of the server; while its queue is full, the request waits as long as the server says. */
async function ask(address, options = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const answer = await fetch(address, options).catch(() => {
      throw new Error("the server does not answer; start it again");
    });
    if (answer.ok) return answer;
    if (answer.status !== 503 || attempt === RETRIES) {
      const found = await answer.json().catch(() => ({}));
      throw Object.assign(new Error(found.error ?? `the server answered ${answer.status}; see its terminal`), { status: answer.status });
    }
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    say(`the server is busy; trying again in ${seconds} s …`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

/** Send pictures one by one; one that the server refuses does not hold up the others. */
async function add(files) {
  for (const file of files) {
    say(`predicting ${file.name} …`);
    try {
      const picture = { file, ...(await send(file)) };
      picture.photo = URL.createObjectURL(await (await ask(addressOf(picture, "photo.jpg"))).blob());
      pictures.push(picture);
      await show(pictures.length - 1);
      say("");
    } catch (error) {
      say(`${file.name}: ${error.message}`, true);
    }
  }
}

async function send(file) {
  const address = `/pictures?name=${encodeURIComponent(file.name)}`;
  return (await ask(address, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } })).json();
}

async function remove(place) {
  const [removed] = pictures.splice(place, 1);
  URL.revokeObjectURL(removed.photo);
  await show(Math.min(current > place ? current - 1 : current, pictures.length - 1));
  await ask(`/pictures/${removed.id}`, { method: "DELETE" }).catch((error) => say(error.message, true));
}

const query = () => new URLSearchParams(settings).toString();
const addressOf = (picture, file) => `/pictures/${picture.id}/${file}`;

/** Show the picture at a place of the list; -1 is none. */
async function show(place) {
  current = place;
  chosenSegment = null;
  drawPictures();
  drawControls();
  if (shown()) await fuse();
  else drawStage();
}

const isFused = (picture) => picture.fusedWith === query();
let isFusing = false;

/** Fuse the shown picture with the settings; when they have changed in the meantime, again. */
async function fuse() {
  if (isFusing) return;
  isFusing = true;
  try {
    while (shown() && !isFused(shown())) {
      const [picture, wanted] = [shown(), query()];
      const view = await viewOf(picture, wanted);
      view.map = await unpacked(view.map, view.width, view.height);
      Object.assign(picture, { view, fusedWith: wanted });
    }
  } catch (error) {
    say(error.message, true);
  } finally {
    isFusing = false;
  }
  drawStage();
}

/** The map of a picture; one that the server has dropped to save memory is sent again. */
async function viewOf(picture, wanted) {
  const read = async () => (await ask(`${addressOf(picture, "view")}?${wanted}`)).json();
  try {
    return await read();
  } catch (error) {
    if (error.status !== 404) throw error;
    say(`predicting ${picture.name} again …`);
    Object.assign(picture, await send(picture.file));
    say("");
    return read();
  }
}
