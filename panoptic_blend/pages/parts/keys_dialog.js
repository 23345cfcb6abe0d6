// The list of keys, in a dialog that the button with a question mark opens.

/** Fill the dialog with `keys`: [keys with spaces between them, what they do]. */
function buildKeys(keys) {
  const lines = keys.flatMap(([names, meaning]) => [
    make(
      "dt",
      {},
      names.split(" ").map((name) => make("kbd", {}, name)),
    ),
    make("dd", {}, meaning),
  ]);
  byId("keys").append(
    make("h2", { id: "keys-title" }, "Keys"),
    make("dl", { class: "keys" }, lines),
    make("button", { class: "quiet", click: () => byId("keys").close() }, "Close"),
  );
  byId("help").addEventListener("click", () => byId("keys").showModal());
}
