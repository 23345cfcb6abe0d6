"""Things come from the panoptic annotation or from that of instances, as the config and the files say."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from instance_files import write_instances

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.limits import exceeded_limits
from panoptic_blend.data.loader import Batch, training_batches
from panoptic_blend.data.splits import ListedSubset, evenly, open_training, open_validation
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import IGNORE, PanopticBlendError
from panoptic_blend.training.loop import train

Refused = Callable[..., str]
TRAIN, VAL = "train2017", "val2017"


def config(root: Path, *overrides: str) -> Config:
    return load_config("demo/shapes_r18", [f"data.root={root}", *overrides])


ALONE = "model.semantic.enabled=false"
INSTANCES = "data.things=instances"


def batches(dataset: CocoPanoptic | CocoInstances, augmentation: Augmentation) -> list[Batch]:
    return list(islice(training_batches(dataset, augmentation, 2, seed=3), 4))


@pytest.fixture(scope="module")
def root(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated data set, with instance annotation beside the panoptic one."""
    folder = tmp_path_factory.mktemp("both")
    for path in generated.iterdir():
        if path.name != "annotations":
            (folder / path.name).symlink_to(path)
    (folder / "annotations").mkdir()
    for path in (generated / "annotations").iterdir():
        (folder / "annotations" / path.name).symlink_to(path)
    for split in (TRAIN, VAL):
        write_instances(folder, split)
    return folder


def test_without_overlaps_both_annotations_give_the_same_batches(root: Path) -> None:
    panoptic = CocoPanoptic(root, TRAIN)
    both: CocoInstances = pickle.loads(pickle.dumps(CocoInstances(root, TRAIN, panoptic)))
    assert both.categories == panoptic.categories and list(both.images.ids) == list(panoptic.images.ids)
    assert list(both.instance_counts()) == list(panoptic.instance_counts()) and sum(both.instance_counts()) > 20
    for crop, jitter, paste in ((0.7, None, 0.0), (1.0, (0.5, 2.0), 0.0), (1.0, None, 0.7), (1.0, None, 0.0)):
        augmentation = Augmentation([48, 56, 64], 80, 0.5, crop, jitter=jitter, copy_paste=paste)
        for ours, theirs in zip(batches(both, augmentation), batches(panoptic, augmentation), strict=True):
            assert ours.names == theirs.names
            assert all(torch.equal(a, b) for a, b in zip(ours.images, theirs.images, strict=True))
            for target, expected in zip(ours.targets, theirs.targets, strict=True):
                assert torch.equal(target["semantic"], expected["semantic"])
                assert torch.equal(target["labels"], expected["labels"])
                assert torch.equal(target["instance_map"], expected["instance_map"])
                is_known = expected["thing_semantic"] != IGNORE
                assert torch.equal(target["thing_semantic"][is_known], expected["thing_semantic"][is_known])
                distance = (target["boxes"] - expected["boxes"]).abs().max()
                is_tight = augmentation.hides_parts  # annotated boxes are not rounded to pixels
                assert distance == 0 if is_tight else 0 < distance < 2


def test_instances_alone_need_no_panoptic_annotation(root: Path, tmp_path: Path) -> None:
    (tmp_path / TRAIN).symlink_to(root / TRAIN)
    (tmp_path / "annotations").mkdir()
    name = f"instances_{TRAIN}.json"
    (tmp_path / "annotations" / name).symlink_to(root / "annotations" / name)
    dataset, remarks = open_training(config(tmp_path, INSTANCES, ALONE, f"data.val={TRAIN}"))
    assert isinstance(dataset, CocoInstances) and dataset.name == name and not remarks
    assert all(category.is_thing for category in dataset.categories)
    sample = dataset[0]
    assert sample.panoptic is None and sample.instances is not None and len(sample.instances) > 0
    assert sample.image_id == dataset.images.ids[0] == CocoPanoptic(root, TRAIN).images.ids[-1]
    [batch] = islice(training_batches(dataset, Augmentation([48], 80), 2, seed=0), 1)
    assert all("semantic" not in target and len(instance_masks(target)) for target in batch.targets)
    versions = [b"".join(dataset.version())]
    (tmp_path / "annotations" / name).unlink()
    write_instances(root, TRAIN, lambda content: content["annotations"].pop())
    (tmp_path / "annotations" / name).symlink_to(root / "annotations" / name)
    versions.append(b"".join(CocoInstances(tmp_path, TRAIN).version()))
    write_instances(root, TRAIN)
    assert versions[0] != versions[1]


