"""The download of COCO, from a local server that has a small data set instead."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import FileServer, serving
from packed_coco import INSTANCES, PANOPTIC, folder_of, official, packed, unpacked

from panoptic_blend.cli.main import main
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.download import coco as coco_download
from panoptic_blend.download.coco import DownloadRequest, Feedback, plan, prepare
from panoptic_blend.download.coco_parts import count_and_last_byte
from panoptic_blend.download.transfer import RetryPolicy

Refused = Callable[..., str]
VAL, TRAIN = "/zips/val2017.zip", "/zips/train2017.zip"
TOOL = Path(__file__).parents[2] / "tools" / "prepare_coco.py"


@pytest.fixture
def server(generated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of Shapes with 7 training and 3 validation images, which are set as the numbers of COCO."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(coco_download, "SPLITS", {"val2017": 3, "train2017": 7})
    with serving() as server:
        server.files = official(generated, "val2017", "train2017")
        yield server


@pytest.fixture
def wanted(server: FileServer, tmp_path: Path) -> DownloadRequest:
    return DownloadRequest(tmp_path / "new" / "coco", mirror=f"{server.url}/")


def fetched(server: FileServer) -> list[str]:
    """The paths that were fetched since the last call."""
    paths = [path for method, path, _ in server.requests if method == "GET"]
    server.requests.clear()
    return paths


def listing(root: Path) -> list[str]:
    """Files, and folders of a split with their number of files, sorted."""
    folders = [path for path in root.rglob("*2017") if path.is_dir()]
    files = [path for path in root.rglob("*") if path.is_file() and path.parent not in folders]
    rows = [str(path.relative_to(root)) for path in files]
    return sorted(rows + [f"{path.relative_to(root)}: {len(list(path.iterdir()))}" for path in folders])


def test_all_parts_are_fetched_and_a_second_run_sends_no_request(
    server: FileServer, wanted: DownloadRequest, generated: Path
) -> None:
    prepare(wanted)
    assert fetched(server) == [PANOPTIC, VAL, TRAIN]
    assert listing(wanted.root) == [
        "annotations/panoptic_train2017.json",
        "annotations/panoptic_train2017.zip",
        "annotations/panoptic_train2017: 7",
        "annotations/panoptic_val2017.json",
        "annotations/panoptic_val2017.zip",
        "annotations/panoptic_val2017: 3",
        "panoptic_annotations_trainval2017.zip",
        "train2017.zip",
        "train2017: 7",
        "val2017.zip",
        "val2017: 3",
    ]
    for split, count in (("train2017", 7), ("val2017", 3)):
        ours, theirs = CocoPanoptic(wanted.root, split), CocoPanoptic(generated, split)
        assert len(ours) == count
        assert all(
            (ours[i].panoptic_truth().segment_ids == theirs[i].panoptic_truth().segment_ids).all() for i in range(count)
        )
        assert folder_of(wanted.root / split) == folder_of(generated / split)
    said: list[str] = []
    prepare(wanted, Feedback(say=said.append))
    assert server.requests == [] and all(line.startswith("complete: ") for line in said[:6])
    kept = sum(path.stat().st_size for path in wanted.root.rglob("*.zip"))
    assert said[6:] == [f"zips kept: {kept / 1000:.1f} kB; --delete-zips removes them"]


def test_two_images_of_coco_itself(
    server: FileServer, coco_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_download, "SPLITS", {"val2017": 2, "train2017": 7})
    server.files = official(coco_sample, "val2017")
    prepare(DownloadRequest(tmp_path, ("val2017",), keep_zips=False, mirror=server.url))
    assert listing(tmp_path) == ["annotations/panoptic_val2017.json", "annotations/panoptic_val2017: 2", "val2017: 2"]
    dataset, original = CocoPanoptic(tmp_path, "val2017"), CocoPanoptic(coco_sample, "val2017")
    for i in range(2):
        assert (dataset[i].image == original[i].image).all()
        assert dataset[i].panoptic_truth().segments == original[i].panoptic_truth().segments


def test_a_second_split_reuses_the_archive_of_the_first(server: FileServer, wanted: DownloadRequest) -> None:
    prepare(replace(wanted, splits=("val2017",)))
    assert fetched(server) == [PANOPTIC, VAL]
    assert not (wanted.root / "annotations" / "panoptic_train2017.json").exists()
    prepare(wanted)
    assert fetched(server) == [TRAIN]


def test_instances_are_fetched_on_request(server: FileServer, wanted: DownloadRequest) -> None:
    prepare(wanted)
    fetched(server)
    prepare(replace(wanted, instances=True))
    assert fetched(server) == [INSTANCES]
    names = {path.name for path in (wanted.root / "annotations").glob("*.json")}
    assert names == {f"{kind}_{split}2017.json" for kind in ("panoptic", "instances") for split in ("train", "val")}


def test_deleted_archives_are_not_fetched_again(server: FileServer, wanted: DownloadRequest) -> None:
    prepare(replace(wanted, splits=("val2017",)))
    prepare(replace(wanted, keep_zips=False))
    assert not list(wanted.root.rglob("*.zip"))
    fetched(server)
    prepare(wanted)
    assert server.requests == []


def test_pngs_may_stay_in_their_archives(server: FileServer, wanted: DownloadRequest) -> None:
    zipped = replace(wanted, unzip_pngs=False, keep_zips=False)
    prepare(zipped)
    fetched(server)
    assert listing(wanted.root) == [
        "annotations/panoptic_train2017.json",
        "annotations/panoptic_train2017.zip",
        "annotations/panoptic_val2017.json",
        "annotations/panoptic_val2017.zip",
        "train2017: 7",
        "val2017: 3",
    ]
    prepare(zipped)
    prepare(wanted)
    prepare(zipped)  # an unpacked folder is accepted too
    assert server.requests == []
    assert (wanted.root / "annotations" / "panoptic_val2017.zip").exists()
    assert len(CocoPanoptic(wanted.root, "train2017")) == 7


def test_a_folder_that_other_tools_left_incomplete_is_completed(
    server: FileServer, wanted: DownloadRequest, generated: Path
) -> None:
    shutil.copytree(generated, wanted.root)
    shutil.move(wanted.root / "annotations" / "panoptic_val2017", wanted.root)  # the path that detectron2 expects
    incomplete = wanted.root / "annotations" / "panoptic_train2017"
    for png in sorted(incomplete.iterdir())[3:]:
        png.unlink()
    prepare(wanted)
    assert fetched(server) == [PANOPTIC]
    assert folder_of(incomplete) == folder_of(generated / "annotations" / "panoptic_train2017")
    assert not (wanted.root / "annotations" / "panoptic_val2017").exists()


def test_a_json_cut_short_is_replaced(server: FileServer, wanted: DownloadRequest, generated: Path) -> None:
    shutil.copytree(generated, wanted.root)
    json = wanted.root / "annotations" / "panoptic_val2017.json"
    whole = json.read_bytes()
    for torn in (whole[:-1], whole[: len(whole) // 2], b""):
        json.write_bytes(torn)
        prepare(wanted)
        assert json.read_bytes() == whole


def test_a_key_is_counted_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for shift in range(20):
        path.write_bytes(b" " * (2**22 - shift) + b'"segments_info"' + b' "segments_info"}\n ')
        assert count_and_last_byte(path, b'"segments_info"') == (2, b"}")


def test_an_incomplete_mirror_is_refused(
    server: FileServer, wanted: DownloadRequest, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco_download, "SPLITS", {"val2017": 4})
    only = replace(wanted, splits=("val2017",))
    assert "panoptic_val2017.json: has 3 annotations where COCO has 4" in refused(prepare, only)
    monkeypatch.setattr(coco_download, "SPLITS", {"val2017": 3})
    server.files[VAL].content = packed({"val2017/1.jpg": b"x", "val2017/2.jpg": b"x"})
    assert "has 2 files val2017/*.jpg, not 3; get the official archive" in refused(prepare, only)
    assert not (wanted.root / "val2017").exists()
    del server.files[VAL]
    (wanted.root / "val2017.zip").unlink()
    assert "404 Not Found" in refused(prepare, only)


def test_a_damaged_archive_is_fetched_again_by_the_next_run(
    server: FileServer, wanted: DownloadRequest, refused: Refused
) -> None:
    whole = server.files[VAL].content
    picture = whole.index(b"\xff\xd8\xff")
    server.files[VAL].content = whole[: picture + 99] + bytes([whole[picture + 99] ^ 1]) + whole[picture + 100 :]
    message = refused(prepare, wanted)
    assert "val2017.zip: not a zip, cut short or damaged: Bad CRC-32" in message and "fetch it again" in message
    assert not (wanted.root / "val2017.zip").exists() and not (wanted.root / "val2017").exists()
    server.files[VAL].content = whole
    fetched(server)
    prepare(wanted)
    assert fetched(server) == [VAL, TRAIN]


def test_an_archive_cut_short_is_not_kept(server: FileServer, wanted: DownloadRequest, refused: Refused) -> None:
    server.files[PANOPTIC].content = server.files[PANOPTIC].content[:-100]
    assert "cut short or damaged" in refused(prepare, wanted)
    assert not wanted.root.exists()


def test_checksums_are_verified_for_new_and_existing_archives(
    server: FileServer, wanted: DownloadRequest, refused: Refused, tmp_path: Path
) -> None:
    checksums = tmp_path / "SHA256SUMS"
    rows = {path: f"{hashlib.sha256(server.files[path].content).hexdigest()}  .{path}\n" for path in (PANOPTIC, VAL)}
    checksums.write_text("".join(rows.values()))
    checked = replace(wanted, splits=("val2017",), checksums=checksums)
    prepare(checked)
    shutil.rmtree(wanted.root / "val2017")
    prepare(checked)
    assert fetched(server) == [PANOPTIC, VAL]
    shutil.rmtree(wanted.root / "val2017")
    checksums.write_text(f"{'0' * 64} *val2017.zip\n")
    assert f"val2017.zip: SHA256 is {rows[VAL][:64]}, not 000" in refused(prepare, checked)
    (wanted.root / "val2017.zip").unlink()
    assert "val2017.zip.part: SHA256 is" in refused(prepare, checked)
    assert not list(wanted.root.glob("val2017*"))
    checksums.write_text("\n")
    assert "SHA256SUMS: has no line for val2017.zip; add it" in refused(prepare, checked)
    checksums.write_text("12345  val2017.zip")
    assert "SHA256SUMS: line 1 is not `SHA-256  name`; " in refused(prepare, checked)


def test_a_plan_lists_the_steps_and_changes_nothing(
    server: FileServer, wanted: DownloadRequest, refused: Refused
) -> None:
    only = replace(wanted, splits=("val2017",))
    server.files[PANOPTIC].drops = [1000] + [0] * 9
    refused(prepare, only, None, RetryPolicy(5, (0,), lambda pause: None))
    before = listing(wanted.root)
    fetched(server)
    size, rest = len(server.files[PANOPTIC].content), len(server.files[PANOPTIC].content) - 1000
    server.files[VAL].has_head = False
    lines = list(plan(only).lines())
    assert fetched(server) == [] and listing(wanted.root) == before
    root, kilo = wanted.root, 1000
    assert lines[:5] == [
        f"to fetch: {server.url}{PANOPTIC} ({size / kilo:.1f} kB, {rest / kilo:.1f} kB left)"
        f" as {root}/panoptic_annotations_trainval2017.zip",
        f"to fetch: {server.url}{VAL} (size unknown) as {root}/val2017.zip",
        f"to unpack: {root}/annotations/panoptic_val2017.json (3 annotations)",
        f"to unpack: {root}/annotations/panoptic_val2017 (3 png)",
        f"to unpack: {root}/val2017 (3 jpg)",
    ]
    assert lines[5].startswith(f"free at {root}: ") and len(lines) == 6


def test_the_total_space_is_checked_before_anything_is_fetched(
    server: FileServer, wanted: DownloadRequest, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(server.files[path].content) for path in (PANOPTIC, VAL, TRAIN)]
    assert plan(wanted).required_space() == 2 * sum(sizes)
    peak = plan(replace(wanted, keep_zips=False)).required_space()
    # the peak is at the end: the first two are unpacked, and the third is there packed and unpacked
    assert peak == sizes[0] + sizes[1] + 2 * sizes[2]
    monkeypatch.setattr("panoptic_blend.files.free_space", lambda folder: peak - 1)
    assert "COCO needs" in refused(prepare, replace(wanted, keep_zips=False))
    assert fetched(server) == [] and not wanted.root.exists()


def test_a_full_disk_is_reported(wanted: DownloadRequest, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("panoptic_blend.download.coco_parts.unpack_file", fill)
    assert f"{wanted.root}: the disk is full; free space and run the command again" in refused(prepare, wanted)


def test_two_runs_cannot_use_one_folder(wanted: DownloadRequest, refused: Refused) -> None:
    messages: list[str] = []

    def second(text: str) -> None:
        if not messages:
            messages.append(refused(prepare, wanted))

    prepare(wanted, Feedback(say=second))
    assert messages == [f"{wanted.root}: another process is using this folder; wait until it ends"]


def test_impossible_requests_are_refused(tmp_path: Path, refused: Refused) -> None:
    assert "split 'test2017'" in refused(DownloadRequest, tmp_path, ("test2017",))
    assert "not a plain http or https address" in refused(lambda: DownloadRequest(tmp_path, mirror="file:///srv/coco"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", "data", "coco", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_the_command(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "coco"
    wanted = "--root", root, "--mirror", server.url, "--split", "val2017", "--instances", "--no-unzip-pngs"
    assert run(monkeypatch, *wanted, "--dry-run") == 0
    assert len(capsys.readouterr().out.splitlines()) == 8 and not root.exists()
    assert run(monkeypatch, *wanted, "--delete-zips") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"COCO val2017: complete in {root}"
    assert listing(root) == [
        "annotations/instances_val2017.json",
        "annotations/panoptic_val2017.json",
        "annotations/panoptic_val2017.zip",
        "val2017: 3",
    ]
    server.files.clear()
    assert run(monkeypatch, "--root", root, "--mirror", server.url) == 2
    assert (
        capsys.readouterr().err
        == f"error: {server.url}{PANOPTIC}: the server answers 404 Not Found; check the address\n"
    )


@pytest.mark.parametrize(
    "stop, code, message",
    [(signal.SIGINT, 130, "stopped; run the same command again to continue\n"), (signal.SIGKILL, -signal.SIGKILL, "")],
)
def test_a_stopped_command_continues_where_it_stopped(
    server: FileServer, wanted: DownloadRequest, stop: signal.Signals, code: int, message: str
) -> None:
    held = server.files[PANOPTIC]
    held.content = packed({"annotations/padding": os.urandom(2**20), **unpacked(held.content)})
    held.stalls_at = 2**18
    command = [sys.executable, str(TOOL), "--root", str(wanted.root), "--mirror", server.url]
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parents[1])}
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background processes may ignore it
    ) as process:
        part = wanted.root / "panoptic_annotations_trainval2017.zip.part"
        while not part.exists() or part.stat().st_size < 2**18:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(stop)
        assert process.stderr is not None and process.stderr.read() == message
    assert process.returncode == code
    held.stalls_at = None
    server.requests.clear()
    prepare(wanted)
    assert server.requests[3] == ("GET", PANOPTIC, f"bytes={2**18}-")
    assert len(CocoPanoptic(wanted.root, "train2017")) == 7
