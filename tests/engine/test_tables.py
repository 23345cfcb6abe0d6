"""The line that shows how far a command is."""

from __future__ import annotations

import pytest

from panoptic_blend.engine.tables import bytes_line


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
