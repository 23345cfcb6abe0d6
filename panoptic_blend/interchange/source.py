"""Open what is exported: a split of a data set, or predictions with their scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic_blend.config.yaml_text import decode_text
from panoptic_blend.files import read_bytes
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_layout import find_split, maps_folder
from panoptic_blend.formats.coco_panoptic import Annotations, Images, read_annotations, read_panoptic_json
from panoptic_blend.formats.json_fields import records, require_image_id, require_integer
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import Category, Cutout, ImageId, PanopticBlendError, PanopticMap, Segment, Size

RESULTS = "panoptic.json"
"""The predictions in a folder that ``panoptic-blend predict`` wrote."""
_PREFIX = "panoptic_"


@dataclass(frozen=True, eq=False)
class Region:
    """One segment with its class and its pixels, of which there is at least one."""

    segment: Segment
    category: Category
    cutout: Cutout


@dataclass(frozen=True, eq=False)
class LabeledPicture:
    """A picture of ``size`` (height, width) with its map, and the segments of the map, the largest first."""

    image_id: ImageId
    name: str
    size: Size
    panoptic: PanopticMap
    regions: Sequence[Region]


@dataclass(frozen=True, eq=False)
class MapSource:
    """The maps of a COCO panoptic JSON, of a data set or of predictions; ``path`` names it in errors.

    ``pictures`` is the folder of the pictures, if it is known. ``are_found`` says that the maps are predictions, and
    ``scores`` are those of their segments, by image and segment id. ``places`` are those of the maps among the
    annotations, by the places of their pictures among the images.
    """

    path: Path
    split: str
    categories: Categories
    pictures: Path | None
    are_found: bool
    scores: Mapping[tuple[ImageId, int], float]
    places: Mapping[int, int]
    images: Images
    annotations: Annotations
    maps: Folder

    def read(self, place: int) -> LabeledPicture:
        """Read the map of the picture at one of the ``places`` among the images, with the pixels of each segment.

        Raises:
            PanopticBlendError: its PNG is missing or broken, or disagrees with the JSON.
        """
        panoptic, image_id = self.read_map(place), self.images.ids[place]
        scored = [replace(segment, score=self.scores.get((image_id, segment.id))) for segment in panoptic.segments]
        panoptic = panoptic.with_segments(scored)
        return LabeledPicture(
            image_id,
            self.images.file_names[place],
            self.images.sizes[place],
            panoptic,
            regions_of(panoptic, self.categories),
        )

    def read_map(self, place: int) -> PanopticMap:
        """Read the map alone, without scores; raises as `read` does."""
        return self.annotations[self.places[place]].read(self.path, self.maps, self.images.sizes[place])

    def only(self, wanted: Iterable[str], where: Path) -> MapSource:
        """The pictures that a list names, each by its image id or its file name; errors name the list ``where``."""
        known: dict[str, set[int]] = {}
        for place in self.places:
            for name in (str(self.images.ids[place]), self.images.file_names[place]):
                known.setdefault(name, set()).add(place)
        chosen: set[int] = set()
        for name in wanted:
            places = known.get(name, set())
            if len(places) != 1:
                problem = "several images have" if places else "no image has"
                raise PanopticBlendError(
                    f"{where}: {problem} the id or file name {name!r} in {self.path}; correct the list"
                )
            chosen |= places
        if not chosen:
            raise PanopticBlendError(f"{where}: names no picture; write one image id or file name a line")
        return replace(self, places={place: index for place, index in self.places.items() if place in chosen})


def regions_of(panoptic: PanopticMap, categories: Categories) -> list[Region]:
    """The segments of a map with their pixels, the largest first; every segment has pixels."""
    index, regions = panoptic.index(), []
    for number, segment in enumerate(panoptic.segments, start=1):
        assert segment.box is not None
        left, top, right, bottom = segment.box
        cutout = Cutout(index[top:bottom, left:right] == number, top, left)
        regions.append(Region(segment, categories.by_id[segment.category], cutout))
    return sorted(regions, key=lambda region: -region.segment.area)


def read_list(path: Path) -> list[str]:
    """The lines of a list of pictures, one image id or file name a line; blank ones are left out."""
    return [line.strip() for line in decode_text(read_bytes(path), path).splitlines() if line.strip()]


def open_source(
    path: Path,
    split: str | None = None,
    *,
    pictures: Path | None = None,
    maps: Path | None = None,
    truth: Path | None = None,
) -> MapSource:
    """Open a data set, its JSON, or predictions.

    Args:
        path: the root of a data set in COCO's layout, a folder that ``predict`` wrote, or a COCO panoptic JSON.
        split: the split of a data set that has several.
        pictures: the folder of the pictures; by default that of the split in the layout.
        maps: the folder or zip of the PNGs; by default that beside the JSON.
        truth: the JSON of the data set, for predictions that have neither ``images`` nor ``categories``.

    Raises:
        PanopticBlendError: there is no such file, it is no COCO panoptic JSON, or it leaves open which split is meant.
    """
    json_path = _json_path(path, split)
    if truth is None:
        content = read_panoptic_json(json_path, results=True)
        annotations = content.images.annotations
        places = {place: place for place in range(len(content.images))}
    else:
        content = read_panoptic_json(truth)
        annotations = read_annotations(json_path, content.categories, truth)
        places = _paired(content.images, annotations, json_path)
    if pictures is not None and not pictures.is_dir():
        raise PanopticBlendError(f"{pictures}: no such folder of pictures; check --pictures")
    scores = _scores(json_path)
    return MapSource(
        json_path,
        split or (truth or json_path).stem.rpartition(_PREFIX)[2],  # of cityscapes_panoptic_val too
        content.categories,
        pictures or _pictures(truth or json_path),
        truth is not None or bool(scores),
        scores,
        places,
        content.images,
        annotations,
        maps_folder(json_path, maps, annotations),
    )


def split_names(root: Path) -> list[str]:
    """The splits of a data set that have a COCO panoptic JSON."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in (root / "annotations").glob(f"{_PREFIX}*.json"))


