"""Decoders print nothing, and everything else still prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.formats.images import read_picture, write_picture
from panoptic_blend.structures import PanopticBlendError

PROGRAM = """
import os, sys
from pathlib import Path
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError

for name in sys.argv[1:]:
    try:
        read_picture(Path(name))
    except PanopticBlendError:
        pass
with quiet, quiet:
    print("from Python", file=sys.stderr)
    os.system("echo from a child >&2")
"""


def test_libraries_print_nothing_while_python_and_children_do(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    names = []
    for suffix in (".png", ".jpg"):
        content = bytearray(cv2.imencode(suffix, pixels)[1].tobytes())
        content[content.find(b"IDAT") + 20 if suffix == ".png" else 1000] ^= 1
        for name, data in ((f"flipped{suffix}", content), (f"cut{suffix}", content[:-500])):
            (tmp_path / name).write_bytes(data)
            names.append(str(tmp_path / name))
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, check=True)
    assert done.stderr == "from Python\nfrom a child\n"


def test_reading_restores_the_log_level_of_opencv(tmp_path: Path) -> None:
    logging = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging  # OpenCV 4 and 5
    before = logging.setLogLevel(2)
    try:
        write_picture(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
        read_picture(tmp_path / "a.png")
        (tmp_path / "a.png").write_bytes(b"broken")
        with pytest.raises(PanopticBlendError):
            read_picture(tmp_path / "a.png")
        assert logging.getLogLevel() == 2
    finally:
        logging.setLogLevel(before)
