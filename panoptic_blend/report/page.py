"""The page of a report and the folder beside it, written whole or not at all."""

from __future__ import annotations

import base64
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.files import name_in_errors, remove_unfinished, replacing
from panoptic_blend.structures import PanopticBlendError

_TEMPLATE = Path(__file__).parent / "template"
_SCRIPTS = (
    *("tools", "state", "figures", "classes", "matrix", "budget"),
    *("images", "grid", "maps", "viewer", "pointer", "segments", "keys", "main"),
)
_MARK = "panoptic-blend-report"
"""A file by which a folder of ours is known."""


@dataclass
class Assets:
    """A folder that is being filled with what belongs to the images; ``size`` in bytes so far.

    ``report`` is in the page and in every script of the folder, so that a page knows its own folder.
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
        """A script that hands ``content`` to the page, with the report it belongs to."""
        text = f"panopticReport({json.dumps(stem)},{script_json(content | {'report': self.report})})\n"
        self.add(f"{stem}.js", text.encode("ascii"))


def require_room(page: Path, overwrite: bool) -> None:
    """Raise PanopticBlendError unless a report may be written at ``page`` and in the folder beside it."""
    if page.suffix.lower() not in {".html", ".htm"}:
        raise PanopticBlendError(f"{page}: a report is an HTML page; give a name that ends in .html")
    folder = files_folder(page)
    if page.is_dir():
        raise PanopticBlendError(f"{page}: is a folder; choose another --out")
    for path in (page, folder):
        if (path.exists() or path.is_symlink()) and not overwrite:
            raise PanopticBlendError(f"{path}: is there already; choose another --out, or give --overwrite")
    if (folder.exists() or folder.is_symlink()) and not _is_ours(folder):
        raise PanopticBlendError(f"{folder}: is not the folder of a report; choose another --out, or move it away")


def files_folder(page: Path) -> Path:
    """The folder beside a page."""
    return page.with_name(f"{page.stem}_files")


@contextmanager
def writing(page: Path) -> Iterator[Assets]:
    """Give assets to be added; `publish` them within the block. What is left behind is removed, however it ends."""
    page.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(page.parent.glob(f".{glob.escape(page.stem)}*.part*"))  # by a run that was killed
    temporary = page.with_name(f".{files_folder(page).name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        _require_alone(temporary)
        (temporary / _MARK).touch()
        yield Assets(temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(
    page: Path, assets: Assets, content: dict[str, Any], embedded_bytes: int, *, overwrite: bool = False
) -> list[Path]:
    """Write the page with its ``content``; the assets become its folder, or part of it up to ``embedded_bytes``.

    The page comes last, and where there is a folder an earlier page goes first: a page that is there is whole.
    Returns what was written. Raises as `require_room`, whose answer may have changed meanwhile.
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
    old = page.with_name(f".{folder.name}.old.{os.getpid()}.part")
    try:
        with replacing(page) as temporary:
            temporary.write_text(_filled(content), encoding="utf-8", newline="\n")  # as its digests were taken
            if folder.exists():
                page.unlink(missing_ok=True)
                folder.rename(old)
            if not is_single:
                page.unlink(missing_ok=True)
                assets.folder.rename(folder)
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return [page] if is_single else [page, folder]


def script_json(content: object) -> str:
    """JSON in ASCII that can stand in a script element and in a script file: nothing in it ends or opens a tag."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _require_alone(temporary: Path) -> None:
    """Raise PanopticBlendError if another process writes this report too; of two that start at once, both may see it.

    Each makes its own folder first and looks then, so they never both go on.
    """
    stem = temporary.name.removesuffix(f".{os.getpid()}.part")
    others = set(temporary.parent.glob(f"{glob.escape(stem)}.[0-9]*.part")) - {temporary}
    if others:
        raise PanopticBlendError(
            f"{min(others)}: another process writes this report; wait for it, or choose another --out"
        )


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and (folder / _MARK).is_file()


def _embedded(path: Path) -> str:
    """A JPEG as a data URL; of a script, the JSON that it hands over."""
    content = path.read_bytes()
    if path.suffix == ".js":
        return content[content.index(b"{") : content.rindex(b"}") + 1].decode("ascii")
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def _filled(content: dict[str, Any]) -> str:
    style = (_TEMPLATE / "page.css").read_text(encoding="utf-8")
    script = "".join((_TEMPLATE / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'"use strict";\n{script}'
    parts = {
        "style": style,
        "script": script,
        "style_hash": _digest(style),
        "script_hash": _digest(script),
        "content": script_json(content),
    }
    template = (_TEMPLATE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _digest(text: str) -> str:
    """What a Content-Security-Policy knows an inline element by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
