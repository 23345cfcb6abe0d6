"""What a command imports before it works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_scoring_starts_without_what_it_does_not_need(generated: Path) -> None:
    truth = generated / "annotations" / "panoptic_val2017.json"
    code = """
import sys
unneeded = {"torch", "scipy", "wasmtime", "pydantic", "panoptic_blend.config.options", "panoptic_blend.cli.data"}
from panoptic_blend.cli.main import main
try:
    main("pq")
finally:
    print(sorted(unneeded & set(sys.modules)), file=sys.stderr)
"""
    command = [sys.executable, "-c", code, str(truth), str(truth), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("[]\n", 0)
