"""What a format of labels is to the export: where it puts pictures, and how it writes the segments of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from panoptic_blend.formats.categories import Categories
from panoptic_blend.interchange.rings import Part, Ring, edge_rings
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Cutout, PanopticBlendError

POLYGON, MASK = "polygons", "masks"


@dataclass(frozen=True)
class Drawing:
    """How segments are drawn: by polygons whose outlines are at most ``tolerance`` pixels off, or by ``masks`` only."""

    tolerance: float = 1.0
    masks: bool = False


@dataclass(frozen=True)
class Context:
    """What all writers of labels are told.

    ``folder`` is to be filled; ``are_found`` says that the segments are predictions, ``has_scores`` that some have one.
    """

    folder: Path
    split: str
    categories: Categories
    drawing: Drawing
    has_scores: bool
    are_found: bool


class LabelWriter(ABC):
    """Writes the labels of one picture after the other.

    ``has_polygons`` and ``has_masks`` say what the format knows; ``has_scores`` and ``has_crowds`` that it has a place
    for these. ``rings`` outlines a mask as the tools fill polygons, and ``most_parts`` polygons may be one segment.
    ``drawn`` counts the segments that became polygons, and those that became masks.
    """

    has_polygons: ClassVar[bool] = True
    has_masks: ClassVar[bool] = True
    has_scores: ClassVar[bool] = True
    has_crowds: ClassVar[bool] = True

    rings: ClassVar[Callable[[Cutout, float], list[Part]]] = staticmethod(edge_rings)
    most_parts: ClassVar[int | None] = None

    def __init__(self, context: Context) -> None:
        self.context = context
        self.drawn = Counter[str]()
        self._pictures: dict[str, str] = {}

    @abstractmethod
    def place(self, name: str) -> str:
        """The path of the picture ``name`` in the folder."""

    @abstractmethod
    def add(self, picture: LabeledPicture) -> None:
        """Write the labels of a picture, or keep them for `finish`."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is about all pictures."""

    @abstractmethod
    def way_back(self) -> Sequence[str]:
        """The words after ``panoptic-blend data convert`` that read the folder, without ``--output``."""

    def remarks(self) -> Sequence[str]:
        """Lines about what was left out, beside crowds and scores."""
        return ()

    def polygons_of(self, region: Region, *, as_mask: bool = False) -> list[Ring] | None:
        """The polygons of a segment; None if it has to be a mask.

        That is so if it has a hole, a part without an area or too many parts, or if masks are asked for.
        """
        drawing = self.context.drawing
        parts = [] if drawing.masks or as_mask else type(self).rings(region.cutout, drawing.tolerance)
        is_outlined = all(len(part.outer) > 2 and not part.holes for part in parts)
        if not parts or not is_outlined or len(parts) > (self.most_parts or len(parts)):
            self.drawn[MASK] += 1
            return None
        self.drawn[POLYGON] += 1
        return [part.outer for part in parts]

    def file_of(self, name: str, suffix: str) -> str:
        """The name of a file of labels: that of its picture with another suffix.

        Raises:
            PanopticBlendError: another picture has the same one.
        """
        return self.claimed(str(PurePosixPath(name).with_suffix(suffix)), name)

    def claimed(self, own: str, name: str) -> str:
        """``own``, the name of labels of the picture ``name``; raises PanopticBlendError if another one has it."""
        if (other := self._pictures.setdefault(own, name)) != name:
            raise PanopticBlendError(f"{other} and {name} would share the labels {own}; rename one of the pictures")
        return own

    @property
    def stuff(self) -> list[str]:
        """The names of the classes that are stuff."""
        return [category.name for category in self.context.categories if not category.is_thing]
