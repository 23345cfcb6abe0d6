"""``ap``: figures of result files against those of pycocotools, and the tables that are written."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.cli import main as cli
from panoptic_blend.formats.instance_results import writing_results
from panoptic_blend.metrics.instance_errors import CAUSES
from panoptic_blend.scoring.instance_files import InstanceFiles, InstancePolicy

Refused = Callable[..., str]
Record = dict[str, Any]

HEIGHT, WIDTH = 120, 160
CLASSES = {1: "cat", 3: "dog", 8: "never there"}
TWELVE = ["AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR1", "AR10", "AR100", "AR_S", "AR_M", "AR_L"]


def polygon(box: list[float]) -> list[list[float]]:
    """An octagon in a box."""
    x, y, width, height = box
    corners = [(0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3)]
    return [[value for a, b in corners for value in (x + a * width, y + b * height)]]


def encoded(box: list[float]) -> Record:
    rle = coco.merge(coco.frPyObjects(polygon(box), HEIGHT, WIDTH))
    return {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}


def near(random: np.random.Generator, annotation: Record, spread: float) -> Record:
    """A result that is more or less that annotation."""
    box = (np.array(annotation["bbox"]) * (1 + spread * random.standard_normal(4))).clip(1).tolist()
    category = annotation["category_id"] if random.random() < 0.8 else int(random.choice([1, 3]))
    score = float(random.integers(1, 20)) / 20
    return {"image_id": annotation["image_id"], "category_id": category, "bbox": box, "score": score} | {
        "segmentation": encoded(box)
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A truth of 12 images, some empty, with crowds, and two result sets, in one image with over 100 detections."""
    folder, random = tmp_path_factory.mktemp("ap"), np.random.default_rng(0)
    ids = [100 - 7 * image for image in range(12)]
    annotations: list[Record] = []
    for image_id in ids:
        for number in range(image_id % 5):
            box = [*random.integers(0, 60, 2).tolist(), *random.integers(8, 60, 2).tolist()]
            record = {"image_id": image_id, "category_id": [1, 3][number % 2], "bbox": box, "area": box[2] * box[3] / 2}
            crowd = {"iscrowd": int(number == 3), "segmentation": encoded(box) if number == 3 else polygon(box)}
            annotations.append({"id": 1000 + len(annotations)} | record | crowd)
    crowded = [annotation for annotation in annotations if annotation["image_id"] == ids[1]]
    images = [{"id": key, "file_name": f"{key}.jpg", "height": HEIGHT, "width": WIDTH} for key in ids]
    categories = [{"id": key, "name": name} for key, name in CLASSES.items()]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth))
    for name, spread in ("a", 0.2), ("b", 0.05):
        sources = [*annotations * 3, *crowded * 60]
        results = [near(random, annotation, spread) for annotation in sources]
        (folder / f"{name}.json").write_text(json.dumps(results))
    return folder


def change(source: Path, target: Path, edit: Callable[[Any], object]) -> Path:
    content = json.loads(source.read_text())
    edit(content)
    target.write_text(json.dumps(content))
    return target


