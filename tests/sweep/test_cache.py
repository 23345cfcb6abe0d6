"""The list of modules that a cache depends on; the rest of `sweep.cache` is tested in `test_sweep.py`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import panoptic_blend
from panoptic_blend.sweep import cache

LIBRARY = Path(panoptic_blend.__file__).parent


def imported(path: Path) -> set[Path]:
    """The modules of the library that a module imports, at the top or in functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("panoptic_blend."):
            parts = node.module.split(".")[1:]
            candidates = [LIBRARY.joinpath(*parts, alias.name).with_suffix(".py") for alias in node.names]
            candidates.append(LIBRARY.joinpath(*parts).with_suffix(".py"))
            found |= {path for path in candidates if path.is_file()}
    return found


def test_the_identity_includes_every_module_that_a_cache_depends_on() -> None:
    left, reached = {Path(cache.__file__)}, set()
    while left:
        path = left.pop()
        reached.add(path)
        left |= imported(path) - reached
    named = {str(path.relative_to(LIBRARY)) for path in reached}
    assert {"models/backbones/resnet.py", "inference/forward.py", "formats/png.py"} <= named
    assert reached <= set(cache.sources())


def test_an_entry_without_modules_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nothing", "nothing.py"):
        monkeypatch.setattr(cache, "SOURCES", (name,))
        with pytest.raises(FileNotFoundError, match=f"{name}: no such module; correct SOURCES"):
            cache.sources()
