"""Read YAML files with a ``base:`` and ``key=value`` overrides into unchecked dictionaries of options."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from panoptic_blend.config.linear_rule import rescaled
from panoptic_blend.config.yaml_text import decode_text, parse_yaml
from panoptic_blend.files import read_bytes
from panoptic_blend.structures import PanopticBlendError

Schedule = Mapping[str, Any]


def config_names() -> list[str]:
    """Names of all configs of the library, such as ``panoptic/blendmask_r50_3x``."""
    return sorted(
        str(path.relative_to(folder).with_suffix("")) for folder in _folders() for path in folder.rglob("*.yaml")
    )


def _folders() -> list[Path]:
    """The config folders of an installed wheel and of a clone, as far as they exist."""
    library = Path(__file__).resolve().parents[1]
    return [folder for folder in (library / "configs", library.parent / "configs") if folder.is_dir()]


def find_config(name: str) -> Path:
    """The YAML file of a config, given its name or path; PanopticBlendError if there is none."""
    candidates = [Path(name), *(folder / f"{name}.yaml" for folder in _folders())]
    for path in candidates:
        if path.is_file():
            return path
    close = difflib.get_close_matches(name, config_names(), n=1, cutoff=0.3)
    hint = f"did you mean {close[0]}?" if close else "give the path of a YAML file"
    raise PanopticBlendError(f"no config {name!r}; {hint}")


def read_options(path: Path, schedule: Schedule, notes: list[str], seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a YAML file and its ``base:``, whose options it overrides; the options are not validated.

    Args:
        schedule: default training options, for the linear rule.
        notes: one line is appended for each schedule that was rescaled.
        seen: the files that led to this one, to detect a circle.

    Raises:
        PanopticBlendError: a file is missing or not a YAML mapping, or the bases form a circle.
    """
    if path.resolve() in seen:
        raise PanopticBlendError(f"{path}: its `base:` leads back to itself; remove the circle")
    options = parse_yaml(decode_text(read_bytes(path), path), str(path))
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise PanopticBlendError(f"{path}: not a YAML table of options; write lines like `seed: 1`")
    if "base" not in options:
        return options
    base = _base(path, options.pop("base"))
    below = read_options(base, schedule, notes, (*seen, path.resolve()))
    return _apply_changes(below, options, schedule, notes)


def _base(path: Path, value: object) -> Path:
    """The file that ``base:`` names, relative to the file that it stands in."""
    try:
        if isinstance(value, str) and b"\0" not in os.fsencode(value):
            return path.parent / Path(value).expanduser()
    except (UnicodeEncodeError, RuntimeError):  # half a character, or ~ without a home
        pass
    raise PanopticBlendError(f"{path}: its `base:` is not the path of a YAML file; write one, or leave it out")


def _merge(base: Any, changes: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(changes, Mapping)):
        return changes
    return {**base, **{key: _merge(base.get(key), value) for key, value in changes.items()}}


def apply_overrides(options: Any, overrides: Iterable[str], schedule: Schedule, notes: list[str]) -> Any:
    """Apply ``key=value`` overrides to ``options`` and rescale the schedule; other arguments as in `read_options`."""
    if isinstance(overrides, str):  # whose items are letters
        raise PanopticBlendError(f"{overrides!r}: overrides are a list; give [{overrides!r}]")
    changes: Any = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise PanopticBlendError(f"{item!r}: not an override; write key=value, like train.lr=0.02")
        nested: Any = parse_yaml(value, item)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        changes = _merge(changes, nested)
    return _apply_changes(options, changes, schedule, notes)


def _apply_changes(options: Any, changes: Any, schedule: Schedule, notes: list[str]) -> Any:
    before, given = (x.get("train", {}) if isinstance(x, Mapping) else {} for x in (options, changes))
    if not isinstance(before, Mapping) or not isinstance(given, Mapping):
        return _merge(options, changes)
    if before and given.get("schedule") == "cosine":  # the schedule that it replaces may have had steps
        before = {name: value for name, value in before.items() if name not in ("steps", "gamma")}
        options = {**options, "train": before}
    if {**before, **given}.get("schedule") == "cosine":
        schedule = {**schedule, "steps": []}
    scaled, told = rescaled({**schedule, **before}, given)
    notes += told
    return _merge(_merge(options, changes), {"train": scaled})
