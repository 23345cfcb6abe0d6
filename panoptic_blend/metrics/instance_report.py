"""The twelve figures of COCO for instances, over all classes and of each class."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Literal

from panoptic_blend.files import without_nan
from panoptic_blend.structures import Category

Kind = Literal["box", "mask"]
"""What two instances are compared by: their boxes or their masks."""

KINDS: tuple[Kind, ...] = ("box", "mask")

TWELVE = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_S", "AR_M", "AR_L")
"""The names of the figures as the papers print them, in the order of COCO's own table."""


@dataclass(frozen=True)
class InstanceFigures:
    """Average precision and average recall as fractions; NaN where the truth has no instance to find.

    ``ap`` and ``ar100`` are means over the IoU thresholds 0.50, 0.55, ..., 0.95. Small areas are up to 32 x 32 pixels,
    large ones begin at 96 x 96. ``ar1``, ``ar10`` and ``ar100`` allow that many detections per class and image.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    def columns(self) -> dict[str, float]:
        """The figures by the names of ``TWELVE``."""
        return dict(zip(TWELVE, astuple(self), strict=True))


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class, with its ``instances`` in the truth (crowds are not counted) and its ``detections``.

    ``mask`` is None for results that are boxes only.
    """

    instances: int
    detections: int
    box: InstanceFigures
    mask: InstanceFigures | None


@dataclass(frozen=True)
class InstanceReport:
    """Result of `AveragePrecision.compute`: means over the classes that have an instance in the truth.

    ``mask`` is None for results that are boxes only. ``per_class`` maps the id of every thing class to its figures,
    which are NaN for a class without an instance in the truth.
    """

    categories: tuple[Category, ...]
    box: InstanceFigures
    mask: InstanceFigures | None
    per_class: dict[int, ClassFigures]

    def figures(self) -> dict[str, Any]:
        """The report for JSON: ``box``, ``mask`` and ``per_class`` by category id, with null over nothing."""
        per_class = {
            str(category.id): {
                "name": category.name,
                "instances": found.instances,
                "detections": found.detections,
                **_both(found.box, found.mask),
            }
            for category in self.categories
            for found in [self.per_class[category.id]]
        }
        return without_nan({**_both(self.box, self.mask), "per_class": per_class})


def _both(box: InstanceFigures, mask: InstanceFigures | None) -> dict[str, dict[str, float] | None]:
    return {"box": box.columns(), "mask": mask.columns() if mask else None}
