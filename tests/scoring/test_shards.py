"""``pq --shard`` and ``pq merge``: the figures of one run to the last bit, and the errors that name part files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.cli.sharding import compare_part
from panoptic_blend.formats.images import read_segment_ids, write_segment_ids
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.scoring.run import ScoredFiles
from panoptic_blend.scoring.shards import Shard, merge_parts, write_part

Run = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*command: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "pq", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
            sys.exit(0)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def truth(generated: Path) -> Path:
    return generated / "annotations" / "panoptic_train2017.json"


@pytest.fixture
def moved(truth: Path, tmp_path: Path) -> list[Path]:
    """Two result sets: the truth of 7 images, moved by 2 and by 4 pixels."""
    content = json.loads(truth.read_text())
    files = []
    for shift in (2, 4):
        path = tmp_path / f"moved{shift}.json"
        for annotation in content["annotations"]:
            ids = np.roll(read_segment_ids(truth.with_suffix("") / annotation["file_name"]), shift, axis=1)
            write_segment_ids(path.with_suffix("") / annotation["file_name"], ids)
        for number, annotation in enumerate(content["annotations"]):
            for segment in annotation["segments_info"][number % 2 :]:
                segment["score"] = segment["area"] % 100 / 100
        path.write_text(json.dumps({"annotations": content["annotations"]}))
        files.append(path)
    return files


def test_merged_parts_are_one_run_to_the_last_bit(run: Run, truth: Path, moved: list[Path], tmp_path: Path) -> None:
    files = truth, moved[0], "--compare", moved[1], "--boundary"
    for number in (1, 2, 3):
        code, printed, _ = run(*files, "--shard", f"{number}/3", "--state", tmp_path / f"{number}.npz")
        assert (code, printed.split(":")[0]) == (0, f"part {number}/3, {3 if number == 1 else 2} of 7 images")
    csv = tmp_path / "groups.csv"
    ids = [image["id"] for image in json.loads(truth.read_text())["images"]]
    csv.write_text("image,half\n" + "".join(f"{id},{i % 2}\n" for i, id in enumerate(ids)))
    outputs = "--also", "all", "--group-by", csv, "--resamples", "30", "--seed", "3", "--json"
    one = run(*files, *outputs, "--details", tmp_path / "one")
    parts = [tmp_path / f"{number}.npz" for number in (3, 1, 2)]
    assert run("merge", *parts, *outputs, "--details", tmp_path / "merged") == one
    assert one[0] == 0 and len(json.loads(one[1])) > 8
    written = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "merged")]
    assert written[0] == written[1] and len(written[0]) == 13
    assert json.loads(one[1])["calibration"]["All"]["scored"] > 20


def test_plain_figures_and_a_part_without_images(run: Run, generated: Path, tmp_path: Path) -> None:
    truth = generated / "annotations" / "panoptic_val2017.json"  # of three images
    files = truth, tmp_path / "results.json"
    content = json.loads(truth.read_text())
    files[1].write_text(json.dumps({"annotations": content["annotations"][1:]}))
    folder, void = ("--prediction-folder", truth.with_suffix("")), FilePolicy("void")
    for number in range(1, 5):
        part(tmp_path / f"{number}.npz", number, 4, *files, policy=void)
    parts = sorted(tmp_path.glob("*.npz"))
    assert run("merge", *parts, "--json") == run(*files, *folder, "--missing", "void", "--json")
    code, _, error = run("merge", *parts, "--fail-under", "100")
    assert code == 1 and error.startswith("failed: PQ of All is ")


def test_options_that_do_nothing_are_refused(truth: Path, tmp_path: Path, refused: Refused) -> None:
    files, state = ScoredFiles(truth, truth), tmp_path / "1.npz"

    def message(shard: str | None, path: Path | None, **outputs: object) -> str:
        return refused(partial(compare_part, files, shard, path, outputs, overwrite=False))

    assert message("1/2", None).startswith("--shard does nothing alone; add --state part.npz")
    assert message(None, state).startswith("--state does nothing alone; add --shard 1/8")
    for wrong in ("0/2", "3/2", "1", "1/2/3", "-1/2"):
        assert message(wrong, state).startswith(f"--shard {wrong}: is no part of a whole; give 1/8")
    assert message("1/2", state, unused=None, details=tmp_path) == (
        "details has no effect on a part; give it to `pq merge`"
    )
    state.touch()
    assert message("1/2", state).endswith("1.npz: already exists; choose another file, or add --overwrite")


def part(
    path: Path,
    number: int,
    of: int,
    truth: Path,
    results: Path,
    *,
    boundary: bool = False,
    policy: FilePolicy | None = None,
) -> Path:
    folder, shard = truth.with_suffix(""), Shard(number, of)
    files = ScoredFiles(truth, results, None, folder, boundary=boundary, policy=policy or FilePolicy())
    write_part(path, shard, files, files.read(part=shard.indices))
    return path


@pytest.mark.parametrize("side", ["truth", "results"])
def test_a_png_that_changes_between_parts_is_noticed(truth: Path, tmp_path: Path, refused: Refused, side: str) -> None:
    own, results = tmp_path / "own.json", tmp_path / "r.json"
    for path in (own, results):
        shutil.copy(truth, path)
        shutil.copytree(truth.with_suffix(""), path.with_suffix(""))
    parts = [tmp_path / "1.npz", tmp_path / "2.npz"]
    for number, path in enumerate(parts, start=1):
        files, shard = ScoredFiles(own, results), Shard(number, 2)
        write_part(path, shard, files, files.read(part=shard.indices))
        if number == 1:
            first = json.loads(truth.read_text())["annotations"][0]["file_name"]  # of the first part
            with ((own if side == "truth" else results).with_suffix("") / first).open("ab") as png:
                png.write(b"more")
    assert refused(merge_parts, parts) == (
        f"{parts[1]}: its run found PNGs of other sizes than that of {parts[0]}, so one was changed between them; "
        "run all parts again"
    )


@pytest.mark.parametrize("side", ["truth", "results"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_png_that_changes_at_equal_size_is_noticed(
    truth: Path, tmp_path: Path, refused: Refused, run: Run, side: str, zipped: bool
) -> None:
    own, results = tmp_path / "own.json", tmp_path / "r.json"
    content = json.loads(truth.read_text())
    own.write_text(json.dumps(content))
    results.write_text(json.dumps({"annotations": content["annotations"][1:]}))
    folders = {"truth": tmp_path / "t", "results": tmp_path / "r"}
    for folder in folders.values():
        shutil.copytree(truth.with_suffix(""), folder)
    png = folders[side] / content["annotations"][3]["file_name"]  # of the second part

    def kept() -> list[Path]:
        """The folders, or zips of them."""
        zips = [Path(shutil.make_archive(str(path), "zip", path)) for path in folders.values() if zipped]
        return zips or list(folders.values())

    parts = [tmp_path / "1.npz", tmp_path / "2.npz"]
    where = kept()
    for number, path in enumerate(parts, start=1):
        files = ScoredFiles(own, results, where[0], where[1], policy=FilePolicy("void"))
        shard = Shard(number, 2)
        write_part(path, shard, files, files.read(part=shard.indices))
    whole = run("merge", *parts)
    assert whole[0] == 0 and whole[2] == ""

    data = bytearray(png.read_bytes())
    data[-1] ^= 1  # in the checksum of its last chunk
    png.write_bytes(data)
    changed = kept()[list(folders).index(side)]
    expected = f"{changed / png.name}: has changed since it was scored for {parts[1]}; run that part again"
    assert refused(merge_parts, parts) == expected

    png.unlink()
    kept()
    assert run("merge", *parts) == (0, whole[1], f"{REMARK}1 PNGs of {changed}\n")
    for path in where:
        path.rename(tmp_path / f"elsewhere {path.name}")
    assert run("merge", *parts) == (0, whole[1], f"{REMARK}7 PNGs of {where[0]}, 6 PNGs of {where[1]}\n")


REMARK = "not checked for changes, as they are not there any more: "


def test_parts_of_other_runs_are_named(truth: Path, tmp_path: Path, refused: Refused) -> None:
    results, other = tmp_path / "r.json", tmp_path / "other.json"
    content = json.loads(truth.read_text())
    results.write_text(json.dumps(content))
    other.write_text(json.dumps(content, indent=1))
    first = part(tmp_path / "1.npz", 1, 2, truth, results)
    again, third = (part(tmp_path / f"{name}.npz", 1, 2, truth, results) for name in ("again", "third"))
    assert refused(merge_parts, [first, again]).startswith(f"{again}: is part 1/2, as is {first}; ")
    assert refused(merge_parts, [third]) == f"part 2/2 is missing, of the run of {third}; add the file, or run it"
    for name, words, found in (
        ("results", "results", part(tmp_path / "2a.npz", 2, 2, truth, other)),
        ("options", "options", part(tmp_path / "2b.npz", 2, 2, truth, results, boundary=True)),
        ("shard", "", part(tmp_path / "2c.npz", 2, 3, truth, results)),
    ):
        message = refused(merge_parts, [first, found])
        assert message.startswith(f"{found}: "), name
        assert message.endswith("; merge the parts of one run")
        assert f"has other {words} than {first} (" in message or "is part 2/3 and " in message
    write_segment_ids(tmp_path / "t" / "x.png", np.array([[1]], np.int32))
    image = {"id": 1, "file_name": "x.jpg", "height": 1, "width": 1}
    infos = [{"id": 1, "category_id": 1, "area": 1}]
    annotation = {"image_id": 1, "file_name": "x.png", "segments_info": infos}
    content = {"images": [image], "annotations": [annotation], "categories": content["categories"]}
    (tmp_path / "t.json").write_text(json.dumps(content))
    found = part(tmp_path / "2d.npz", 2, 2, tmp_path / "t.json", tmp_path / "t.json")
    assert f"has other ground truth than {first} (t.json " in refused(merge_parts, [first, found])


def test_damaged_files_are_named(truth: Path, tmp_path: Path, refused: Refused) -> None:
    good = part(tmp_path / "good.npz", 1, 1, truth, truth)
    assert len(merge_parts([good]).details[0]) == 7
    content, bad = good.read_bytes(), tmp_path / "bad.npz"
    with np.load(good) as file:
        arrays = dict(file)

    def message() -> str:
        return refused(merge_parts, [bad])

    for broken in (b"", b"text", content[: len(content) // 2], content[:200] + b"\x00" * 50 + content[250:]):
        bad.write_bytes(broken)
        assert message() == f"{bad}: is no part file of `pq --shard`, or is damaged; run that part again"
    np.savez(bad, header=np.array([{}], dtype=object))  # a pickle, which must not be read
    assert "is no part file" in message()
    changes: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
        ("0_counts", lambda array: array + 1),
        ("0_counts", lambda array: array[:-1]),
        ("0_truth", lambda array: array.astype(np.float64)),
        ("0_truth", lambda array: array + 10**6),  # unknown categories
        ("0_overlaps", lambda array: array[::-1]),
        ("0_overlaps", lambda array: array * 1000),
        ("0_scores", lambda array: array[:-1]),
        ("header", lambda array: array[:-1]),
        ("header", lambda array: np.frombuffer(array.tobytes().replace(b'"scored": [', b'"scored": [[], '), np.uint8)),
    ]
    for name, change in changes:
        np.savez(bad, **{**arrays, name: change(arrays[name])})
        assert "is no part file" in message(), name
    header = json.loads(arrays["header"].tobytes())
    newer = json.dumps({**header, "format": 4}).encode()
    np.savez(bad, **{**arrays, "header": np.frombuffer(newer, np.uint8)})
    assert message().startswith(f"{bad}: is of version 4 of part files, and this library reads 3; ")
