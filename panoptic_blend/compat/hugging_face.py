"""PQ with the methods of a metric of Hugging Face's library ``evaluate``, which is not needed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from panoptic_blend.metrics.conversion import LABEL_DIVISOR, PanopticLike
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.structures import Category, PanopticBlendError


class PanopticEvaluation:
    """PQ, SQ and RQ as COCO's script defines them: ``compute(predictions=..., references=...)``, or ``add`` before it.

    Maps are in any form that `conversion.panoptic_map` reads; the references are the truth.

    Args:
        categories: the categories of the data set, `Category` or records with ``id``, ``name`` and ``isthing``.
        label_divisor: for maps without records, as in `PanopticQuality`.

    Raises:
        PanopticBlendError: a category is malformed, two have one id, or ``label_divisor`` is no positive whole number.
    """

    def __init__(
        self, categories: Sequence[Category | Mapping[str, object]], *, label_divisor: int = LABEL_DIVISOR
    ) -> None:
        self._quality = PanopticQuality(categories, label_divisor=label_divisor)

    def add(self, *, prediction: PanopticLike, reference: PanopticLike) -> None:
        """Add one image; raises the PanopticBlendErrors of `PanopticQuality.update`."""
        self._quality.update(truth=reference, prediction=prediction)

    def add_batch(self, *, predictions: Sequence[PanopticLike], references: Sequence[PanopticLike]) -> None:
        """Add lists, or arrays (N, H, W, 2), of as many predictions as references; raises the errors of `add`."""
        for prediction, reference in require_pairs(predictions, references, "predictions", "references"):
            self.add(prediction=prediction, reference=reference)

    def compute(
        self,
        *,
        predictions: Sequence[PanopticLike] | None = None,
        references: Sequence[PanopticLike] | None = None,
    ) -> dict[str, float]:
        """Compute the means over these images and all that were added before, and forget all of them.

        Returns:
            ``pq``, ``sq`` and ``rq`` as fractions over all classes, and the same with ``_things`` and ``_stuff``; NaN
            where there is nothing to score.
        """
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions or [], references=references or [])
        figures = flat_figures(self._quality.compute())
        self._quality.reset()
        return figures


def flat_figures(report: PanopticReport) -> dict[str, float]:
    """The means of a report: ``pq``, ``sq``, ``rq``, and the same with ``_things`` and ``_stuff``."""
    endings = {"": report["All"], "_things": report["Things"], "_stuff": report["Stuff"]}
    return {
        f"{figure}{ending}": value
        for ending, means in endings.items()
        for figure, value in (("pq", means["pq"]), ("sq", means["sq"]), ("rq", means["rq"]))
    }


def require_pairs(first: Any, second: Any, first_name: str, second_name: str) -> list[tuple[Any, Any]]:
    """The pairs of two batches of maps, lists or arrays (N, H, W, 2); PanopticBlendError for other values."""
    for batch, name in ((first, first_name), (second, second_name)):
        if not isinstance(batch, list) and len(getattr(batch, "shape", ())) != 4:
            raise PanopticBlendError(
                f"{name}: {type(batch).__name__} is not a batch; give a list with one map per image, or (N, H, W, 2)"
            )
    if len(first) != len(second):
        raise PanopticBlendError(
            f"{len(first)} {first_name} and {len(second)} {second_name}; give as many of one as of the other"
        )
    return list(zip(first, second, strict=True))
