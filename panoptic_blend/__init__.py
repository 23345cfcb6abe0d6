"""Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoptic_blend.checkpoints.io import load_weights as load_weights
    from panoptic_blend.config import Config as Config
    from panoptic_blend.config import load_config as load_config
    from panoptic_blend.drawing import draw as draw
    from panoptic_blend.engine.evaluate_files import detail_files as detail_files
    from panoptic_blend.engine.evaluate_files import evaluate_files as evaluate_files
    from panoptic_blend.inference import Predictor as Predictor
    from panoptic_blend.inference import load as load
    from panoptic_blend.metrics.details import PanopticDetails as PanopticDetails
    from panoptic_blend.metrics.panoptic_quality import PanopticQuality as PanopticQuality
    from panoptic_blend.models.build import build_model as build_model
    from panoptic_blend.models.fusion import fuse as fuse
    from panoptic_blend.structures import Category as Category
    from panoptic_blend.structures import Detections as Detections
    from panoptic_blend.structures import PanopticBlendError as PanopticBlendError
    from panoptic_blend.structures import PanopticMap as PanopticMap
    from panoptic_blend.structures import Segment as Segment

_ROOMS = {
    "checkpoints.io": ["load_weights"],
    "config": ["Config", "load_config"],
    "drawing": ["draw"],
    "engine.evaluate_files": ["detail_files", "evaluate_files"],
    "inference": ["Predictor", "load"],
    "metrics.details": ["PanopticDetails"],
    "metrics.panoptic_quality": ["PanopticQuality"],
    "models.build": ["build_model"],
    "models.fusion": ["fuse"],
    "structures": ["Category", "Detections", "PanopticBlendError", "PanopticMap", "Segment"],
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Public names load their modules, and torch and OpenCV with them, when first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
