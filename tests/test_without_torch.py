"""The half of the library that needs no torch, in interpreters where importing torch fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from panoptic_blend.extras import EXTRAS, MissingExtraError, require_extra
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_segment_ids

ABSENT = dict.fromkeys(EXTRAS["torch"])
BARE = f"import sys; sys.modules.update({ABSENT}); "
COMMAND = f"{BARE}from panoptic_blend.cli.main import main; main()"


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program where no package of the extra `torch` can be imported."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def command(*arguments: object) -> str:
    """The output of a command that must succeed."""
    done = python(COMMAND, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def truth(generated: Path) -> Path:
    return generated / "annotations" / "panoptic_val2017.json"


def test_torch_cannot_be_imported_there() -> None:
    done = python(f"{BARE}import torch")
    assert "No module named 'torch'" in done.stderr or "import of torch halted" in done.stderr


def test_pq(truth: Path, tmp_path: Path) -> None:
    report = json.loads(command("pq", truth, truth, "--json"))
    assert report["All"]["pq"] == 1.0
    command("pq", truth, truth, "--details", tmp_path / "out", "--compare", truth, "--boundary", "--resamples", 5)
    assert (tmp_path / "out" / "summary.json").exists()


def test_ap(tmp_path: Path) -> None:
    cat = {"image_id": 1, "category_id": 3, "bbox": [2, 1, 3, 4], "segmentation": [[2, 1, 5, 1, 5, 5, 2, 5]]}
    images, categories = [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}], [{"id": 3, "name": "cat"}]
    content = {"images": images, "annotations": [{"id": 1, "area": 12, **cat}], "categories": categories}
    truth, results = tmp_path / "truth.json", tmp_path / "results.json"
    truth.write_text(json.dumps(content))
    results.write_text(json.dumps([{**cat, "score": 0.5}]))
    found = json.loads(command("ap", truth, results, "--details", tmp_path / "out", "--compare", results, "--json"))
    assert found["box"]["AP"] == found["mask"]["AP_S"] == pytest.approx(1)


def test_report(truth: Path, generated: Path, tmp_path: Path) -> None:
    command(
        "report", truth, truth, "--images", generated / "val2017", "--output", tmp_path / "r.html", "--resamples", 5
    )
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_draw(truth: Path, generated: Path, tmp_path: Path) -> None:
    command("draw", truth, generated / "val2017", "--output", tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_data_check(generated: Path) -> None:
    done = python(COMMAND, "data", "check", generated, "--json", "--workers", 2)
    assert json.loads(done.stdout)["sound"] is True, done


def test_data_shapes(tmp_path: Path) -> None:
    command("data", "shapes", "--output", tmp_path, "--train", 1, "--val", 1)
    assert len(read_panoptic_json(tmp_path / "annotations" / "panoptic_val2017.json").images) == 1


def test_data_coco_dry_run(tmp_path: Path) -> None:
    done = python(COMMAND, "data", "coco", "--root", tmp_path, "--dry-run", "--mirror", "http://127.0.0.1:9")
    assert done.returncode == 2, "there is no server, which is found out without torch"
    assert done.stderr.startswith("error: http://127.0.0.1:9/annotations/"), done.stderr


def test_weights_list() -> None:
    first, *_ = json.loads(command("weights", "list", "--json"))
    assert first["name"] == "panoptic_fpn_r50_3x_mmdet" and first["license"] == "Apache-2.0"


def test_data_convert(generated: Path, tmp_path: Path) -> None:
    picture = next((generated / "val2017").iterdir())
    content = {
        "images": [{"id": 1, "file_name": picture.name, "height": 128, "width": 128}],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[10, 10, 20, 10, 20, 30, 10, 30]]}
        ],
    }
    image = next(
        image
        for image in read_panoptic_json(generated / "annotations" / "panoptic_val2017.json").images
        if image.file_name == picture.name
    )
    content["images"][0].update(height=image.size[0], width=image.size[1])
    (tmp_path / "instances.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    command(
        *("data", "convert", "coco-instances", tmp_path / "instances.json"),
        *("--pictures", picture.parent, "--output", out, "--split", "val"),
    )
    ids = read_segment_ids(out / "annotations" / "panoptic_val" / f"{picture.stem}.png")
    assert (ids == 1).sum() == 10 * 20


NEED_TORCH = [
    ["train", "demo/shapes_r18"],
    ["demo"],
    ["evaluate", __file__],
    ["predict", __file__, "b.jpg"],
    ["explain", "a.safetensors", "b.jpg"],
    ["export", "a.safetensors"],
    ["sweep", __file__],
    ["weights", "inspect", "a.pth"],
    ["weights", "import", "a.pth", "b.safetensors"],
]


def test_commands_that_need_torch_say_how_to_install_it() -> None:
    code = f"""{BARE}
from panoptic_blend.cli.main import main
for arguments in {NEED_TORCH}:
    sys.argv = ["panoptic-blend", *arguments]
    try:
        main()
    except SystemExit as end:
        print(end.code, file=sys.stderr)
"""
    done = python(code)
    said = 'error: torch is not installed; pip install "panoptic-blend[torch]"\n2\n'
    assert done.stderr == said * len(NEED_TORCH)
    assert done.stdout == ""


def test_a_misspelled_exported_folder_is_named_before_torch_is_asked_for() -> None:
    done = python(COMMAND, "predict", "no/exportd", "b.jpg")
    assert done.returncode == 2
    assert done.stderr == (
        'error: torch is not installed; pip install "panoptic-blend[torch]", '
        "or check the path: no/exportd is no folder with export.json\n"
    )


def test_so_do_public_names() -> None:
    names = [f"import {name}" for name in ("build_model", "load_weights", "Predictor")]
    code = f"""{BARE}
for code in {[*names, "import load; load('a.pth')"]}:
    try:
        exec(f"from panoptic_blend {{code}}")
    except ImportError as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""
    done = python(code)
    said = 'MissingExtraError: torch is not installed; pip install "panoptic-blend[torch]"\n'
    assert (done.stdout, done.stderr) == (said * 4, "")


def test_the_error_is_an_import_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"^pyarrow is not installed; pip install .*\[parquet\]\", or write CSV$"):
        require_extra("parquet", "or write CSV")
    require_extra("torch")
    assert issubclass(MissingExtraError, ImportError)
