"""Find pictures whose annotated size is the one without their orientation tag (EXIF), so that shapes can be misread."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.files import read_bytes
from panoptic_blend.formats.images import decode_picture, may_be_turned
from panoptic_blend.structures import Size

STORED_SIZE = (
    "pictures have an orientation tag and the size that they have without it; their shapes were read as drawn on"
)


def upright_size(picture: Path, annotated: Size) -> Size:
    """Height and width of a picture that is turned by its tag; ``annotated`` is that size, or the one without the tag.

    Raises:
        PanopticBlendError: the picture cannot be decoded, or has neither size.
    """
    data = read_bytes(picture)
    decode_picture(data, picture, annotated)
    if not may_be_turned(data):
        return annotated
    height, width = decode_picture(data, picture).shape[:2]
    return height, width
