"""The start of a training run: a folder without another run, and initial weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from panoptic_blend.checkpoints.architecture import architecture_of
from panoptic_blend.checkpoints.fitting import is_backbone, layers, shapes_of, with_classes_by_name
from panoptic_blend.checkpoints.io import load_weights, read_categories
from panoptic_blend.checkpoints.official import adapt
from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.config.experiment import Config
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.formats.categories import Categories, default_categories
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

    If a file has other classes than ``categories``, the layers that classify get the rows of the classes of the same
    name. The classes are those in its header, or COCO's for other files with their number.

    Returns:
        Lines that name the parts that were loaded, those that keep their random initialization, those of the file
        that have no place in the model, and the classes that it knows; none if everything was loaded.

    Raises:
        PanopticBlendError: the weights do not fit or have other classes, and ``partial`` is false.
    """
    path = None if weights == "imagenet" else weights_path(weights)
    known = read_categories(path) if path else None
    mismatch = known and known.first_mismatch(categories)
    if mismatch and not partial:
        raise PanopticBlendError(
            f"{weights}: has other classes ({mismatch}); give --partial to load all but what is only for those"
        )
    source, taken = _for_classes(path, known, model, categories) if path and partial else (path or weights, [])
    missing = set(load_weights(model, source, partial, name=weights))
    own = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    parts = {"loaded": own - missing, "not loaded": own & missing, "no place in the model for": missing - own}
    remarks = [(what, layers(names, (own | missing) - names)) for what, names in parts.items() if names]
    lines = [f"{what} {listed}" for what, listed in remarks] if missing else []
    return [f"{weights}: {line}" for line in (*lines, *taken)]


def _for_classes(
    path: Path, known: Categories | None, model: nn.Module, wanted: Categories
) -> tuple[Path | dict[str, Tensor], list[str]]:
    """The weights for the ``wanted`` classes; if theirs are others, a line says how many of these they know."""
    file = read_weights(path)
    state = adapt(file.state, file.author, str(path))
    if known is None:
        found = architecture_of(shapes_of(state))
        if found.num_things == len(wanted.thing_ids) and found.num_stuff in (None, len(wanted.stuff_ids)):
            return path, []  # which classes, it does not say
        known = default_categories(found.num_things or 0, found.num_stuff)
    if is_backbone(shapes_of(state)) or [(c.name, c.is_thing) for c in known] == [(c.name, c.is_thing) for c in wanted]:
        return path, []
    adapted, names = with_classes_by_name(state, known, model, wanted)
    listed = ", ".join(sorted(names)[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    knows = f"{len(names)} ({listed})" if names else "none"
    return adapted, [f"knows {knows} of the {len(wanted)} classes by name"]


_LISTED = 6
"""Number of classes that a line names."""
