"""A run is pushed to a stand-in for the Hub, with a card that is true and says nothing of this machine."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hub_server import Hub, hub_serving
from huggingface_hub import constants

from panoptic_blend.checkpoints.io import read_checkpoint, read_figure, save_checkpoint
from panoptic_blend.cli import main as cli
from panoptic_blend.config.experiment import load_config
from panoptic_blend.download import weights_cache
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.formats.categories import Categories
from panoptic_blend.publishing.push import Publication, push
from panoptic_blend.shapes.dataset import CATEGORIES

Refused = Callable[..., str]
STATE = {"a": torch.arange(3.0)}
KNOWN = Categories([{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in CATEGORIES])
PERFECT: dict[str, object] = {
    "PQ": 1.0,
    "SQ": 1.0,
    "RQ": 1.0,
    "PQ_Th": 1.0,
    "PQ_St": 1.0,
    "mIoU": None,
    "AP_box": 0.25,
    "instance_truth": "panoptic",
}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv(weights_cache.OFFLINE, "")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks the older protocol
    with hub_serving(monkeypatch, tmp_path / "hub") as hub:
        yield hub


def write_run(folder: Path, data: Path, *overrides: str, log: tuple[dict[str, object], ...] = (PERFECT,)) -> Path:
    """A run on Shapes whose results are the truth, with the ``log`` of its evaluations."""
    config = load_config("demo/shapes_r18", [f"data.root={data}", "train.weights=null", *overrides])
    save_checkpoint(folder / "last.safetensors", {"a": torch.zeros(3)}, config, KNOWN)
    save_checkpoint(folder / "best.safetensors", STATE, config, KNOWN, {"pq": 1.0})
    lines = [json.dumps({"iteration": 10 * i, **record}) for i, record in enumerate(log, start=1)]
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    shutil.copytree(data / "annotations", folder / "results")
    cv2.imwrite(str(folder / "curves.png"), np.zeros((4, 4, 3), np.uint8))
    return folder


@pytest.fixture
def run(generated: Path, tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", generated)


def pushed(hub: Hub, run: Path, **options: object) -> str:
    """The card of a run that is pushed."""
    push(run, Publication("me/street", **options))  # type: ignore[arg-type]
    return hub.repos["me/street"]["README.md"].decode()


def test_a_run_is_pushed_and_fetched_again(
    hub: Hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "at_my_home.png"
    cv2.imwrite(str(photo), np.full((4, 4, 3), 7, np.uint8))
    words = ["push", run, "me/street", "--private", "--license", "apache-2.0", "--data", "Shapes", "--picture", photo]
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert capsys.readouterr().out == f"{hub.url}/me/street: load it as hf://me/street\n"
    files = hub.repos["me/street"]
    assert set(files) == {"README.md", "config.yaml", "curves.png", "model.safetensors", "picture_1.jpg"}
    assert hub.private == {"me/street"}
    path = weights_path("hf://me/street")
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint.state["a"], STATE["a"]) and read_figure(path, "pq") == 1.0, "the best weights"
    assert checkpoint.categories.records() == KNOWN.records() and checkpoint.config.data.root is None
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: panoptic_blend\npipeline_tag: image-segmentation\n")
    assert "6 classes of things and 4 of stuff: " in card
    assert "on the split `val2017` of Shapes:" in card
    assert "| PQ | SQ | RQ | PQ_Th | PQ_St | mIoU | AP_box |" in card
    assert "| 100.0 | 100.0 | 100.0 | 100.0 | 100.0 | - | 25.0 |" in card
    assert "bootstrap over 3 images" in card and "| All | 100.0 | 0.0 to 100.0 |" in card, "3 images say nothing"
    assert "AP is against the things of the panoptic annotation" in card
    assert "10 of 10 classes occur in fewer than 6 images" in card and "![curves](curves.png)" in card


def test_nothing_of_this_machine_leaves_it(hub: Hub, run: Path, generated: Path) -> None:
    local = write_run(run.parent / "secret_run", generated, f"train.weights={run}/x.pth")
    pushed(hub, local)
    secrets = [str(generated), str(run.parent), str(Path.home()), "secret_run", "x.pth", socket.gethostname()]
    secrets += [f"/{getpass.getuser()}/"]
    for name, content in hub.repos["me/street"].items():
        assert not [secret for secret in secrets if secret.encode() in content], name
    assert "starting from a file." in hub.repos["me/street"]["README.md"].decode()


def test_intervals_belong_to_the_weights_or_are_left_out(
    hub: Hub, generated: Path, shapes: Path, tmp_path: Path
) -> None:
    worse = PERFECT | {"PQ": 0.5, "PQ_Th": 0.5}
    card = pushed(hub, write_run(tmp_path / "a", generated, log=(PERFECT, worse)))
    assert "| 100.0 |" in card and "the run kept the results of a later evaluation" in card
    card = pushed(hub, write_run(tmp_path / "b", generated, log=(worse,)))
    assert "| 50.0 |" in card and "results or ground truth have changed since the evaluation" in card
    run = write_run(tmp_path / "c", shapes)
    shutil.rmtree(shapes / "annotations")
    assert "There are no confidence intervals: results or ground truth were not at hand" in pushed(hub, run)
    assert "| PQ |\n|---|\n| 100.0 |" in pushed(hub, run / "best.safetensors")
    assert "without figures" in pushed(hub, run / "last.safetensors")
    (run / "best.safetensors").unlink()
    assert "| 100.0 |" in pushed(hub, run), "the last weights, with the last evaluation"


def test_an_instance_model_knows_no_stuff(hub: Hub, generated: Path, tmp_path: Path) -> None:
    figures: dict[str, object] = {"AP_box": 0.4, "PQ_Th": 1.0}
    card = pushed(hub, write_run(tmp_path / "run", generated, "model.semantic.enabled=false", log=(figures,)))
    assert "6 classes of things: " in card and "instance-segmentation" in card and "| 40.0 | 100.0 |" in card
    del figures["PQ_Th"]
    card = pushed(hub, write_run(tmp_path / "no_maps", generated, "model.semantic.enabled=false", log=(figures,)))
    assert "no confidence intervals: the data set has no panoptic annotation" in card


def test_terms_of_the_initial_weights_are_kept(hub: Hub, generated: Path, tmp_path: Path, refused: Refused) -> None:
    run = write_run(tmp_path / "run", generated, "train.weights=mask_rcnn_r50_3x_detectron2")
    message = refused(push, run, Publication("me/street"))
    assert "comes from mask_rcnn_r50_3x_detectron2, CC BY-SA 3.0" in message and hub.requests == []
    by_file = write_run(tmp_path / "by_file", generated, f"train.weights={tmp_path}/model_final_f10217.pkl")
    assert "comes from mask_rcnn_r50_3x_detectron2" in refused(push, by_file, Publication("me/street"))
    assert "starting from mask_rcnn_r50_3x_detectron2." in pushed(hub, by_file, license="cc-by-sa-3.0")
    assert b"weights: mask_rcnn_r50_3x_detectron2\n" in hub.repos["me/street"]["config.yaml"]
    card = pushed(hub, run, license="cc-by-sa-3.0")
    assert "mask_rcnn_r50_3x_detectron2 by detectron2: CC BY-SA 3.0: name the authors" in card
    assert "license: unknown" in pushed(hub, write_run(tmp_path / "free", generated, "train.weights=imagenet"))


def test_refusals(hub: Hub, run: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(STATE, tmp_path / "a.pth")
    there = Publication("me/street", is_private=True)
    assert "only safetensors of this library are pushed" in refused(push, tmp_path / "a.pth", there)
    assert "neither best.safetensors nor last.safetensors" in refused(push, tmp_path, there)
    assert "write owner/name" in refused(Publication, "street")
    assert "write it as in apache-2.0" in refused(Publication, "me/street", False, "Apache 2!")
    hub.repos["me/street"] = {}
    assert "exists and is public" in refused(push, run, there) and not hub.repos["me/street"]
    del hub.repos["me/street"]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "log in with `hf auth login`" in refused(push, run, there)
    monkeypatch.setenv(weights_cache.OFFLINE, "1")
    assert "without --offline" in refused(push, run, there)
