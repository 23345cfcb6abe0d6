"""Score results of instance segmentation or detection, in COCO's format, against a COCO instances JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from panoptic_blend.files import require_file
from panoptic_blend.formats.coco_instances import InstancesJson, read_instances_json
from panoptic_blend.formats.instance_results import InstanceResults, read_instance_results
from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.structures import ImageId, PanopticBlendError

MaskArea = Literal["box", "mask"]


@dataclass(frozen=True)
class InstancePolicy:
    """How images without results, results without an image, and sizes of false masks are treated.

    ``missing``: an image without results is scored as one in which nothing was found ("empty"), or is an "error".
    ``additional``: results for an image that the truth lacks are an "error", or are "ignore"d.
    ``mask_area``: a mask that matches nothing is small, medium or large by the area of its "box", if the results have
    boxes, as in pycocotools, or by that of the "mask", as in detectron2 and mmdetection. AP and AR of all sizes do not
    depend on it.
    """

    missing: Literal["empty", "error"] = "empty"
    additional: Literal["error", "ignore"] = "error"
    mask_area: MaskArea = "box"


class InstanceFiles:
    """The images of a data set with the detections of one or more result sets.

    Raises:
        PanopticBlendError: a file is missing or malformed, or ``policy`` makes it an error.
    """

    def __init__(self, truth: Path, results: Sequence[Path], policy: InstancePolicy | None = None) -> None:
        for path in (truth, *results):  # reading takes a while
            require_file(path)
        self._policy = policy or InstancePolicy()
        self.truth: InstancesJson = read_instances_json(truth, pictures=False, masks=False)
        sizes = dict(zip(self.truth.images.ids, self.truth.images.sizes, strict=True))
        known = self.truth.categories.by_id
        self.results: list[InstanceResults] = []
        for path in results:
            found = read_instance_results(path, sizes, known, truth.name)
            require_allowed(found, self._policy, truth.name, self.truth.images.ids)
            self.results.append(found)

    def __len__(self) -> int:
        return len(self.truth.images)

    def __iter__(self) -> Iterator[tuple[ImageId, TrueInstances, list[FoundInstances]]]:
        """Yield each image of the truth: its id, its instances, and the detections of each result set."""
        for image_id, truth in zip(self.truth.images.ids, self.truth.images, strict=True):
            found = [results.of(image_id) for results in self.results]
            if not self.truth.images.has_masks:
                found = [replace(detections, masks=None) for detections in found]
            if self._policy.mask_area == "mask":
                found = [replace(detections, areas=None) for detections in found]
            yield image_id, truth, found

    def remarks(self) -> list[str]:
        """Lines about results that were left out, and about images without results."""
        truth, lines = self.truth.path.name, []
        if not self.truth.images.has_masks and any(results.has_masks for results in self.results):
            lines.append(f"{truth}: its annotations have no masks, so boxes alone were scored")
        lines += [f"{truth}: {doubt}" for doubt in self.truth.images.doubts()]
        for results in self.results:
            lines += left_out(results, truth, len(self))
        return lines


def left_out(results: InstanceResults, truth: str, images: int) -> list[str]:
    """Lines about results that were left out, and about those of the ``images`` of the ``truth`` that have none."""
    name, missing, lines = results.path.name, images - len(results.images), []
    of = f"of {results.total:,} results are of"
    if results.unknown:
        ids = ", ".join(map(str, sorted(results.unknown)[:5])) + (", ..." if len(results.unknown) > 5 else "")
        number = f"{results.unknown.total():,}"
        lines.append(f"{name}: {number} {of} categories that {truth} lacks ({ids}) and were left out")
    if results.additional:
        lines.append(f"{name}: {results.additional.total():,} {of} images that {truth} lacks and were left out")
    if doubt := results.box_doubt():
        lines.append(f"{name}: {doubt}")
    if missing:
        lines.append(f"{name}: {missing:,} of {images:,} images have no results")
    return lines


def require_allowed(found: InstanceResults, policy: InstancePolicy, truth: str, images: Sequence[ImageId]) -> None:
    """Raise an error if there are results for other images than those of the ``truth``, or too few, unless allowed."""
    name = found.path.name
    if found.additional and policy.additional == "error":
        raise PanopticBlendError(
            f"{name}: image {min(found.additional, key=str)} has results but is not in {truth} "
            f"({len(found.additional)} in total); check that both are of the same split, or ignore them "
            "(--additional ignore)"
        )
    missing = [image_id for image_id in images if image_id not in found.images]
    if missing and policy.missing == "error":
        raise PanopticBlendError(
            f"{name}: no results for image {missing[0]} ({len(missing)} of {len(images)} images have none); "
            "predict every image of the truth, or score it as one in which nothing was found (--missing empty)"
        )
