"""Pictures with what the network found in them, in a bounded memory, so that they can be fused again."""

from __future__ import annotations

import secrets
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.config.model_options import Fusion
from panoptic_blend.formats.categories import Categories
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.serve.limits import RefusalError
from panoptic_blend.structures import Array, Cutout, Output, PanopticMap, Size


@dataclass(frozen=True, eq=False)
class KeptPicture:
    """The file of a picture (``name``, ``data``), its ``size`` (height, width), and what the network found in it.

    ``scores`` and ``labels`` are (D,); ``windows`` (D, 4) are top, left, height and width of the masks, whose bits are
    in ``masks``, and ``semantic`` are the classes (H, W) uint8, both compressed to a small fraction.
    """

    name: str
    data: bytes
    size: Size
    scores: Array
    labels: Array
    windows: npt.NDArray[np.int32]
    masks: tuple[bytes, ...]
    semantic: bytes

    @classmethod
    def packed(cls, name: str, data: bytes, output: Output[Any]) -> KeptPicture:
        """Keep the ``output`` for the picture file ``data``."""
        found = output.arrays()
        windows = [(cutout.top, cutout.left, *cutout.mask.shape) for cutout in found.cutouts]
        return cls(
            name,
            data,
            found.panoptic.segment_ids.shape,
            found.scores,
            found.labels,
            np.array(windows, np.int32).reshape(-1, 4),
            tuple(zlib.compress(np.packbits(cutout.mask).tobytes(), 1) for cutout in found.cutouts),
            zlib.compress(found.semantic.astype(np.uint8).tobytes(), 1),
        )

    @property
    def bytes(self) -> int:
        """The memory that it takes, but for small change."""
        return len(self.data) + len(self.semantic) + sum(map(len, self.masks))

    def fused(self, fusion: Fusion, categories: Categories) -> PanopticMap:
        """The panoptic map with these settings, with the ids of ``categories``; equal to that of the model itself."""
        places = [place for place, score in enumerate(self.scores.tolist()) if score >= fusion.confidence]
        semantic = np.frombuffer(zlib.decompress(self.semantic), np.uint8).reshape(self.size)
        settings = fusion.model_dump()
        panoptic = paint(self._cutouts(places), self.scores[places], self.labels[places], semantic, **settings)
        return categories.to_dataset(panoptic)

    def _cutouts(self, places: Sequence[int]) -> list[Cutout]:
        cutouts = []
        for place in places:
            top, left, height, width = self.windows[place].tolist()
            bits = np.frombuffer(zlib.decompress(self.masks[place]), np.uint8)
            mask = np.unpackbits(bits, count=height * width).astype(np.bool_).reshape(height, width)
            cutouts.append(Cutout(mask, top, left))
        return cutouts


class KeptPictures:
    """Pictures by ids that nobody can guess; the least recently used ones give way when ``limit`` bytes are full."""

    def __init__(self, limit: int) -> None:
        self._limit, self.bytes = limit, 0
        self._pictures: OrderedDict[str, KeptPicture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    def add(self, picture: KeptPicture) -> str:
        """Keep a picture, whatever its size, and return its id."""
        key = secrets.token_urlsafe(16)
        self._pictures[key] = picture
        self.bytes += picture.bytes
        while self.bytes > self._limit and len(self._pictures) > 1:
            self.drop(next(iter(self._pictures)))
        return key

    def get(self, key: str) -> KeptPicture:
        """The picture ``key``, or a `RefusalError`."""
        if key not in self._pictures:
            raise RefusalError(404, "this picture is not kept, or not any more; send it again")
        self._pictures.move_to_end(key)
        return self._pictures[key]

    def drop(self, key: str) -> None:
        """Forget a picture, if it is there."""
        if dropped := self._pictures.pop(key, None):
            self.bytes -= dropped.bytes
