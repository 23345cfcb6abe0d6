"""Find the pictures that belong together, so that none of them is trained on while another one is validated on.

Pictures of one folder, or of one series such as ``clip1_0001.jpg`` and ``clip1_0002.jpg``, are a group if there are
enough folders or series to divide them by, and if these do not follow the classes (``cat_01.jpg``, ``dog_01.jpg``).
Pictures that are nearly the same, such as bursts, are a group whatever their names are. If they form so long a chain
that nothing is left to divide, as the frames of one video do, the chain is cut into consecutive parts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from panoptic_blend.fit.near_duplicates import hash_files

Groups = npt.NDArray[np.int64]
"""(n,): the number of the group of each picture, from 0 without gaps."""
Presence = npt.NDArray[np.bool_]
"""(n, classes): which classes each picture or group has."""

MOST_COMPARED = 5000
"""Pictures of a larger data set are not compared by what they show: decoding them takes minutes."""
PARTS = 20
"""A series that cannot be held back as a whole is cut into this many consecutive parts."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """The group of each picture, and words for how groups were found; empty if each picture is one of its own."""

    groups: Groups
    by: str


def group_pictures(names: Sequence[str], paths: Sequence[Path], presence: Presence, val_share: float) -> Grouping:
    """Group pictures by their ``names``, which are relative paths, and by what they show.

    Args:
        paths: the files of the pictures.
        presence: which classes each of them has.
        val_share: the share of pictures that is to be held back; a group of more than twice that is too large.
    """
    limit = max(2 * val_share * len(names), 1)
    groups, by = _numbered(map(_source, names)), ""
    for key, noun in ((_folder, "folder"), (_series, "series")):
        keys = list(map(key, names))
        named = _joined(groups, _numbered(keys))
        if 1 < _count(named) < len(names) and _sizes(named).max() <= limit and not _follow(named, presence):
            largest = keys[int(np.argmax(_sizes(named)[named]))]
            groups, by = named, f"by {noun}, as {largest}"
            break
    if len(names) > MOST_COMPARED:
        return Grouping(groups, by)
    near = _near(paths)
    alike = _united(groups, near)
    if _count(alike) == _count(groups):
        return Grouping(groups, by)
    if _sizes(alike).max() <= limit:
        count = len({place for pair in near for place in pair})
        return Grouping(alike, f"{by}{' and ' if by else ''}by likeness, as {count} pictures nearly equal another one")
    if by:
        return Grouping(groups, by)
    return Grouping(_parts(names, limit), "by place in a series, as its pictures nearly equal one another")


def _source(name: str) -> str:
    """The picture that an augmented copy was made of, by the names that Roboflow gives to copies."""
    return re.sub(r"\.rf\.\w+(?=\.\w+$)", "", name)


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.as_posix()


def _series(name: str) -> str:
    """The name of a picture with ``*`` for the last number and what follows: the same for all frames of a video."""
    path = PurePosixPath(_source(name))
    return (path.parent / re.sub(r"\d+\D*$", "*", path.stem)).as_posix()


def _order(name: str) -> tuple[str, int]:
    """A sort key that keeps the frames of a series together, in the order of their numbers."""
    numbers = re.findall(r"\d+", PurePosixPath(_source(name)).stem)
    return _series(name), int(numbers[-1]) if numbers else 0


def _numbered(keys: Iterable[str]) -> Groups:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _sizes(groups: Groups) -> Groups:
    return np.bincount(groups)


def _count(groups: Groups) -> int:
    return int(groups.max()) + 1


def _follow(groups: Groups, presence: Presence) -> bool:
    """Whether most classes are in one group only, although several pictures have them."""
    several = np.flatnonzero(presence.sum(axis=0) > 1)
    alone = [len(np.unique(groups[presence[:, column]])) == 1 for column in several]
    return sum(alone) > len(alone) / 2


def _joined(first: Groups, second: Groups) -> Groups:
    """The smallest groups of which both those of ``first`` and those of ``second`` are parts."""
    lowest: dict[int, int] = {}
    pairs = [(lowest.setdefault(number, place), place) for place, number in enumerate(second.tolist())]
    return _united(first, pairs)


def _united(groups: Groups, pairs: Iterable[tuple[int, int]]) -> Groups:
    """The groups after those of each pair of pictures are made one."""
    parents = list(range(_count(groups)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for one, other in pairs:
        first, second = sorted((root(int(groups[one])), root(int(groups[other]))))
        parents[second] = first
    return np.unique([root(number) for number in groups.tolist()], return_inverse=True)[1]


def _near(paths: Sequence[Path]) -> list[tuple[int, int]]:
    nearest = hash_files(paths).nearest().tolist()
    return [(one, other) for one, other in enumerate(nearest) if other >= 0]


def _parts(names: Sequence[str], limit: float) -> Groups:
    """Consecutive parts of each series, none larger than ``limit``."""
    order = sorted(range(len(names)), key=lambda place: _order(names[place]))
    length = max(min(-(-len(names) // PARTS), int(limit)), 1)
    seen = Counter[str]()
    keys = []
    for series in (_series(names[place]) for place in order):
        keys.append(f"{series}/{seen[series] // length}")
        seen[series] += 1
    groups = np.empty(len(names), np.int64)
    groups[order] = _numbered(keys)
    return groups
