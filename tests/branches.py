"""The parts of a model behind its doors, for tests that look at what `InstanceBranch` and `Backbone` do not promise."""

from __future__ import annotations

from typing import Any

from panoptic_blend.models.panoptic_blend import PanopticBlend


def branch_of(model: PanopticBlend) -> Any:
    return model.instances


def backbone_of(model: PanopticBlend) -> Any:
    return model.backbone
