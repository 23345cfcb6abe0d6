"""Count the operators, the waits for the device and the collectives of a training step and of a prediction.

    python -m evaluation.operator_counts
    python -m evaluation.operator_counts --devices 2    # over gloo

On a GPU every operator that is not a view is a launch or more. What waits for the device there does nothing of the kind
on the CPU, but is called there too. So this needs no GPU, and the counts do not depend on the size of the pictures. A
step is the fourth of ``train`` with batches of ``--batch`` pictures; a prediction goes from a picture to a map of 640 x
480 with 100 instances.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import boxes

from evaluation.gpu.workload import R50, pictures, write_coco_sized
from evaluation.speed import PICTURE, model_with_detections
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models import panoptic_blend
from panoptic_blend.runtime.processes import is_first
from panoptic_blend.structures import Size
from panoptic_blend.terminal import right_aligned
from panoptic_blend.training import loop
from panoptic_blend.training.run import Run

_SIZE = (96, 128)
_STEPS = 4
_NO_LAUNCH = {"aten::detach", "aten::lift_fresh", "aten::empty", "aten::empty_like", "aten::empty_strided"}
_WAITS = {
    "aten::_local_scalar_dense",
    "aten::is_nonzero",
    "aten::nonzero",
    "aten::masked_select",
    "aten::equal",
    "aten::_unique2",
    "aten::repeat_interleave",
    "torchvision::nms",
}
"""Operators whose results, or the sizes of them, the host needs."""
_COPIES: dict[Any, tuple[str, str]] = {
    Tensor.cpu: ("waits", "cpu"),
    Tensor.tolist: ("waits", "tolist"),
    Tensor.new_tensor: ("uploads", "new_tensor"),
    torch.tensor: ("uploads", "tensor"),
    torch.as_tensor: ("uploads", "as_tensor"),
}
"""Functions that copy from or to the memory of the host, by the kind of what they cost. On the CPU they copy nothing.

An upload waits too, for all work before it, unless the memory of the host is pinned.
"""
KINDS = ("operators", "waits", "uploads", "collectives")


class Counts(Counter[tuple[str, str]]):
    """Calls by kind and name; the kinds are ``KINDS``."""

    def of(self, kind: str) -> int:
        """The number of calls of a kind."""
        return sum(count for (found, _), count in self.items() if found == kind)

    def most(self, kind: str, number: int = 12) -> str:
        """The most frequent names of a kind."""
        names = Counter({name: count for (found, name), count in self.items() if found == kind})
        return ", ".join(f"{name.split('::')[-1]} {count}" for name, count in names.most_common(number))


class _Operators(TorchDispatchMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name.startswith("c10d::"):
            self._counts["collectives", name] += 1
        elif not _is_view(func) and name not in _NO_LAUNCH:
            self._counts["operators", name] += 1
            if (name in _WAITS and not (kwargs or {}).get("output_size")) or _reads_a_mask(name, args):
                self._counts["waits", name] += 1
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (copy := _COPIES.get(func)) and not (copy[0] == "uploads" and isinstance(args[-1], Tensor)):
            self._counts[copy] += 1
        return func(*args, **(kwargs or {}))


def _is_view(func: Any) -> bool:
    """Whether an operator returns what it was given in another shape."""
    return any(found.alias_info is not None and not found.alias_info.is_write for found in func._schema.returns)


def _reads_a_mask(name: str, args: Sequence[Any]) -> bool:
    """Whether an index is a mask, of which the number of true elements has to be known."""
    if name not in {"aten::index", "aten::index_put", "aten::index_put_"}:
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


@contextmanager
def counting() -> Iterator[Counts]:
    """Count in the block."""
    counts = Counts()
    with _Operators(counts), _Calls(counts):
        yield counts


def prediction_counts(name: str, size: Size = _SIZE, output_size: Size = PICTURE) -> Counts:
    """The counts of a prediction."""
    model, images = model_with_detections(name), pictures(1, size)
    # as on a GPU, where torchvision suppresses the boxes of all classes at once up to a larger number of them
    suppressed = patch.object(boxes, "_batched_nms_vanilla", boxes._batched_nms_coordinate_trick)
    classes = patch.object(panoptic_blend, "semantic_classes", panoptic_blend.classes_at_once)
    # inference mode would hide what composite operators call
    with torch.no_grad(), suppressed, classes, counting() as counts:
        model(images, output_sizes=[output_size])
    return counts


def step_counts(name: str, images: int, devices: int = 1, size: Size = _SIZE) -> Counts:
    """The counts of a step of ``train`` in this process, on generated pictures."""
    steps = [Counts()]

    def follow(update: Callable[..., None], counts: Counts) -> Callable[..., None]:
        def followed(run: Run) -> None:
            update(run)
            steps.append(Counts(counts))

        return followed

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        write_coco_sized(root, 8, 1, size)
        config = load_config(
            name,
            [
                f"data.root={root}",
                f"data.short_sides=[{min(size)}]",
                f"data.long_side={max(size)}",
                "data.workers=1",
                f"train.batch_size={images}",
                f"train.devices={devices}",
                f"train.iterations={_STEPS}",
                "train.rescale=false",
                "train.warmup_iterations=1",
                "train.steps=[]",
                "train.precision=32-true",
                "train.weights=null",
            ],
        )
        with (
            counting() as counts,
            patch.object(loop, "update_weights", follow(loop.update_weights, counts)),
            _without_evaluation(),
        ):
            loop.train(config, Path(folder) / "run")
    return Counts(steps[-1] - steps[-2])


@contextmanager
def _without_evaluation() -> Iterator[None]:
    """End the training after its steps."""
    ended = RuntimeError("the steps are counted")
    with patch("panoptic_blend.training.run.Run.checkpoint", side_effect=ended):
        try:
            yield
        except RuntimeError as error:
            if error is not ended:
                raise


def table(found: dict[str, Counts]) -> Table:
    """A row of counts for each work."""
    result = right_aligned("", *KINDS)
    for name, counts in found.items():
        result.add_row(name, *(f"{counts.of(kind):,}" for kind in KINDS))
    return result


def main() -> None:
    """Parse the options, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=R50)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    found = {f"a training step, {options.batch} pictures": step_counts(options.config, options.batch, options.devices)}
    if not is_first():
        return
    if options.devices == 1:
        found["a prediction"] = prediction_counts(options.config)
    Console().print(table(found))
    for name, counts in found.items():
        for kind in KINDS:
            print(f"{name}, {kind}: {counts.most(kind)}")


if __name__ == "__main__":
    main()
