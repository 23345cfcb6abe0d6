"""What is to be predicted and written for each picture: its id, and the places of its results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from panoptic_blend.formats.addresses import Address, Location
from panoptic_blend.prediction.find_pictures import FoundPicture, absolute
from panoptic_blend.prediction.journal import file_stamp

INSTANCES = "instances"
"""The folder of the detections of each picture, in the folder of results."""


@dataclass(frozen=True)
class PictureJob:
    """One picture to predict: its image id, where it is, its name, and the files of its results.

    ``source`` and ``stamp`` identify it in the journal.
    """

    image_id: int
    path: Location
    name: str
    png: Path
    instances: Path
    drawing: Path
    source: str
    stamp: list[int]

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The files that are written for it."""
        return self.png, self.instances, self.drawing


def picture_jobs(pictures: Sequence[FoundPicture], output: Path) -> list[PictureJob]:
    """The jobs of pictures whose results go to ``output``."""
    ids = _image_ids([PurePosixPath(picture.name).stem for picture in pictures])
    return [
        PictureJob(
            image_id,
            picture.path,
            picture.name,
            png=output / "panoptic" / f"{picture.result}.png",
            instances=output / INSTANCES / f"{picture.result}.json",
            drawing=output / "pictures" / f"{picture.result}.jpg",
            source=str(absolute(picture.path)),
            stamp=_stamp(picture.path),
        )
        for image_id, picture in zip(ids, pictures, strict=True)
    ]


def _image_ids(stems: Sequence[str]) -> list[int]:
    """The numbers that are names, unless two are equal; all others are counted from 1, without these numbers.

    Numbers of more than 15 digits are not taken: pycocotools and others read ids as 64 bits, or as floats.
    """
    numbers = [int(stem) if re.fullmatch("[0-9]{1,15}", stem) else None for stem in stems]
    times = Counter(numbers)
    own = [number if times[number] == 1 else None for number in numbers]
    taken = set(own)
    others = (number for number in count(1) if number not in taken)
    return [next(others) if number is None else number for number in own]


def _stamp(location: Location) -> list[int]:
    """The `file_stamp`; empty for an address, whose file counts as unchanged, and for a file that cannot be read."""
    try:
        return [] if isinstance(location, Address) else file_stamp(location)
    except OSError:
        return []
