"""Unpacking of good, broken and malicious archives, and by a process that is killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.download.unpacking import BrokenArchiveError, members, open_archive, unpack_file, unpack_folder
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]
PICTURES = {f"val2017/{i}.jpg": bytes([i]) * (1000 + i) for i in range(5)}


def write(
    path: Path,
    files: dict[str, bytes],
    lie: Callable[[ZipInfo], object] = lambda info: None,
    method: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Write an archive, after ``lie`` may have falsified the entries of its directory."""
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name), content, method)
        for info in archive.filelist:
            lie(info)
    return path


def probe(path: Path) -> None:
    with open_archive(path):
        pass


def contents(folder: Path) -> dict[str, bytes]:
    return {f"{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "val2017.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "val2017"


def test_only_the_files_of_the_folder_are_unpacked(path: Path, folder: Path) -> None:
    others = {
        "val2017/": b"",
        "__MACOSX/val2017/._0.jpg": b"x",
        "val2017/._1.jpg": b"x",
        "val2017/readme.txt": b"x",
        "val2017/deep/0.jpg": b"x",
        "train2017/0.jpg": b"x",
    }
    shown: list[tuple[int, int]] = []
    unpack_folder(write(path, {**others, **PICTURES}), ".jpg", 5, folder, lambda *progress: shown.append(progress))
    assert contents(folder) == PICTURES and list(folder.parent.iterdir()) == [folder]
    assert shown == [(1000, 5010), (2001, 5010), (3003, 5010), (4006, 5010), (5010, 5010)]


def test_one_file_is_unpacked(path: Path, tmp_path: Path) -> None:
    write(path, {"annotations/a.json": b"{}"})
    target = tmp_path / "annotations" / "a.json"
    target.parent.mkdir()
    (target.parent / ".a.999999999.part.json").write_bytes(b"of a run that was killed")
    unpack_file(path, "annotations/a.json", target)
    assert target.read_bytes() == b"{}" and list(target.parent.iterdir()) == [target]


def test_a_missing_member_is_refused(path: Path, tmp_path: Path, refused: Refused) -> None:
    write(path, PICTURES)
    assert "has no annotations/a.json" in refused(unpack_file, path, "annotations/a.json", tmp_path / "a.json")


@pytest.mark.parametrize("count", [4, 6])
def test_a_wrong_number_of_files_is_refused_before_unpacking(
    path: Path, folder: Path, refused: Refused, count: int
) -> None:
    message = refused(unpack_folder, write(path, PICTURES), ".jpg", count, folder)
    assert f"has 5 files val2017/*.jpg, not {count}; " in message
    assert not folder.parent.exists()


def test_all_entries_are_unpacked_even_if_the_end_record_states_fewer(path: Path, folder: Path) -> None:
    """A small model of an archive with over 65,535 entries: the end record states 1 entry, the directory has 5."""
    data = bytearray(write(path, PICTURES).read_bytes())
    end = data.rindex(b"PK\5\6")
    assert data[end + 8 : end + 12] == b"\5\0\5\0"
    data[end + 8 : end + 12] = b"\1\0\1\0"
    path.write_bytes(data)
    unpack_folder(path, ".jpg", 5, folder)
    assert contents(folder) == PICTURES


EVIL = {
    "leads out of its folder": [
        "../evil",
        "val2017/../../evil",
        "/evil",
        "val2017\\evil.jpg",
        "\\\\host\\evil",
        "a\nb",
    ],
    "is the name of a device or drive": ["C:/evil", "C:evil", "val2017/NUL.jpg", "con", "val2017/com1 .jpg", "a/aux/b"],
    "is not a plain name": ["a//b", "./a", "a/./b", "val2017/a.", "val2017 /a.jpg"],
}


@pytest.mark.parametrize("fault, name", [(fault, name) for fault, names in EVIL.items() for name in names])
def test_harmful_names_are_refused(path: Path, folder: Path, refused: Refused, fault: str, name: str) -> None:
    write(path, {**PICTURES, name: b"evil"})
    assert f"{name!r} {fault}; " in refused(unpack_folder, path, ".jpg", 5, folder)
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_is_no_utf8_where_the_picture_begins_is_refused(path: Path, folder: Path, refused: Refused) -> None:
    write(path, PICTURES)
    content = bytearray(path.read_bytes())
    content[7] |= 0x08  # the name of the first picture is UTF-8
    content[30] = 0x80
    path.write_bytes(content)
    assert "can't decode byte 0x80" in refused(unpack_folder, path, ".jpg", 5, folder)


def test_a_name_with_a_hidden_end_is_refused(path: Path, refused: Refused) -> None:
    write(path, {"val2017/a.jpg.exe": b"evil"})
    path.write_bytes(path.read_bytes().replace(b"a.jpg.exe", b"a.jpg\0exe"))
    assert "leads out of its folder" in refused(probe, path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(path: Path, refused: Refused, kind: int) -> None:
    write(path, PICTURES, lambda info: setattr(info, "external_attr", (kind | 0o777) << 16))
    assert "'val2017/0.jpg' is a link or a device, not a file" in refused(probe, path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_used_twice_are_refused(path: Path, refused: Refused) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("val2017/0.jpg", b"one")
        archive.writestr("val2017/0.jpg", b"two")
    assert "'val2017/0.jpg' occurs twice" in refused(probe, path)
    write(path, {"val2017/a.jpg": b"one", "val2017/A.jpg": b"the same file on some systems"})
    assert "'val2017/A.jpg' occurs twice" in refused(probe, path)


@pytest.mark.parametrize(
    "field, value, fault",
    [
        ("flag_bits", 1, "is encrypted"),
        ("flag_bits", 0x20, "is encrypted"),
        ("compress_type", zipfile.ZIP_LZMA, "is compressed by method 14"),
        ("file_size", 10**15, "it is a zip bomb"),
        ("compress_size", 10**6, "it is a zip bomb"),
    ],
)
def test_encryption_rare_methods_and_zip_bombs_are_refused(
    path: Path, refused: Refused, field: str, value: int, fault: str
) -> None:
    write(path, PICTURES, lambda info: setattr(info, field, value))
    assert fault in refused(probe, path)


def test_a_zip_bomb_is_refused(path: Path, folder: Path, refused: Refused) -> None:
    write(path, {"val2017/0.jpg": bytes(10**7)})
    assert "declares 10000000 bytes, packed in 97" in refused(unpack_folder, path, ".jpg", 1, folder)


def test_the_free_space_is_checked_before_unpacking(
    path: Path, folder: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, PICTURES)
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(PICTURES["val2017/0.jpg"])
    monkeypatch.setattr("panoptic_blend.files.free_space", lambda folder: 4 * 4096 - 1)  # four blocks are missing
    assert "unpacking val2017.zip needs 16.4 kB and 16.4 kB are free" in refused(unpack_folder, path, ".jpg", 5, folder)
    assert [path.name for path in folder.iterdir()] == ["0.jpg"]
    monkeypatch.setattr("panoptic_blend.files.free_space", lambda folder: 4 * 4096)
    unpack_folder(path, ".jpg", 5, folder)


@pytest.mark.parametrize(
    "field, value", [("CRC", 1), ("file_size", 999), ("file_size", 1001), ("compress_size", 8), ("header_offset", 3)]
)
def test_unpacked_files_must_match_their_entries(
    path: Path, folder: Path, refused: Refused, field: str, value: int
) -> None:
    def lie(info: ZipInfo) -> None:
        if info.filename == "val2017/0.jpg":
            setattr(info, field, value)

    write(path, PICTURES, lie)
    message = refused(unpack_folder, path, ".jpg", 5, folder)
    assert "cut short or damaged" in message and message.endswith("fetch it again")
    assert not folder.exists()
    refused(unpack_file, path, "val2017/0.jpg", folder.parent / "0.jpg")
    assert not (folder.parent / "0.jpg").exists()


def test_a_web_page_is_recognized(path: Path, refused: Refused) -> None:
    path.write_bytes(b"\n<!DOCTYPE html><title>Not found</title>")
    assert "it begins like a web page" in refused(probe, path)


def test_a_wrong_offset_of_the_directory_is_damage(path: Path, refused: Refused) -> None:
    data = bytearray(write(path, PICTURES).read_bytes())
    data[data.rindex(b"PK\5\6") + 18] = 0xFF
    path.write_bytes(data)
    assert "its directory is not where its end record says" in refused(probe, path)


@given(st.data())
def test_an_archive_cut_anywhere_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "a.zip", PICTURES)
        path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, path.stat().st_size - 1))])
        with pytest.raises(BrokenArchiveError):
            probe(path)


