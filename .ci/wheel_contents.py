"""Whether a wheel holds the library and its configs, all of them and nothing else; a name on the command line."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def expected() -> set[str]:
    """Files of the library in this clone, and its configs where the wheel has them."""
    folders = {"panoptic_blend": ROOT / "panoptic_blend", "panoptic_blend/configs": ROOT / "configs"}
    return {
        f"{target}/{path.relative_to(source).as_posix()}"
        for target, source in folders.items()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def main(wheel: str) -> None:
    """Exit with an error that lists what is missing or too much."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    for name in ("py.typed", "formats/coco_categories.json", "configs/demo/shapes_r18.yaml", "report/template/"):
        if not any(f"panoptic_blend/{name}" in file for file in held):
            sys.exit(f"{wheel}: no panoptic_blend/{name}")
    if held != expected():
        sys.exit(f"{wheel}: missing {sorted(expected() - held)}, too much {sorted(held - expected())}")
    print(f"{wheel}: {len(held)} files, the library and its configs")


if __name__ == "__main__":
    main(sys.argv[1])
