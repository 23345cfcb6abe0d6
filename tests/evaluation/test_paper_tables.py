"""The tables of the BlendMask paper: what is stated of their rows, and rows measured with weights."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from evaluation import row_measurement
from evaluation.paper_tables import paper_tables, sources
from evaluation.tables import tables
from panoptic_blend import build_model, load_config
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.data.splits import open_validation
from panoptic_blend.formats.categories import Categories
from panoptic_blend.inference.evaluation import evaluate
from panoptic_blend.inference.predictor import load
from panoptic_blend.shapes.dataset import CATEGORIES

NETWORK = [
    *("model.backbone.depth=18", "model.fpn.channels=32", "model.bottom.channels=32", "model.semantic.channels=32"),
    *("model.blender.roi_size=14", "model.blender.attention_size=2", "model.fcos.score_threshold=0.01"),
]
DATA = ["data.things=panoptic", "data.workers=0", "test.short_side=64", "test.long_side=96"]
COUNTS = ["model.num_things=6", "model.num_stuff=4"]

app = typer.Typer()
app.command()(tables)


def printed(*arguments: object) -> str:
    found = CliRunner().invoke(app, [*map(str, arguments)])
    assert found.exit_code == 0, found.exception
    return found.stdout


def refusal(*arguments: object) -> str:
    return str(CliRunner().invoke(app, [*map(str, arguments)]).exception)


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a table in CSV, which has its title above."""
    return list(csv.DictReader(io.StringIO(text.partition("\n")[2])))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of two rows, untrained."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    torch.manual_seed(0)
    for name in ("ablation/table5_bilinear", "panoptic/blendmask_r50_3x"):
        config = load_config(name, [*NETWORK, *COUNTS])
        found[name] = folder / f"{Path(name).name}.safetensors"
        save_checkpoint(found[name], build_model(config).state_dict(), config, Categories(CATEGORIES))
    return found


@pytest.fixture(autouse=True)
def _few_pictures_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_measurement, "WARM_UP", 0)
    monkeypatch.setattr(row_measurement, "TIMED", 1)


def test_the_file_of_tables_is_sound() -> None:
    found, configs = paper_tables(), set[str]()
    assert list(found) == [*map(str, range(1, 10)), "A1"]
    for table in found.values():
        for row in table.rows.values():
            assert len(row.cells) == len(table.words), row
            assert set(row.stated) <= set(sources()), row
            assert all(set(stated) <= set(table.figures) for stated in row.stated.values()), row
            configs |= {row.config} if row.config else set()
    ablations = {name for name in config_names() if name.startswith("ablation/table")}
    assert ablations <= configs <= set(config_names())


@pytest.mark.parametrize("number", paper_tables())
def test_every_table_is_printed_without_weights(number: str) -> None:
    shown = rows(printed("--table", number, "--format", "csv"))
    lines = sum(max(len(row.stated), 1) for row in paper_tables()[number].rows.values())
    assert len(shown) == lines and "measured" not in {row["by"] for row in shown}


def test_figures_of_the_paper() -> None:
    shown = [row for row in rows(printed("--table", "8", "--format", "csv")) if row["backbone"] == "R-101"]
    [best] = [row for row in shown if row["epochs"] == "60" and row["by"] == "paper"]
    assert [*best.values()][-7:] == ["116.0", "41.3", "63.1", "44.6", "22.7", "44.1", "54.5"]
    latex = printed("--table", "1", "--format", "latex")
    assert "assembler & paper & 30.3 & 52.5 & 31.3 \\\\" in latex and "toprule" in latex
    markdown = printed("--table", "A1", "--format", "markdown")
    assert "| BlendMask | R-50 | adelaidet | 42.5 | - | - | 49.5 | 32.0 | - | - | - |" in markdown


def test_a_row_is_measured_once(generated: Path, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    weights = checkpoints["panoptic/blendmask_r50_3x"]
    command = ["--table", "A1", "--data", generated, "--output", tmp_path, *NETWORK, *DATA]
    command += ["--weights", f"blendmask_r50_3x={weights}"]
    [row] = [row for row in rows(printed(*command, "--format", "csv")) if row["by"] == "measured"]
    predictor = load(weights, overrides=[f"data.root={generated}", "data.val=val2017", *NETWORK, *DATA])
    found = evaluate(predictor.model, open_validation(predictor.config).dataset, predictor.config).columns()
    assert {name: row[name] for name in found} == {name: f"{100 * value:.1f}" for name, value in found.items()}
    for name in ("PQ", "PQ_Th", "PQ_St", "AP_Th", "AP_box"):
        assert float(row[f"{name} low"]) <= float(row[name]) <= float(row[f"{name} high"])
    assert "SQ low" not in row
    cache = tmp_path / "A1" / "blendmask_r50_3x.json"
    written = cache.stat().st_mtime_ns
    assert "measured" in printed(*command, "--format", "latex") and cache.stat().st_mtime_ns == written
    printed(*command, "test.short_side=32")
    assert cache.stat().st_mtime_ns != written and json.loads(cache.read_text())["measured"]["truth"] == "panoptic"


def test_rows_before_a_wrong_one_are_kept(generated: Path, checkpoints: dict[str, Path], tmp_path: Path) -> None:
    weights = checkpoints["ablation/table5_bilinear"]
    command = ["--table", "5", "--data", generated, "--output", tmp_path, *NETWORK, *DATA]
    message = refusal(*command, "--weights", f"bilinear={weights}", "--weights", f"nearest={weights}")
    assert "its model has model.blender.interpolation=bilinear, and that of the row nearest nearest" in message
    assert (tmp_path / "5" / "bilinear.json").is_file()
    other = checkpoints["panoptic/blendmask_r50_3x"]
    assert "model.bottom.kind=proto" in refusal(*command, "--weights", f"bilinear={other}")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["bilinaer=a.pth"], "table 5 has no such row; did you mean bilinear?"),
        (["x=a.pth"], "table 5 has no such row; choose one of nearest, bilinear"),
        (["bilinear"], "is not ROW=FILE; write it like"),
        (["bilinear=a.pth", "bilinear=b.pth"], "is given twice; give one file"),
        (["bilinear=none.pth"], "none.pth: no such file; give weights as ROW=FILE"),
    ],
)
def test_weights_that_cannot_be_meant(weights: Sequence[str], message: str, generated: Path, tmp_path: Path) -> None:
    given = [word for item in weights for word in ("--weights", item)]
    assert message in refusal("--table", "5", "--data", generated, "--output", tmp_path, *given)


def test_weights_need_data_and_a_config() -> None:
    assert "add --data DIR" in refusal("--table", "5", "--weights", "bilinear=a.pth")
    assert "has no config for this row" in refusal("--table", "8", "--weights", "paper_solo_r101=a.pth")
