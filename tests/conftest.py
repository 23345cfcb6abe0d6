"""Data sets on disk, and what every refusal of bad input must look like."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes, not to be changed: 7 training images, 3 wide, with a crowd and voids; 3 validation images, likewise."""
    root = tmp_path_factory.mktemp("generated")
    write_shapes(root, train=7, val=3, seed=0)
    return root


@pytest.fixture
def shapes(generated: Path, tmp_path: Path) -> Path:
    """The same, for one test alone."""
    return Path(shutil.copytree(generated, tmp_path / "shapes"))


@pytest.fixture
def coco_sample() -> Path:
    """Two images of COCO val2017 with their annotation, beside a clone of the project."""
    root = Path(__file__).parents[2] / "shared" / "coco_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    return root


@pytest.fixture
def refused() -> Callable[..., str]:
    """Call a function that must raise PanopticBlendError, in one line with a remedy; give the message."""

    def refused(function: Callable[..., object], *arguments: object) -> str:
        with pytest.raises(PanopticBlendError) as error:
            function(*arguments)
        message = str(error.value)
        assert len(message.splitlines()) == 1
        what, semicolon, remedy = message.rpartition("; ")
        assert what and semicolon and len(remedy) > 5
        return message

    return refused
