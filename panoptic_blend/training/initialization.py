"""The start of a training run: a folder without another run, and initial weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from panoptic_blend.checkpoints.fitting import layers, without_classes
from panoptic_blend.checkpoints.io import load_weights, read_categories, read_checkpoint
from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import PanopticBlendError

LAST, BEST = "last.safetensors", "best.safetensors"
"""Names of the checkpoints of a run: the newest weights, and those with the best PQ."""


def require_no_run(output: Path, resume: bool) -> None:
    """Raise an error if a run in ``output`` would be overwritten: it is not resumed, or has no state to resume."""
    states = state_files(output)
    weights = [output / name for name in (LAST, BEST) if (output / name).exists()]
    if (states or weights) and not resume:
        raise PanopticBlendError(
            f"{output}: holds a run already; continue it with --resume auto, or choose another --output"
        )
    if weights and not states:
        raise PanopticBlendError(
            f"{output}: has weights but no state to resume; start from them in another --output, with "
            f"train.weights={weights[0]}"
        )


def require_weights_of_backbone(config: Config) -> None:
    """Raise an error if a file for the backbone is named that nothing would load."""
    pretrained = config.model.backbone.pretrained
    if isinstance(pretrained, str) and config.train.weights != "imagenet":
        raise PanopticBlendError(
            f"model.backbone.pretrained={pretrained} is loaded only by train.weights=imagenet; set both, or neither"
        )


def fetch_initial_weights(weights: str | None) -> None:
    """Bring known weights into the cache; before other processes start, so that one of a machine fetches them."""
    if weights and weights != "imagenet":
        weights_path(weights)


def load_initial_weights(model: nn.Module, weights: str, partial: bool, categories: Categories) -> list[str]:
    """Load a file of weights in any known format, known weights by name, or ``imagenet``.

    If the header of the file has other category names than ``categories``, the layers that classify are not loaded.

    Returns:
        Lines that name the parts that were loaded, those that keep their random initialization, and those of the file
        that have no place in the model; none if everything was loaded.

    Raises:
        PanopticBlendError: the weights do not fit or have other classes, and ``partial`` is false.
    """
    path = None if weights == "imagenet" else weights_path(weights)
    known = path and read_categories(path)
    mismatch = known and known.first_mismatch(categories)
    if mismatch and not partial:
        raise PanopticBlendError(
            f"{weights}: has other classes ({mismatch}); give --partial to load all layers but those that classify"
        )
    source = without_classes(read_checkpoint(path).state, model) if path and mismatch else path or weights
    missing = set(load_weights(model, source, partial, name=weights))
    own = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    parts = {"loaded": own - missing, "not loaded": own & missing, "no place in the model for": missing - own}
    remarks = [(what, layers(names, (own | missing) - names)) for what, names in parts.items() if names]
    return [f"{weights}: {what} {listed}" for what, listed in remarks] if missing else []
