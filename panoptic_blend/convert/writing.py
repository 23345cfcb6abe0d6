"""Write converted labels as a COCO root: pictures, maps and, last, the JSON of each split."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from panoptic_blend.convert.instance_writing import InstancesWriter
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import Labels, Overlap, Painted, paint
from panoptic_blend.convert.summary import Summary
from panoptic_blend.failures import doing
from panoptic_blend.files import inside, locked, remove_unfinished, replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, Progress


@dataclass(frozen=True, eq=False)
class Item:
    """One labeled picture: its id, its name below the split's folder, its path or bytes, and its labels.

    The callables are evaluated lazily, ``labels`` in another thread, and may raise PanopticBlendError.
    """

    image_id: ImageId
    name: str
    picture: Path | Callable[[], bytes]
    labels: Callable[[], Labels]


@dataclass(frozen=True, eq=False)
class LabeledSource:
    """A data set to convert; ``path`` names it in errors, and nothing is written into ``folders``."""

    path: Path
    folders: Sequence[Path]
    categories: Categories
    items: Sequence[Item]
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True)
class ConversionOptions:
    """The destination and the rules of a conversion.

    ``root`` gets the pictures in ``{split}/``, and the JSON and PNGs in ``annotations/panoptic_{split}``. ``val_share``
    is the share of the pictures that becomes the split ``val``, chosen by their names and ``seed``. ``link`` makes hard
    links, or symbolic ones across file systems, instead of copies. ``rest`` is the stuff class of unlabeled pixels,
    None for void. Pictures without segments are left out unless ``keep_empty``. ``instances`` writes the things, which
    may overlap, as ``annotations/instances_{split}.json`` too.
    """

    root: Path
    split: str = "train"
    val_share: float = 0.0
    seed: int = 0
    overlap: Overlap = "smaller"
    rest: str | None = None
    keep_empty: bool = False
    link: bool = False
    overwrite: bool = False
    instances: bool = False


VAL = "val"


def write(source: LabeledSource, options: ConversionOptions, progress: Progress) -> Summary:
    """Convert all pictures; ``progress`` is called with the number done and the number of all pictures.

    Raises:
        PanopticBlendError: the source has a fault, files to be written exist and ``overwrite`` is not set, or another
            process writes into the same root.
    """
    categories, rest = _with_rest(source.categories, options.rest, source.path)
    if not categories.thing_ids:
        raise PanopticBlendError(
            f"{source.path}: no category is a thing; leave one out of --stuff, or give it `isthing: 1`"
        )
    categories.require_learnable(str(source.path))
    splits = split_items(source.items, options)
    _require_distinct(source)
    for split in splits:
        _require_outside(source, options, split)
    with locked(options.root, "--output"):
        for split in splits:
            _require_free(options, split)
        _require_same_categories(categories, options, splits)
        remove_unfinished(_unfinished(options.root, splits))
        return _write_splits(source, options, categories, rest, splits, progress)


def _write_splits(
    source: LabeledSource,
    options: ConversionOptions,
    categories: Categories,
    rest: Category | None,
    splits: Mapping[str, Sequence[Item]],
    progress: Progress,
) -> Summary:
    summary = Summary(categories)
    summary.notes.update(source.notes)
    for split in splits:  # a split without a JSON is recognized as unfinished
        _json_path(options.root, split).unlink(missing_ok=True)
    for split, items in splits.items():
        summary.images[split] = 0
        things = InstancesWriter(categories)
        with PanopticWriter(_json_path(options.root, split), categories=categories) as writer:
            for item, labels, painted in _paint_all(items, options.overlap, rest):
                summary.count(labels, painted)
                if painted.panoptic.segments or options.keep_empty:
                    store_picture(item.picture, inside(options.root / split, item.name), link=options.link)
                    writer.add(item.image_id, item.name, painted.panoptic)
                    summary.images[split] += 1
                    if options.instances:
                        things.add(item.image_id, item.name, labels)
                progress(summary.read, len(source.items))
            if not summary.images[split]:
                raise PanopticBlendError(
                    f"{source.path}: no picture of the split {split} has a segment; label some, or use --keep-empty"
                )
        if options.instances:
            things.write(options.root / "annotations" / f"instances_{split}.json")
            summary.claimed += things.area
    return summary


def split_items(items: Sequence[Item], options: ConversionOptions) -> Mapping[str, Sequence[Item]]:
    """Divide items into splits, in their order; the result depends only on their names, the share and the seed."""
    if not options.val_share:
        return {options.split: items}
    if options.split == VAL:
        raise PanopticBlendError(f"--split {VAL} and --val-share both write the split {VAL}; give another --split")
    if len(items) < 2:
        raise PanopticBlendError("--val-share needs at least two pictures; label more, or leave the option out")
    count = min(max(round(options.val_share * len(items)), 1), len(items) - 1)
    ranks = sorted(items, key=lambda item: hashlib.sha256(f"{options.seed}:{item.name}".encode()).digest())
    chosen = {item.name for item in ranks[:count]}
    return {
        options.split: [item for item in items if item.name not in chosen],
        VAL: [item for item in items if item.name in chosen],
    }


def store_picture(picture: Path | Callable[[], bytes], path: Path, *, link: bool) -> None:
    """Write, copy or link a picture to ``path``, completely or not at all."""
    with replacing(path) as temporary:
        if not isinstance(picture, Path):
            temporary.write_bytes(picture())
        elif link:
            _link(picture.resolve(), temporary)
        else:
            shutil.copyfile(picture, temporary)


def _link(picture: Path, path: Path) -> None:
    try:
        os.link(picture, path)
    except OSError:  # another file system, or one without hard links
        path.symlink_to(picture)


def _paint_all(
    items: Sequence[Item], overlap: Overlap, rest: Category | None
) -> Iterator[tuple[Item, Labels, Painted]]:
    """Yield items with their labels and maps, in order; threads suffice, as decoding and filling release the GIL."""

    def run(item: Item) -> tuple[Item, Labels, Painted]:
        with doing(f"converting {item.name}"):
            labels = item.labels()
            return item, labels, paint(labels, overlap, rest)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), 4 * workers):  # a few at a time, because maps are large
            yield from pool.map(run, items[start : start + 4 * workers])


def _json_path(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def _with_rest(categories: Categories, name: str | None, source: Path) -> tuple[Categories, Category | None]:
    if name is None:
        return categories, None
    known = next((category for category in categories if category.name == name), None)
    if known is not None and known.is_thing:
        raise PanopticBlendError(f"{source}: {name!r} is a thing, but --rest must be stuff; choose another name")
    category = known or Category(categories[-1].id + 1, name, False)
    return categories if known else Categories([*categories, category]), category


def _require_distinct(source: LabeledSource) -> None:
    for kind, counts in (
        ("picture", Counter(item.name for item in source.items)),
        ("image id", Counter(item.image_id for item in source.items)),
    ):
        for value, count in counts.items():
            if count > 1:
                raise PanopticBlendError(f"{source.path}: the {kind} {value} is listed {count} times; keep one")


def _written(root: Path, split: str) -> tuple[Path, Path, Path]:
    """The folder of pictures, the JSON and the folder of PNGs of a split."""
    json_path = _json_path(root, split)
    return root / split, json_path, json_path.with_suffix("")


def _unfinished(root: Path, splits: Iterable[str]) -> Iterator[Path]:
    """Hidden files in the folders of the splits, among them what killed conversions left."""
    yield from (root / "annotations").glob(".*")
    for split in splits:
        pictures, _, maps = _written(root, split)
        yield from chain(pictures.rglob(".*"), maps.rglob(".*"))


def _require_outside(source: LabeledSource, options: ConversionOptions, split: str) -> None:
    """Raise if writing a split would change the source."""
    if not split or split in {".", ".."} or {"/", "\\", "\0"} & set(split):
        raise PanopticBlendError(f"--split {split!r}: not a folder name; use a plain name like train")
    pictures, json_path, maps = _written(options.root, split)
    for folder in source.folders:
        for path in (pictures, maps, json_path.parent):
            if path.resolve().is_relative_to(folder.resolve()):
                raise PanopticBlendError(f"{path}: lies in the input folder {folder}; choose another --output")


def _require_free(options: ConversionOptions, split: str) -> None:
    """Raise if writing a split would replace existing files without ``overwrite``."""
    if not options.overwrite:
        for path in _written(options.root, split):
            if path.exists():
                raise PanopticBlendError(
                    f"{path}: already exists; choose another --output or --split, or add --overwrite"
                )


def _require_same_categories(categories: Categories, options: ConversionOptions, splits: Mapping[str, object]) -> None:
    """Raise if another split in the root has other categories, because a model needs the same list for all splits."""
    for path in sorted((options.root / "annotations").glob("panoptic_*.json")):
        if path.name in {_json_path(options.root, split).name for split in splits}:
            continue
        content = read_json(path)
        if isinstance(content, dict) and content.get("categories") != categories.records():
            raise PanopticBlendError(
                f"{path}: this split has other categories than the new one; "
                "use the same --things, --stuff and --rest for both, or another --output"
            )
