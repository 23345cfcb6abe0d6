// The files of the report.

/** The URL of a file of the report: embedded in the page, or beside it. */
function assetAddress(name) {
  return content.embedded ? content.embedded[name] : `${encodeURIComponent(content.folder)}/${name}`;
}
