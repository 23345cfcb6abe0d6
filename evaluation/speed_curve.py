"""PQ over the time of a picture on generated Shapes, for models of different cost that were trained equally long.

    python -m evaluation.speed_curve --minutes 10       # train, judge and time what has no line yet, and draw
    python -m evaluation.speed_curve --draw             # draw only

Every model is trained from random weights for ``--minutes``, judged on 200 pictures, exported to OpenVINO, and timed on
one core: a picture of 128 x 128, from its pixels to the map, in float32. An interrupted run continues where it was. The
picture is drawn from the lines of ``--results`` alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from statistics import median

from evaluation.fit_variants import ByConfig
from evaluation.result_lines import add_line, machine_name, read_lines
from evaluation.speed_exports import timed_rounds
from panoptic_blend.cli.running import guarded, stoppable
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.deploy.manifest import is_exported
from panoptic_blend.export.writing import ExportRequest, export_model
from panoptic_blend.files import locked, replacing
from panoptic_blend.inference.predictor import load
from panoptic_blend.machine import cores
from panoptic_blend.metrics.resampling import intervals
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError, Size
from panoptic_blend.training.initialization import LAST

RESULTS = Path(__file__).parent / "results" / "speed_curve.jsonl"
DRAWING = Path(__file__).parents[1] / "docs" / "speed-curve.svg"
BASE, VAL, PICTURE, REPEATS = "demo/shapes_r18", "val2017", (128, 128), 20

LITE = (
    *("model.fpn.channels=32", "model.bottom.channels=32", "model.semantic.channels=32", "model.bottom.num_convs=1"),
    *("model.fcos.norm=bn", "model.semantic.norm=bn", "model.fcos.shared_convs=1", "model.fcos.num_convs=0"),
)
"""What `instance/blendmask_rt_lite` and `panoptic/blendmask_lite` change, at the width of the demo."""
SIDE_96 = "data.short_sides=[96]", "data.long_side=120", "test.short_side=96", "test.long_side=120"
MODELS: dict[str, tuple[str, ...]] = {
    "R-18": (),
    "R-18, side 96": SIDE_96,
    "R-14": ("model.backbone.depth=14",),
    "R-18 lite": LITE,
    "R-14 lite": ("model.backbone.depth=14", *LITE),
    "R-14 lite, side 96": ("model.backbone.depth=14", *LITE, *SIDE_96),
}


@dataclass(frozen=True)
class Point:
    """A trained model: PQ as a fraction with its interval, and the seconds of a picture in every repeat."""

    model: str
    options: list[str]
    minutes: float
    iterations: int
    images: int
    pq: float
    low: float
    high: float
    wall: list[float]
    processor: list[float]
    machine: str
    training_cores: int
    date: str

    @property
    def key(self) -> str:
        """What the point is of."""
        return self.model

    @property
    def milliseconds(self) -> float:
        """The median processor time of a picture, which is on one core the time on an idle one."""
        return 1000 * median(self.processor)


def main() -> None:
    """Parse the options, train, measure, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--draw", action="store_true", help="draw, and train nothing")
    parser.add_argument("--pictures", type=int, nargs=2, default=(2000, 200), help="for training and validation")
    parser.add_argument("--output", type=Path, default=Path("runs/speed_curve"), help="folder of data and runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--drawing", type=Path, default=DRAWING)
    options = parser.parse_args()
    if not options.draw:
        with stoppable("interrupted; run the same command again to continue"), locked(options.output, "--output"):
            root = options.output / "shapes"
            if not root.exists():
                write_shapes(root, *options.pictures)
            for name in options.only:
                if name in read_points(options.results):
                    print(f"{name}: finished")
                    continue
                print(f"{name}: training", flush=True)
                folder = options.output / name.replace(", ", "_")
                add_line(options.results, measured(name, root, folder, options.minutes))
    points = list(read_points(options.results).values())
    if not points:
        raise PanopticBlendError(f"{options.results}: has no results; leave out --draw")
    with replacing(options.drawing) as temporary:
        temporary.write_text(svg(points), encoding="utf-8")
    for point in points:
        print(f"{point.model}: {point.milliseconds:.1f} ms, PQ {100 * point.pq:.1f}, {point.iterations} steps")