def test_images_without_instances_are_left_out_on_request(shapes: Path) -> None:
    removed = CocoPanoptic(shapes, TRAIN).images.ids[1]

    def without_one(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation["iscrowd"] |= annotation["image_id"] == removed

    write_instances(shapes, TRAIN, without_one)
    whole = open_training(config(shapes, INSTANCES)).dataset
    dataset, [remark] = open_training(config(shapes, INSTANCES, "data.skip_empty=true"))
    total = len(whole)
    assert remark == (
        f"instances_{TRAIN}.json: 1 of {total} images have no instances and are left out (data.skip_empty=false keeps "
        "them)"
    )
    assert isinstance(whole, CocoInstances) and isinstance(dataset, ListedSubset) and len(dataset) == total - 1
    assert dataset.class_counts().tolist() == np.delete(whole.class_counts(), 1, axis=0).tolist()
    assert dataset.picture_path(1) == whole.picture_path(2)
    kept = [i for i in whole.images.ids if i != removed]
    assert list(dataset.images.ids) == kept and [dataset[i].image_id for i in range(total - 1)] == kept
    assert len(dataset.images.sizes) == total - 1 and list(dataset.version()) != list(whole.version())
    options = config(shapes, "model.fcos.detections_per_image=1").model
    assert f" of {total - 1} images have more things" in exceeded_limits(options, dataset)[0]
    assert open_training(config(shapes, "data.skip_empty=true")).remarks == []  # the panoptic annotation has things


def test_no_image_with_an_instance_is_nothing_to_learn(shapes: Path, refused: Refused) -> None:
    write_instances(shapes, TRAIN, lambda content: content["annotations"].clear())
    message = refused(open_training, config(shapes, INSTANCES, "data.skip_empty=true"))
    assert message == f"instances_{TRAIN}.json: no image has an instance to learn; set data.skip_empty=false"


def test_the_truth_of_ap_is_the_instance_annotation_where_it_agrees(shapes: Path, refused: Refused) -> None:
    assert isinstance(open_validation(config(shapes)).dataset, CocoPanoptic)
    for options in ((INSTANCES,), (INSTANCES, ALONE)):  # of a model that was trained on another folder
        dataset, [remark] = open_validation(config(shapes, *options))
        assert isinstance(dataset, CocoPanoptic)
        assert remark == f"AP is that of the panoptic annotation: there is no instances_{VAL}.json"
    write_instances(shapes, VAL)
    dataset, remarks = open_validation(config(shapes))
    assert isinstance(dataset, CocoInstances) and not remarks and dataset[0].instances and dataset[0].panoptic
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "its categories are not the things of panoptic_val2017.json": lambda c: c["categories"][0].update(name="other"),
        "the annotation in panoptic_val2017.json is for image": lambda c: [c["annotations"].clear(), c["images"].pop()],
        "image ": lambda c: c["images"][0].update(file_name=c["images"][1]["file_name"]),  # ids of another numbering
    }
    for problem, change in changes.items():
        write_instances(shapes, VAL, change)
        dataset, [remark] = open_validation(config(shapes))
        assert isinstance(dataset, CocoPanoptic)
        assert remark.startswith(f"AP is that of the panoptic annotation: instances_{VAL}.json: {problem}")
        assert problem in refused(open_validation, config(shapes, INSTANCES))


