"""Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoptic_blend.checkpoints.io import load_weights as load_weights
    from panoptic_blend.config.experiment import Config as Config
    from panoptic_blend.config.experiment import load_config as load_config
    from panoptic_blend.drawing.overlay import draw as draw
    from panoptic_blend.inference.predictor import Predictor as Predictor
    from panoptic_blend.inference.predictor import load as load
    from panoptic_blend.metrics.details import PanopticDetails as PanopticDetails
    from panoptic_blend.metrics.panoptic_quality import PanopticQuality as PanopticQuality
    from panoptic_blend.models.build import build_model as build_model
    from panoptic_blend.postprocessing.fusion import fuse as fuse
    from panoptic_blend.scoring.evaluate_files import detail_files as detail_files
    from panoptic_blend.scoring.evaluate_files import evaluate_files as evaluate_files
    from panoptic_blend.structures import Category as Category
    from panoptic_blend.structures import Detections as Detections
    from panoptic_blend.structures import PanopticBlendError as PanopticBlendError
    from panoptic_blend.structures import PanopticMap as PanopticMap
    from panoptic_blend.structures import Segment as Segment

_EXPORTS = {
    "checkpoints.io": ["load_weights"],
    "config.experiment": ["Config", "load_config"],
    "drawing.overlay": ["draw"],
    "inference.predictor": ["Predictor", "load"],
    "metrics.details": ["PanopticDetails"],
    "metrics.panoptic_quality": ["PanopticQuality"],
    "models.build": ["build_model"],
    "postprocessing.fusion": ["fuse"],
    "scoring.evaluate_files": ["detail_files", "evaluate_files"],
    "structures": ["Category", "Detections", "PanopticBlendError", "PanopticMap", "Segment"],
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__version__ = "0.2.0"
__all__ = sorted(_MODULE_OF)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Import the module of a public name, and with it torch or OpenCV, when the name is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