@given(st.data())
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        path, folder = write(Path(name) / "a.zip", PICTURES, method=method), Path(name) / "val2017"
        content = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            unpack_folder(path, ".jpg", 5, folder)
        except PanopticBlendError as error:
            assert len(str(error).splitlines()) == 1
            assert not folder.exists()
        else:
            assert sorted(contents(folder).values()) == sorted(PICTURES.values())


def test_valid_files_of_an_earlier_run_are_kept(path: Path, folder: Path) -> None:
    write(path, PICTURES)
    staging = folder.with_name(".val2017.unpacking")
    staging.mkdir(parents=True)
    right, wrong, torn = (staging / f"{i}.jpg" for i in range(3))
    right.write_bytes(PICTURES["val2017/0.jpg"])
    wrong.write_bytes(bytes(len(PICTURES["val2017/1.jpg"])))
    torn.write_bytes(PICTURES["val2017/2.jpg"][:100])
    os.utime(right, (1, 1))
    unpack_folder(path, ".jpg", 5, folder)
    assert contents(folder) == PICTURES and not staging.exists()
    assert (folder / "0.jpg").stat().st_mtime == 1


def test_an_incomplete_folder_is_completed_and_links_in_it_are_not_followed(path: Path, folder: Path) -> None:
    write(path, PICTURES)
    folder.mkdir(parents=True)
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_bytes(b"not to be touched")
    (folder / "0.jpg").symlink_to(elsewhere)
    (folder / "notes.txt").write_bytes(b"mine")
    unpack_folder(path, ".jpg", 5, folder)
    assert contents(folder) == {**PICTURES, "val2017/notes.txt": b"mine"}
    assert elsewhere.read_bytes() == b"not to be touched"


