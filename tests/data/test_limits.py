"""Data with more things in an image than the model finds are named with the option that limits them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.model_options import MaskRCNN, Model
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.limits import exceeded_limits


def limited(number: int) -> Model:
    return load_config("demo/shapes_r18", [f"model.fcos.detections_per_image={number}"]).model


def things(content: dict[str, Any]) -> list[int]:
    """The number of things of each annotation, from the JSON."""
    kinds = {category["id"]: category["isthing"] for category in content["categories"]}
    return [
        sum(kinds[segment["category_id"]] and not segment["iscrowd"] for segment in annotation["segments_info"])
        for annotation in content["annotations"]
    ]


def test_images_with_more_things_than_the_model_finds(generated: Path) -> None:
    content = json.loads((generated / "annotations/panoptic_train2017.json").read_text())
    dataset, counts = CocoPanoptic(generated, "train2017"), things(content)
    assert dataset.images.annotations.thing_counts() == counts
    most = max(counts)
    assert most > min(counts) > 0
    assert exceeded_limits(limited(most), dataset) == []
    name = content["images"][counts.index(most)]["file_name"]
    assert exceeded_limits(limited(most - 1), dataset) == [
        f"panoptic_train2017.json: {counts.count(most)} of 7 images have more things than the model can find in an "
        f"image, up to {most} in {name}; set model.fcos.detections_per_image={most} (now {most - 1})"
    ]
    [line] = exceeded_limits(Model(instances="mask_rcnn", mask_rcnn=MaskRCNN(detections_per_image=1)), dataset)
    assert line.endswith(f"set model.mask_rcnn.detections_per_image={most} (now 1)")


def test_crowds_and_stuff_do_not_count(shapes: Path) -> None:
    path = shapes / "annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = 1
    path.write_text(json.dumps(content))
    dataset = CocoPanoptic(shapes, "val2017")
    assert dataset.images.annotations.thing_counts() == [0, 0, 0]
    assert exceeded_limits(limited(1), dataset) == []


def test_a_data_set_that_is_no_files_is_not_counted(generated: Path) -> None:
    class Other:
        pass

    assert exceeded_limits(limited(1), Other()) == []  # type: ignore[arg-type]
