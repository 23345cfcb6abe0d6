"""A folder and a zip of it are read alike, in every process."""

from __future__ import annotations

import multiprocessing
import pickle
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from panoptic_blend.formats import archives
from panoptic_blend.formats.archives import Folder
from panoptic_blend.structures import PanopticBlendError

CONTENT = {"1.png": b"one", "a b/ü.png": b"two" * 1000, "empty.png": b""}


def zipped(path: Path, prefix: str = "", content: dict[str, bytes] = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if prefix:
            archive.mkdir(prefix)
        for name, data in content.items():
            archive.writestr(prefix + name, data)
    return path


@pytest.fixture(params=["folder", "flat zip", "zip with a folder", "zip made on macOS", "link"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    path = tmp_path / "a folder"
    if "zip" in request.param:
        extra = {"__MACOSX/._1.png": b"resource fork"} if "macOS" in request.param else {}
        prefix = "" if "flat" in request.param else "top/"
        path = zipped(tmp_path / "ä.zip", prefix)
        with zipfile.ZipFile(path, "a") as archive:
            for name, data in extra.items():
                archive.writestr(name, data)
        return Folder(path)
    for name, data in CONTENT.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    if request.param == "link":
        (tmp_path / "link").symlink_to(path)
        return Folder(tmp_path / "link")
    return Folder(path)


def test_files_are_found_and_read(folder: Folder, refused: Callable[..., str], tmp_path: Path) -> None:
    assert folder.names() == CONTENT.keys()
    for name, data in CONTENT.items():
        assert name in folder
        assert folder.read(name) == data
    (tmp_path / "secret.png").write_bytes(b"not theirs")
    for name in ("2.png", "../secret.png", str(tmp_path / "secret.png"), "", "a b"):
        assert name not in folder
        refused(folder.read, name)


def test_sizes_tell_changed_files_and_not_zips_from_folders(folder: Folder, tmp_path: Path) -> None:
    names = [*CONTENT, "missing.png", "../outside.png"]
    digest = folder.digest(names)
    assert digest == Folder(zipped(tmp_path / "same.zip")).digest(names)
    assert digest != folder.digest(names[:-1]) != folder.digest([*CONTENT, "1.png"])
    changed = Folder(zipped(tmp_path / "other.zip", content={**CONTENT, "1.png": b"four"}))
    assert digest != changed.digest(names)
    assert folder.digest(["empty.png"]) == changed.digest(["empty.png"])


def test_checksums_are_those_of_the_contents(folder: Folder, tmp_path: Path) -> None:
    both = folder, Folder(zipped(tmp_path / "same.zip"))
    expected = [zlib.crc32(data) for data in CONTENT.values()]
    assert [[each.checksum(name) for name in CONTENT] for each in both] == [expected, expected]
    assert [each.checksum(name) for each in both for name in ("missing.png", "../outside.png")] == [None] * 4


def test_a_top_folder_is_kept_if_the_example_has_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "maps.zip", "frankfurt/", {"1.png": b"one"})
    assert Folder(path).names() == {"1.png"}
    assert Folder(path, "1.png").names() == {"1.png"}
    assert Folder(path, "frankfurt/1.png").names() == {"frankfurt/1.png"}
    assert Folder(path, "frankfurt/1.png").read("frankfurt/1.png") == b"one"


def test_an_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", "top/")
    with zipfile.ZipFile(path, "a") as archive, archive.open(zipfile.ZipInfo(""), "w") as file:
        file.write(b"nobody can ask for it")
    assert Folder(path).read("1.png") == b"one"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_a_zip(tmp_path: Path, method: str) -> None:
    content = {f"{i}.png": bytes([i]) * 5000 for i in range(40)}
    folder = Folder(zipped(tmp_path / "maps.zip", "maps/", content))
    folder.read("0.png")
    assert pickle.loads(pickle.dumps(folder)).read("7.png") == content["7.png"]
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(folder.read, content)) == list(content.values())


def test_broken_zips_are_named(tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zipped(tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    assert "cut.zip: neither a folder nor a complete zip" in refused(Folder, tmp_path / "cut.zip")
    assert "none.zip: neither a folder" in refused(Folder, tmp_path / "none.zip")
    start = whole.index(b"two") if b"two" in whole else whole.index("ü.png".encode()) + len("ü.png".encode())
    (tmp_path / "bad.zip").write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
    assert "'a b/ü.png' cannot be read" in refused(Folder(tmp_path / "bad.zip").read, "a b/ü.png")
    assert Folder(tmp_path / "bad.zip").read("1.png") == b"one"
    monkeypatch.setattr(archives, "MAX_BYTES", 2999)
    assert "unpacks to 3000 bytes" in refused(Folder(tmp_path / "whole.zip").read, "a b/ü.png")


def test_a_packed_size_beyond_the_file_reserves_no_memory(tmp_path: Path, refused: Callable[..., str]) -> None:
    content = bytearray(zipped(tmp_path / "maps.zip").read_bytes())
    entry = content.index(b"PK\x01\x02")  # in the directory; the packed size is at 20 (APPNOTE 4.3.12)
    content[entry + 20 : entry + 24] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "maps.zip").write_bytes(content)
    folder = Folder(tmp_path / "maps.zip")
    tracemalloc.start()
    try:
        for name in sorted(folder.names()):
            with suppress(PanopticBlendError):
                folder.read(name)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