def test_two_incomplete_folders_are_not_mixed_and_an_empty_one_does_not_count(
    path: Path, folder: Path, refused: Refused
) -> None:
    write(path, PICTURES)
    folder.mkdir(parents=True)
    folder.with_name(".val2017.unpacking").mkdir()
    (folder / "0.jpg").write_bytes(b"mine")
    assert "remove one of them" in refused(unpack_folder, path, ".jpg", 5, folder)
    assert (folder / "0.jpg").read_bytes() == b"mine"
    (folder / "0.jpg").unlink()
    unpack_folder(path, ".jpg", 5, folder)
    assert contents(folder) == PICTURES


def test_the_work_of_a_killed_process_is_continued(path: Path, folder: Path) -> None:
    files = {f"val2017/{i}.jpg": os.urandom(20_000) for i in range(500)}
    write(path, files)
    code = f"""
from pathlib import Path
from panoptic_blend.download.unpacking import unpack_folder
unpack_folder(Path({str(path)!r}), ".jpg", 500, Path({str(folder)!r}), lambda *done: print(*done, flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "20000 10000000\n"
        process.kill()
    staging = folder.with_name(".val2017.unpacking")
    assert process.returncode == -9 and not folder.exists()
    assert 0 < len(list(staging.iterdir())) < 500
    unpack_folder(path, ".jpg", 500, folder)
    assert contents(folder) == files and not staging.exists()


def test_members_are_selected_by_folder_and_suffix(path: Path) -> None:
    with open_archive(
        write(path, {"a.b/1.png": b"", "aXb/2.png": b"", "a.b/3.jpg": b"", "x/a.b/4.png": b""})
    ) as archive:
        assert [info.filename for info in members(archive, "a.b", ".png")] == ["a.b/1.png"]
