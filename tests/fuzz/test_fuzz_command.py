"""``python -m evaluation.fuzz`` repeats a case, stores its files, and fails if there are failures."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import typer

from evaluation.fuzz.runner import Reader

command = importlib.import_module("evaluation.fuzz.__main__")


def write(folder: Path) -> None:
    (folder / "a.txt").write_text("valid")


def read(folder: Path) -> None:
    if (folder / "a.txt").read_bytes() != b"valid" and folder.name == "3":
        raise KeyError("damaged")


def test_a_case_is_repeated_and_the_exit_code_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_readers", lambda names: {"own": Reader("own", write, read)})
    for case, code in (("own:0:3", 1), ("own:0:4", 0)):
        with pytest.raises(typer.Exit) as stop:
            command.fuzz(case=case, output=tmp_path)
        assert stop.value.exit_code == code
    printed = capsys.readouterr().out
    assert "own:0:3: KeyError at " in printed and "1 inputs: own 1" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["own-0-3"]
    assert (tmp_path / "own-0-3" / "files" / "a.txt").is_file()


def test_an_unknown_reader_is_refused_with_those_that_exist() -> None:
    with pytest.raises(Exception, match=r"pqq: no such reader; known are pq, .*report, .*, checkpoint"):
        command._readers(["pqq"])
