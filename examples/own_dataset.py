"""Train on a data set that is not a COCO folder: anything with the properties of `PanopticDataset` will do.

python examples/own_dataset.py [--iterations 20] [--output runs/discs]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from panoptic_blend import Category, PanopticMap, Segment, load_config
from panoptic_blend.data.protocol import Sample
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Size
from panoptic_blend.training.loop import train

SIDE = 96
DISC, GROUND = 1, 2


@dataclass(frozen=True)
class Images:
    """The images as columns: known without making a single one."""

    ids: list[int]
    file_names: list[str]
    sizes: list[Size]


class Discs:
    """One bright disc on dark ground per image, made when it is asked for."""

    annotation = None  # no file that results could overwrite

    def __init__(self, count: int, name: str) -> None:
        self.name = name
        self.categories = Categories([Category(DISC, "disc", True), Category(GROUND, "ground", False)])
        self.images = Images(list(range(count)), [f"{i}.png" for i in range(count)], [(SIDE, SIDE)] * count)

    def __len__(self) -> int:
        return len(self.images.ids)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([index, len(self.name)])
        x, y, radius = rng.uniform((30, 30, 12), (66, 66, 26))
        rows, columns = np.mgrid[:SIDE, :SIDE]
        is_disc = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        pixels = np.where(is_disc, 190, 60) + rng.normal(0, 12, (3, SIDE, SIDE))
        ids = np.where(is_disc, 1, 2).astype(np.int32)
        segments = [Segment(1, DISC, True, None, 0, None), Segment(2, GROUND, False, None, 0, None)]
        image = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
        return Sample(index, f"{index}.png", image, PanopticMap.measured(ids, segments))

    def version(self) -> Iterator[bytes]:
        yield f"{self.name} {len(self)}".encode()  # a sweep's cache is made anew when this changes


def main() -> None:
    """Train the demo's small network on discs, and print its PQ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("runs/discs"))
    arguments = parser.parse_args()
    changes = [
        *("data.short_sides=[96]", "test.short_side=96", "data.workers=0", "model.fusion.stuff_area=64"),
        *("train.batch_size=4", "train.rescale=false", "train.steps=[]", "train.warmup_iterations=5"),
        *("train.log_every=5", f"train.iterations={arguments.iterations}"),
    ]
    datasets = Discs(64, "discs to train on"), Discs(8, "discs to evaluate on")
    evaluation = train(load_config("demo/shapes_r18", changes), arguments.output, datasets=datasets)
    print(f"PQ {100 * evaluation.columns()['PQ']:.1f} after {arguments.iterations} iterations")


if __name__ == "__main__":
    main()
