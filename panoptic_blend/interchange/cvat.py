"""CVAT for images 1.1: ``annotations.xml`` with polygons and masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from panoptic_blend.convert.cvat import CROWD, IMAGES, SCORE
from panoptic_blend.files import replacing
from panoptic_blend.formats.name_lists import all_names
from panoptic_blend.interchange.label_writer import Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Cutout

FILE = "annotations.xml"


class Cvat(LabelWriter):
    """Parts of one segment have one ``group_id``; a segment with a hole is a mask.

    Scores and crowds are attributes of the shapes, which CVAT drops unless its labels have these attributes too.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._images: list[str] = []
        self._has_crowds = False

    def place(self, name: str) -> str:
        return f"{IMAGES}/{name}"

    def add(self, picture: LabeledPicture) -> None:
        height, width = picture.size
        number = len(self._images)
        image = Element("image", id=str(number), name=picture.name, width=str(width), height=str(height))
        for group, region in enumerate(picture.regions, start=1):
            for shape in self._shapes(region, group):
                image.append(shape)
        self._images.append(ElementTree.tostring(image, encoding="unicode"))

    def finish(self) -> None:
        with replacing(self.context.folder / FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
            file.write(ElementTree.tostring(self._meta(), encoding="unicode"))
            for image in self._images:
                file.write(f"\n{image}")
            file.write("\n</annotations>\n")

    def way_back(self) -> Sequence[str]:
        return ["cvat", f"DIR/{FILE}", *(["--stuff", all_names(self.stuff)] if self.stuff else [])]

    def _meta(self) -> Element:
        """The labels as a task lists them."""
        meta = Element("meta")
        labels = SubElement(SubElement(meta, "task"), "labels")
        for category in self.context.categories:
            label = SubElement(labels, "label")
            SubElement(label, "name").text = category.name
            if category.color:
                SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*category.color)
            SubElement(label, "type").text = "any"
            attributes = SubElement(label, "attributes")
            if self.context.has_scores:
                _attribute(attributes, SCORE, "number", "0", "0\n1\n0.000001")
            if self._has_crowds:
                _attribute(attributes, CROWD, "checkbox", "false", "")
        return meta

    def _shapes(self, region: Region, group: int) -> Iterator[Element]:
        polygons, segment = self.polygons_of(region), region.segment
        common = {"label": region.category.name, "source": "auto" if self.context.are_found else "manual"}
        common |= {"occluded": "0", "z_order": "0"}
        if polygons is not None and len(polygons) > 1:
            common["group_id"] = str(group)
        shapes = (
            [Element("mask", common | _mask(region.cutout))]
            if polygons is None
            else [
                Element("polygon", common | {"points": ";".join(f"{x:g},{y:g}" for x, y in ring.tolist())})
                for ring in polygons
            ]
        )
        for shape in shapes:
            if segment.score is not None:
                SubElement(shape, "attribute", name=SCORE).text = f"{segment.score:.6f}"
            if segment.is_crowd:
                self._has_crowds = True
                SubElement(shape, "attribute", name=CROWD).text = "true"
            yield shape


def _mask(cutout: Cutout) -> dict[str, str]:
    """Run lengths by rows within the box, of void and of the mask in turn."""
    flat = cutout.mask.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(edges, prepend=0, append=flat.size)
    height, width = cutout.mask.shape
    place = {"left": str(cutout.left), "top": str(cutout.top), "width": str(width), "height": str(height)}
    return {"rle": ", ".join(map(str, counts.tolist())), **place}


def _attribute(parent: Element, name: str, kind: str, default: str, values: str) -> None:
    attribute = SubElement(parent, "attribute")
    fields = {"name": name, "mutable": "False", "input_type": kind, "default_value": default, "values": values}
    for key, text in fields.items():
        SubElement(attribute, key).text = text
