"""Which modules decide what a cache holds; the rest of `sweep.cache` is tested in `test_sweep.py`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import panoptic_blend
from panoptic_blend.sweep import cache

LIBRARY = Path(panoptic_blend.__file__).parent


def imported(path: Path) -> set[Path]:
    """The modules of the library that a module imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("panoptic_blend."):
            parts = node.module.split(".")[1:]
            places = [LIBRARY.joinpath(*parts, alias.name).with_suffix(".py") for alias in node.names]
            found |= {place for place in (*places, LIBRARY.joinpath(*parts).with_suffix(".py")) if place.is_file()}
    return found


def test_every_module_that_a_cache_depends_on_is_a_part_of_its_identity() -> None:
    left, reached = {Path(cache.__file__)}, set()
    while left:
        path = left.pop()
        reached.add(path)
        left |= imported(path) - reached
    named = {str(path.relative_to(LIBRARY)) for path in reached}
    assert {"models/backbones/resnet.py", "inference/forward.py", "formats/png.py"} <= named
    assert reached <= set(cache.sources())


def test_a_list_of_no_modules_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nothing", "nothing.py"):
        monkeypatch.setattr(cache, "SOURCES", (name,))
        with pytest.raises(FileNotFoundError, match=f"{name}: not there"):
            cache.sources()
