"""``panoptic-blend report --select``: which images are listed, and filters that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reporting_files import EVIL, small

from panoptic_blend.cli import main as cli
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.report.selection import Selection

Refused = Callable[..., str]


@pytest.fixture
def categories(tmp_path: Path) -> Categories:
    return read_panoptic_json(small(tmp_path / "data").truth).categories


def test_the_command_writes_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, out = small(tmp_path / "data"), tmp_path / "list.txt"

    def run(*options: str) -> str:
        """What the command prints, of an error its message."""
        monkeypatch.setattr("sys.argv", ["panoptic-blend", "report", str(files.truth), str(files.first), *options])
        try:
            cli.main()
        except SystemExit as stop:
            assert stop.code in (0, 2)
        return "".join(capsys.readouterr())

    to_list = "--output", str(out), "--select"
    assert "list.txt lists 1 of 3 images" in run(*to_list, "cause=missed,class=7") and out.read_text() == "c <b>.jpg\n"
    assert "list.txt: already exists" in run(*to_list, "cause=split")
    assert "lists 0 of 3 images" in run(*to_list, "cause=split", "--overwrite") and out.read_text() == ""
    compared = "--compare", str(files.second), "--overwrite"
    assert "is about first.json alone; ask with found-by" in run(*to_list, "cause=split", *compared)
    assert "lists 2 of 3 images" in run(*to_list, "missed-by=first.json,found-by=second", *compared)
    assert out.read_text() == "b.jpg\nc <b>.jpg\n"
    assert "lists 1 of 3 images" in run(*to_list, "missed-by=first,found-by=second,cause=wrong class", *compared)
    assert out.read_text() == "b.jpg\n"
    assert "lists 1 of 3 images" in run(
        *to_list, "missed-by=first,class=cat & 'dog'", *compared
    )  # of the segment itself
    assert out.read_text() == "c <b>.jpg\n"
    assert "lists 0 of 3 images" in run(*to_list, "found-by=first,missed-by=second", *compared)
    assert "lists 3 of 3 images" in run(*to_list, "found-by=first,found-by=second", *compared)
    assert "say where they are with --images" in run("--output", str(tmp_path / "page.html"))


def test_names_of_classes_may_hold_commas_and_signs(categories: Categories) -> None:
    assert Selection.parse(f"class={EVIL}, predicted=(none)", categories) == Selection(category=3, predicted=0)
    assert Selection.parse("class=cat & 'dog',iou=50..", categories) == Selection(category=7, iou=(50.0, 100.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cause=mised", "did you mean 'missed'?"),
        ("class=cat & 'dogs'", "did you mean \"cat & 'dog'\"?"),
        ("iou=5", "iou=5 is no range in percent; write for example iou=0..50"),
        ("score=90..10", "is no range"),
        ("cause=split,cause=missed", "`cause` is given twice"),
        ("found-by=firts", "found-by=firts is no result set, which are a/first.json, second.json"),
        ("missed-by=secnd", "did you mean 'second'?"),
        ("klass=cat", "is no key=value with one of the keys cause, class"),
        ("", "is no key=value"),
    ],
)
def test_wrong_filters_are_refused(categories: Categories, refused: Refused, text: str, message: str) -> None:
    assert message in refused(Selection.parse, text, categories, ["a/first.json", "second.json"])
