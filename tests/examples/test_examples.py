"""Every program in ``examples/`` runs as it is, in an empty folder, and says what it is meant to say."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import ranks

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
SAYS = {
    "own_backbone": "segments in the first picture",
    "own_dataset": " iterations",
    "own_merge": "gradient norm of the attentions",
    "torchvision_loop": " instances, with labels ",
}
HELD_BELOW = {
    *("fine_tune", "score_results", "draw_bases"),
    *("torchmetrics_metric", "hugging_face_evaluate", "instead_of_panopticapi"),
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads would spend most of their time waiting


def run(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints; it must end well."""
    ended = ranks.program(EXAMPLES / f"{name}.py", arguments, folder)
    assert ended.code == 0, ended.said
    return ended.said


HELP = """
import runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        assert not end.code, path
"""


def test_help_says_how_to_use_an_example(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELP, *(str(EXAMPLES / f"{name}.py") for name in NAMES)]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^usage: (\w+)\.py", done.stdout, re.MULTILINE) == NAMES
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(set(NAMES) - HELD_BELOW))
def test_other_examples_run(name: str, tmp_path: Path) -> None:
    assert SAYS[name] in run(name, tmp_path)


def test_fine_tuning_lowers_the_loss_and_its_checkpoint_draws(tmp_path: Path) -> None:
    said = run("fine_tune", tmp_path)
    losses = [float(loss) for loss in re.findall(r"iteration \d+: loss ([\d.]+)", said)]
    assert len(losses) == 10
    assert sum(losses[-3:]) < sum(losses[:3])
    assert "fine_tuned.safetensors finds " in said

    pictures = sorted((tmp_path / "shapes" / "train2017").glob("*.jpg"))
    assert "4 bases and " in run("draw_bases", tmp_path, "fine_tuned.safetensors", str(pictures[0]))


def test_bases_and_attentions_are_drawn(tmp_path: Path) -> None:
    assert "4 bases and 2 detections" in run("draw_bases", tmp_path, "--detections", "2")
    bases, attentions = (cv2.imread(str(tmp_path / "bases" / name)) for name in ("bases.png", "attentions.png"))
    assert bases is not None
    assert attentions is not None
    height, width = bases.shape[:2]
    assert width > 4 * height  # the photo and four bases in a row
    assert attentions.shape[1] > 10 * 96  # the box, four times weights and scores, the mask, each 96 pixels wide


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torchmetrics_metric", "{'pq': 0.7083, 'sq': 0.7083, 'rq': 1.0, 'pq_things': 0.6667,"),
        ("hugging_face_evaluate", "{'pq': 0.7083, 'sq': 0.7083, 'rq': 1.0, 'pq_things': 0.6667,"),
        ("instead_of_panopticapi", "All       | 100.0  100.0  100.0 "),
    ],
)
def test_adapters_print_the_figures(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The person has IoU 2/3, the sky 3/4. In this process, which has loaded torch already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert said in capsys.readouterr().out


def test_scoring_needs_no_torch(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path(sys.argv.pop(), run_name='__main__')"
    command = [sys.executable, "-c", code, str(EXAMPLES / "score_results.py")]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert "in memory: PQ 66.7" in done.stdout, done.stderr


def test_results_are_scored(tmp_path: Path) -> None:
    """In memory the person's IoUs are 4/6 and 1, the sky's 2/4 (no match) and 1: PQ is the mean of 5/6 and 1/2."""
    said = run("score_results", tmp_path)
    assert "in memory: PQ 66.7" in said
    assert "Things PQ 100.0 SQ 100.0 RQ 100.0" in said  # the segment that the results lack is stuff
    truth = str(tmp_path / "scored" / "annotations" / "panoptic_train2017.json")
    assert run("score_results", tmp_path, truth, truth).splitlines()[0] == "All    PQ 100.0 SQ 100.0 RQ 100.0"
