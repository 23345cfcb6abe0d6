"""A split of a COCO panoptic data set on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from panoptic_blend.data.protocol import Sample
from panoptic_blend.files import require_file
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_layout import find_split
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.structures import ImageId, PanopticMap


class CocoPanoptic(Dataset[Sample]):
    """A split of a COCO panoptic data set; it implements `PanopticDataset`.

    Raises:
        PanopticBlendError: on construction, if the JSON is invalid or a file is missing; on access, if an image or PNG
            is broken or disagrees with the JSON.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        self.paths = find_split(Path(root), split)
        content = read_panoptic_json(self.paths.json)
        self.categories, self.images = content.categories, content.images
        self.categories.require_learnable(self.paths.json.name)
        self.maps = Folder(self.paths.maps, example=self.images.annotations.pngs[0])
        pngs = self.images.annotations.pngs
        folders = {self.paths.pictures: self.images.file_names, self.paths.maps: pngs}
        require_files(folders, self.images.ids, self.name, others=self.maps)

    @property
    def name(self) -> str:
        """The name of the annotation file."""
        return self.paths.json.name

    @property
    def annotation(self) -> Path:
        """The annotation file."""
        return self.paths.json

    def version(self) -> Iterator[bytes]:
        """The content of the annotation file, and the paths, sizes and modification times of all images and PNGs."""
        yield self.paths.json.read_bytes()
        maps = self.paths.maps
        pngs = self.images.annotations.pngs if maps.is_dir() else ()
        yield from picture_states(self.paths.pictures, self.images.file_names)
        yield from picture_states(maps, pngs)
        status = maps.stat()  # the modification time of a folder does not matter
        yield f"{maps.resolve()} {maps.is_dir() or (status.st_size, status.st_mtime_ns)}".encode()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image = self.images[index]
        return Sample(image.id, image.file_name, to_tensor(self.picture(index)), self.truth(index))

    def instance_counts(self) -> Sequence[int]:
        """The number of things, without crowds, of each image."""
        return self.images.annotations.thing_counts()

    def class_counts(self) -> npt.NDArray[np.int32]:
        """The number of segments, without crowds, of each category in each image (images, categories)."""
        return self.images.annotations.class_counts()

    def picture_path(self, index: int) -> Path:
        """The file of the picture of item ``index``."""
        return locate(self.paths.pictures, self.images.file_names[index])

    def picture(self, index: int) -> Picture:
        """Read only the picture of item ``index``: (H, W, 3) uint8 RGB."""
        return read_picture(self.picture_path(index), self.images.sizes[index])

    def truth(self, index: int) -> PanopticMap:
        """Read only the annotation of item ``index``, with dataset category ids."""
        image = self.images[index]
        return image.annotation.read(self.paths.json, self.maps, image.size)


def require_files(
    folders: Mapping[Path, Sequence[str]], ids: Sequence[ImageId], source: str, others: Folder | None = None
) -> None:
    """Raise an error unless the file of every image is in each of ``folders``, which are listed only once.

    ``ids`` are the images in the annotation file ``source``. A file that is not there may be in ``others``, which is
    one of the folders, or a zip in its place.
    """
    files = cache(_files)
    for image_id, *names in zip(ids, *folders.values(), strict=True):
        for root, name in zip(folders, names, strict=True):
            folder, _, last = name.rpartition("/")
            if last not in files(root, folder) and not (others and root == others.path and name in others):
                require_file(locate(root, name), f"restore it, or remove image {image_id} from {source}")


def picture_states(root: Path, names: Iterable[str]) -> Iterator[bytes]:
    """The path, size and modification time of each file below ``root``."""
    for name in names:
        path = locate(root, name)
        status = path.stat()
        yield f"{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode()


def _files(root: Path, folder: str) -> frozenset[str]:
    """The names of the files in a folder; empty if it cannot be listed. The disk may accept other spellings of them."""
    try:
        with os.scandir(root / folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except OSError:
        return frozenset()


def to_tensor(picture: Picture) -> torch.Tensor:
    """Copy an (H, W, 3) array to a (3, H, W) tensor; channels stay interleaved in memory, which speeds up resizing."""
    return torch.from_numpy(np.array(picture, order="C")).permute(2, 0, 1)
