// Pictures from the camera of the machine, which browsers allow on this machine and on pages with encryption.

let stream = null;

async function openCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "environment" } });
  } catch (error) {
    say(`the camera cannot be used (${error.name}); allow it for this page in the browser`, true);
    return;
  }
  byId("video").srcObject = stream;
  byId("camera-view").showModal();
  byId("shoot").focus();
}

/** Stop the camera, so that its light goes out. */
function closeCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  byId("video").srcObject = null;
}

async function shoot() {
  const video = byId("video");
  if (!video.videoWidth) return; // no picture has arrived yet
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  byId("camera-view").close();
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  await add([new File([blob], `camera_${time}.jpg`)]);
}

function readyCamera() {
  byId("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  byId("camera").addEventListener("click", openCamera);
  byId("shoot").addEventListener("click", shoot);
  byId("camera-close").addEventListener("click", () => byId("camera-view").close());
  byId("camera-view").addEventListener("close", closeCamera);
}
