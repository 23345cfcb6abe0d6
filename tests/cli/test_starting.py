"""What a command and a model import before they work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def imported(names: set[str], code: str, *arguments: str) -> str:
    """What a program writes to standard error: nothing but those of the modules ``names`` that it has imported."""
    program = f"import sys\ntry:\n    {code}\nfinally:\n    print(sorted({names} & set(sys.modules)), file=sys.stderr)"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stderr


def test_scoring_starts_without_what_it_does_not_need(generated: Path) -> None:
    truth = str(generated / "annotations" / "panoptic_val2017.json")
    unneeded = {"torch", "scipy", "wasmtime", "pydantic", "panoptic_blend.config.options", "panoptic_blend.cli.data"}
    code = "from panoptic_blend.cli.main import main; main('pq')"
    assert imported(unneeded, code, truth, truth, "--json") == "[]\n"


def test_a_model_predicts_without_the_library_of_several_processes() -> None:
    unneeded = {"lightning", "torchmetrics", "matplotlib"}
    assert imported(unneeded, "import panoptic_blend.inference.predictor") == "[]\n"
