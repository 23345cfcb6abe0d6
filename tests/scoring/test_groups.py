"""``pq --group-by``: figures of groups by hand, the worst one, and the errors of the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.groups import group_quality, read_groups
from panoptic_blend.structures import Category, ImageId, PanopticMap, Segment

NAMES: dict[ImageId, str] = {1: "a.jpg", 2: "b.jpg", "x": "c.jpg"}
CATEGORIES = [Category(1, "cat", is_thing=True), Category(2, "sky", is_thing=False)]


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_images_are_named_by_id_or_by_picture(tmp_path: Path) -> None:
    expected = {"site": {"north": [1, "x"], "(empty)": [2]}, "camera": {"1": [1, 2], "2": ["x"]}}
    by_id = "\ufeffsite,image,camera,file_name\nnorth,1,1,\n ,2,1,\nnorth,x,2,ignored\n\n"
    assert read_groups(table(tmp_path, by_id), NAMES) == expected
    assert read_groups(table(tmp_path, "image,site\nb.jpg,s\n1,s\nc.jpg,s\n"), NAMES) == {"site": {"s": [2, 1, "x"]}}
    assert read_groups(table(tmp_path, "image,site\n1,s\n2,t\n"), {1: "2", 2: "1"}) == {"site": {"s": [1], "t": [2]}}
    assert read_groups(table(tmp_path, "file_name,site\nb.jpg,s\nc.jpg,s\na.jpg,s\n"), NAMES) == {
        "site": {"s": [2, "x", 1]}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "groups.csv: is empty; "),
        ("id,site\n1,a\n", "groups.csv: row 1 has no column `image` or `file_name`; "),
        ("image;site\n1;a\n", "groups.csv: row 1 has no column `image`"),
        ("image\n1\n", "groups.csv: row 1 must name at least one column of groups"),
        ("image,site,site\n1,a,b\n", "groups.csv: row 1 must name at least one column of groups, each by a name of"),
        ("image,site\n1,a,b\n", "groups.csv: row 2 has 3 cells and the header 2; "),
        ("image,site\n1,a\n9,a\n", "groups.csv: row 3: `9` is no image of the ground truth; "),
        ("image,site\n1,a\n2,a\n1,b\n", "groups.csv: row 4: image 1 is in row 2 too; "),
        ("image,site\n1,a\n", "groups.csv: no row for image 2 (2 of 3 images have none); "),
        ('image,site\n1,"a\n', "groups.csv: is not a CSV file in UTF-8 (unexpected end of data); "),
    ],
)
def test_errors_name_file_and_row(tmp_path: Path, refused: Callable[..., str], text: str, message: str) -> None:
    assert message in refused(read_groups, table(tmp_path, text), NAMES)


def test_pictures_of_one_name_and_columns_of_very_many_groups(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = table(tmp_path, "file_name,site\na.jpg,s\n")
    assert "row 2: `a.jpg` is no image" in refused(read_groups, path, {1: "a.jpg", 2: "a.jpg"})
    many: dict[ImageId, str] = dict.fromkeys(range(101), "")
    path = table(tmp_path, "image,site\n" + "".join(f"{i},{i}\n" for i in many))
    assert "column `site` has 101 different values, more than 100 groups; " in refused(read_groups, path, many)
    path.write_bytes(b"image,site\n1,\xff\n")
    assert "is not a CSV file in UTF-8" in refused(read_groups, path, NAMES)


def panoptic(row: list[int]) -> PanopticMap:
    return PanopticMap(np.array([row], np.int32), [Segment(i, i, i == 1, None, 0, None) for i in (1, 2) if i in row])


def test_figures_of_groups() -> None:
    details = PanopticDetails(CATEGORIES)
    pairs = {"fog": (panoptic([1, 1, 1, 1, 2]), panoptic([1, 1, 1, 0, 0])), "sun": (panoptic([1]), panoptic([1]))}
    for image in range(8):  # in the fog, cats have IoU 3/4 and sky is missed; in the sun, there is no sky
        details.update(image, *pairs["fog" if image < 6 else "sun"])
    found = group_quality(details, {"weather": {"fog": [*range(6)], "sun": [6, 7]}}, Resampling(20))
    fog, sun = found.columns["weather"].values()
    assert (fog.pq, fog.images, sun.pq, sun.images) == (3 / 8, 6, 1, 2)
    interval = fog.intervals.groups["All"]
    assert (interval.low, interval.value, interval.high) == (3 / 8, 3 / 8, 3 / 8), "all images are alike"
    overall = ((6 * 3 / 4 + 2) / 8 + 0) / 2
    worst, classes = found.remarks()
    assert worst == (
        "worst weather: fog, PQ 37.5 (interval 37.5 to 37.5, images: 6), "
        f"{100 * (overall - 3 / 8):.1f} below all images"
    )
    assert classes.startswith("the groups of weather have different classes (1 to 2), and PQ of each is over its own")
    assert found.summary()["weather"]["worst"] == "fog"
    assert found.summary()["weather"]["groups"]["sun"]["per_class"][2]["pq"] is None
    alone = group_quality(details, {"site": {"here": [*range(8)]}}, Resampling(5))
    assert list(alone.remarks()) == [] and alone.summary()["site"]["worst"] is None


def test_the_command_prints_and_writes_groups(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = shapes / "annotations" / "panoptic_val2017.json"
    names = [image["file_name"] for image in json.loads(truth.read_text())["images"]]
    path = table(tmp_path, "file_name,[b]site[/b]\n" + "".join(f"{n},{n == names[0]}\n" for n in names))
    options = ["--group-by", str(path), "--details", str(tmp_path / "out"), "--resamples", "10", "--also", "covering"]
    monkeypatch.setattr("sys.argv", ["panoptic-blend", "pq", *map(str, (truth, truth, "--compare", truth)), *options])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    printed = capsys.readouterr().out
    printed = " ".join(printed.split())  # titles are wrapped
    sets = truth.name, f"{truth.name} (2)"
    for name in sets:
        assert f"PQ by [b]site[/b]: {name}" in printed and f"Figures beside PQ: {name}" in printed
        assert f"{name}: the groups of [b]site[/b] have different classes" in printed
    with (tmp_path / "out" / "groups.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["of"] == "All"]
    assert [(row["results"], row["group"], row["images"], row["pq"], row["pq_high"]) for row in rows] == [
        (name, group, images, "1.0", "1.0") for name in sets for group, images in (("True", "1"), ("False", "2"))
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["other_results"] == {sets[1]: {key: summary[key] for key in ("also", "groups")}}
    with (tmp_path / "out" / "also.csv").open(newline="") as file:
        assert {(row["results"], row["covering"]) for row in csv.DictReader(file)} == {(name, "1.0") for name in sets}
