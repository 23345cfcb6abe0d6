"""Resuming compares classes, images, model and schedule, and names what differs; worked out on small data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.meaning import compare, meaning

Refused = Callable[..., str]

OUTPUT = Path("runs/try")
ANEW = f"start a new run in another --output with --weights {OUTPUT / 'last.safetensors'}"


def of(root: Path, *changes: str) -> dict[str, Any]:
    config = load_config("demo/shapes_r18", [f"data.root={root}", *changes])
    found = meaning(config, CocoPanoptic(root, "train2017"), CocoPanoptic(root, "val2017"))
    return json.loads(json.dumps(found))  # plain values only


def state(fixed: dict[str, Any], iteration: int = 4) -> dict[str, Any]:
    return {"iteration": iteration, "fixed": fixed}


def edited(root: Path, edit: Callable[[dict[str, Any]], object], split: str = "*") -> None:
    for path in (root / "annotations").glob(f"panoptic_{split}.json"):
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))


def test_nothing_is_said_where_nothing_differs(shapes: Path, tmp_path: Path) -> None:
    """Not the folder of the data set, the number of loading processes, or intervals."""
    before = of(shapes)
    moved = shapes.rename(tmp_path / "moved")
    now = of(moved, "data.workers=2", "train.checkpoint_every=7", "train.devices=2", "train.log_every=3")
    assert compare(state(before), now, OUTPUT) == []


def renamed(content: dict[str, Any]) -> None:
    content["categories"][1]["name"] = "cell"


def as_stuff(content: dict[str, Any]) -> None:
    record = content["categories"][-1]
    record["isthing"] = 1 - record["isthing"]


@pytest.mark.parametrize(
    "edit", [renamed, as_stuff, lambda content: content["categories"].append({"id": 999, "name": "moon", "isthing": 1})]
)
def test_other_classes(shapes: Path, refused: Refused, edit: Callable[[dict[str, Any]], object]) -> None:
    before = of(shapes)
    classes = before["categories"]
    edited(shapes, edit)
    now = of(shapes)
    pairs = zip([*classes, None], [*now["categories"], None], strict=False)
    old, new = next((a, b) for a, b in pairs if a != b)
    known, found = (f"{x[0]} {x[1]!r}, {'thing' if x[2] else 'stuff'}" if x else "no class" for x in (old, new))
    assert refused(compare, state(before), now, OUTPUT) == (
        f"{OUTPUT}: its states belong to a run with other classes ({known} there, {found} now); "
        f"resume it on the data set of that run, or {ANEW} --partial"
    )


def without_the_last_image(content: dict[str, Any]) -> None:
    image = content["images"].pop()["id"]
    content["annotations"] = [x for x in content["annotations"] if x["image_id"] != image]


@pytest.mark.parametrize(
    ("split", "edit", "counts"),
    [
        ("train2017", without_the_last_image, "training images (7 there, 6 now)"),
        ("val2017", without_the_last_image, "validation images (3 there, 2 now)"),
        ("train2017", lambda content: content["images"].reverse(), "training images (7 there, 7 others now)"),
    ],
)
def test_other_images(
    shapes: Path, refused: Refused, split: str, edit: Callable[[dict[str, Any]], object], counts: str
) -> None:
    """Their order counts too, because batches are drawn from it."""
    before = of(shapes)
    edited(shapes, edit, split)
    assert refused(compare, state(before), of(shapes), OUTPUT) == (
        f"{OUTPUT}: its states belong to a run with other {counts}; resume it on the data set of that run, or {ANEW}"
    )


def test_options_that_choose_other_images_are_named(shapes: Path, refused: Refused) -> None:
    before = of(shapes)
    del before["options"]["data"]["skip_empty"]  # as older versions did
    edited(shapes, without_the_last_image)
    now = of(shapes, "data.skip_empty=true", "data.things=instances")
    assert "; resume it with data.things=panoptic data.skip_empty=false, or start" in refused(
        compare, state(before), now, OUTPUT
    )


def test_another_batch_size(shapes: Path, refused: Refused) -> None:
    """4 of 8 iterations of 2 images are not 4 of 4 of 4 images, after which nothing would be left to train."""
    before = of(shapes, "train.batch_size=2", "train.iterations=8")
    now = of(shapes, "train.batch_size=4", "train.iterations=4")
    assert refused(compare, state(before), now, OUTPUT) == (
        f"{OUTPUT}: its states count iterations of 2 images, not of 4; resume it with train.batch_size=2 "
        f"(train.images_per_step saves memory), or {ANEW}"
    )


def test_another_model_or_optimizer(shapes: Path, refused: Refused) -> None:
    now = of(shapes, "model.fusion.confidence=0.3", "train.optimizer=sgd")
    assert refused(compare, state(of(shapes)), now, OUTPUT) == (
        f"{OUTPUT}: its states belong to a run with another model or optimizer (model.fusion.confidence 0.2 -> 0.3, "
        "train.optimizer adamw -> sgd); use the options of that run, or choose another --output"
    )


def test_another_schedule_is_said(shapes: Path) -> None:
    now = of(shapes, "train.lr=0.001", "seed=5", "data.flip=0")
    assert compare(state(of(shapes)), now, OUTPUT) == [
        "resumed with other options: data.flip 0.5 -> 0.0, train.lr 0.003 -> 0.001, seed 0 -> 5"
    ]


def test_a_state_beyond_the_end(shapes: Path, refused: Refused) -> None:
    own = of(shapes, "train.iterations=10")
    assert compare(state(own, 10), own, OUTPUT) == []
    assert refused(compare, state(own, 11), own, OUTPUT) == (
        f"{OUTPUT}: its state is at iteration 11, beyond train.iterations=10; set train.iterations=11 or more, "
        "or choose another --output"
    )


def test_a_state_of_an_older_version(shapes: Path) -> None:
    own = of(shapes)
    old = {key: own[key] for key in ("model", "optimizer")}
    del old["model"]["fcos"]["nms"]  # options that it did not know have their defaults
    assert compare(state(old), own, OUTPUT) == [
        "the state comes from an older version, without categories, training, validation, options: these cannot be "
        "compared"
    ]


def test_a_state_of_a_version_with_other_options(shapes: Path) -> None:
    with pytest.raises(PanopticBlendError, match=r"another model or optimizer \(model.of_another_version"):
        compare(state({"model": {"of_another_version": 1}, "optimizer": "adamw"}), of(shapes), OUTPUT)
