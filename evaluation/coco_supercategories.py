"""Derive a data set of COCO's 27 supercategories (12 things, 15 stuff) from a folder of COCO panoptic pictures.

    python -m evaluation.coco_supercategories --data coco_photos --others coco_sample --output build/supercategories

The classes of ``train2017`` and ``val2017`` become their supercategories, as the JSONs state them, and stuff of one
supercategory in a picture becomes one segment. Further splits:


* ``instances2017``: the pictures in ``instances_train``, which have instances of COCO's 80 classes only. What is no
  thing is void, as nothing is known of it: the semantic loss ignores it, and PQ counts no segment there. The detector
  takes it for background, which it is, as COCO's instances are complete.
* ``more2017``: the pictures of ``train2017`` and of ``instances2017``, for training.
* ``others2017``: ``val2017`` of the folder ``--others``.

Pictures of ``val2017`` and of ``others2017`` are left out of the splits for training, recognized by id and by content.
The pictures are links. Existing splits are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli.running import guarded
from panoptic_blend.convert.coco_instances import read_coco_instances
from panoptic_blend.convert.painting import Labels, paint
from panoptic_blend.convert.writing import store_picture
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.files import file_digest, inside, locked
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, PanopticMap
from panoptic_blend.terminal import progress_line

INSTANCES = "instances_train"
"""The folder of pictures, and the end of the name of the annotation file, that have instances only."""


@dataclass(frozen=True, eq=False)
class Labeled:
    """A picture with a function that reads its map, which has the supercategories."""

    image_id: ImageId
    name: str
    picture: Path
    panoptic: Callable[[], PanopticMap]


@dataclass(frozen=True)
class Supercategories:
    """The supercategories, and that of each class by its id."""

    categories: Categories
    of: Mapping[int, Category]

    @classmethod
    def read(cls, path: Path) -> Supercategories:
        """Read them from a COCO panoptic JSON; ids are numbers from 1, things first, in the order of the classes.

        Raises:
            PanopticBlendError: a category has no supercategory.
        """
        content = read_json(path)
        records = content.get("categories", ()) if isinstance(content, dict) else ()
        if not records or any("supercategory" not in record for record in records):
            raise PanopticBlendError(f"{path}: a category has no `supercategory`; give COCO's own annotation")
        ordered = sorted(records, key=lambda record: (not record["isthing"], record["id"]))
        names = dict.fromkeys((record["supercategory"], bool(record["isthing"])) for record in ordered)
        numbered = {key: Category(i, *key) for i, key in enumerate(names, start=1)}
        of = {record["id"]: numbered[record["supercategory"], bool(record["isthing"])] for record in ordered}
        return cls(Categories(numbered.values()), of)

    def merged(self, panoptic: PanopticMap) -> PanopticMap:
        """The map with supercategories, in which all stuff of one is one segment."""
        ids, segments, stuff = panoptic.segment_ids.copy(), [], dict[int, int]()
        for segment in panoptic.segments:
            category = self.of[segment.category]
            if not category.is_thing and category.id in stuff:
                ids[panoptic.segment_ids == segment.id] = stuff[category.id]
                continue
            if not category.is_thing:
                stuff[category.id] = segment.id
            segments.append(replace(segment, category=category.id))
        return PanopticMap.measured(ids, segments)


def panoptic_pictures(root: Path, split: str, supercategories: Supercategories) -> list[Labeled]:
    """The pictures of a split with panoptic annotation."""
    dataset = CocoPanoptic(root, split)

    def read(index: int) -> PanopticMap:
        return supercategories.merged(dataset.truth(index))

    return [
        Labeled(image_id, name, dataset.paths.pictures / name, partial(read, index))
        for index, (image_id, name) in enumerate(zip(dataset.images.ids, dataset.images.file_names, strict=True))
    ]


def instance_pictures(root: Path, supercategories: Supercategories) -> list[Labeled]:
    """The pictures with instances only; of two instances that overlap, the smaller keeps the pixels."""
    path = root / "annotations" / f"instances_{INSTANCES}.json"
    source = read_coco_instances(path, root / INSTANCES, (), None)

    def read(labels: Callable[[], Labels]) -> PanopticMap:
        return supercategories.merged(paint(labels(), "smaller").panoptic)

    return [
        Labeled(item.image_id, item.name, root / INSTANCES / item.name, partial(read, item.labels))
        for item in source.items
    ]


def without(pictures: Sequence[Labeled], held_out: Sequence[Labeled]) -> list[Labeled]:
    """The ``pictures`` that are not among ``held_out``, neither by id nor by the content of the file."""
    ids, digests = {picture.image_id for picture in held_out}, {file_digest(picture.picture) for picture in held_out}
    return [p for p in pictures if p.image_id not in ids and file_digest(p.picture) not in digests]


def derive(data: Path, output: Path, others: Path | None = None) -> Iterator[str]:
    """Write all splits to ``output``; yields a line about each."""
    supercategories = Supercategories.read(data / "annotations" / "panoptic_train2017.json")
    of_split = partial(panoptic_pictures, supercategories=supercategories)
    splits = {"val2017": of_split(data, "val2017")}
    if others:
        splits["others2017"] = of_split(others, "val2017")
    held_out = [picture for pictures in splits.values() for picture in pictures]
    train, instances = of_split(data, "train2017"), list[Labeled]()
    if (data / INSTANCES).is_dir():
        instances = instance_pictures(data, supercategories)
    kept_train, kept = without(train, held_out), without(instances, [*held_out, *train])
    yield f"left out, because they are in another split: {len(train) + len(instances) - len(kept_train) - len(kept)}"
    splits |= {"train2017": kept_train}
    if kept:
        splits |= {"instances2017": kept, "more2017": [*kept_train, *kept]}
    with locked(output, "--output"):
        for split, pictures in splits.items():
            yield f"{split}: {len(pictures)} pictures, {_write(output, split, pictures, supercategories.categories)}"


def _write(root: Path, split: str, pictures: Sequence[Labeled], categories: Categories) -> str:
    """Write a split, its JSON last; returns what was done."""
    path = root / "annotations" / f"panoptic_{split}.json"
    if path.exists():
        return "already there"
    with progress_line(split, "pictures") as progress, PanopticWriter(path, categories=categories) as writer:
        for done, picture in enumerate(pictures, start=1):
            store_picture(picture.picture, inside(root / split, picture.name), link=True)
            writer.add(picture.image_id, picture.name, picture.panoptic())
            progress(done, len(pictures))
    return "written"


def coco_supercategories(
    data: Annotated[Path, typer.Option(help="Folder of COCO panoptic pictures: train2017 and val2017.")],
    output: Annotated[Path, typer.Option(help="Root of the derived data set.")],
    others: Annotated[Path | None, typer.Option(help="Another such folder, of which val2017 is a second test.")] = None,
) -> None:
    """Derive a data set of COCO's supercategories."""
    for line in derive(data, output, others):
        print(line)


if __name__ == "__main__":
    guarded(lambda: typer.run(coco_supercategories))