def measured(name: str, root: Path, folder: Path, minutes: float) -> Point:
    """Train a model, or continue, then judge and time it."""
    trained = ByConfig(BASE, MODELS[name], minutes).train(root, folder, seed=0)
    dataset = CocoPanoptic(root, VAL)
    details, _ = trained.judge(dataset)
    assert details is not None
    quality = intervals(details.tallies()).groups["All"]
    exported = folder / "exported"
    if not is_exported(exported):
        export_model(load(folder / LAST), ExportRequest(LAST, "openvino", exported))
    rounds, _ = timed_rounds({name: (exported, "float32")}, 1, REPEATS, PICTURE)
    return Point(
        model=name,
        options=list(MODELS[name]),
        minutes=minutes,
        iterations=trained.iterations,
        images=len(dataset),
        pq=quality.value,
        low=quality.low,
        high=quality.high,
        wall=[found[name]["wall"][1] for found in rounds],
        processor=[found[name]["processor"][1] for found in rounds],
        machine=machine_name(),
        training_cores=cores(),
        date=datetime.now(UTC).date().isoformat(),
    )


def read_points(path: Path) -> dict[str, Point]:
    """The points of a file by the names of their models; a later one replaces an earlier one.

    Raises:
        PanopticBlendError: a line is no point.
    """
    return read_lines(path, lambda fields: Point(**fields))


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 400, 60, 130, 20, 50
_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #16191f }
.tick { font-size: 11.5px; fill: #444a55 }
.grid { stroke: #dfe2e7 }
.zero { stroke: #444a55 }
.interval { stroke: #5b7fbf; stroke-width: 1.6 }
.point { fill: #5b7fbf }
.page { fill: #fff }
</style>"""


def svg(points: Sequence[Point]) -> str:
    """A drawing of PQ with intervals over milliseconds."""
    right = _rounded_up(max(point.milliseconds for point in points), 5)
    lowest, highest = (
        5 * int(20 * min(point.low for point in points)),
        _rounded_up(100 * max(p.high for p in points), 5),
    )

    def x(milliseconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * milliseconds / right

    def y(percent: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (percent - lowest) / (highest - lowest)

    parts = []
    for percent in range(lowest, highest + 1, 5):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(percent):.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y(percent) + 4:.1f}" text-anchor="end">{percent}</text>')
    for step in range(6):
        value = right * step / 5
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{_HEIGHT - 30}" text-anchor="middle">{value:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">ms for a picture, one core</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="14" text-anchor="end">PQ</text>')
    for point in sorted(points, key=lambda point: point.milliseconds):
        across, up = x(point.milliseconds), y(100 * point.pq)
        ends = y(100 * point.low), y(100 * point.high)
        parts.append(f'<path class="interval" d="M{across:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>')
        parts.append(f'<circle class="point" cx="{across:.1f}" cy="{up:.1f}" r="4.5"/>')
        parts.append(f'<text x="{across + 9:.1f}" y="{up + 4:.1f}">{point.model}</text>')
    return framed(parts, (_HEIGHT, _WIDTH), "PQ on Shapes over the time of a picture")


def framed(parts: Sequence[str], size: Size, title: str) -> str:
    """A drawing of elements of SVG on a white page of ``size`` (height, width), in the style of all drawings here."""
    height, width = size
    label = f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"'
    page = f'<rect class="page" width="{width}" height="{height}"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {label}>', _STYLE, page, *parts, "</svg>", ""])


def _rounded_up(value: float, step: int) -> int:
    return step * (int(value / step) + 1)


if __name__ == "__main__":
    guarded(main)