def test_images_that_are_not_used_and_boxes_in_another_format_are_said(shapes: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"].append({"id": 999, "file_name": "other.jpg", "height": 9, "width": 9})
        for annotation in content["annotations"]:
            x, y, width, height = annotation["bbox"]
            annotation["bbox"] = [x + 20, y + 20, x + 20 + width, y + 20 + height]  # two corners

    write_instances(shapes, TRAIN, change)
    dataset, [unused, boxes] = open_training(config(shapes, INSTANCES))
    total = len(dataset)
    assert unused == (
        f"instances_{TRAIN}.json: 1 of {total + 1} images are not in panoptic_{TRAIN}.json and are not used"
    )
    assert "boxes that were looked at are not around their masks, as in " in boxes
    write_instances(shapes, TRAIN, lambda content: [a.pop("bbox") for a in content["annotations"]])
    assert open_training(config(shapes, INSTANCES)).remarks == []


def test_what_is_missing_is_said_with_its_remedy(shapes: Path, refused: Refused) -> None:
    json_path = shapes / "annotations" / f"instances_{TRAIN}.json"
    message = refused(open_training, config(shapes, INSTANCES, ALONE))
    assert message == (
        f"{json_path}: missing; a split `{TRAIN}` with data.things=instances needs it; check data.root, or set "
        "data.things=panoptic"
    )
    write_instances(shapes, TRAIN)
    panoptic = shapes / "annotations" / f"panoptic_{TRAIN}.json"
    panoptic.unlink()
    for options in ((), (INSTANCES,)):
        assert refused(open_training, config(shapes, *options)) == (
            f"{panoptic}: missing; a COCO panoptic split `{TRAIN}` needs it: make it with `panoptic-blend data convert "
            "coco-instances`; only a model of instances alone (model.semantic.enabled=false) needs none, with "
            "data.things=instances"
        )
    dataset = open_training(config(shapes, INSTANCES, ALONE)).dataset
    (shapes / TRAIN / dataset.images.file_names[0]).unlink()
    with pytest.raises(PanopticBlendError, match=r"no such file; restore it, or remove image \d+ from instances_train"):
        open_training(config(shapes, INSTANCES, ALONE))
    (shapes / TRAIN).rename(shapes / "elsewhere")
    assert refused(open_training, config(shapes, INSTANCES, ALONE)).endswith("needs it; check data.root")


def test_a_model_learns_from_overlapping_instances_alone(root: Path, tmp_path: Path) -> None:
    """From training with accumulated gradients over a resumed run to an AP against the instances."""
    (tmp_path / "annotations").mkdir()
    for split in (TRAIN, VAL):
        (tmp_path / split).symlink_to(root / split)
        content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
        for annotation in list(content["annotations"]):  # a second instance in the place of each
            content["annotations"].append({**annotation, "id": annotation["id"] + 1000})
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    options = [ALONE, INSTANCES, "model.fpn.channels=32", "model.bottom.channels=32", "data.workers=0"]
    options += ["data.short_sides=[64]", "test.short_side=64", "train.batch_size=2", "train.images_per_step=1"]
    options += ["train.rescale=false", "train.precision=32-true", "train.steps=[]", "train.warmup_iterations=0"]
    train(config(tmp_path, *options, "train.iterations=1"), tmp_path / "run")
    evaluation = train(config(tmp_path, *options, "train.iterations=2"), tmp_path / "run", resume=True)
    assert evaluation.instance_truth == "instances" and evaluation.panoptic is None
    assert 0 <= evaluation.columns()["AP_Th"] <= 1 and 0 <= evaluation.columns()["AP_box"] <= 1


def test_pictures_to_judge_by_are_spread_evenly(generated: Path) -> None:
    dataset = CocoPanoptic(generated, "train2017")
    assert list(evenly(dataset, 3).images.ids) == [list(dataset.images.ids)[i] for i in (0, 3, 6)]
