"""Fixtures for all tests: data sets on disk, and a check of the form of error messages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from panoptic_blend import webassembly
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only Shapes data set of 7 training images (3 wide, one crowd, two with void) and 3 validation images."""
    root = tmp_path_factory.mktemp("generated")
    write_shapes(root, train=7, val=3, seed=0)
    return root


@pytest.fixture
def shapes(generated: Path, tmp_path: Path) -> Path:
    """A copy of the generated data set, which the test may change."""
    return Path(shutil.copytree(generated, tmp_path / "shapes"))


@pytest.fixture
def coco_sample() -> Path:
    """Two images of COCO val2017 with their annotations, from a folder beside the clone."""
    root = Path(__file__).parents[2] / "shared" / "coco_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    return root


@pytest.fixture(autouse=True)
def programs_from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use WebAssembly at once, which otherwise begins after some megabytes."""
    monkeypatch.setattr(webassembly, "_waiting", 0)


@pytest.fixture
def without_wasmtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the import of wasmtime fail, and forget what was compiled."""
    monkeypatch.setitem(sys.modules, "wasmtime", None)  # importing it raises ImportError
    webassembly._threads.__dict__.clear()
    webassembly._compile.cache_clear()


@pytest.fixture
def refused() -> Callable[..., str]:
    """Call a function that must raise PanopticBlendError with one line that ends in a remedy; return the message."""

    def refused(function: Callable[..., object], *arguments: object) -> str:
        with pytest.raises(PanopticBlendError) as error:
            function(*arguments)
        message = str(error.value)
        assert len(message.splitlines()) == 1
        problem, semicolon, remedy = message.rpartition("; ")
        assert problem and semicolon and len(remedy) > 5
        return message

    return refused
