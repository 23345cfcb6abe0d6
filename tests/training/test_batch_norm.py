"""Batch norms with one value of each channel are found before training, and named where they are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.training.batch_norm import one_value_named, require_variance

Refused = Callable[..., str]
REMEDY = "raise train.batch_size, train.images_per_step, or data.short_sides and data.long_side"


def config(batch_size: int, short_side: int, *changes: str) -> Config:
    options = [f"train.batch_size={batch_size}", f"data.short_sides=[{short_side}, 128]"]
    return load_config("demo/shapes_r18", [*options, *changes])


def check(options: Config, processes: int = 1) -> None:
    require_variance(build_model(options), options, [(300, 200), (100, 100)], processes)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ([], r"backbone\.layer4\.0\.\S+"),
        (["model.instances=mask_rcnn"], r"backbone\.layer4\.0\.\S+"),
        (["model.backbone.norm=frozen_bn", "model.semantic.enabled=false"], r"instances\.bottom\.refine\.2\.1"),
    ],
)
def test_a_single_image_of_one_cell(changes: list[str], name: str, refused: Refused) -> None:
    """The smallest image is 32 x 32, which is one cell of c5 and P5 with their stride of 32."""
    message = (
        rf"the batch norm {name} has one value of each channel in an image of 32 x 32 pixels that is processed alone, "
        f"and cannot be trained on it; {REMEDY}"
    )
    assert re.fullmatch(message, refused(check, config(1, 32, *changes)))


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        (config(4, 32, "train.images_per_step=1"), 1),
        (config(3, 32, "train.images_per_step=2"), 1),  # the three images are processed as one and two
        (config(2, 32, "train.sync_norm=false"), 2),
        (config(1, 64, "data.jitter=[0.5, 2]"), 1),
    ],
)
def test_a_part_of_one_image(options: Config, processes: int, refused: Refused) -> None:
    assert "has one value" in refused(check, options, processes)


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        (config(2, 32), 1),
        (config(2, 32), 2),  # batch norms see both processes
        (config(1, 33), 1),  # padded to 64 pixels, two cells
        (config(1, 32, "model.backbone.norm=frozen_bn", "model.instances=mask_rcnn"), 1),
    ],
)
def test_what_has_a_variance_is_left_as_it_is(options: Config, processes: int) -> None:
    model = build_model(options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    require_variance(model, options, [(300, 200), (100, 100)], processes)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_error_of_torch_names_the_images(refused: Refused) -> None:
    def forward() -> None:
        with one_value_named(3, ["a.jpg"]):
            nn.BatchNorm2d(2)(torch.zeros(1, 2, 1, 1))

    expected = f"iteration 3: a batch norm has one value of each channel in a.jpg; {REMEDY}"
    assert refused(forward) == expected
    with pytest.raises(ValueError, match="another"), one_value_named(3, ["a.jpg"]):
        raise ValueError("another")
