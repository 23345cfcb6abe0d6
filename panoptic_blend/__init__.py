"""Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panoptic_blend.checkpoints.io import load_weights as load_weights
    from panoptic_blend.config.experiment import Config as Config
    from panoptic_blend.config.experiment import load_config as load_config
    from panoptic_blend.config.precisions import Precision
    from panoptic_blend.deploy.predictor import ExportedPredictor as ExportedPredictor
    from panoptic_blend.drawing.overlay import draw as draw
    from panoptic_blend.inference.predictor import Predictor as Predictor
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
    "deploy.predictor": ["ExportedPredictor"],
    "drawing.overlay": ["draw"],
    "inference.predictor": ["Predictor"],
    "metrics.details": ["PanopticDetails"],
    "metrics.panoptic_quality": ["PanopticQuality"],
    "models.build": ["build_model"],
    "postprocessing.fusion": ["fuse"],
    "scoring.evaluate_files": ["detail_files", "evaluate_files"],
    "structures": ["Category", "Detections", "PanopticBlendError", "PanopticMap", "Segment"],
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__version__ = "0.2.0"
__all__ = sorted([*_MODULE_OF, "load"])


def load(
    name_or_path: str | Path,
    weights: str | Path | None = None,
    device: str = "cpu",
    overrides: Iterable[str] = (),
    precision: Precision = "32-true",
) -> Predictor | ExportedPredictor:
    """Load a model to predict pictures: `inference.predictor.load` for a checkpoint, known weights, or a config.

    A folder that ``panoptic-blend export`` wrote gives an `ExportedPredictor`, without torch; `deploy.predictor.load`
    can also set its number of threads.

    Raises:
        PanopticBlendError: a file is missing or does not fit, the device is not available, or an exported model is
            asked for other weights, another device or another precision.
    """
    from panoptic_blend.deploy.manifest import is_exported

    if not is_exported(Path(name_or_path)):
        from panoptic_blend.inference import predictor

        return predictor.load(name_or_path, weights, device, overrides, precision)
    from panoptic_blend.deploy.predictor import load as load_exported
    from panoptic_blend.structures import PanopticBlendError

    given = {
        "weights": weights is not None,
        f"device={device!r}": device not in ("auto", "cpu"),
        f"precision={precision!r}": precision not in ("auto", "32-true"),
    }
    if name := next((name for name, is_given in given.items() if is_given), None):
        raise PanopticBlendError(
            f"{name_or_path}: is an exported model, which runs on the CPU as it is; leave out {name}"
        )
    return load_exported(name_or_path, overrides=overrides)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Import the module of a public name, and with it torch or OpenCV, when the name is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
