"""Results of instances for a report, image by image with their truth, and their figures over all images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from panoptic_blend.files import distinct_names
from panoptic_blend.formats.instance_results import InstanceResults, read_instance_results
from panoptic_blend.metrics.instance_errors import CAUSES
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.report.instance_figures import InstanceSummary, Page, differences, instance_figures, score_steps
from panoptic_blend.report.instance_truth import AnnotatedTruth, InstanceTruth, PaintedTruth
from panoptic_blend.report.instances import EncodedInstances, InstanceEncoder
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.file_pairs import FilePairs
from panoptic_blend.scoring.instance_files import InstancePolicy, left_out, require_allowed
from panoptic_blend.structures import PanopticMap, Size


@dataclass(frozen=True)
class InstancePaths:
    """COCO results of one model or several, and the COCO instances JSON of their ``truth``.

    Without ``truth``, the things of the panoptic maps of the report are the true instances. Results for an image that
    the truth lacks are an error, or are left out, as ``policy`` says.
    """

    results: Path
    truth: Path | None = None
    others: Sequence[Path] = ()
    policy: InstancePolicy = field(default_factory=InstancePolicy)

    @property
    def sets(self) -> list[Path]:
        """The files of results."""
        return [self.results, *self.others]


def is_instance_results(path: Path) -> bool:
    """Whether a file holds COCO results of instances, a list; a panoptic JSON is an object."""
    with path.open("rb") as file:
        return file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


class InstanceSets:
    """The instances of the images of a report, in one result set or several.

    ``panoptic`` are the files of the panoptic part of the report, if it has one; its images are those of the report.

    Raises:
        PanopticBlendError: a file is missing or broken, or the files do not belong together.
    """

    def __init__(self, files: InstancePaths, panoptic: FilePairs | None = None) -> None:
        if files.truth:
            self._truth: InstanceTruth = AnnotatedTruth(files.truth, panoptic)
        else:
            assert panoptic, "instances need a truth"
            self._truth = PaintedTruth(panoptic)
        self.images, self.categories, things = self._truth.images, self._truth.categories, self._truth.things
        self._files = files
        self._results = [self._read(path) for path in files.sets]
        have_masks = self._truth.has_masks and all(r.has_masks or not r.images for r in self._results)
        self._kinds: list[Kind] = ["mask", "box"] if have_masks else ["box"]
        self._lines = {category.id: line for line, category in enumerate(self.categories, start=1)}
        self._encoder = InstanceEncoder(things, self._lines, self._kinds)
        self._summaries = [InstanceSummary(things, self._kinds) for _ in files.sets]
        self._classes: list[list[int]] = []

    def _read(self, path: Path) -> InstanceResults:
        owner, ids = self._truth.path.name, {category.id for category in self._truth.things}
        results = read_instance_results(path, dict(zip(self.images.ids, self.images.sizes, strict=True)), ids, owner)
        require_allowed(results, self._files.policy, owner, self.images.ids)
        return results

    def encode(self, place: int, size: Size, panoptic: PanopticMap | None = None) -> EncodedInstances:
        """Encode the image at a position, which has ``size`` in the page; ``panoptic`` is its true map."""
        image = self.images.ids[place]
        found = [results.of(image) for results in self._results]
        if "mask" not in self._kinds:
            found = [replace(detections, masks=None) for detections in found]
        return self._encoder.encode(image, self._truth.of(image, panoptic), found, size)

    def add(self, encoded: EncodedInstances) -> None:
        """Add the next image, in the order of the page."""
        for summary, found in zip(self._summaries, encoded.sets, strict=True):
            summary.add(found)
        self._classes.append(encoded.classes)

    def content(self, resampling: Resampling) -> dict[str, Any]:
        """The data of the page about instances, except those of single images."""
        tallies = [summary.precision.tallies() for summary in self._summaries]
        page = Page(list(self.images.ids), self._lines, score_steps(tallies))
        results = [
            instance_figures(summary, found, page, resampling)
            for summary, found in zip(self._summaries, tallies, strict=True)
        ]
        first, *others = tallies
        truth_name, *names = distinct_names([self._truth.path, *self._files.sets])
        return {
            "truth": truth_name,
            "against": self._truth.against,
            "sets": names,
            "kinds": self._kinds,
            "steps": page.steps.tolist(),
            "causes": list(CAUSES),
            "classes": self._classes,
            "results": results,
            "compared": [
                {kind: differences(first[kind], other[kind], resampling) for kind in self._kinds} for other in others
            ],
            "remarks": self._remarks(),
        }

    def _remarks(self) -> list[str]:
        """Lines about what was left out, and about images without results."""
        owner, remarks = self._truth.path.name, []
        if "mask" not in self._kinds and any(results.has_masks for results in self._results):
            lacking = [owner] if not self._truth.has_masks else [r.path.name for r in self._results if not r.has_masks]
            remarks.append(f"{lacking[0]} has no masks, so boxes alone are shown")
        remarks += [f"{owner}: {doubt}" for doubt in self._truth.doubts()]
        for label, results in zip(self._labels(), self._results, strict=True):
            remarks += [label + line for line in left_out(results, owner, len(self.images))]
        return remarks

    def _labels(self) -> list[str]:
        """What a line about each result set begins with."""
        return [f"{ascii_uppercase[place]}: " if self._files.others else "" for place in range(len(self._results))]