def _json_path(path: Path, split: str | None) -> Path:
    if not path.is_dir():
        if not path.exists():
            raise PanopticBlendError(f"{path}: no such file or folder; check the path")
        if split is not None:
            raise PanopticBlendError(f"{path}: is no folder of a data set, whose --split can be chosen; leave it out")
        return path
    if split is None and (path / RESULTS).is_file():
        return path / RESULTS
    splits = split_names(path)
    if split is None and len(splits) != 1:
        found = (
            f"has the splits {', '.join(splits)}; choose one with --split"
            if splits
            else (f"has neither annotations/{_PREFIX}SPLIT.json nor {RESULTS}; give a data set or predictions")
        )
        raise PanopticBlendError(f"{path}: {found}")
    return find_split(path, split or splits[0]).json


def _pictures(json_path: Path) -> Path | None:
    """The folder of the pictures of ``annotations/panoptic_SPLIT.json``, if it is where COCO's layout has it."""
    folder = json_path.parent.parent / json_path.stem.removeprefix(_PREFIX)
    return folder if json_path.stem.startswith(_PREFIX) and folder.is_dir() else None


def _paired(images: Images, annotations: Annotations, path: Path) -> dict[int, int]:
    """The place of the annotation of each image that has one, by the place of the image."""
    indices: dict[ImageId, int] = {}
    for index, image_id in enumerate(annotations.image_ids):
        if image_id in indices:
            raise PanopticBlendError(f"{path.name}: image {image_id} is predicted twice; keep one")
        indices[image_id] = index
    places = {place: indices[image_id] for place, image_id in enumerate(images.ids) if image_id in indices}
    if not places:
        raise PanopticBlendError(f"{path.name}: has no image of --truth; check that both belong together")
    return places


def _scores(path: Path) -> dict[tuple[ImageId, int], float]:
    """The scores in a JSON by image and segment id; empty if there are none."""
    if b'"score"' not in read_bytes(path):
        return {}
    scores = {}
    for annotation in records(read_json(path), "annotations"):
        for info in records(annotation, "segments_info"):
            if (score := info.get("score")) is None:
                continue
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                where = f"{path.name}: image {annotation.get('image_id')}: segment {info.get('id')}"
                raise PanopticBlendError(f"{where}: `score` is {score!r}, not a number; correct it")
            scores[require_image_id(annotation, "image_id", path.name), require_integer(info, "id", path.name)] = float(
                score
            )
    return scores
