"""Atomic writes, locks, names that stay in their folder, and errors that name the file."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.files import (
    distinct_names,
    filling,
    free_space,
    inside,
    locked,
    printable,
    process_mark,
    read_bytes,
    remove_unfinished,
    replacing,
    require_file,
    require_space,
)
from panoptic_blend.formats import json_files
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]


def test_a_file_appears_under_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "result.png"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".png"
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_durable_files_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.pread(number, 100, 0)))
    for name, durable in (("quick", False), ("safe", True)):
        with replacing(tmp_path / name, durable=durable) as temporary:
            temporary.write_text(name)
    assert synced == [b"safe"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quick", "safe"]


@pytest.mark.parametrize("name", ["a.jpg", "berlin/a b.jpg", "./a.jpg", "..a", "a..b/c", "çä 写真.png", "\u3000.png"])
def test_plain_names_stay_in_the_folder(name: str) -> None:
    assert inside(Path("data"), name) == Path("data") / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a",
        "a/../../b",
        "a/..",
        "/etc/passwd",
        "//a",
        "..\\a",
        "a\\b",
    ],
)
def test_names_that_lead_out_are_refused(refused: Refused, name: str) -> None:
    expected = f"file name {name!r} leads out of its folder; use plain relative names"
    assert refused(inside, Path("data"), name) == expected


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "../\x1b[2J", "\x85", "\u2028"])
def test_names_with_control_characters_are_refused(refused: Refused, name: str) -> None:
    assert refused(inside, Path("data"), name) == f"file name {name!r} has control characters; rename the file"


@given(st.text(st.sampled_from("./\\a\n"), max_size=8))
def test_accepted_names_lie_in_the_folder(name: str) -> None:
    try:
        path = inside(Path("/data/set"), name)
    except PanopticBlendError:
        return
    assert os.path.normpath(path).startswith("/data/set")
    assert "\n" not in name


def test_missing_files_are_named(refused: Refused, tmp_path: Path) -> None:
    for function in (require_file, read_bytes, read_json):
        assert refused(function, tmp_path / "no.json") == f"{tmp_path}/no.json: no such file; check the path"
        assert refused(function, tmp_path) == f"{tmp_path}: is a folder, not a file; check the path"
    assert refused(require_file, tmp_path / "a", "fetch it") == f"{tmp_path}/a: no such file; fetch it"
    os.mkfifo(pipe := tmp_path / "pipe")
    assert refused(read_json, pipe) == f"{pipe}: is a pipe or a device, not a file; write its content to a file first"
    endless = tmp_path / ("a" * 5000)
    assert refused(require_file, endless).startswith(f"{endless}: ")


def test_a_file_that_may_not_be_read_is_named(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / "a.json"
    path.touch()
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert refused(read_json, path) == f"{path}: cannot be read (Permission denied); check its permissions"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"images": [1, 2',
        b"{'images': []}",
        b"\xff\xfe\x00garbage\x80",
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"[" * 100_000,
        b'{"id": ' + b"9" * 5000 + b"}",
    ],
)
def test_broken_json_is_named(refused: Refused, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "panoptic.json"
    path.write_bytes(content)
    message = refused(read_json, path)
    assert message.startswith(f"{path}: not valid JSON (") and message.endswith("); is the file complete?")


@pytest.mark.parametrize("content", [gzip.compress(b"[]", mtime=0), b"PK\x03\x04\0"])
def test_compressed_json_is_to_be_unpacked(refused: Refused, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.json.gz"
    path.write_bytes(content)
    assert refused(read_json, path) == f"{path}: is compressed, by gzip or zip; unpack it"


@pytest.mark.parametrize("item", [b"[],", b"{},", b"[[]],", b'{"a":1},', b"[\n],\n"])
def test_json_of_empty_lists_is_refused_unparsed(
    refused: Refused, tmp_path: Path, item: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_files, "_JSON_MEMORY", 2**16)
    path = tmp_path / "wide.json"
    path.write_bytes(b'{"images": [' + item * (2**16 // 64 + 1))  # the end is missing, so parsing would say that
    assert "next to nothing; is this the right file?" in refused(read_json, path)


def test_json_of_points_and_segments_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "_JSON_MEMORY", 0)
    segment = {"id": 1, "category_id": 1, "area": 4, "bbox": [0, 0, 2, 2], "iscrowd": 0}
    for content in (
        [[1, 2]] * 100,
        {"annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": [segment]}]},
    ):
        (tmp_path / "a.json").write_text(json.dumps(content, separators=(",", ":")))
        assert read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_in_common_encodings(tmp_path: Path, encoding: str) -> None:
    content = {"name": "Straße 写真", "ids": [1, 2**40, -1], "none": None}
    path = tmp_path / "a b.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_json(path) == content


def test_space_is_measured_before_the_folder_exists(tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "not" / "yet"
    assert free_space(folder) > 0
    require_space(folder, 0, "nothing")
    message = refused(require_space, folder, 10**18, "a data set")
    assert message.startswith(f"{folder}: a data set needs 1.0 EB and ")
    assert not folder.parent.exists()


def test_only_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    left, alive = tmp_path / f".state.{int(dead.stdout)}.part.pt", tmp_path / f".state.{os.getpid()}.part.pt"
    others = [tmp_path / name for name in (".notes.partial.md", ".a.party", ".x.part1", "state.7.part.pt")]
    for path in (left, alive, *others):
        path.write_text("precious")
    (tmp_path / ".folder.1.part").mkdir()
    remove_unfinished(tmp_path.iterdir())
    assert set(tmp_path.iterdir()) == {alive, *others, tmp_path / ".folder.1.part"}


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not looked up there")
def test_temporary_files_of_another_host_are_removed_after_a_day(tmp_path: Path) -> None:
    mine = process_mark().split("-")[0]
    other = "fedcba" if mine != "fedcba" else "abcdef"
    hours = {
        f".state.{other}-999999999.part.pt": 23,  # its process may be alive, although there is none of this number here
        f".old.{other}-{os.getpid()}.part.pt": 25,
        f".own.{mine}-999999999.part.pt": 0,
        f".long.{process_mark()}.part.pt": 25,
        f".folder.{other}-7.part": 25,
        f".busy.{other}-7.part": 23,
        f".notes.{other}x-7.part": 25,
    }
    for name, age in hours.items():
        path = tmp_path / name
        path.touch() if path.suffix == ".pt" else path.mkdir()
        os.utime(path, (changed := time.time() - 3600 * age, changed))
    remove_unfinished(tmp_path.iterdir())
    assert {path.name.split(".")[1] for path in tmp_path.iterdir()} == {"state", "long", "busy", "notes"}


def test_the_host_is_in_temporary_names(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.png") as file, filling(tmp_path / "b") as folder:
        file.touch()
        assert file.name == f".a.{process_mark()}.part.png" and folder.name == f".b.{process_mark()}.part"


def test_a_locked_folder_is_refused_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with locked(folder):
        refusal = pytest.raises(PanopticBlendError, match="new: another process is using this folder; wait")
        with refusal, locked(folder):
            pass
        (folder / "result").write_text("")
    with locked(folder):
        assert list(folder.iterdir()) == [folder / "result"]
    with locked(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


def test_a_lock_on_a_folder_that_was_just_removed_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner, waited for, has removed the empty folder: another process may lock the next one of this name."""
    folder, taken = tmp_path / "new", list[int]()

    def lock(handle: int) -> bool:
        taken.append(handle)
        if len(taken) == 1:
            folder.rmdir()
        return True

    monkeypatch.setattr("panoptic_blend.files._try_lock", lock)
    with locked(folder, patience=9):
        assert folder.is_dir() and len(taken) == 2


