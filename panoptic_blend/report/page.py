"""Write the page of a report and the folder beside it atomically."""

from __future__ import annotations

import base64
import glob
import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.files import name_in_errors, process_mark, remove_unfinished, replacing
from panoptic_blend.pages.template import Template, script_json
from panoptic_blend.structures import PanopticBlendError

_TEMPLATE = Path(__file__).parent / "template"


REPORT = Template(
    _TEMPLATE,
    page="page",
    styles=("base", "viewer", "page", "overview", "patches"),
    scripts=(
        *("elements", "assets", "class_labels", "tools", "segment_table", "state", "tags", "downloads", "snapshot"),
        *("figures", "classes", "matrix", "budget", "verdict", "groups", "instances", "precision", "averages"),
        *(
            "curves",
            "matching",
            "scores",
            "cards",
            "images",
            "grid",
            "patches",
            "maps",
            "details",
            "masks",
            "frames",
            "zoom",
        ),
        *("viewer", "pointer", "segments", "detections", "keys_dialog", "keys", "main"),
    ),
)
LABELS = Template(
    _TEMPLATE,
    page="labels",
    styles=("base", "viewer", "page", "labels"),
    scripts=("elements", "assets", "keys_dialog", "labels"),
)

_MARK = "panoptic-blend-report"
"""Name of the file that identifies the folder of a report."""


@dataclass
class Assets:
    """A folder that is being filled with the data of the images; ``size`` is in bytes.

    ``report`` is a random id in the page and in every script of the folder, by which a page recognizes its own folder.
    """

    folder: Path
    report: str = field(default_factory=lambda: secrets.token_hex(8))
    size: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes) -> None:
        with name_in_errors(self.folder / name):
            (self.folder / name).write_bytes(content)
        self.names.append(name)
        self.size += len(content)

    def add_script(self, stem: str, content: dict[str, Any]) -> None:
        """Add a script that passes ``content`` and the id of the report to the page."""
        text = f"panopticReport({json.dumps(stem)},{script_json(content | {'report': self.report})})\n"
        self.add(f"{stem}.js", text.encode("ascii"))


def require_room(page: Path, overwrite: bool) -> None:
    """Raise an error unless a report may be written to ``page`` and to the folder beside it."""
    if page.suffix.lower() not in {".html", ".htm"}:
        raise PanopticBlendError(f"{page}: a report is an HTML page; give a name that ends in .html")
    folder = files_folder(page)
    if page.is_dir():
        raise PanopticBlendError(f"{page}: is a folder; choose another --output")
    for path in (page, folder):
        if (path.exists() or path.is_symlink()) and not overwrite:
            raise PanopticBlendError(f"{path}: already exists; choose another --output, or add --overwrite")
    if (folder.exists() or folder.is_symlink()) and not _is_ours(folder):
        raise PanopticBlendError(
            f"{folder}: is not the folder of a report; choose another --output, or move the folder"
        )


def files_folder(page: Path) -> Path:
    """The folder for the data of the images, beside the page."""
    return page.with_name(f"{page.stem}_files")


@contextmanager
def writing(page: Path) -> Iterator[Assets]:
    """Yield assets to fill, and to `publish` in the block; temporary files are removed in any case."""
    page.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(page.parent.glob(f".{glob.escape(page.stem)}*.part*"))  # left by a process that was killed
    temporary = page.with_name(f".{files_folder(page).name}.{process_mark()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        _require_only_writer(temporary)
        (temporary / _MARK).touch()
        yield Assets(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(
    page: Path,
    assets: Assets,
    content: dict[str, Any],
    embedded_bytes: int,
    *,
    overwrite: bool = False,
    template: Template = REPORT,
) -> list[Path]:
    """Write the page with its ``content``; returns the written paths.

    Assets up to ``embedded_bytes`` are embedded in the page, larger ones become the folder beside it. An earlier page
    is removed before its folder is replaced, and the new page is written last, so that an existing page is always
    complete. Raises the errors of `require_room`, because files may have appeared in the meantime.
    """
    require_room(page, overwrite)
    folder = files_folder(page)
    is_single = assets.size <= embedded_bytes
    content = content | {"report": assets.report}
    if is_single:
        content = content | {"embedded": {name: _embedded(assets.folder / name) for name in assets.names}}
    else:
        content = content | {"folder": folder.name}
        assets.add_script("report", {})
    old = page.with_name(f".{folder.name}.old.{process_mark()}.part")
    try:
        with replacing(page) as temporary:
            # newlines unchanged, because the digests depend on them
            temporary.write_text(template.filled(content), encoding="utf-8", newline="\n")
            if folder.exists():
                page.unlink(missing_ok=True)
                folder.rename(old)
            if not is_single:
                page.unlink(missing_ok=True)
                assets.folder.rename(folder)
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return [page] if is_single else [page, folder]


def _require_only_writer(temporary: Path) -> None:
    """Raise an error if another process writes the same report.

    Every process first creates its own folder and then looks for others, so that never both of two processes go on;
    if they start at the same time, both may fail.
    """
    stem = temporary.name.removesuffix(f".{process_mark()}.part")
    others = set(temporary.parent.glob(f"{glob.escape(stem)}.[0-9a-f]*.part")) - {temporary}
    if others:
        raise PanopticBlendError(
            f"{min(others)}: another process is writing this report; wait for it, choose another --output, or remove "
            "this folder if no process writes it"
        )


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and (folder / _MARK).is_file()


def _embedded(path: Path) -> str:
    """A JPEG as a data URL, or the JSON that a script passes to the page."""
    content = path.read_bytes()
    if path.suffix == ".js":
        return content[content.index(b"{") : content.rindex(b"}") + 1].decode("ascii")
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
