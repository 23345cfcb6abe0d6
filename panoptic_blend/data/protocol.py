"""The door for data sets: what loader, training, evaluation and sweep ask of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import PanopticMap, Size


@dataclass(frozen=True)
class Sample:
    """One image with its ground truth, as read.

    ``image`` is (3, H, W) uint8 RGB; the segments of ``panoptic`` (H, W) carry dataset category ids.
    """

    image_id: int
    file_name: str
    image: Tensor
    panoptic: PanopticMap


class ImageTable(Protocol):
    """The images of a data set as columns; what is known of image ``i`` stands at index ``i`` of each."""

    @property
    def ids(self) -> Sequence[int]:
        """Image ids, as result files use them."""

    @property
    def file_names(self) -> Sequence[str]:
        """Names of the images, with forward slashes; results are named after them."""

    @property
    def sizes(self) -> Sequence[Size]:
        """Height and width of the images, known without reading them."""


class PanopticDataset(Protocol):
    """A data set for training, evaluation and sweep; `CocoPanoptic` is one.

    Item ``i`` is the `Sample` of image ``i``. Loading processes get a copy, so a data set must be picklable where
    processes are spawned (macOS, Windows), and memory that all its samples share should not consist of Python objects.
    A sample that cannot be read raises PanopticBlendError with one line that names the file and the remedy.
    """

    @property
    def name(self) -> str:
        """How messages call it, such as the name of its annotation file."""

    @property
    def annotation(self) -> Path | None:
        """The file that results must not overwrite; None for a data set that is not read from files."""

    @property
    def categories(self) -> Categories:
        """Its classes; at least one is a thing."""

    @property
    def images(self) -> ImageTable:
        """Its images."""

    def __len__(self) -> int:
        """The number of images."""

    def __getitem__(self, index: int) -> Sample:
        """Image ``index`` with its ground truth."""

    def version(self) -> Iterable[bytes]:
        """Bytes that change whenever an image or its ground truth changes, found without reading all of them."""
