"""Take in a folder of labeled pictures: find or make its training and validation splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from panoptic_blend.convert.recognition import recognize, require_folder
from panoptic_blend.doctor.layout import find_splits, is_training
from panoptic_blend.fit.checking import require_sound
from panoptic_blend.fit.conversion import OVERLAPPING, STACKED, convert
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


def require_apart(folder: Path, output: Path) -> None:
    """Raise an error unless there is a ``folder``, and ``output`` is not in it."""
    require_folder(folder)
    if output.resolve().is_relative_to(folder.resolve()):
        raise PanopticBlendError(f"{output}: lies in the folder of the labels, {folder}; choose another --output")


def prepare(
    folder: Path,
    output: Path,
    *,
    val_share: float = VAL_SHARE,
    seed: int = 0,
    stuff: Sequence[str] = (),
    check_all: bool = False,
) -> Prepared:
    """Take in a folder of labeled pictures; nothing is written into it.

    Args:
        folder: pictures and labels in a format that ``recognize`` knows.
        output: the folder of the run, see `require_apart`. What has to be made of the data goes into folders of it,
            and is used again while the data are the same: ``converted``, ``checked`` and ``data``.
        val_share: the share of the pictures that becomes the validation split where there is none.
        seed: seed of the choice of these pictures.
        stuff: names of classes that are stuff, for formats that do not say it.
        check_all: decode all pictures and PNGs of a large data set to check them, in place of a sample.

    Raises:
        PanopticBlendError: the folder holds no labels of a known format, or labels have errors.
    """
    source = recognize(folder, stuff)
    if source is None and stuff:
        raise PanopticBlendError(
            f"{folder}: is COCO panoptic, whose `isthing` says what is stuff; leave --stuff out, or change the JSON "
            "with `panoptic-blend data check --fix OUT.json --stuff NAMES`"
        )
    train, val = _splits(list(source.splits) if source else [paths.name for paths in find_splits(folder)], folder)
    splits = [train] if val is None else [train, val]
    root, hidden, remarks = folder, 0.0, list[str]()
    if source:
        root = output / "converted"
        made = convert(source, folder, splits, root, stuff)
        hidden, remarks = made["hidden"], [f"{folder} was read as {source.kind}", *made["remarks"]]
    remarks += require_sound(root, splits, output / "checked", is_full=check_all)
    if val is None:
        remarks += divide(root, train, output / "data", val_share=val_share, seed=seed)
        root, train, val = output / "data", TRAIN, VAL
    return Prepared(
        root.absolute(),  # a fit may be resumed, and its plan trained, from another folder
        train,
        val,
        "instances" if hidden > OVERLAPPING else "panoptic",
        hidden <= STACKED,
        (*remarks, *_overlaps(hidden)),
    )


def _overlaps(hidden: float) -> list[str]:
    if hidden <= OVERLAPPING:
        return []
    seen = f"{100 * hidden:.0f} % of the pixels of things are hidden by other things"
    if hidden <= STACKED:
        return [f"{seen}, so things are learned with their overlaps (data.things=instances)"]
    return [f"{seen}, which no panoptic map can show, so a model of instances alone is fitted"]


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
