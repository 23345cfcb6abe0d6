// Every card as SVG and PNG, and every table as CSV, Markdown and LaTeX.

/** Add a menu to each card and each table of a section, with the files that it can be saved as. */
function offerDownloads(section) {
  for (const node of section.querySelectorAll(".card, .scroll:not(.card .scroll)")) {
    if (node.querySelector(":scope > .save") || node.previousElementSibling?.matches(".save")) continue;
    const table = node.querySelector("table");
    const isCard = node.matches(".card");
    const menu = saveMenu(fileStem(node), isCard ? node : table, table);
    if (isCard) node.prepend(menu);
    else node.before(menu);
  }
}

/** A name for the file of a part of the page, from its heading. */
function fileStem(node) {
  const words = node.querySelector("h2")?.firstChild?.textContent ?? (node.querySelector("table")?.id || state.view);
  return words.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "").slice(0, 60) || "figure";
}

function saveMenu(stem, drawn, table) {
  const entry = (label, save) =>
    make(
      "button",
      {
        "data-format": label,
        click: (event) => {
          event.target.closest("details").open = false;
          save();
        },
      },
      label,
    );
  const entries = [
    entry("SVG", () => offer(`${stem}.svg`, "image/svg+xml", svgText(snapshotOf(drawn)))),
    entry("PNG", async () => offer(`${stem}.png`, "image/png", await pngOf(snapshotOf(drawn)))),
  ];
  if (table) {
    const rows = () => tableRows(table);
    entries.push(
      entry("CSV", () => offer(`${stem}.csv`, "text/csv", csvText(rows()))),
      entry("Markdown", () => offer(`${stem}.md`, "text/markdown", markdownText(rows()))),
      entry("LaTeX", () => offer(`${stem}.tex`, "application/x-tex", latexText(rows()))),
    );
  }
  return make("details", { class: "save" }, make("summary", { title: "Save as a file", "aria-label": "Save as a file" }, "⤓"), make("div", { class: "save-menu" }, entries));
}

/** The texts of a table; a bar stands for what its title says, and columns without any text are left out. */
function tableRows(table) {
  const textOf = (cell) => {
    const bar = cell.querySelector(".interval, .stack");
    return (bar ? (bar.title || bar.getAttribute("aria-label") || "") : cell.textContent).replace(/\s+/g, " ").replace(/[↑↓]$/, "").trim();
  };
  const rows = [...table.rows].map((row) => [...row.cells].map(textOf));
  const used = rows[0].map((_, column) => rows.some((row) => row[column]));
  return rows.map((row) => row.filter((_, column) => used[column]));
}

/** Numbers as programs read them, with an ASCII minus and without plus; a dash is an empty cell. */
const plainCell = (text) => (text === "–" ? "" : text.replace(/^−(?=\d)/, "-").replace(/^\+(?=\d)/, ""));

function csvText(rows) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return rows.map((row) => `${row.map((text) => quoted(plainCell(text))).join(",")}\r\n`).join("");
}

const isFigure = (text) => /^[−+-]?[\d.,]+$|^–$/.test(text);

function markdownText([head, ...rows]) {
  const line = (cells) => `| ${cells.map((text) => text.replaceAll("\\", "\\\\").replaceAll("|", "\\|")).join(" | ")} |\n`;
  const rule = head.map((_, column) => (rows.length && rows.every((row) => isFigure(row[column] ?? "–")) ? "---:" : "---"));
  return [head, rule, ...rows].map(line).join("");
}

const LATEX_SIGNS = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--", "²": "$^2$", "→": "$\\to$" };

function latexText([head, ...rows]) {
  const escaped = (text) => text.replace(/[\\~^−–²→]|[&%$#_{}]/g, (sign) => LATEX_SIGNS[sign] ?? `\\${sign}`);
  const line = (cells) => `${cells.map(escaped).join(" & ")} \\\\\n`;
  const columns = head.map((_, column) => (rows.length && rows.every((row) => isFigure(row[column] ?? "–")) ? "r" : "l")).join("");
  return `\\begin{tabular}{${columns}}\n\\toprule\n${line(head)}\\midrule\n${rows.map(line).join("")}\\bottomrule\n\\end{tabular}\n`;
}
