"""What gives the state of a run its meaning: model, classes, images and schedule; compared when a run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from panoptic_blend.config.experiment import Config
from panoptic_blend.config.model_options import Model
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.initialization import LAST

_COMPARED = ("categories", "training", "validation", "options")
"""What states of older versions lack."""

_FREE = {
    *("data.root", "data.train", "data.val", "data.workers", "data.on_error"),
    *("train.device", "train.devices", "train.nodes", "train.strategy"),
    *("train.weights", "train.partial", "train.rescale", "train.optimizer"),
    *("train.log_every", "train.checkpoint_every", "train.evaluate_every"),
}
"""Options that may change in silence: they change nothing that is learned, or what they choose is compared itself."""

_CHOOSING = {"data.things": "panoptic", "data.skip_empty": False}
"""Options that choose classes and images, with their values in states that lack them."""


def meaning(config: Config, training: PanopticDataset, validation: PanopticDataset) -> dict[str, Any]:
    """What gives a state of this run its meaning, as plain values that are kept in it."""
    options = config.model_dump(mode="json")
    return {
        "model": options["model"],
        "optimizer": config.train.optimizer,
        "categories": [[c.id, c.name, c.is_thing] for c in training.categories],
        "training": _images(training),
        "validation": _images(validation),
        "options": {key: options[key] for key in ("data", "train", "seed")},
    }


def compare(state: Mapping[str, Any], own: Mapping[str, Any], output: Path) -> list[str]:
    """Compare a state in ``output`` with the run that is to resume it, whose `meaning` is ``own``.

    Returns:
        One line for what differs and may differ, such as the learning rate, and for what cannot be compared.

    Raises:
        PanopticBlendError: classes, images, model, optimizer or batch size differ, or training has gone further.
    """
    kept: Mapping[str, Any] = state["fixed"]
    resume = f"resume it {_with_its_data(kept.get('options', {}), own['options'])}"
    anew = f"start a new run in another --output with --weights {output / LAST}"
    if "categories" in kept and (different := _classes(kept["categories"], own["categories"])):
        raise PanopticBlendError(
            f"{output}: its states belong to a run with other classes ({different}); {resume}, or {anew} --partial"
        )
    for split in ("training", "validation"):
        if split in kept and kept[split] != own[split]:
            before, now = kept[split]["number"], own[split]["number"]
            raise PanopticBlendError(
                f"{output}: its states belong to a run with other {split} images ({before} there, "
                f"{now if now != before else f'{now} others'} now); {resume}, or {anew}"
            )
    if different := _listed(_differences(_learned(kept), _learned(own))):
        raise PanopticBlendError(
            f"{output}: its states belong to a run with another model or optimizer ({different}); use the options of "
            "that run, or choose another --output"
        )
    remarks = _schedule(kept.get("options", {}), own["options"], output, anew)
    if state["iteration"] > (total := own["options"]["train"]["iterations"]):
        raise PanopticBlendError(
            f"{output}: its state is at iteration {state['iteration']}, beyond train.iterations={total}; set "
            f"train.iterations={state['iteration']} or more, or choose another --output"
        )
    if missing := [name for name in _COMPARED if name not in kept]:
        remarks.append(f"the state comes from an older version, without {', '.join(missing)}: these cannot be compared")
    return remarks


def _images(dataset: PanopticDataset) -> dict[str, Any]:
    """The number of images, and a digest of their ids, names and sizes in their order."""
    digest, images = hashlib.sha256(), dataset.images
    for identity in zip(images.ids, images.file_names, images.sizes, strict=True):
        digest.update(repr(identity).encode("utf-8", "surrogatepass"))
    return {"number": len(dataset), "digest": digest.hexdigest()}


def _with_its_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How to have the classes and images of a state again: with its options, where these differ, or its data set."""
    old, new = ({**_CHOOSING, **dict(_leaves(options))} for options in (before, now))
    texts = [f"{key}={str(old[key]).lower()}" for key in _CHOOSING if old[key] != new[key]]
    return f"with {' '.join(texts)}" if texts else "on the data set of that run"


def _classes(before: Any, now: Any) -> str:
    """The first class that differs, in words; empty if there is none."""
    for old, new in zip_longest(before, now):
        if old != new:
            known, found = (f"{x[0]} {x[1]!r}, {'thing' if x[2] else 'stuff'}" if x else "no class" for x in (old, new))
            return f"{known} there, {found} now"
    return ""


def _learned(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The options of model and optimizer; options that the state's version did not know have their defaults."""
    model = kept.get("model")
    with suppress(ValidationError):  # of another version, whose options we do not know
        model = Model.model_validate(model).model_dump(mode="json")
    return {"model": model, "train": {"optimizer": kept.get("optimizer")}}


def _schedule(before: Mapping[str, Any], now: Mapping[str, Any], output: Path, anew: str) -> list[str]:
    """A line that lists the options that differ; raises an error if the batch size does."""
    old, new = (options.get("train", {}).get("batch_size") for options in (before, now))
    if old is not None and old != new:
        raise PanopticBlendError(
            f"{output}: its states count iterations of {old} images, not of {new}; resume it with "
            f"train.batch_size={old} (train.images_per_step saves memory), or {anew}"
        )
    known = dict(_leaves(before))
    different = [text for text in _differences(before, now) if (key := text.split()[0]) in known and key not in _FREE]
    return [f"resumed with other options: {_listed(different)}"] if different else []


def _differences(before: Any, now: Any) -> list[str]:
    """The leaves that differ, as in ``train.lr 0.01 -> 0.005``."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [f"{key} {old.get(key)} -> {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]


def _listed(differences: Sequence[str]) -> str:
    more = [f"and {len(differences) - 8} more"] if len(differences) > 8 else []
    return ", ".join([*differences[:8], *more])


def _leaves(options: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(options, Mapping):
        for key, value in options.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, options
