"""Take in a folder of labeled pictures: find or make its training and validation splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from panoptic_blend.doctor.layout import find_splits, is_training
from panoptic_blend.fit.division import TRAIN, VAL, divide
from panoptic_blend.structures import PanopticBlendError

VAL_SHARE = 0.15
"""The share of the pictures that becomes the validation split where there is none."""


@dataclass(frozen=True)
class Prepared:
    """A data set to fit a model to: its root in COCO's layout, the names of its splits, and where things come from.

    ``has_panoptic`` is false if there are only instances, for a model without stuff. ``remarks`` are lines about
    the data that are to be repeated at the end of a run.
    """

    root: Path
    train: str
    val: str
    things: Literal["panoptic", "instances"]
    has_panoptic: bool
    remarks: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """The options of a config that name this data set, as ``key=value``."""
        return [
            f"data.root={self.root}",
            f"data.train={self.train}",
            f"data.val={self.val}",
            f"data.things={self.things}",
        ]


def prepare(folder: Path, output: Path, *, val_share: float = VAL_SHARE, seed: int = 0) -> Prepared:
    """Take in a folder of labeled pictures; nothing is written into it.

    Args:
        folder: a data set in COCO's layout, with splits of any name.
        output: the folder of the run, for what has to be made of the data.
        val_share: the share of the pictures that becomes the validation split where there is none.
        seed: seed of the choice of these pictures.

    Raises:
        PanopticBlendError: the folder holds no data set that can be trained on.
    """
    train, val = _splits([paths.name for paths in find_splits(folder)], folder)
    if val is not None:
        return Prepared(folder, train, val, "panoptic", has_panoptic=True)
    root = output / "data"
    lines = divide(folder, train, root, val_share=val_share, seed=seed)
    return Prepared(root, TRAIN, VAL, "panoptic", True, tuple(lines))


def _splits(names: Sequence[str], folder: Path) -> tuple[str, str | None]:
    """The names of the training split and of the validation split; None if there is none, so that one is made."""
    training = [name for name in names if is_training(name)]
    validation = [name for name in names if name.lower().startswith(("val", "dev", "eval"))]
    if len(names) == 1:
        return names[0], None
    for kind, found in (("training", training), ("validation", validation)):
        if len(found) > 1:
            raise PanopticBlendError(
                f"{folder}: has several {kind} splits, {', '.join(found)}; move the annotations of all but one away"
            )
    if not training:
        raise PanopticBlendError(
            f"{folder}: has the splits {', '.join(names)}, none of them called train...; rename that one's files"
        )
    return training[0], validation[0] if validation else None
