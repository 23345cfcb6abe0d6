"""Write the report of ``panoptic-blend report``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.failures import doing
from panoptic_blend.files import distinct_names
from panoptic_blend.machine import cores, overlapped
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.pages.classes import class_records
from panoptic_blend.pages.pictures import EncodedPhoto
from panoptic_blend.report.figures import difference_figures, group_figures, result_figures
from panoptic_blend.report.instance_sets import InstancePaths, InstanceSets
from panoptic_blend.report.instances import EncodedInstances
from panoptic_blend.report.page import Assets, publish, require_room, writing
from panoptic_blend.report.pictures import (
    CAUSES,
    EncodedMaps,
    EncodedResult,
    MapEncoder,
    encode_photo,
)
from panoptic_blend.report.segment_columns import SegmentColumns
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, Pair, iter_images
from panoptic_blend.scoring.groups import Columns, read_groups
from panoptic_blend.structures import PanopticBlendError, Progress

EMBEDDED_BYTES = 16 * 2**20
"""Maximum size of the image data that is embedded in the page; larger data go into a folder beside it."""

MOST_SETS = 6
"""The number of result sets that a page can show."""


@dataclass(frozen=True)
class ReportRequest:
    """Files to score, the folder of ``photos``, and the ``page`` to write; optionally ``others`` to compare.

    ``others`` are a JSON and the folder of its PNGs each, ``instances`` are results of instances to show too.
    ``group_by`` is a table of groups of images (see `read_groups`). ``side`` is the maximum long side of photos and
    maps in the page, in pixels.
    """

    truth: Path
    prediction: Path
    photos: Path
    page: Path
    truth_folder: Path | None = None
    prediction_folder: Path | None = None
    others: Sequence[tuple[Path, Path | None]] = ()
    policy: FilePolicy = field(default_factory=FilePolicy)
    workers: int | None = None
    side: int = 1024
    overwrite: bool = False
    instances: InstancePaths | None = None
    group_by: Path | None = None


@dataclass(frozen=True)
class InstanceRequest:
    """Results of instances alone, whose ``truth`` is instances JSON; the other fields are those of `ReportRequest`."""

    instances: InstancePaths
    photos: Path
    page: Path
    workers: int | None = None
    side: int = 1024
    overwrite: bool = False


def write_report(request: ReportRequest, resampling: Resampling, progress: Progress | None = None) -> list[Path]:
    """Write the page atomically; returns its path, and the path of the folder beside it if there is one.

    ``progress`` is called with the number of images done and the total number.

    Raises:
        PanopticBlendError: the page exists and may not be overwritten, a file is missing or broken, or there are more
            than ``MOST_SETS`` result sets.
    """
    _require_writable(request)
    folders = request.truth_folder, request.prediction_folder
    _require_few(1 + len(request.others))
    first = FilePairs(request.truth, request.prediction, *folders, request.policy, pictures=True)
    sets = [first, *(first.with_results(*other) for other in request.others)]
    instances = InstanceSets(request.instances, sets[0]) if request.instances else None
    places = {image_id: place for place, image_id in enumerate(sets[0].images.ids)}
    encoder = MapEncoder(sets[0].categories, request.side)

    def encode(pairs: list[Pair]) -> _Encoded:
        image = pairs[0].image
        photo = encode_photo(request.photos, image.file_name, image.size, request.side)
        found = instances.encode(places[image.id], photo.size, pairs[0].truth) if instances else None
        return _Encoded(str(image.id), photo, encoder.encode(pairs), found)

    names = dict(zip(first.images.ids, first.images.file_names, strict=True))
    groups = read_groups(request.group_by, names) if request.group_by else {}
    summary = _Summary([PanopticDetails(sets[0].categories) for _ in sets])

    def content() -> dict[str, Any]:
        return _panoptic_content(request, sets[0], summary, groups, resampling) | _common(
            sets[0], resampling, instances
        )

    encoded = iter_images(sets, encode, workers=request.workers)
    return _write(request, encoded, len(sets[0]), summary, instances, content, progress)


def write_instance_report(
    request: InstanceRequest, resampling: Resampling, progress: Progress | None = None
) -> list[Path]:
    """Write the page of results of instances alone, as `write_report` does."""
    _require_writable(request)
    _require_few(len(request.instances.sets))
    instances = InstanceSets(request.instances)
    threads = request.workers or cores()

    def encode(place: int) -> _Encoded:
        name = instances.images.file_names[place]
        with doing(f"comparing {name}", lower="--workers"):
            photo = encode_photo(request.photos, name, instances.images.sizes[place], request.side)
            return _Encoded(str(instances.images.ids[place]), photo, None, instances.encode(place, photo.size))

    def content() -> dict[str, Any]:
        common = _common(instances, resampling, instances)
        return common | {key: common["instances"][key] for key in ("truth", "sets")} | {"results": None}

    total = len(instances.images)
    encoded = overlapped(range(total), lambda place: place, encode, finishers=threads, queue_depth=2 * threads)
    return _write(request, encoded, total, _Summary([]), instances, content, progress)


@dataclass(frozen=True, eq=False)
class _Encoded:
    """One image: its photo, and its maps and instances, as far as the report shows them."""

    image: str
    photo: EncodedPhoto
    maps: EncodedMaps | None
    instances: EncodedInstances | None

    @property
    def content(self) -> dict[str, Any]:
        height, width = self.photo.size
        return {
            "image": self.image,
            "width": width,
            "height": height,
            **(self.maps.content if self.maps else {}),
            **({"instances": self.instances.content} if self.instances else {}),
        }


class _Summary:
    """Data of all images that stay in memory, by result set and in the order of the file of the truth."""

    def __init__(self, details: list[PanopticDetails]) -> None:
        self.details = details
        self.classes: list[list[list[int]]] = [[] for _ in details]
        self.errors: list[list[list[int]]] = [[] for _ in details]
        self.segments = [SegmentColumns() for _ in details]

    def add(self, results: list[EncodedResult]) -> None:
        columns = zip(self.details, self.classes, self.errors, self.segments, results, strict=True)
        for details, classes, errors, segments, result in columns:
            details.add(result.image, result.comparison)
            segments.add(*result.segments)
            classes.append(result.classes)
            errors.append([number for error in result.errors for number in error])


def _require_writable(request: ReportRequest | InstanceRequest) -> None:
    require_room(request.page, request.overwrite)
    if not request.photos.is_dir():
        raise PanopticBlendError(f"{request.photos}: no such folder; say where the photos are with --images")


def _require_few(sets: int) -> None:
    if sets > MOST_SETS:
        raise PanopticBlendError(f"{sets} result sets, and a report shows at most {MOST_SETS}; leave some out")


def _write(
    request: ReportRequest | InstanceRequest,
    encoded: Generator[_Encoded],
    total: int,
    summary: _Summary,
    instances: InstanceSets | None,
    content: Callable[[], dict[str, Any]],
    progress: Progress | None,
) -> list[Path]:
    """Write the images as they come, and the page when all are done and its ``content`` is known."""
    with writing(request.page) as assets, closing(encoded):
        for index, image in enumerate(encoded):
            _add(assets, index, image)
            if image.maps:
                summary.add(image.maps.results)
            if image.instances and instances:
                instances.add(image.instances)
            if progress:
                progress(index + 1, total)
        if summary.details:
            assets.add_script("segments", {"sets": [segments.content() for segments in summary.segments]})
        return publish(request.page, assets, content(), EMBEDDED_BYTES, overwrite=request.overwrite)


def _add(assets: Assets, index: int, image: _Encoded) -> None:
    assets.add(f"{index}.jpg", image.photo.photo)
    assets.add(f"{index}.small.jpg", image.photo.thumbnail)
    assets.add_script(str(index), image.content)


def _common(shown: FilePairs | InstanceSets, resampling: Resampling, instances: InstanceSets | None) -> dict[str, Any]:
    """The data of the page that do not depend on what it shows."""
    return {
        "resampling": {"resamples": resampling.resamples, "level": resampling.level, "seed": resampling.seed},
        "classes": class_records(shown.categories),
        "instances": instances.content(resampling) if instances else None,
        "ids": list(map(str, shown.images.ids)),  # JavaScript rounds numbers above 2**53
        "names": list(shown.images.file_names),
    }


def _panoptic_content(
    request: ReportRequest, pairs: FilePairs, summary: _Summary, groups: Columns, resampling: Resampling
) -> dict[str, Any]:
    """The data of the page about maps, except those of single images."""
    first, *others = summary.details
    results = [result_figures(details, resampling) for details in summary.details]
    truth_name, *set_names = distinct_names([request.truth, request.prediction, *(path for path, _ in request.others)])
    indices = {id: index for index, id in enumerate(first.images)}
    order = [indices[id] for id in pairs.images.ids]
    columns = zip(results, summary.classes, summary.errors, summary.segments, strict=True)
    places = {image: place for place, image in enumerate(pairs.images.ids)}
    for details, (result, classes, errors, segments) in zip(summary.details, columns, strict=True):
        result["columns"] = group_figures(details, groups, resampling)
        result |= {"has_scores": segments.has_scores(), "errors_by_size": segments.errors_by_size()}
        figures = {key: [column[index] for index in order] for key, column in result["images"].items()}
        result["images"] = figures | {"classes": classes, "errors": errors}
    return {
        "truth": truth_name,
        "sets": set_names,
        "causes": list(CAUSES),
        "groups": {
            column: {name: [places[image] for image in images] for name, images in found.items()}
            for column, found in groups.items()
        },
        "results": results,
        "compared": [difference_figures(first, other, resampling) for other in others],
    }
