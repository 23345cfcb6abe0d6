"""Describe an inspection of weights as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from panoptic_blend.checkpoints.architecture import Architecture
from panoptic_blend.checkpoints.inspection import Inspection


def record(inspection: Inspection) -> dict[str, Any]:
    """The inspection as a record for JSON."""
    return {"task": inspection.architecture.task, **asdict(inspection)}


def lines(inspection: Inspection) -> str:
    """The inspection as text."""
    made = inspection.architecture
    rows = [*_architecture(made)]
    dtypes = ", ".join(inspection.dtypes)
    rows.append(("holds", f"{inspection.num_tensors} tensors, {inspection.num_parameters:,} parameters, {dtypes}"))
    rows.append(("header", ", ".join(_header(inspection)) or "neither config nor categories"))
    more = f" and {len(inspection.fits) - 8} more" if len(inspection.fits) > 8 else ""
    none = "no config that comes with the library"
    none += "; training can start from it with --partial" if inspection.is_start else ""
    rows.append(("fits", ", ".join(inspection.fits[:8]) + more or none))
    rows += [("nearly", f"{name}: {difference}") for name, difference in inspection.nearest.items()]
    is_said = inspection.is_start or inspection.source.endswith(made.task)
    title = inspection.source if is_said else f"{inspection.source}, {made.task}"
    return "\n".join([title, *(f"  {name:10}{text}" for name, text in rows)])


def _architecture(made: Architecture) -> Iterator[tuple[str, str]]:
    if made.depth:
        every = f", deformable in blocks 0, {made.deformable_every}, ... of c3-c5" if made.deformable_every else ""
        yield "backbone", f"ResNet-{made.depth}{every}"
    elif made.backbone == "timm":
        yield "backbone", f"{made.timm_name} of timm" if made.timm_name else "a network of timm, named in its config"
    elif made.backbone:
        yield "backbone", "of an unknown kind"
    if made.levels:
        yield "levels", f"{made.levels[0].upper()}-{made.levels[-1].upper()}"
    if made.instances == "blendmask":
        tower = f"a shared tower of {made.shared_convs}, " if made.shared_convs else ""
        yield "detector", f"FCOS, {tower}towers of {made.num_convs} + {made.num_convs} convolutions"
    if made.num_bases:
        kernels = f"kernels of {made.kernel_size} values" if made.kernel_size else "no attentions"
        yield "blender", f"K = {made.num_bases}, " + (f"M = {made.attention_size}" if made.attention_size else kernels)
    if made.instances == "mask_rcnn":
        yield "detector", "Mask R-CNN"
    if made.num_things is not None or made.num_stuff is not None:
        counts = {"things": made.num_things, "stuff": made.num_stuff}
        yield "classes", ", ".join(f"{count} {kind}" for kind, count in counts.items() if count is not None)


def _header(inspection: Inspection) -> Iterator[str]:
    if inspection.has_config:
        yield "config"
    if inspection.has_categories:
        yield "categories"
    if inspection.pq is not None:
        yield f"PQ {100 * inspection.pq:.1f}"
