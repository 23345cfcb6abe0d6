"""Export a trained model as a graph that other programs run: ONNX or OpenVINO."""

from panoptic_blend.extras import require_extra

require_extra("torch")
