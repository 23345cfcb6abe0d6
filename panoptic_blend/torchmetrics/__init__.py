"""PQ as a metric of torchmetrics; needs the extra of the same name."""

from panoptic_blend.extras import require_extra

require_extra("torchmetrics")

from panoptic_blend.torchmetrics.panoptic_quality_coco import PanopticQualityCoco as PanopticQualityCoco  # noqa: E402
