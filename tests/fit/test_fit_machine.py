"""Measurements of this machine: steps of a tiny training."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.machine import free_memory, measure_machine, step_seconds
from panoptic_blend.machine import cores

TINY = [
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.bottom.channels=32",
    "model.semantic.channels=32",
    "model.backbone.depth=14",
    "data.short_sides=[64]",
    "train.batch_size=2",
    "train.rescale=false",
    "train.ema=0.9",
]


def test_free_resources() -> None:
    machine = measure_machine("cpu")
    assert 1 <= machine.cores <= cores()
    assert 0 < machine.memory < 2**50
    assert machine.device == "cpu"


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    everything = free_memory(tmp_path)
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1800\n")
    (tmp_path / "memory.stat").write_text("anon 1500\nactive_file 100\ninactive_file 200\n")
    assert free_memory(tmp_path) == 3000 - (1800 - 200)
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > everything / 2
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("1000\n")
    (old / "memory.usage_in_bytes").write_text("4000\n")
    (old / "memory.stat").write_text("inactive_file 0\n")
    assert free_memory(tmp_path) == 0


def test_a_real_step_is_measured(generated: Path) -> None:
    measured = step_seconds(load_config("demo/shapes_r18", TINY), CocoPanoptic(generated, "train2017"), "32-true", 2)
    assert measured.seconds > measured.load_seconds > 0
    assert 0 < measured.judge_seconds < measured.seconds
    assert measured.peak_memory > 2**20
    assert measured.spread >= 1


def test_a_step_is_measured_without_the_weights_of_the_backbone(generated: Path) -> None:
    backbone = (
        "{kind: timm, name: test_efficientnet, depth: 50, norm: bn, frozen_stages: 0, pretrained: lite0.safetensors}"
    )
    config = load_config("demo/shapes_r18", [*TINY, f"model.backbone={backbone}", "train.weights=imagenet"])
    assert step_seconds(config, CocoPanoptic(generated, "train2017"), "32-true", 1).seconds > 0
