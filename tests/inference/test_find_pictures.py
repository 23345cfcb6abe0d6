"""Pictures in folders as people have them: which are taken, what is said of the others, and names for the results."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.formats.addresses import location_of
from panoptic_blend.formats.images import PICTURE_SUFFIXES, read_picture
from panoptic_blend.prediction.find_pictures import find_pictures

Refused = Callable[..., str]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def results(*inputs: Path, recursive: bool = False) -> list[tuple[str, str]]:
    return [(found.name, found.result) for found in find_pictures(inputs, recursive)[0]]


def test_files_that_are_named_and_pictures_of_folders_are_found_once(tmp_path: Path) -> None:
    fill(tmp_path, "b.PNG", "a.jpg", "c.jpeg", "notes.txt", "a.json", "d.webp", "z.other", "folder.png/inner.jpg")
    found, _ = find_pictures([tmp_path / "z.other", tmp_path, tmp_path / "folder.png" / ".." / "a.jpg"])
    assert [picture.path.name for picture in found] == ["z.other", "a.jpg", "b.PNG", "c.jpeg", "d.webp"]
    assert find_pictures([]) == ([], [])


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
def test_every_format_that_is_taken_in_a_folder_can_be_read(tmp_path: Path, suffix: str) -> None:
    encoded = {".jfif": ".jpg", ".jpe": ".jpg", ".dib": ".bmp"}.get(suffix, suffix)
    if not cv2.haveImageWriter(f"a{encoded}"):
        pytest.skip(f"this OpenCV does not write {suffix}")
    pixels = np.full((48, 64, 1 if suffix in {".pbm", ".pgm"} else 3), 200, np.uint8)
    written, content = cv2.imencode(encoded, pixels)
    assert written
    (tmp_path / f"a{suffix.upper()}").write_bytes(content.tobytes())
    [found] = find_pictures([tmp_path])[0]
    assert read_picture(tmp_path / found.name).shape == (48, 64, 3)


def test_what_is_left_out_is_counted_by_kind_in_one_line(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "notes.txt", "more.TXT", "clip.mp4", "README", "._a.jpg", "Thumbs.db", ".hidden.png")
    fill(tmp_path, "sub/b.jpg", "sub/deep/c.png", "sub/d.txt", "out/pictures/a.jpg", ".cache/e.jpg")
    found, remarks = find_pictures([tmp_path], passed=[tmp_path / "out" / "pictures"])
    assert [picture.path.name for picture in found] == ["a.jpg"]
    assert remarks == [
        f"{tmp_path}: left out: .txt files: 2, files of Windows (Thumbs.db, desktop.ini): 1, "
        "files of macOS (._*, .DS_Store, __MACOSX): 1, files without an ending: 1, hidden files: 2, "
        "pictures in subfolders (add --recursive): 2, videos (give each with --video): 1"
    ]


def test_pictures_of_subfolders_are_taken_on_request_and_keep_their_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "sub/a.jpg", "sub/deep/c.png", "out/pictures/a.jpg")
    found, remarks = find_pictures([tmp_path], recursive=True, passed=[tmp_path / "out" / "pictures"])
    assert [(picture.name, picture.result) for picture in found] == [
        ("a.jpg", "a"),
        ("sub/a.jpg", "sub/a"),
        ("sub/deep/c.png", "sub/deep/c"),
    ]
    assert remarks == []


def test_pictures_of_one_stem_have_results_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "a.png", "A.bmp", "b.jpg", "a.png.jpg")
    assert sorted(results(tmp_path)) == [
        ("A.bmp", "A.bmp"),
        ("a.jpg", "a.jpg"),
        ("a.png", "a.png"),
        ("a.png.jpg", "a.png_"),
        ("b.jpg", "b"),
    ]


def test_pictures_of_one_name_in_two_folders_have_the_folders_in_their_names(tmp_path: Path) -> None:
    fill(tmp_path, "one/a.jpg", "two/a.jpg", "two/b.jpg")
    assert results(tmp_path / "one", tmp_path / "two") == [
        ("one/a.jpg", "one/a"),
        ("two/a.jpg", "two/a"),
        ("b.jpg", "b"),
    ]


def test_a_link_to_a_picture_is_a_picture_of_its_own(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    assert results(tmp_path) == [("a.jpg", "a"), ("b.jpg", "b")]


def test_a_folder_without_pictures_says_what_is_there(tmp_path: Path, refused: Refused) -> None:
    fill(tmp_path, "notes.txt", "sub/a.jpg")
    message = refused(find_pictures, [tmp_path])
    assert message.startswith(
        f"{tmp_path}: no pictures in this folder (.txt files: 1, pictures in subfolders (add --recursive): 1); "
    )
    missing = tmp_path / "missing"
    assert refused(find_pictures, [missing]).startswith(f"{missing}: no such file or folder")


def test_a_list_names_pictures_relative_to_its_folder(tmp_path: Path, refused: Refused) -> None:
    """Blank lines, a byte order mark and line ends of Windows do not count; a missing file is found when it is read."""
    fill(tmp_path, "lists/a.jpg", "lists/deep/a.jpg", "other/b.jpg")
    lines = ["a.jpg", "", "deep/a.jpg", "../other/b.jpg", str(tmp_path / "other" / "b.jpg"), "missing.jpg"]
    listed = tmp_path / "lists" / "pictures.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found, remarks = find_pictures([tmp_path / "lists" / "a.jpg"], listed=listed)
    assert [(picture.name, picture.result) for picture in found] == [
        ("a.jpg", "a"),
        ("deep/a.jpg", "deep/a"),
        ("b.jpg", "b"),
        ("missing.jpg", "missing"),
    ]
    assert remarks == []
    listed.write_text("\n\n")
    assert "names no pictures" in refused(find_pictures, [], False, (), listed)


def test_pictures_elsewhere_are_named_by_the_ends_of_their_addresses(tmp_path: Path, refused: Refused) -> None:
    """Queries are no part of a name, nor is what a member of a zip file lies in; an address with / is a folder."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for name in ("a.jpg", "b.PNG", "notes.txt", "sub/a.jpg"):
        system.pipe(f"/find/{name}", b"")
    texts = ["https://host/x/1.jpg?size=3&id=a/b", "zip://in/2.png::memory://find/z.zip", "memory://find/"]
    found, _ = find_pictures([location_of(text) for text in texts])
    assert [(str(picture.path), picture.name, picture.result) for picture in found] == [
        ("https://host/x/1.jpg?size=3&id=a/b", "1.jpg", "1"),
        ("zip://in/2.png::memory://find/z.zip", "2.png", "2"),
        ("memory://find/a.jpg", "a.jpg", "a"),
        ("memory://find/b.PNG", "b.PNG", "b"),
    ]
    with fsspec.open("memory://find/z.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("in/c.jpg", b"")
    [inner], _ = find_pictures([location_of("zip://in/::memory://find/z.zip")])
    assert (str(inner.path), inner.name) == ("zip://in/c.jpg::memory://find/z.zip", "c.jpg")
    deep, _ = find_pictures([location_of("memory://find/")], recursive=True)
    assert [picture.name for picture in deep] == ["a.jpg", "b.PNG", "sub/a.jpg"]
    same, _ = find_pictures([location_of("memory://find/a.jpg"), location_of("memory://find/sub/a.jpg")])
    assert [picture.name for picture in same] == ["find/a.jpg", "sub/a.jpg"]
    assert "no pictures in this folder" in refused(find_pictures, [location_of("memory://nothing/")])
    (tmp_path / "s3:").mkdir()
    assert location_of(f"{tmp_path}/s3://") == tmp_path / "s3:"


def test_an_address_without_fsspec_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setattr("panoptic_blend.extras.find_spec", lambda package: None)
    assert refused(location_of, "s3://bucket/a.jpg") == (
        'fsspec is not installed; pip install "panoptic-blend[remote]"'
    )
    assert location_of("data.root=s3://bucket") == Path("data.root=s3:/bucket")
