"""Parts of a run of ``pq``: each compares some of the images and writes what it found, and `merge_parts` joins them.

A part file holds the overlaps of the segments of its images, from which all figures are computed, as plain arrays, and
a header that says which run it is a part of.
"""

from __future__ import annotations

import json
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.files import file_digest, printable, replacing, require_file
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.part_arrays import NAMES, Arrays, pack, unpack
from panoptic_blend.scoring.part_pngs import PartPngs, require_unchanged
from panoptic_blend.scoring.run import ResultSets, ScoredFiles
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, Progress

FORMAT = 3
"""The version of part files."""

_RUN = {"truth": "ground truth", "results": "results", "options": "options", "images": "number of images"}
"""What all parts of a run have in common, by the key of the header, in words."""


@dataclass(frozen=True)
class Shard:
    """Part ``number``, from 1, of ``of``."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/8``; PanopticBlendError for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(int(found[1]), int(found[2])) if found else None
        if shard is None or not 1 <= shard.number <= shard.of:
            raise PanopticBlendError(f"--shard {text}: is no part of a whole; give 1/8 for the first of eight parts")
        return shard

    def indices(self, images: int) -> range:
        """The images of this part: every ``of``-th, so that parts take about the same time."""
        return range(self.number - 1, images, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def write_part(path: Path, shard: Shard, files: ScoredFiles, sets: ResultSets) -> None:
    """Write what was found in the images of ``sets``, which are the part ``shard`` of all of ``files``."""
    first = sets.details[0]
    assert sets.pngs is not None
    header = {
        "format": FORMAT,
        "shard": asdict(shard),
        "truth": _named_hash(files.truth),
        "results": [_named_hash(path) for path, _ in files.results],
        "pngs": sets.pngs.record(),
        "options": {"boundary": files.boundary, **asdict(files.policy)},
        "images": len(sets.file_names),
        "categories": [_record(category) for category in first.categories.values()],
        "names": list(sets.names),
        "file_names": [[image, sets.file_names[image]] for image in first.images],
    }
    arrays: dict[str, npt.NDArray[Any]] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for number, details in enumerate(sets.details):
        arrays |= {f"{number}_{name}": array for name, array in pack(details).items()}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def merge_parts(paths: Sequence[Path], progress: Progress | None = None) -> ResultSets:
    """Join all parts of one run into what a run over all images has found.

    Raises:
        PanopticBlendError: a file is no part or is damaged, is of another run than the first, or is there twice, a
            part is missing, or a PNG has changed since it was scored.
    """
    parts = [_Part.read(path) for path in paths]
    first = parts[0]
    by_number: dict[int, _Part] = {}
    for part in parts:
        part.require_run_of(first)
        other = by_number.setdefault(part.shard.number, part)
        if other is not part:
            raise PanopticBlendError(f"{part.path}: is part {part.shard}, as is {other.path}; give each part once")
    missing = sorted(set(range(1, first.shard.of + 1)) - by_number.keys())
    if missing:
        names = ", ".join(f"{number}/{first.shard.of}" for number in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise PanopticBlendError(f"part {names}{more} is missing, of the run of {first.path}; add the file, or run it")
    sets = [part.details() for _, part in sorted(by_number.items())]
    merged, *others = sets
    for part_sets in others:
        for details, other_details in zip(merged, part_sets, strict=True):
            details.merge(other_details)
    file_names = {image: name for part in parts for image, name in part.file_names}
    if len(file_names) != first.header["images"]:
        raise PanopticBlendError(f"{first.path}: the parts have {len(file_names)} of the images; run all parts again")
    remark = require_unchanged({part.path: part.pngs for part in parts}, progress)
    return ResultSets(merged, first.header["names"], file_names, remark=remark)


@dataclass(frozen=True)
class _Part:
    path: Path
    header: dict[str, Any]
    arrays: Arrays

    @classmethod
    def read(cls, path: Path) -> _Part:
        """Read a file and check its header."""
        require_file(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(arrays.pop("header").tobytes())
            version, part = header["format"], cls(path, header, arrays)
            if version == FORMAT:
                _ = part.shard, part.categories, part.file_names, part.common, part.pngs
        except _DAMAGE:
            raise _damaged(path) from None
        if version != FORMAT:
            raise PanopticBlendError(
                f"{path}: is of version {printable(str(version), 20)} of part files, and this library reads {FORMAT}; "
                "run and merge all parts with one version of the library"
            )
        return part

    @property
    def shard(self) -> Shard:
        return Shard.parse("{number}/{of}".format(**self.header["shard"]))

    @property
    def categories(self) -> tuple[Category, ...]:
        return tuple(map(Category.parse, self.header["categories"]))

    @property
    def file_names(self) -> list[tuple[ImageId, str]]:
        pairs = [(image, name) for image, name in self.header["file_names"]]
        if not all(isinstance(image, int | str) and isinstance(name, str) for image, name in pairs):
            raise ValueError("names of images")
        return pairs

    @cached_property
    def pngs(self) -> PartPngs:
        """The PNGs that the run found."""
        return PartPngs.parse(self.header["pngs"])

    @property
    def common(self) -> dict[str, Any]:
        """What the parts of a run have in common."""
        return {key: self.header[key] for key in (*_RUN, "categories", "names")} | {"of": self.header["shard"]["of"]}

    def require_run_of(self, first: _Part) -> None:
        """Raise an error that names the difference unless this is a part of the run of ``first``."""
        if self.shard.of != first.shard.of:
            raise PanopticBlendError(
                f"{self.path}: is part {self.shard} and {first.path} is part {first.shard}; merge the parts of one run"
            )
        for key, words in _RUN.items():
            mine, other = self.header[key], first.header[key]
            if mine != other:
                raise PanopticBlendError(
                    f"{self.path}: has other {words} than {first.path} ({_shown(mine)}, and there {_shown(other)}); "
                    "merge the parts of one run"
                )
        if self.pngs.sizes != first.pngs.sizes:
            raise PanopticBlendError(
                f"{self.path}: its run found PNGs of other sizes than that of {first.path}, so one was changed between "
                "them; run all parts again"
            )
        if self.common != first.common:
            raise PanopticBlendError(
                f"{self.path}: has other categories or names than {first.path}; merge the parts of one run"
            )

    def details(self) -> list[PanopticDetails]:
        """The details of every result set; PanopticBlendError if an array is damaged."""
        try:
            return [self._set(number) for number in range(len(self.header["results"]))]
        except _DAMAGE:
            raise _damaged(self.path) from None

    def _set(self, number: int) -> PanopticDetails:
        boundary = bool(self.header["options"]["boundary"])
        details = PanopticDetails(self.categories, boundary=boundary)
        arrays = {name: self.arrays[f"{number}_{name}"] for name in NAMES}
        images = [image for image, _ in self.file_names]
        for image, comparison in zip(images, unpack(arrays, boundary), strict=True):
            kinds = np.concatenate([comparison.truth.categories, comparison.prediction.categories])
            if not set(kinds.tolist()) <= details.categories.keys():
                raise ValueError("categories")
            details.add(image, comparison)
        return details


_DAMAGE = (
    *(LookupError, TypeError, ValueError, AttributeError, EOFError, OSError, OverflowError, RecursionError),
    *(NotImplementedError, PanopticBlendError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What damaged files and headers raise."""


def _named_hash(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": file_digest(path)}


def _record(category: Category) -> dict[str, object]:
    return {"id": category.id, "name": category.name, "isthing": int(category.is_thing)}


def _shown(value: object) -> str:
    """A value of the header for a message: files with the first digits of their hash."""
    files: Iterable[Any] = value if isinstance(value, list) else [value]
    if all(isinstance(file, dict) and "sha256" in file for file in files):
        return ", ".join(printable(f"{file['file']} {str(file['sha256'])[:8]}", 100) for file in files)
    return printable(json.dumps(value), 200)


def _damaged(path: Path) -> PanopticBlendError:
    return PanopticBlendError(f"{path}: is no part file of `pq --shard`, or is damaged; run that part again")
