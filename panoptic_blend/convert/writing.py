"""What a converter found, written as a COCO root: pictures, maps and, last of all, the JSON of each split."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from panoptic_blend.convert.painting import Labels, Overlap, Painted, paint
from panoptic_blend.convert.summary import Summary
from panoptic_blend.files import inside, read_json, replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import Category, PanopticBlendError, Progress


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled picture: its id, its name below the split's folder, where it is (or its bytes), and its labels.

    What is called is called when its turn comes, ``labels`` on another thread; it raises PanopticBlendError.
    """

    image_id: int
    name: str
    picture: Path | Callable[[], bytes]
    labels: Callable[[], Labels]


@dataclass(frozen=True, eq=False)
class LabeledSource:
    """What there is to convert. ``path`` names it in errors, ``folders`` are read and never written into."""

    path: Path
    folders: Sequence[Path]
    categories: Categories
    items: Sequence[Item]
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ConversionOptions:
    """Where and how to write.

    ``root`` gets ``{split}/`` with the pictures and ``annotations/panoptic_{split}`` as JSON and PNGs. With
    ``val_share`` that part of the pictures, chosen by their names and ``seed``, is the split ``val``. ``link``
    makes hard links, or symbolic ones across file systems, instead of copies. ``rest`` names the stuff class of pixels
    nobody labelled; without it they are void. Pictures without any segment are left out unless ``keep_empty``.
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


VAL = "val"


def write(source: LabeledSource, options: ConversionOptions, progress: Progress) -> Summary:
    """Convert everything; ``progress`` is told the pictures done and their number.

    Raises:
        PanopticBlendError: something in the source is unusable, or ``options`` name files that exist.
    """
    categories, rest = _with_rest(source.categories, options.rest, source.path)
    categories.require_learnable(str(source.path))
    splits = divide(source.items, options)
    _require_distinct(source)
    for split in splits:
        _require_free(source, options, split)
    _require_same_categories(categories, options, splits)
    summary = Summary(categories, notes=Counter(source.notes))
    for split in splits:  # until its JSON is back, a split is unfinished
        _json(options.root, split).unlink(missing_ok=True)
    for split, items in splits.items():
        summary.images[split] = 0
        with PanopticWriter(_json(options.root, split), categories=categories) as writer:
            for item, labels, painted in _painted(items, options.overlap, rest):
                summary.count(labels, painted)
                if painted.panoptic.segments or options.keep_empty:
                    put_picture(item.picture, inside(options.root / split, item.name), link=options.link)
                    writer.add(item.image_id, item.name, painted.panoptic)
                    summary.images[split] += 1
                progress(summary.read, len(source.items))
            if not summary.images[split]:
                raise PanopticBlendError(
                    f"{source.path}: no picture of the split {split} has a segment; label some, or use --keep-empty"
                )
    return summary


def divide(items: Sequence[Item], options: ConversionOptions) -> Mapping[str, Sequence[Item]]:
    """Splits and what is in them, in the order of ``items``: a function of names, share and seed."""
    if not options.val_share:
        return {options.split: items}
    if options.split == VAL:
        raise PanopticBlendError(f"--split {VAL} and --val-share both make the split {VAL}; name the other one")
    if len(items) < 2:
        raise PanopticBlendError("--val-share needs two pictures or more; label more, or leave it out")
    count = min(max(round(options.val_share * len(items)), 1), len(items) - 1)
    ranks = sorted(items, key=lambda item: hashlib.sha256(f"{options.seed}:{item.name}".encode()).digest())
    chosen = {item.name for item in ranks[:count]}
    return {
        options.split: [item for item in items if item.name not in chosen],
        VAL: [item for item in items if item.name in chosen],
    }


def put_picture(picture: Path | Callable[[], bytes], path: Path, *, link: bool) -> None:
    """Put a picture at ``path``, whole or not at all; its source stays as it is."""
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


def _painted(items: Sequence[Item], overlap: Overlap, rest: Category | None) -> Iterator[tuple[Item, Labels, Painted]]:
    """Every item with its map, in order; threads do, as decoding and filling happen outside the interpreter's lock."""

    def run(item: Item) -> tuple[Item, Labels, Painted]:
        labels = item.labels()
        return item, labels, paint(labels, overlap, rest)

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), 4 * workers):  # a few at a time: maps are large
            yield from pool.map(run, items[start : start + 4 * workers])


def _json(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def _with_rest(categories: Categories, name: str | None, source: Path) -> tuple[Categories, Category | None]:
    if name is None:
        return categories, None
    known = next((category for category in categories if category.name == name), None)
    if known is not None and known.is_thing:
        raise PanopticBlendError(f"{source}: {name!r} is a thing, and --rest names stuff; choose another name")
    category = known or Category(categories[-1].id + 1, name, False)
    return categories if known else Categories([*categories, category]), category


def _require_distinct(source: LabeledSource) -> None:
    for what, counts in (
        ("the picture", Counter(item.name for item in source.items)),
        ("the image id", Counter(item.image_id for item in source.items)),
    ):
        for value, count in counts.items():
            if count > 1:
                raise PanopticBlendError(f"{source.path}: {what} {value} is listed {count} times; keep one")


def _require_free(source: LabeledSource, options: ConversionOptions, split: str) -> None:
    """Raise if writing a split would touch the source, or replace what is there without being told to."""
    if not split or split in {".", ".."} or {"/", "\\", "\0"} & set(split):
        raise PanopticBlendError(f"--split {split!r}: not the name of a folder; use a plain one like train")
    written = [options.root / split, _json(options.root, split).with_suffix(""), options.root / "annotations"]
    for folder in source.folders:
        for path in written:
            if path.resolve().is_relative_to(folder.resolve()):
                raise PanopticBlendError(f"{path}: lies in the input folder {folder}; choose another --out")
    if not options.overwrite:
        for path in (written[0], _json(options.root, split), written[1]):
            if path.exists():
                raise PanopticBlendError(f"{path}: is there already; choose another --out or --split, or --overwrite")


def _require_same_categories(categories: Categories, options: ConversionOptions, splits: Mapping[str, object]) -> None:
    """Raise if another split of the root has other classes: a model has one list of them."""
    for path in sorted((options.root / "annotations").glob("panoptic_*.json")):
        if path.name in {_json(options.root, split).name for split in splits}:
            continue
        content = read_json(path)
        if isinstance(content, dict) and content.get("categories") != categories.records():
            raise PanopticBlendError(
                f"{path}: this split has other classes than the new one; "
                "give both the same --things, --stuff and --rest, or another --out"
            )
