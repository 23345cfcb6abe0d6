"""Divide the only split of a data set into one for training and one for validation, without copying pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.convert.writing import store_picture
from panoptic_blend.files import printable
from panoptic_blend.fit.grouping import Presence, group_pictures
from panoptic_blend.fit.kept import digest_of, kept
from panoptic_blend.fit.splitting import Held, hold_back
from panoptic_blend.formats.coco_layout import find_instances, has_panoptic, maps_of
from panoptic_blend.formats.json_fields import Record, require_file_names, require_image_id, require_records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.names import locate
from panoptic_blend.listing import list_files
from panoptic_blend.structures import PanopticBlendError

TRAIN, VAL = "train", "val"
_KIND = "a COCO JSON"
_FEW = 10
"""Validation pictures below this number give figures that say little."""


def divide(root: Path, split: str, output: Path, *, val_share: float, seed: int) -> list[str]:
    """Write the annotation of two splits ``TRAIN`` and ``VAL`` into ``output``, with links to pictures and PNGs.

    Args:
        root: the data set in COCO's layout, of which ``split`` is divided; nothing is written into it.

    Returns:
        Lines about how it was divided.

    Raises:
        PanopticBlendError: there are fewer than two pictures, or all of them belong together.
    """
    files = _annotations(root, split)
    pictures = list_files(root / split, recursive=True).paths
    key = digest_of([*files, *pictures], val_share, seed)
    lines: list[str] = kept(output, key, lambda folder: _divide(root, split, folder, files, val_share, seed))
    return lines


def _annotations(root: Path, split: str) -> list[Path]:
    """The annotation files of a split; the first decides which pictures it has."""
    paths = [root / "annotations" / f"panoptic_{split}.json"] if has_panoptic(root, split) else []
    instances = find_instances(root, split)
    return [*paths, instances] if instances else paths


def _divide(root: Path, split: str, output: Path, files: Sequence[Path], val_share: float, seed: int) -> list[str]:
    content = read_json(files[0])
    where = files[0].name
    images, annotations, categories = (
        require_records(content, key, where, _KIND) for key in ("images", "annotations", "categories")
    )
    if len(images) < 2:
        raise PanopticBlendError(
            f"{where}: has {len(images)} labeled picture, and fit needs one to learn from and one to judge by; label "
            "more"
        )
    names = require_file_names(images, [f"{where}: images[{i}]" for i in range(len(images))])
    presence = _presence(images, annotations, categories)
    grouping = group_pictures(names, [locate(root / split, name) for name in names], presence, val_share)
    if grouping.groups.max() < 1:
        raise PanopticBlendError(
            f"{where}: all {len(images)} pictures belong together ({grouping.by}), so none can be held back to judge "
            "by; label pictures of another source"
        )
    held = hold_back(grouping.groups, presence, val_share, seed)
    chosen = {_image_id(image) for image, is_held in zip(images, held.tolist(), strict=True) if is_held}
    for path in files:
        data = content if path == files[0] else read_json(path)
        for name, is_val in ((TRAIN, False), (VAL, True)):
            _write(_part(data, chosen, is_val), output / "annotations" / path.name.replace(f"_{split}.", f"_{name}."))
    for name in (TRAIN, VAL):
        _link(root / split, output / name)
        if has_panoptic(root, split):
            maps = maps_of(files[0])
            suffix = "" if maps.is_dir() else maps.suffix
            _link(maps, output / "annotations" / f"panoptic_{name}{suffix}")
    return [_description(len(images), held, grouping.by, seed), *_doubts(held, presence, categories)]


def _image_id(record: Record, key: str = "id") -> Any:
    return require_image_id(record, key, "a COCO JSON")


def _presence(images: Sequence[Record], annotations: Sequence[Record], categories: Sequence[Record]) -> Presence:
    rows = {_image_id(image): row for row, image in enumerate(images)}
    columns = {category.get("id"): column for column, category in enumerate(categories)}
    presence = np.zeros((len(rows), len(columns)), np.bool_)
    for annotation in annotations:
        for segment in annotation.get("segments_info", [annotation]):
            row, column = rows.get(_image_id(annotation, "image_id")), columns.get(segment.get("category_id"))
            if row is not None and column is not None:
                presence[row, column] = True
    return presence


def _part(content: Mapping[str, Any], chosen: Iterable[Any], is_val: bool) -> dict[str, Any]:
    """The content of a COCO JSON with only the images that are ``chosen``, or with only the others."""
    images = [image for image in content["images"] if (_image_id(image) in chosen) == is_val]
    annotations = [record for record in content["annotations"] if (_image_id(record, "image_id") in chosen) == is_val]
    return {**content, "images": images, "annotations": annotations}


def _write(content: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _link(source: Path, path: Path) -> None:
    """Link to a folder or a file; where the system makes no symbolic links, to each file."""
    try:
        path.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError:
        for file in list_files(source, recursive=True).paths if source.is_dir() else [source]:
            store_picture(file, path / file.relative_to(source) if source.is_dir() else path, link=True)


def _description(total: int, held: Held, by: str, seed: int) -> str:
    groups = f"kept together {by}" if by else "taken one by one, as neither names nor likeness show groups"
    return (
        f"{int(held.sum())} of {total} pictures are held back for validation, stratified by class (seed {seed}); "
        f"pictures are {printable(groups)}"
    )


def _doubts(held: Held, presence: Presence, categories: Sequence[Record]) -> list[str]:
    """Lines for classes that one side lacks, and for a validation split that is too small."""
    lines = []
    for side, split, verb in ((True, "validation", "judged"), (False, "training", "learned")):
        lacking = np.flatnonzero(presence.any(axis=0) & ~presence[held == side].any(axis=0))
        if lacking.size:
            names = ", ".join(str(categories[column].get("name")) for column in lacking[:5])
            more = f" and {lacking.size - 5} more" if lacking.size > 5 else ""
            lines.append(
                f"no picture of the {split} split shows {printable(names)}{more}, which therefore cannot be {verb}; "
                "label more pictures with it"
            )
    if held.sum() < _FEW:
        lines.append(f"too few validation pictures ({int(held.sum())}) to say how good a model is; label more")
    return lines
