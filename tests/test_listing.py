"""Listings of folders leave out and count the files of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from panoptic_blend.listing import list_files, litter

Refused = Callable[..., str]


def test_files_of_other_programs_are_passed_over_and_counted(tmp_path: Path) -> None:
    names = [
        "b.jpg",
        "a.jpg",
        ".hidden/c.jpg",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "sub/d.JPG",
        "sub/._d.JPG",
        "sub/.DS_Store",
        "._a.jpg",
        "__MACOSX/a.jpg",
        "thumbs.DB",
        "Desktop.ini",
        "@eaDir/a.jpg/small.jpg",
        "sub/.part.jpg",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_files(tmp_path, recursive=True)
    assert found.paths == [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "sub" / "d.JPG"]
    assert found.passed_over == {
        "hidden files": 2,
        "copies of Jupyter (.ipynb_checkpoints)": 1,
        "files of macOS (._*, .DS_Store, __MACOSX)": 4,
        "files of Windows (Thumbs.db, desktop.ini)": 2,
        "files of a network disk (@eaDir, #recycle)": 1,
    }
    flat = list_files(tmp_path, recursive=False)
    assert flat.paths == found.paths[:2] and flat.passed_over.total() == 7
    hidden = list_files(tmp_path / ".hidden", recursive=True)  # who names a hidden folder wants its files
    assert hidden.paths == [tmp_path / ".hidden" / "c.jpg"] and not hidden.passed_over
    assert litter("sub/a.jpg") is None and litter("sub/.git/a.jpg") == "hidden files"


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, refused: Refused) -> None:
    expected = f"{tmp_path / 'absent'}: cannot be read (No such file or directory); check the path"
    assert refused(lambda: list_files(tmp_path / "absent", recursive=True)) == expected


def test_what_is_no_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    listing = list_files(tmp_path, recursive=False)
    assert listing.paths == [tmp_path / "a.png"]
    assert listing.passed_over == {"links that lead nowhere": 1, "pipes, sockets and devices": 1}
