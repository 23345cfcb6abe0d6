"""What a fit has done already: each stage leaves its files, and is passed over while its inputs are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panoptic_blend.config.yaml_text import parse_yaml
from panoptic_blend.files import read_bytes, replacing
from panoptic_blend.fit.kept import digest_of
from panoptic_blend.listing import list_files

_RECORD = "stages.json"
DIGESTS = {"files": "files were added, removed or changed"}
"""The inputs that are digests, and what to say where one of them differs."""


class Stages:
    """The finished stages of the fit in ``folder``, by name, with the inputs that each one had.

    The inputs of a stage are those that it names and those of all stages before it, as values of JSON.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _RECORD
        self._done: dict[str, dict[str, Any]] = _read(self._path)

    def is_done(self, name: str, inputs: Mapping[str, Any], *files: Path) -> bool:
        """Whether a stage was finished with these inputs, and its ``files`` are there."""
        return self._done.get(name) == dict(inputs) and all(path.exists() for path in files)

    def difference(self, name: str, inputs: Mapping[str, Any]) -> str | None:
        """The first input in which a finished stage differs from ``inputs``, in words; None if none does."""
        done = self._done.get(name, {})
        for key, value in inputs.items():
            if key in done and done[key] != value:
                is_digest = key in DIGESTS
                return DIGESTS[key] if is_digest else f"{key} {_shown(done[key])} then, {_shown(value)} now"
        return None

    def finish(self, name: str, inputs: Mapping[str, Any]) -> None:
        """Note that a stage is finished, and that those after it are not."""
        names = list(self._done)
        kept = names[: names.index(name)] if name in names else names
        self._done = {**{key: self._done[key] for key in kept}, name: dict(inputs)}
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(self._done, indent=1) + "\n", encoding="utf-8")


def digest_of_files(folder: Path) -> str:
    """A digest of the names, sizes and times of change of all files in a folder."""
    return digest_of(path.absolute() for path in list_files(folder, recursive=True).paths)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The record of an earlier call; empty if there is none that can be read, so that everything is done again."""
    if not path.is_file():
        return {}
    content = parse_yaml(read_bytes(path).decode("utf-8", "replace"), str(path))
    tables = isinstance(content, dict) and all(isinstance(value, dict) for value in content.values())
    return content if tables else {}


def _shown(value: object) -> str:
    return json.dumps(value) if len(json.dumps(value)) < 80 else "others"
