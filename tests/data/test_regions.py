"""Instances that overlap keep all of their pixels, through layers, transforms and the way to the training process."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from panoptic_blend.data.regions import Regions, paint_layers
from panoptic_blend.data.targets import target_of_instances
from panoptic_blend.data.transforms import Geometry, resize_ids
from panoptic_blend.formats.categories import Categories
from panoptic_blend.instances import TrueInstances
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import Category, PanopticMap, Segment, Target

CATEGORIES = Categories([Category(2, "cat", True), Category(4, "dog", True), Category(3, "grass", False)])
CAT, DOG, GRASS = 2, 4, 3

Masks = npt.NDArray[np.bool_]


def instances_of(
    masks: Masks, category_ids: list[int], boxes: list[list[float]] | None = None, crowds: tuple[int, ...] = ()
) -> TrueInstances:
    size = masks.shape[1], masks.shape[2]
    records = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    found = np.array(boxes if boxes else [coco.toBbox(record) for record in records], np.float64).reshape(-1, 4)
    is_crowd = np.isin(np.arange(len(masks)), crowds)
    counts = [record["counts"] for record in records]
    areas = masks.sum(axis=(1, 2)).astype(np.float64)
    return TrueInstances(size, np.array(category_ids, np.int64), found, counts, areas, is_crowd)


def target_of(instances: TrueInstances, geometry: Geometry, panoptic: PanopticMap | None = None) -> Target:
    regions = Regions.of_instances(instances).transformed(geometry)
    segments = Regions.of_panoptic(panoptic) if panoptic else None
    boxes = geometry.boxes(instances.corners())
    return target_of_instances(regions, boxes, CATEGORIES, segments)


def unchanged(height: int, width: int) -> Geometry:
    return Geometry((slice(0, height), slice(0, width)), (height, width), False)


@settings(max_examples=50)
@given(arrays(np.bool_, st.tuples(st.integers(0, 6), st.integers(1, 6), st.integers(1, 6))), st.booleans())
def test_every_mask_is_whole_in_one_layer_and_transformed_as_by_itself(masks: Masks, is_flipped: bool) -> None:
    instances = instances_of(masks, [CAT] * len(masks))
    layers = paint_layers(instances)
    for number, mask in enumerate(masks, start=1):
        assert (np.any([layer == number for layer in layers], axis=0) == mask).all()
        assert sum(bool((layer == number).any()) for layer in layers) == mask.any()
    assert len(layers) == 1 or masks.sum(axis=0).max() > 1
    size = (7, 4)
    target = target_of(instances, Geometry(unchanged(*masks.shape[1:]).window, size, is_flipped))
    resized = [resize_ids(mask.astype(np.uint8), size)[:, :: -1 if is_flipped else 1] for mask in masks]
    expected = [mask for mask in resized if mask.any()]
    assert (instance_masks(target).numpy() == np.array(expected).reshape(-1, *size)).all()


def test_a_target_with_overlaps_by_hand() -> None:
    masks = np.zeros((5, 2, 6), np.bool_)
    masks[0, :, :3] = True  # a cat
    masks[1, 0, 2:5] = True  # a dog in front of it, with a box that is not tight
    masks[2, 1, 4:] = True  # a crowd of cats
    masks[4, 1, 0] = True  # a dog whose box is a line
    boxes: list[list[float]] = [
        [0, 0, 3, 2],
        [1.5, 0, 3.25, 1],
        [4, 1, 2, 1],
        [0, 0, 6, 2],
        [0, 1, 0, 1],
    ]  # the fourth has no pixel
    instances = instances_of(masks, [CAT, DOG, CAT, DOG, DOG], boxes, crowds=(2,))
    target = target_of(instances, unchanged(2, 6))
    assert target["labels"].tolist() == [0, 1]
    assert target["boxes"].tolist() == [[0, 0, 3, 2], [1.5, 0, 4.75, 1]] and target["boxes"].dtype == torch.float32
    assert target["instance_map"].tolist() == [[[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]], [[0, 0, 2, 2, 2, 0], [0] * 6]]
    assert (instance_masks(target).numpy() == masks[:2]).all()
    assert target["thing_semantic"].tolist() == [[1, 1, 2, 2, 2, 0], [2, 1, 1, 0, 1, 1]]  # the last one wins
    assert "semantic" not in target
    grass = PanopticMap.measured(
        np.array([[5, 5, 5, 0, 0, 0]] * 2, np.int32), [Segment(5, GRASS, False, None, 0, None)]
    )
    assert target_of(instances, unchanged(2, 6), grass)["semantic"].tolist() == [[1, 1, 1, 255, 255, 255]] * 2


def test_boxes_by_hand() -> None:
    boxes = np.array([[10.0, 20, 30, 50], [-5, 0, 100, 200]])
    window = slice(10, 60), slice(20, 70)
    plain, mirrored = Geometry(window, (100, 25), False), Geometry(window, (100, 25), True)
    assert plain.boxes(boxes).tolist() == [[0, 20, 5, 80], [0, 0, 25, 100]]
    assert mirrored.boxes(boxes).tolist() == [[20, 20, 25, 80], [0, 0, 25, 100]]
    assert plain.boxes(np.zeros((0, 4))).shape == (0, 4)


def test_an_image_without_instances_has_one_empty_layer() -> None:
    target = target_of(instances_of(np.zeros((0, 3, 4), np.bool_), []), unchanged(3, 4))
    assert target["instance_map"].tolist() == target["thing_semantic"].tolist() == [[0] * 4] * 3
    assert target["boxes"].shape == (0, 4) and target["labels"].shape == (0,)
    assert instance_masks(target).shape == (0, 3, 4)
