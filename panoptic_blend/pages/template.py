"""Put a page together from its template: plain HTML with styles, scripts and content inside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PARTS = Path(__file__).parent / "parts"


@dataclass(frozen=True)
class Template:
    """The parts of a page, without their suffixes: its HTML, its styles, and its scripts in the order of the page.

    They are files of ``folder``, or else of the ``parts`` of this package, which several pages share.
    """

    folder: Path
    page: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]

    def filled(self, content: dict[str, Any]) -> str:
        """The page, whose scripts find ``content`` as JSON; its digests are those of a Content-Security-Policy."""
        style = self._joined(self.styles, ".css")
        script = f'"use strict";\n{self._joined(self.scripts, ".js")}'
        parts = {
            "style": style,
            "script": script,
            "style_hash": _digest(style),
            "script_hash": _digest(script),
            "content": script_json(content),
        }
        return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], self._joined((self.page,), ".html"))

    def _joined(self, names: tuple[str, ...], suffix: str) -> str:
        own = [self.folder / f"{name}{suffix}" for name in names]
        return "".join((path if path.exists() else _PARTS / path.name).read_text(encoding="utf-8") for path in own)


def script_json(content: object) -> str:
    """ASCII JSON that is safe in a script element and in a script file: it contains no ``<``, ``>`` or ``&``."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(text: str) -> str:
    """The digest of an inline element in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
