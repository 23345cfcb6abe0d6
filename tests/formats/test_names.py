"""File names of other machines: backslashes, drives, absolute paths, and both Unicode forms."""

from __future__ import annotations

import unicodedata
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.files import inside
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.names import composed, ends, local_names, locate, photo_name
from panoptic_blend.structures import PanopticBlendError

NAME = "größe/é.jpg"
FORMS = partial(unicodedata.normalize, "NFC"), partial(unicodedata.normalize, "NFD")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b/a.jpg", "./c.jpg"], ["a.jpg", "b/a.jpg", "./c.jpg"]),
        (["images\\a.jpg", "images/b.jpg"], ["images/a.jpg", "images/b.jpg"]),
        (["C:\\data\\val\\a.jpg", "C:\\data\\val\\b.jpg"], ["a.jpg", "b.jpg"]),
        (["c:/data/val/a.jpg", "c:/data/train/b.jpg"], ["val/a.jpg", "train/b.jpg"]),
        (["\\\\server\\share\\a.jpg"], ["a.jpg"]),
        (["/home/someone/val/a.jpg", "c.jpg", "/home/someone/b.jpg"], ["val/a.jpg", "c.jpg", "b.jpg"]),
        (["/a.jpg"], ["a.jpg"]),
        (["../a.jpg", "..\\a.jpg"], ["../a.jpg", "../a.jpg"]),
        ([], []),
        (["", "/", "a:b.jpg"], ["", ".", "a:b.jpg"]),
    ],
)
def test_names_become_relative(names: list[str], expected: list[str]) -> None:
    assert local_names(names) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/a.jpg", ["val/a.jpg"]),
        ("./a.jpg", ["a.jpg"]),
        ("../a.jpg", []),
        ("val\\a.jpg", ["val/a.jpg", "a.jpg"]),
        ("C:\\val\\a.jpg", ["C:/val/a.jpg", "val/a.jpg", "a.jpg"]),
        ("/data/val/a.jpg", ["data/val/a.jpg", "val/a.jpg", "a.jpg"]),
        ("https://host/a.jpg", ["https:/host/a.jpg", "host/a.jpg", "a.jpg"]),
        ("/data/../a.jpg", ["a.jpg"]),
        ("", []),
        ("/", []),
    ],
)
def test_ends_of_names_from_other_folders(name: str, expected: list[str]) -> None:
    assert list(ends(name)) == expected


@given(st.lists(st.text(st.sampled_from("./\\ac:\n\0"), max_size=9), max_size=4))
def test_no_name_leads_out_of_a_folder_unnoticed(names: list[str]) -> None:
    for name in local_names(names):
        try:
            path = inside(Path("/data/set"), name)
        except PanopticBlendError:
            continue
        assert path.is_relative_to("/data/set") and ".." not in path.parts


@pytest.mark.parametrize("names", [[form(NAME) for form in order] for order in (FORMS, FORMS[::-1])])
def test_both_unicode_forms_name_the_same_file(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / names[0]).parent.mkdir()
    (tmp_path / names[0]).write_bytes(b"x")
    assert locate(tmp_path, names[1]).read_bytes() == b"x"
    assert names[1] in Folder(tmp_path) and Folder(tmp_path).read(names[1]) == b"x"
    assert locate(tmp_path, "é.jpg") == tmp_path / "é.jpg"
    assert {composed(form(NAME)) for form in FORMS} == {FORMS[0](NAME)}


def test_photos_of_cityscapes_are_found_in_the_folders_of_their_cities(tmp_path: Path) -> None:
    name, photo = "ulm_0_1_gtFine_leftImg8bit.png", "ulm_0_1_leftImg8bit.png"
    assert photo_name(name) == photo and photo_name("a_gtFine.png") == "a_gtFine.png"
    assert locate(tmp_path, name) == tmp_path / name  # which does not exist
    (tmp_path / "ulm").mkdir()
    for place in (f"ulm/{photo}", photo, name):  # the later ones count before
        (tmp_path / place).touch()
        assert locate(tmp_path, name) == tmp_path / place
