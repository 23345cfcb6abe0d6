"""Parse XML files; errors name the file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from panoptic_blend.files import read_bytes
from panoptic_blend.structures import PanopticBlendError


def read_xml(path: Path) -> Element:
    """The root of an XML file without declarations of entities, which could be made to fill the memory."""
    data = read_bytes(path)
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise PanopticBlendError(f"{path}: declares entities, which no annotation tool does; export it again")
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise PanopticBlendError(f"{path}: not valid XML ({error}); is the file complete?") from None
