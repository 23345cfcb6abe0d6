"""The interface of a data set for training, evaluation and sweep."""

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
    """One image with its ground truth, before augmentation and resizing.

    ``image`` is (3, H, W) uint8 RGB; the segments of ``panoptic`` (H, W) have dataset category ids.
    """

    image_id: int
    file_name: str
    image: Tensor
    panoptic: PanopticMap


class ImageTable(Protocol):
    """The images of a data set, as columns: entry ``i`` of each belongs to image ``i``."""

    @property
    def ids(self) -> Sequence[int]:
        """Image ids, for result files."""

    @property
    def file_names(self) -> Sequence[str]:
        """File names of the images, with forward slashes; result files are named after them."""

    @property
    def sizes(self) -> Sequence[Size]:
        """Heights and widths of the images in pixels, available without reading them."""


class PanopticDataset(Protocol):
    """The interface of a data set for training, evaluation and sweep; `CocoPanoptic` implements it.

    Item ``i`` is the `Sample` of image ``i``. If it cannot be read, it raises PanopticBlendError with one line that
    names the file and the remedy.

    Each data loading process has a copy of the data set. It must therefore be picklable on systems that spawn processes
    (macOS, Windows). Annotations kept in memory should be arrays: reference counts of Python objects make forked
    processes copy the memory that they could share.
    """

    @property
    def name(self) -> str:
        """The name of the data set in messages, such as that of its annotation file."""

    @property
    def annotation(self) -> Path | None:
        """The annotation file, which results must not overwrite; None if there is no file."""

    @property
    def categories(self) -> Categories:
        """The classes of the data set, with at least one thing class."""

    @property
    def images(self) -> ImageTable:
        """The images of the data set."""

    def __len__(self) -> int:
        """The number of images."""

    def __getitem__(self, index: int) -> Sample:
        """Read image ``index`` with its ground truth."""

    def version(self) -> Iterable[bytes]:
        """Bytes that change whenever an image or its ground truth changes, such as file sizes and modification times.

        They should be quick to get: `open_cache` compares their digest to decide whether a cache is still valid.
        """
