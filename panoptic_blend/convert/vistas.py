"""Convert Mapillary Vistas to COCO panoptic: ``config_v2.0.json``, pictures, and PNGs of class and instance.

A split has ``images/NAME.jpg`` and ``v2.0/instances/NAME.png``, whose values of 16 bits are 256 times the place of the
class in the config, plus the number of the instance, which may be 0. Version 1.2 has the same form.
"""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.convert.id_masks import MaskFolders, labeled_source
from panoptic_blend.convert.writing import LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import Category, PanopticBlendError, parse_color

SPLITS = "training", "validation"
VERSIONS = "2.0", "1.2"
_DIVISOR = 256


def vistas_version(root: Path) -> str:
    """The newest version of the labels in a folder; raises PanopticBlendError if there are none."""
    found = [version for version in VERSIONS if config_of(root, version).is_file()]
    if not found:
        raise PanopticBlendError(f"{root}: has no config_v2.0.json; give the folder of Mapillary Vistas")
    return found[0]


def read_vistas(root: Path, split: str, version: str) -> LabeledSource:
    """Read a split: labels with ``instances`` are things, and those that are not to be evaluated are void.

    The id of a class is its place in the config plus 1.

    Raises:
        PanopticBlendError: the config is none, or files are missing.
    """
    config, folder = config_of(root, version), root / split
    where = str(config)
    labels = require_records(read_json(config), "labels", where, "a config of Mapillary Vistas")
    meanings: dict[int, Category | None] = {
        value: Category(
            value + 1,
            require_text(label, "readable", f"{where}: labels[{value}]"),
            label.get("instances") is True,
            parse_color(label.get("color")),
        )
        if label.get("evaluate", True)
        else None
        for value, label in enumerate(labels)
    }
    categories = Categories(category for category in meanings.values() if category)
    folders = MaskFolders(folder / f"v{version}" / "instances", divisor=_DIVISOR, first=0)
    return labeled_source(folders, meanings, categories, folder / "images", config)


def config_of(root: Path, version: str) -> Path:
    """The file that describes the labels of a version."""
    return root / f"config_v{version}.json"
