"""Optional dependencies: the packages of each extra, and the error that says how to install them."""

from __future__ import annotations

from importlib.util import find_spec

from panoptic_blend.structures import PanopticBlendError

EXTRAS = {
    "torch": ("torch", "torchvision", "lightning", "safetensors", "tensorboard", "matplotlib"),
    "timm": ("timm",),
    "export": ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
    "torchmetrics": ("torch", "torchmetrics"),
    "parquet": ("pyarrow",),
    "hub": ("huggingface_hub",),
    "remote": ("fsspec",),
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "serve": ("starlette", "uvicorn"),
}
"""Importable packages of each extra; ``pip install "panoptic-blend[NAME]"`` installs them."""


class MissingExtraError(PanopticBlendError, ImportError):
    """A package of an extra is not installed; the message says how to install it."""


def require_extra(extra: str, remedy: str = "") -> None:
    """Raise `MissingExtraError` unless every package of ``extra`` is installed.

    Args:
        extra: a key of `EXTRAS`.
        remedy: an alternative to installing it, such as ``or write CSV``.
    """
    missing = next((package for package in EXTRAS[extra] if find_spec(package) is None), None)
    if missing:
        command = f'pip install "panoptic-blend[{extra}]"'
        raise MissingExtraError(f"{missing} is not installed; {command}{f', {remedy}' if remedy else ''}")
