"""The instance branch of a model, for tests that look into parts that `InstanceBranch` does not promise."""

from __future__ import annotations

from typing import Any

from panoptic_blend.models.panoptic_blend import PanopticBlend


def branch_of(model: PanopticBlend) -> Any:
    return model.instances
