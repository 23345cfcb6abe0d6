"""The runner tells refusals from failures, survives its children, and makes every case again from its name."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from evaluation.fuzz import runner
from evaluation.fuzz.runner import Case, Reader, damaged_files, minimal, run, store, valid_files
from panoptic_blend.structures import PanopticBlendError


def write(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "a.json").write_text(json.dumps({"value": 1, "other": [1, 2, 3]}))
    (folder / "kept.txt").write_text("kept")


def misbehave(folder: Path) -> None:
    """Fail in another way for each number of the case, which is the name of the folder."""
    assert (folder / "kept.txt").read_text() == "kept"
    match folder.name:
        case "0":
            raise PanopticBlendError("a.json: broken; correct it")
        case "1":
            raise KeyError("value")
        case "2":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "3":
            bytearray(3 * 1024**3)
        case "4":
            signal.pause()


def read_value(folder: Path) -> None:
    try:
        json.loads((folder / "deep" / "a.json").read_bytes())["value"]
    except (ValueError, RecursionError, TypeError):
        raise PanopticBlendError("a.json: broken; correct it") from None


READER = Reader("value", write, read_value, damage="*.json")


def test_refusals_pass_and_everything_else_costs_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SECONDS", 2)
    cases = [Case("misbehaving", 0, number) for number in range(6)]
    found = list(run({"misbehaving": Reader("misbehaving", write, misbehave, damage="*.json")}, cases))
    assert [case for case, _ in found] == cases
    kinds = [failure.kind.partition(" at ")[0] if failure else "" for _, failure in found]
    assert kinds == ["", "KeyError", "the process died", "MemoryError", "no answer in time", ""]
    assert found[2][1] is not None and found[2][1].detail == "SIGSEGV"


def test_a_case_is_made_again_from_its_name() -> None:
    valid = valid_files(READER)
    assert valid == {"deep/a.json": b'{"value": 1, "other": [1, 2, 3]}', "kept.txt": b"kept"}
    for number in range(30):
        case = Case("value", 3, number)
        changed = damaged_files(READER, valid, Case.parse(str(case)))
        assert changed == damaged_files(READER, valid, case)
        assert changed.keys() == {"deep/a.json"}
    kept = Case("value", 1, 2, (0, 2))
    assert Case.parse(str(kept)) == kept and str(kept) == "value:1:2:0,2"


def test_a_failure_is_minimized_and_stored_with_its_command(tmp_path: Path) -> None:
    valid, readers = valid_files(READER), {"value": READER}
    failures = [failure for _, failure in run(readers, [Case("value", 0, n) for n in range(100)]) if failure]
    assert {failure.kind.partition(" at ")[0] for failure in failures} == {"KeyError"}
    least = minimal(READER, failures[0])
    assert least.case.mutations is not None and len(least.case.mutations) == 1
    folder = store(READER, least, tmp_path)
    assert f"python -m evaluation.fuzz --case {least.case}\n" in (folder / "failure.txt").read_text()
    assert (folder / "files" / "kept.txt").read_text() == "kept"
    changed = damaged_files(READER, valid, least.case)["deep/a.json"]
    assert (folder / "files" / "deep" / "a.json").read_bytes() == changed
