"""Imports go one way, from the command line down to the structures; what needs no torch imports nothing that does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "panoptic_blend"
LAYERS = (
    "webassembly",
    "runs",
    "structures",
    "instances",
    "extras",
    "files",
    "failures",
    "forking",
    "listing",
    "machine",
    "table_formats",
    "terminal",
    "config",
    "formats",
    "metrics",
    "drawing",
    "postprocessing",
    "scoring",
    "compat",
    "prediction",
    "deploy",
    "pages",
    "report",
    "doctor",
    "convert",
    "interchange",
    "download",
    "shapes",
    "torchmetrics",
    "models",
    "data",
    "checkpoints",
    "runtime",
    "inference",
    "training",
    "sweep",
    "publishing",
    "export",
    "fit",
    "demo",
    "serve",
    "cli",
)
"""Packages and modules from the lowest to the highest; each may import those before it."""

NEEDS_TORCH = {
    "torchmetrics",
    "models",
    "data",
    "checkpoints",
    "runtime",
    "inference",
    "training",
    "sweep",
    "publishing",
    "export",
    "fit",
    "demo",
}
ONLY = {
    "metrics": {"structures", "instances", "files"},
    "models": {"structures", "extras", "files", "failures", "config", "postprocessing"},
}
"""Packages that may import less than their rank allows: definitions know no files, networks no data sets.

What follows a network is partly in numpy, and `models` shares it with exported models.
"""


def modules() -> list[Path]:
    return sorted(path for path in (ROOT / PACKAGE).rglob("*.py") if path != ROOT / PACKAGE / "__init__.py")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Parts of every import of ours in a module, at its top or in a function, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [
                f"{node.module}.{alias.name}" if node.module == PACKAGE else node.module or "" for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            assert top not in {"tests", "tools", "evaluation", "examples"}, f"{path} imports {name}"
            if top == PACKAGE and rest:
                yield tuple(rest)


def layer(path: Path) -> str:
    """The package of a module, or the module itself; ``python -m`` starts the commands."""
    first = path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]
    return "cli" if first == "__main__" else first


def test_every_package_has_a_rank_of_its_own() -> None:
    assert {layer(path) for path in modules()} == set(LAYERS)
    assert len(set(LAYERS)) == len(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = layer(path)
    for target, *rest in imports(path):
        assert LAYERS.index(target) <= LAYERS.index(own), f"{path} imports {target} {rest}"
        if own not in NEEDS_TORCH | {"cli"}:
            assert target not in NEEDS_TORCH, f"{path} imports {target}, which needs torch"
        if own in ONLY:
            assert target in ONLY[own] | {own}, f"{path} imports {target}"
        if own == "models" and target == "config":
            assert path.name == "build.py", f"{path} reads the config"


def test_modules_of_one_package_do_not_import_one_another_in_a_circle() -> None:
    reads = {
        ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts): {".".join(name) for name in imports(path)}
        for path in modules()
    }
    left = {name: {other for other in others if other in reads} for name, others in reads.items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circle among {sorted(left)}"


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
