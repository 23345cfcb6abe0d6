"""A file of weights for the backbone that nothing would load is refused; the rest is tested in `test_loop.py`."""

from __future__ import annotations

from collections.abc import Callable

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.training.initialization import require_weights_of_backbone

TIMM = ["model.backbone.kind=timm", "model.backbone.name=resnet10t", "model.backbone.depth=50"]


def config(*options: str) -> Config:
    return load_config("demo/shapes_r18", [*TIMM, *options])


def test_a_file_that_nothing_loads_is_refused(refused: Callable[..., str]) -> None:
    message = refused(require_weights_of_backbone, config("model.backbone.pretrained=a.pth"))
    assert message == "model.backbone.pretrained=a.pth is loaded only by train.weights=imagenet; set both, or neither"
    require_weights_of_backbone(config("model.backbone.pretrained=a.pth", "train.weights=imagenet"))
    require_weights_of_backbone(config())
