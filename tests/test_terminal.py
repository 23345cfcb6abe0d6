"""Live progress lines on a terminal."""

from __future__ import annotations

import errno
import io

import pytest

from panoptic_blend.failures import in_one_line
from panoptic_blend.terminal import bytes_line, print_json, print_tables, progress_line, right_aligned


def test_bytes_are_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with bytes_line() as show:
        show("fetching a.zip", 0, None)
        show("fetching a.zip", 500_000, 2_000_000)
        show("fetching a.zip", 1_500_000, 2_000_000)
        show("unpacking a.zip", 3_000_000, 4_000_000)
    shown = capsys.readouterr().err
    assert "unpacking a.zip" in shown and "3.0/4.0 MB" in shown


def test_nothing_is_shown_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with bytes_line() as show:
        show("fetching a.zip", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_items_per_second_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The 500 images that were done before the first report are not counted: 3 images in 2 seconds."""
    clock = [0.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: clock[0])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_line("predicting", "images") as progress:
        progress(500, 600)
        clock[0] = 1.0
        progress(501, 600)
        clock[0] = 2.0
        progress(503, 600)
    shown = capsys.readouterr().err
    assert "503/600" in shown and "1.5 images/s" in shown


def test_tables_are_cut_to_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = right_aligned("category", *(f"figure {number}" for number in range(30)))
    table.add_row("person riding a bicycle " * 9, *map(str, range(30)))
    print_tables(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "person riding a bicycle " * 9 in lines[3] and "29" in lines[3]
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_tables(table)
    assert "person riding a bicycle " not in capsys.readouterr().out


class _Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_behind_standard_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", _Full())
    with pytest.raises(OSError, match="No space left") as error:
        print_tables(right_aligned("category"))
    assert str(in_one_line(error.value)).startswith("standard output: No space left on device")


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"pq": None, "n": 1})
    assert capsys.readouterr().out == '{"pq": null, "n": 1}\n'
