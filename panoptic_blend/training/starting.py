"""What a run may start from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from panoptic_blend.checkpoints.fitting import layers, without_classes
from panoptic_blend.checkpoints.io import load_weights, read_categories, read_checkpoint
from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import PanopticBlendError

LAST, BEST = "last.safetensors", "best.safetensors"
"""Files of a run, beside its states: the newest weights, and those with the best PQ."""


def require_free(output: Path, resume: bool) -> None:
    """Raise if a run in ``output`` would be overwritten."""
    states = state_files(output)
    weights = [output / name for name in (LAST, BEST) if (output / name).exists()]
    if (states or weights) and not resume:
        raise PanopticBlendError(f"{output}: holds a run already; go on with --resume auto or choose another --output")
    if weights and not states:
        raise PanopticBlendError(
            f"{output}: has weights but no state to resume; start in another --output from train.weights={weights[0]}"
        )


def start_from(model: nn.Module, weights: str, partial: bool, categories: Categories) -> list[str]:
    """Load weights of any known kind, or ``imagenet``; return the names of layers that start anew.

    Layers that know other classes, by the weights' header, start anew too.

    Raises:
        PanopticBlendError: the weights do not fit, or know other classes and ``partial`` is false.
    """
    known = None if weights == "imagenet" else read_categories(Path(weights))
    renamed = known and known.first_mismatch(categories)
    if renamed and not partial:
        raise PanopticBlendError(
            f"{weights}: knows other classes ({renamed}); --partial starts their layers anew and loads the rest"
        )
    source = without_classes(read_checkpoint(Path(weights)).state, model) if renamed else weights
    return [f"{weights}: not loaded {layers(missing)}"] if (missing := load_weights(model, source, partial)) else []
