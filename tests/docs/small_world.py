"""A folder in which the paths that the README and the guides name exist, with little in each."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from golden_weights import GOLDEN
from instance_files import write_instances

from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.config.experiment import load_config
from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.formats.images import write_picture, write_segment_ids, write_values
from panoptic_blend.models.build import build_model
from panoptic_blend.shapes.dataset import CATEGORIES, write_shapes

SPLITS = {"val2017": 2, "train2017": 7}
"""Images of each split of both data sets."""

TINY_NETWORK = (
    "model.backbone.depth=14",
    "model.fpn.channels=32",
    "model.fcos.num_convs=0",
    "model.bottom.channels=32",
    "model.semantic.channels=32",
)


def build(root: Path, label: str) -> None:
    """Fill ``root``, which is the current folder; ``label`` is the program that writes ``labeled`` from Shapes."""
    write_shapes(root / "datasets/shapes", train=SPLITS["train2017"], val=SPLITS["val2017"])
    _coco(root / "datasets/shapes", root / "datasets/coco")
    _results(root)
    _checkpoint(root / "runs/demo/best.safetensors", root / "datasets/shapes")
    _official(root / "R_50_3x.pth")
    exec(compile(label, "program of own-data.md", "exec"), {"__name__": "__main__"})
    _own(root)
    _instances(root)
    _outlines(root)
    for split in ("train", "val"):
        _cityscapes(root, split)
    _video(root / "street.mp4", CocoPanoptic(root / "datasets/shapes", "val2017"))


def _coco(shapes: Path, root: Path) -> None:
    """Shapes under COCO's 133 categories: its things are the first of COCO's, its stuff likewise."""
    shutil.copytree(shapes, root)
    known = coco_categories()
    things, stuff = iter(known.thing_ids), iter(known.stuff_ids)
    new_id = {category.id: next(things if category.is_thing else stuff) for category in CATEGORIES}
    for path in (root / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["category_id"] = new_id[segment["category_id"]]
        path.write_text(json.dumps(content | {"categories": known.records()}))
    for split in SPLITS:
        write_instances(root, split)


def _results(root: Path) -> None:
    """Results that are the truth: of Shapes in ``runs/demo/val``, of COCO under the names that stand for anyone's."""
    shutil.copytree(root / "datasets/shapes/annotations", root / "runs/demo/val")
    annotations = root / "datasets/coco/annotations"
    for name in ("TRUTH", "PREDICTION", "A", "B"):
        shutil.copy(annotations / "panoptic_val2017.json", root / f"{name}.json")
        shutil.copytree(annotations / "panoptic_val2017", root / name)
    names = [image["file_name"] for image in json.loads((root / "TRUTH.json").read_text())["images"]]
    (root / "groups.csv").write_text("file_name,weather\n" + "".join(f"{name},fog\n" for name in names))


def _checkpoint(path: Path, shapes: Path) -> None:
    categories = CocoPanoptic(shapes, "val2017").categories
    counts = [f"model.num_things={len(categories.thing_ids)}", f"model.num_stuff={len(categories.stuff_ids)}"]
    config = load_config("demo/shapes_r18", [*TINY_NETWORK, *counts])
    torch.manual_seed(0)
    save_checkpoint(path, build_model(config).state_dict(), config, categories)


def _official(path: Path) -> None:
    """The official instance model, which is the panoptic one without a semantic head, as zeros that find nothing."""
    entries = json.loads((GOLDEN / "manifest_panoptic_R_50.json").read_text())["entries"]
    panoptic_only = re.compile(r"panoptic_module|backbone\.fpn_(lateral|output)2")
    names = {entry["name"]: entry["shape"] for entry in entries if not panoptic_only.match(entry["name"])}
    state = {name: torch.zeros(shape) for name, shape in names.items()}
    state["proposal_generator.fcos_head.cls_logits.bias"] -= 9
    torch.save({"model": state}, path)


def _own(root: Path) -> None:
    source = read_labelme(root / "labeled", Classes(stuff=["grass", "water", "sand", "sky"]))
    write(source, ConversionOptions(root / "datasets/own", val_share=0.3), lambda done, total: None)


def _instances(root: Path) -> None:
    """One image with a triangle of an instance, which is found, on gray stuff."""
    image, category = {"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}, {"id": 1, "name": "car"}
    instance = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 2, 20, 2, 2, 20]], "iscrowd": 0}
    content = {"images": [image], "annotations": [instance], "categories": [category]}
    (root / "instances.json").write_text(json.dumps(content))
    found = {key: instance[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 0.9}
    (root / "instances_results.json").write_text(json.dumps([found]))
    (root / "stuff.json").write_text(json.dumps({"1": "road", "2": "sky", "0": None}))
    write_picture(root / "photos/a.jpg", np.full((24, 32, 3), 99, np.uint8))
    (root / "stuff").mkdir()
    cv2.imwrite(str(root / "stuff/a.png"), np.array([[1], [2]], np.uint8).repeat(12, 0).repeat(32, 1))


def _outlines(root: Path) -> None:
    """A picture with a triangle for YOLO, and two for CVAT."""
    picture = np.full((24, 32, 3), 99, np.uint8)
    for name in ("pets/images/train/a.jpg", "cvat/images/a.jpg", "cvat/images/b.jpg"):
        write_picture(root / name, picture)
    (root / "pets/labels/train").mkdir(parents=True)
    (root / "pets/labels/train/a.txt").write_text("0 0.1 0.1 0.9 0.1 0.1 0.9")
    (root / "pets/data.yaml").write_text("train: images/train\nnames: [cat]")
    shape = '<polygon label="cat" points="2,2;20,2;2,20"/>'
    images = [f'<image name="{name}.jpg" width="32" height="24">{shape}</image>' for name in "ab"]
    labels = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    (root / "cvat/annotations.xml").write_text(f"<annotations>{labels}{''.join(images)}</annotations>")


def _cityscapes(root: Path, split: str) -> None:
    """One image with a road and a car."""
    name = f"ulm_{'01'[split == 'val']}00000_000019"
    ids = np.array([[7, 7, 26001], [7, 7, 26001]], np.int32)
    info = [
        {"id": i, "category_id": c, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]} for i, c in ((7, 7), (26001, 26))
    ]
    content = {
        "images": [{"id": name, "width": 3, "height": 2, "file_name": f"{name}_gtFine_leftImg8bit.png"}],
        "annotations": [{"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": info}],
        "categories": [{"id": 7, "name": "road", "isthing": 0}, {"id": 26, "name": "car", "isthing": 1}],
    }
    write_segment_ids(root / f"gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png", ids)
    (root / f"gtFine/cityscapes_panoptic_{split}.json").write_text(json.dumps(content))
    write_values(root / f"gtFine/{split}/ulm/{name}_gtFine_instanceIds.png", ids.astype(np.uint16))
    write_picture(root / f"leftImg8bit/{split}/ulm/{name}_leftImg8bit.png", np.full((2, 3, 3), 99, np.uint8))


def _video(path: Path, dataset: CocoPanoptic) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for frame in range(3):
        video.write(cv2.resize(dataset.picture(frame % len(dataset))[..., ::-1], (64, 48)))
    video.release()
