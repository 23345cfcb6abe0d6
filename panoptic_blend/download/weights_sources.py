"""What a source of weights means: the path of a file, the name of known weights, or an address on the Hub."""

from __future__ import annotations

import os
from pathlib import Path

from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.download.hub import fetch_from_hub, is_on_hub
from panoptic_blend.download.known_weights import closest_name, find_known
from panoptic_blend.download.weights_cache import fetch_weights
from panoptic_blend.structures import PanopticBlendError


def weights_path(source: str | Path) -> Path:
    """The file of a source of weights; known weights and those on the Hub are fetched if they are not in a cache.

    Raises:
        PanopticBlendError: the source is neither a file nor a name, but close to a name; or it cannot be fetched.
    """
    if known := find_known(source):
        return fetch_weights(known)
    if is_on_hub(source):
        return fetch_from_hub(str(source))
    path, text = Path(source), str(source)
    is_other = os.path.lexists(path) or path.suffix or text in config_names()
    if not is_other and (name := closest_name(text)):
        raise PanopticBlendError(f"{text}: no such file, and no weights of this name; did you mean {name}?")
    return path


def model_source(source: str | Path) -> tuple[Path, str | None]:
    """The file of a source of weights that hold a whole model, and the name of their config if they are known.

    Raises:
        PanopticBlendError: as in `weights_path`; or the known weights are no whole model.
    """
    known = find_known(source)
    if known and known.config is None:
        raise PanopticBlendError(f"{known.name}: is no whole model; train from it with --weights {known.name}")
    return weights_path(source), known.config if known else None
