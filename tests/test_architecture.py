"""Imports go one way: structures -> models, data, metrics -> engine, checkpoints -> cli, tools, evaluation."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "panoptic_blend"
RANKS = {
    "structures": 0,
    "files": 1,
    "scaling": 1,
    "machine": 1,
    "config": 2,
    "config_files": 2,
    "figures": 2,
    "drawing": 3,
    "models": 4,
    "data": 4,
    "metrics": 4,
    "checkpoints": 5,
    "engine": 5,
    "inference": 5,
    "cli": 6,
    "cli_data": 6,
}
PEERS = {"models", "data", "metrics"}
COMPONENTS = {"bottom", "blender", "semantic", "fusion", "backbone", "fpn", "losses"}


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / PACKAGE).rglob("*.py") if path != ROOT / PACKAGE / "__init__.py")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Parts of every import of ours in a module, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            assert top not in {"tests", "tools", "evaluation"}, f"{path} imports {name}"
            if top == PACKAGE and rest:
                yield tuple(rest)


def room(path: Path) -> str:
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


def test_every_room_has_its_place() -> None:
    assert {room(path) for path in modules()} == RANKS.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    for target in imports(path):
        assert RANKS[target[0]] <= RANKS[own], f"{path} imports {'.'.join(target)}"
        if own in PEERS:
            assert target[0] == own or target[0] not in PEERS, f"{path} imports {'.'.join(target)}"
        if own in PEERS and target[0] == "config":
            assert path.name == "build.py", f"{path} reads the config"
        if own == "models" and path.stem in COMPONENTS:
            assert target[0] != "models", f"component {path} imports {'.'.join(target)}"


def test_public_names_exist_and_the_package_is_cheap() -> None:
    heavy = "{'torch', 'torchvision', 'cv2', 'lightning', 'scipy', 'numpy'}"
    code = f"""
import sys, panoptic_blend
assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)
assert "fuse" in panoptic_blend.__all__
for name in panoptic_blend.__all__:
    assert callable(getattr(panoptic_blend, name)), name
try:
    panoptic_blend.nothing
except AttributeError:
    print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr
