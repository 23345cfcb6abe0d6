// Pictures come by the button, by drag and drop, and from the clipboard.

const isPicture = (file) => file.type.startsWith("image/") || file.type === "";

/** Take the picture files among what was dropped or pasted. */
function take(files) {
  const wanted = [...files].filter(isPicture);
  if (wanted.length) add(wanted);
  else if (files.length) say(`${files[0].name} is not a picture; drop a JPEG, a PNG or the like`, true);
}

function readyIncoming() {
  const input = byId("files");
  byId("open").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}