def test_a_failed_write_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as error, replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "a.txt")


def test_a_copy_to_a_full_disk_names_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(bytes(2**16))

    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="No space") as error, replacing(tmp_path / "copy.jpg") as temporary:
        shutil.copyfile(tmp_path / "photo.jpg", temporary)
    assert error.value.filename == str(tmp_path / "copy.jpg") and "photo" not in str(error.value)


def test_a_failed_folder_is_named_unless_a_file_in_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as error, filling(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "out")
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space"), filling(tmp_path / "out") as folder, replacing(folder / "a"):
        raise full
    assert str(full.filename).endswith("/a")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not looked up there")
@pytest.mark.parametrize("is_folder", [False, True])
def test_writing_again_removes_what_a_killed_process_left(tmp_path: Path, is_folder: bool) -> None:
    """Of the same name only: another process may be writing another file."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from panoptic_blend.files import filling, replacing\n"
        "contexts = []\n"
        "for name in ('cache', 'other'):\n"
        f"    context = {'filling' if is_folder else 'replacing'}(Path(sys.argv[1], name + '.zip'))\n"
        "    path = context.__enter__()\n"
        "    contexts.append(context)\n"
        f"    {'(path / name).touch()' if is_folder else 'path.touch()'}\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    with (filling if is_folder else replacing)(tmp_path / "cache.zip") as path:
        (path / "new" if is_folder else path).touch()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 and left[0].startswith(".other.") and left[1] == "cache.zip"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("ü 漢 [b]", "ü 漢 [b]"), ("a\nb\x1b[2J", r"a\nb\x1b[2J"), ("\udcff\u202e", r"\udcff\u202e"), ("x" * 5000, None)],
)
def test_printable_text_is_one_line(text: str, shown: str | None) -> None:
    found = printable(text)
    assert found == shown if shown else found == f"{'x' * 1000} ... {'x' * 1000}"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/truth.json", "/d/a.json", "/d/b.json"], ["truth.json", "a.json", "b.json"]),
        (["/t/x.json", "/a/x.json"], ["t/x.json", "a/x.json"]),
        (["/d/ann/x.json", "/r/a/val/x.json", "/r/b/val/x.json"], ["d/ann/x.json", "a/val/x.json", "b/val/x.json"]),
        (["/x.json", "/x.json"], ["x.json", "x.json"]),
        (["/x.json", "/a/x.json"], ["/x.json", "a/x.json"]),
    ],
)
def test_distinct_names(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path(path) for path in paths]) == names