def by_pycocotools(truth: Path, results: Path, kind: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO(str(truth))
        evaluation = COCOeval(data, data.loadRes(str(results)), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [np.nan if figure < 0 else figure for figure in evaluation.stats]


Run = Callable[..., str]


@pytest.fixture
def ap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``ap`` with a truth, results and options; return its standard output."""

    def run(*arguments: object, code: int = 0) -> str:
        few = () if "--resamples" in arguments else ("--resamples", 5)
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "ap", *map(str, [*arguments, *few])])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == code
        return capsys.readouterr().out

    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def figures(found: dict[str, float | None]) -> list[float]:
    assert list(found) == TWELVE
    return [np.nan if value is None else value for value in found.values()]


def without(key: str) -> Callable[[list[Record]], object]:
    return lambda results: [result.pop(key) for result in results]


def with_polygons(results: list[Record]) -> None:
    for result in results:
        result["segmentation"] = polygon(result["bbox"])


def elsewhere(results: list[Record]) -> None:
    """Add results of a category that the truth lacks, and leave an image out."""
    results += [{**result, "category_id": 2} for result in results]
    results[:] = [result for result in results if result["image_id"] != 93]


@pytest.mark.parametrize(
    "edit", [list, without("bbox"), with_polygons, elsewhere], ids=["both", "masks", "polygons", "elsewhere"]
)
def test_the_figures_are_those_of_pycocotools(
    files: Path, tmp_path: Path, ap: Run, edit: Callable[[list[Record]], object]
) -> None:
    truth, results = files / "truth.json", change(files / "a.json", tmp_path / "a.json", edit)
    found = json.loads(ap(truth, results, "--json"))
    for kind, name in ("bbox", "box"), ("segm", "mask"):
        assert figures(found[name]) == pytest.approx(by_pycocotools(truth, results, kind), abs=1e-12, nan_ok=True)
        assert 0.05 < found[name]["AP"] < 0.95
    assert found["per_class"]["8"]["mask"]["AP"] is None


def test_ids_of_images_may_be_names(files: Path, tmp_path: Path, ap: Run) -> None:
    content = json.loads((files / "truth.json").read_text())
    for image in content["images"]:
        image["id"] = f"street {image['id']}"
    for annotation in content["annotations"]:
        annotation["image_id"] = f"street {annotation['image_id']}"
    (tmp_path / "truth.json").write_text(json.dumps(content))

    def named(results: list[Record]) -> None:
        for result in results:
            result["image_id"] = f"street {result['image_id']}"

    pair = tmp_path / "truth.json", change(files / "a.json", tmp_path / "a.json", named)
    found = json.loads(ap(*pair, "--json"))
    assert figures(found["mask"]) == pytest.approx(by_pycocotools(*pair, "segm"), abs=1e-12, nan_ok=True)


def test_what_the_library_writes_is_scored_alike_by_pycocotools(files: Path, tmp_path: Path) -> None:
    truth, results, written = files / "truth.json", files / "a.json", tmp_path / "instances_results.json"
    with writing_results(written) as writer:
        for image_id, _, (found,) in InstanceFiles(truth, [results]):
            writer.add(image_id, found)
    for kind in ("bbox", "segm"):
        theirs = by_pycocotools(truth, written, kind)
        assert theirs == pytest.approx(by_pycocotools(truth, results, kind), abs=1e-12, nan_ok=True)


def test_boxes_alone_have_no_figures_of_masks(files: Path, tmp_path: Path, ap: Run) -> None:
    results = change(files / "a.json", tmp_path / "a.json", without("segmentation"))
    found = json.loads(ap(files / "truth.json", results, "--json"))
    assert figures(found["box"]) == pytest.approx(by_pycocotools(files / "truth.json", results, "bbox"), nan_ok=True)
    assert found["mask"] is None
    assert "masks" not in ap(files / "truth.json", results)


def test_false_masks_have_the_size_of_their_box_or_their_own(files: Path, tmp_path: Path, ap: Run) -> None:
    masks_only = change(files / "a.json", tmp_path / "a.json", without("bbox"))
    own = json.loads(ap(files / "truth.json", files / "a.json", "--json", "--mask-area", "mask"))
    by_box = json.loads(ap(files / "truth.json", files / "a.json", "--json"))
    assert figures(own["mask"]) == pytest.approx(by_pycocotools(files / "truth.json", masks_only, "segm"), nan_ok=True)
    assert own["mask"]["AP_S"] != by_box["mask"]["AP_S"] and own["box"] == by_box["box"]


def test_the_tables_of_details_agree_with_the_figures(files: Path, tmp_path: Path, ap: Run) -> None:
    out = tmp_path / "deep" / "out"
    found = json.loads(ap(files / "truth.json", files / "a.json", "--details", out, "--json"))
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}.csv" for name in ("detections", "instances", "classes", "curves", "errors")),
        "summary.json",
    }
    assert json.loads((out / "summary.json").read_text()) == found
    results, truth = json.loads((files / "a.json").read_text()), json.loads((files / "truth.json").read_text())
    annotations = {annotation["id"]: annotation for annotation in truth["annotations"]}
    detections, instances = table(out / "detections.csv"), table(out / "instances.csv")
    assert len(instances) == len(annotations) and len(detections) < len(results), "a class has over 100 in an image"
    for row in detections:
        result = results[int(row["result"])]
        assert (int(row["image"]), int(row["category"])) == (result["image_id"], result["category_id"])
        assert [float(row[key]) for key in ("x", "y", "width", "height")] == result["bbox"]
        assert row["file_name"] == f"{row['image']}.jpg"
        for kind in ("box", "mask"):
            assert (row[f"{kind}_cause"] != "") == (row[f"{kind}_outcome"] == "fp")
            if row[f"{kind}_outcome"] == "tp":
                match = annotations[int(row[f"{kind}_annotation"])]
                assert (match["image_id"], match["category_id"]) == (result["image_id"], result["category_id"])
                assert float(row[f"{kind}_iou"]) >= 0.5
    for row in instances:
        annotation = annotations[int(row["annotation"])]
        assert (int(row["is_crowd"]), float(row["area"])) == (annotation["iscrowd"], annotation["area"])
        assert row["class"] == CLASSES[annotation["category_id"]]
        assert (row["mask_outcome"] == "ignored") == bool(annotation["iscrowd"])
        if row["mask_outcome"] == "tp":
            assert float(row["mask_score"]) == results[int(row["mask_result"])]["score"]
    for kind in ("box", "mask"):
        counts = found["errors"][kind]["counts"]
        assert counts["missed"] == sum(row[f"{kind}_cause"] == "missed" for row in instances)
        assert {cause: sum(row[f"{kind}_cause"] == cause for row in detections) for cause in CAUSES[:-1]} == {
            cause: counts[cause] for cause in CAUSES[:-1]
        }
        assert sum(found["errors"][kind]["shares"].values()) == pytest.approx(1 - found[kind]["AP50"])
        rows = [row for row in table(out / "curves.csv") if (row["of"], row["by"]) == ("All", kind)]
        assert len(rows) == 10 * 101
        assert np.mean([float(row["precision"]) for row in rows]) == pytest.approx(found[kind]["AP"])
    mean = np.mean([float(row["mask_AP"]) for row in table(out / "classes.csv") if row["mask_AP"]])
    assert mean == pytest.approx(found["mask"]["AP"])


def test_details_are_not_overwritten_unasked(files: Path, tmp_path: Path, ap: Run) -> None:
    pair = files / "truth.json", files / "a.json"
    ap(*pair, "--details", tmp_path / "out", "--table-format", "parquet")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".json", ".parquet"}
    ap(*pair, "--details", tmp_path / "out", code=2)
    ap(*pair, "--details", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "detections.csv").is_file()


def test_the_printed_tables(files: Path, tmp_path: Path, ap: Run) -> None:
    few = change(files / "a.json", tmp_path / "few.json", elsewhere)
    lines = ap(files / "truth.json", few, "--details", tmp_path / "out", "--per-class").splitlines()
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    (row,) = [line.split() for line in lines if line.startswith("│ AP_M ")]
    assert [row[3], row[9]] == [f"{100 * found[kind]['AP_M']:.1f}" for kind in ("box", "mask")]
    assert sum("classification" in line for line in lines) == 2, "boxes and masks"
    assert any(line.startswith("│ dog ") for line in lines)
    assert lines[-3:] == [
        "few.json: 60 of 120 results are of categories that truth.json lacks (2) and were left out",
        "few.json: 4 of 12 images have no results",
        f"tables of detections, instances, classes, curves and errors: {tmp_path / 'out'}",
    ]


def test_two_result_sets_are_compared(files: Path, tmp_path: Path, ap: Run) -> None:
    pair, out = (files / "truth.json", files / "a.json"), tmp_path / "out"
    printed = ap(*pair, "--compare", files / "b.json", "--details", out, "--resamples", 20)
    found = json.loads((out / "summary.json").read_text())
    second = json.loads(ap(files / "truth.json", files / "b.json", "--json", "--resamples", 20))
    assert {key: value for key, value in found["comparison"]["second"].items() if key != "per_class"} == {
        kind: second[kind] for kind in ("box", "mask")
    }
    for kind in ("box", "mask"):
        compared = found["comparison"][kind]
        for name in TWELVE:
            if found[kind][name] is not None:
                assert compared["figures"][name]["value"] == pytest.approx(second[kind][name] - found[kind][name])
        assert compared["better"]["AP"] == 1 and compared["figures"]["AP"]["low"] > 0, "b is far better"
        (row,) = [row for row in table(out / "comparison.csv") if (row["of"], row["by"]) == ("All", kind)]
        assert float(row["second"]) - float(row["first"]) == pytest.approx(float(row["difference"]))
    assert "Second result set minus the first, by masks" in printed and "100.0% of resamples" in printed
    boxes = change(files / "b.json", tmp_path / "boxes.json", without("segmentation"))
    compared = json.loads(ap(*pair, "--compare", boxes, "--json", "--resamples", 20))["comparison"]
    assert "mask" not in compared and compared["second"]["mask"] is None


def test_intervals_are_around_the_figures(files: Path, ap: Run) -> None:
    found = json.loads(ap(files / "truth.json", files / "b.json", "--json", "--resamples", 50, "--seed", 3))
    assert found["intervals"]["method"] == "normal bootstrap over images"
    assert (found["intervals"]["resamples"], found["intervals"]["seed"]) == (50, 3)
    interval = found["intervals"]["mask"]["figures"]["AP"]
    assert interval["value"] == pytest.approx(found["mask"]["AP"])
    assert 0 < interval["low"] <= interval["value"] <= interval["high"] < 1


def test_a_missing_file_is_named_before_any_is_read(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "truth.json").write_text("not read")
    assert refused(InstanceFiles, tmp_path / "truth.json", [tmp_path / "results.json"]) == (
        f"{tmp_path / 'results.json'}: no such file; check the path"
    )


def test_images_without_counterpart(files: Path, tmp_path: Path, refused: Refused) -> None:
    def other_image(results: list[Record]) -> None:
        results[3]["image_id"] = 12345

    truth, results = files / "truth.json", change(files / "a.json", tmp_path / "a.json", other_image)
    assert refused(InstanceFiles, truth, [results]) == (
        "a.json: image 12345 has results but is not in truth.json (1 in total); check that both are of the same "
        "split, or ignore them (--additional ignore)"
    )
    ignoring = InstanceFiles(truth, [results], InstancePolicy(additional="ignore"))
    assert ignoring.remarks()[0] == "a.json: 1 of 249 results are of images that truth.json lacks and were left out"
    assert refused(InstanceFiles, truth, [files / "a.json"], InstancePolicy(missing="error")) == (
        "a.json: no results for image 100 (3 of 12 images have none); predict every image of the truth, or score it as "
        "one in which nothing was found (--missing empty)"
    )


def corners(results: list[Record]) -> None:
    for result in results:
        x, y, width, height = result["bbox"]
        result["bbox"] = [x, y, x + width, y + height]


def fractions(results: list[Record]) -> None:
    for result in results:
        result["bbox"] = [value / WIDTH for value in result["bbox"]]


@pytest.mark.parametrize(
    ("edit", "doubt"),
    [
        (corners, "most boxes leave their image, and would fit as x0, y0, x1, y1; COCO's are x, y, width, height"),
        (fractions, "all boxes lie within one pixel, as fractions of the image do; COCO's are in pixels"),
    ],
)
def test_boxes_of_another_kind_are_told(
    files: Path, tmp_path: Path, edit: Callable[[list[Record]], object], doubt: str
) -> None:
    def far_boxes(results: list[Record]) -> None:
        for result in results:
            result["bbox"][0] += 40
        edit(results)

    results = change(files / "a.json", tmp_path / "a.json", far_boxes)
    assert InstanceFiles(files / "truth.json", [results]).remarks() == [
        f"a.json: {doubt}",
        "a.json: 3 of 12 images have no results",
    ]


def zero_id(annotations: list[Record]) -> None:
    annotations[0]["id"] = 0


def same_id(annotations: list[Record]) -> None:
    annotations[1]["id"] = annotations[0]["id"]


def fractions_of_areas(annotations: list[Record]) -> None:
    for annotation in annotations:
        annotation["area"] /= WIDTH * HEIGHT


@pytest.mark.parametrize(
    ("edit", "doubt"),
    [
        (zero_id, "an annotation has id 0; where it is found, pycocotools counts a false detection"),
        (same_id, "1 of 23 annotations have the id of another one, which pycocotools takes instead"),
        (
            fractions_of_areas,
            "most `area`s are less than 1% of their box or larger than it, so AP_S, AP_M and AP_L are of other sizes",
        ),
    ],
)
def test_a_truth_that_pycocotools_misreads_is_told(
    files: Path, tmp_path: Path, edit: Callable[[list[Record]], object], doubt: str
) -> None:
    truth = change(files / "truth.json", tmp_path / "truth.json", lambda content: edit(content["annotations"]))
    scored, sound = InstanceFiles(truth, [files / "a.json"]), InstanceFiles(files / "truth.json", [files / "a.json"])
    assert scored.remarks() == [f"truth.json: {doubt}", *sound.remarks()]


def test_without_annotations_there_is_nothing_to_measure(files: Path, tmp_path: Path, ap: Run) -> None:
    truth = change(files / "truth.json", tmp_path / "truth.json", lambda content: content.update(annotations=[]))
    found = json.loads(ap(truth, files / "a.json", "--json"))
    assert found["box"] == found["mask"] == dict.fromkeys(TWELVE)


def test_csv_has_plain_numbers(files: Path, ap: Run) -> None:
    printed = ap(files / "truth.json", files / "a.json", "--compare", files / "b.json", "--format", "csv")
    cells = [row[1:] for row in csv.reader(io.StringIO(printed)) if row and row[0] in TWELVE]
    assert len(cells) == 36
    assert all(float(cell) <= 100 for row in cells for cell in row if cell)


def test_a_truth_without_masks_scores_boxes_alone(files: Path, tmp_path: Path, ap: Run, refused: Refused) -> None:
    content = json.loads((files / "truth.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(content))
    found = json.loads(ap(truth, files / "a.json", "--json"))
    assert figures(found["box"]) == pytest.approx(by_pycocotools(truth, files / "a.json", "bbox"), nan_ok=True)
    assert found["mask"] is None
    assert InstanceFiles(truth, [files / "a.json"]).remarks()[0] == (
        "truth.json: its annotations have no masks, so boxes alone were scored"
    )
    content["annotations"][0]["segmentation"] = polygon(content["annotations"][0]["bbox"])
    truth.write_text(json.dumps(content))
    assert "has a box and no mask" in refused(InstanceFiles, truth, [files / "a.json"])
