"""Training states: the files that a run is resumed from, of which the newest complete one is used."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from panoptic_blend.checkpoints.pickles import read_pickle, reason
from panoptic_blend.files import replacing, require_file
from panoptic_blend.structures import PanopticBlendError

KEPT = 2
"""Number of states a run keeps, so that one damaged file does not cost the whole run."""

_PARTS = {"model": dict, "optimizer": dict, "scaler": dict, "iteration": int, "fixed": dict}


def state_files(folder: Path) -> list[Path]:
    """The states in the folder of a run, newest first."""
    return sorted(folder.glob("state_*.pt"), reverse=True)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a state atomically, then delete all but it and the `KEPT` - 1 before it.

    Later states are deleted too: they were left by an abandoned continuation.
    """
    buffer = BytesIO()  # on a full disk torch would raise an error that names no file
    torch.save(dict(state), buffer)
    own = folder / f"state_{state['iteration']:09d}.pt"
    with replacing(own, durable=True) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    files = state_files(folder)
    place = files.index(own)
    for path in files[:place] + files[place + KEPT :]:
        path.unlink()


def newest_state(folder: Path, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest complete state of a run, or None if it has no states.

    ``tell`` is called for every damaged one, and with the name of the older one that is used instead.

    Raises:
        PanopticBlendError: there are states, but all of them are damaged.
    """
    paths = state_files(folder)
    for path in paths:
        try:
            state = read_state(path)
        except PanopticBlendError as error:
            tell(f"skipped: {error}")
            continue
        if path != paths[0]:
            tell(f"continued from the older {path.name}")
        return state
    if paths:
        raise PanopticBlendError(f"{folder}: none of its {len(paths)} states is complete; choose another --output")
    return None


def read_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        PanopticBlendError: the file is damaged in any way, or no training state.
    """
    _require_intact(path)
    state = read_pickle(path)
    if not isinstance(state, dict) or not all(isinstance(state.get(k), kind) for k, kind in _PARTS.items()):
        raise PanopticBlendError(f"{path}: not a training state; start a new run from weights with train.weights=...")
    moments = state["optimizer"].get("state"), state["optimizer"].get("param_groups")
    if state["iteration"] < 0 or None in moments or (state["iteration"] > 0 and not moments[0]):
        raise PanopticBlendError(f"{path}: its iteration and its optimizer do not go together; use another state")
    return state


def _require_intact(path: Path) -> None:
    """Compare the checksums and the names in the archive, which torch does not."""
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged archive makes zipfile raise anything
        raise PanopticBlendError(f"{path}: damaged, or not a training state ({reason(error)}); use another") from None
    if damaged:
        raise PanopticBlendError(f"{path}: its checksum is wrong, so it is damaged; use another")
