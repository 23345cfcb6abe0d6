"""Results of `evaluation.speed_exports`: a line of JSON for each config and number of cores, and tables of these lines.

All variants in a line were measured in one run, in turn, so that their ratios hold on a busy machine too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from rich.table import Table

from evaluation.result_lines import read_lines
from evaluation.timing import Measurement
from panoptic_blend.table_formats import NOTHING
from panoptic_blend.terminal import right_aligned

Clock = Literal["wall", "processor"]
Key = tuple[str, int, str]

REFERENCE = "torch bfloat16"
SHARES = {"panoptic/blendmask_r50_3x": 0.60, "instance/blendmask_rt_r50_4x": 0.50}
"""The largest time of a picture in int8, as a share of torch's in bfloat16."""
LITE, LITE_CORES, LITE_SECONDS = "_lite", 2, 1 / 8
"""Configs that end so are to predict 8 pictures a second in int8, on two cores."""


@dataclass(frozen=True)
class Timing:
    """A model, measured: seconds of every repeat, of the network and of the whole from pixels to the map.

    ``wall`` is the time of a clock, and ``processor`` that of all threads together. Sizes are in bytes: the peak of the
    whole process, its peak before the model was loaded, and the files of the model.
    """

    wall: list[tuple[float, float]]
    processor: list[tuple[float, float]]
    instances: int
    peak: int
    libraries: int
    files: int

    def network(self, clock: Clock) -> float:
        """The median time of the network."""
        return median(network for network, _ in getattr(self, clock))

    def whole(self, clock: Clock) -> float:
        """The median time of a picture."""
        return median(self.wholes(clock))

    def wholes(self, clock: Clock) -> list[float]:
        """The time of a picture in every repeat."""
        return [whole for _, whole in getattr(self, clock)]


@dataclass(frozen=True)
class Row:
    """The variants of a config on so many cores, by names such as ``openvino int8``."""

    config: str
    cores: int
    input: tuple[int, int]
    """Height and width of the network's input."""
    candidates: int
    """Boxes that precede suppression, in float32."""
    machine: str
    date: str
    versions: dict[str, str]
    timings: dict[str, Timing]

    @property
    def key(self) -> Key:
        """What the row is of."""
        return self.config, self.cores, self.machine


def read_rows(path: Path) -> dict[Key, Row]:
    """The rows of a file by their keys; a later row replaces an earlier one of its key.

    Raises:
        PanopticBlendError: a line is no row.
    """
    return read_lines(path, _row)


def _row(fields: dict[str, Any]) -> Row:
    timings = {name: Timing(**timing) for name, timing in fields.pop("timings").items()}
    return Row(**fields, timings=timings)


def table(rows: Iterable[Row], clock: Clock) -> Table:
    """A line for each variant of each row."""
    columns = ["cores", "whole, ms", "from", "to", "network", "after", f"of {REFERENCE}"]
    columns += ["peak, MB", "above libraries", "files"]
    found = right_aligned("config, input", "engine", *columns, title=f"A picture of 640 x 480, {clock} time", words=2)
    for row in rows:
        for name, timing in row.timings.items():
            wholes, whole, network = timing.wholes(clock), timing.whole(clock), timing.network(clock)
            share = share_of_reference(row.timings, name, clock)
            found.add_row(
                f"{row.config}, {row.input[0]} x {row.input[1]}",
                name,
                str(row.cores),
                *(f"{1000 * seconds:,.0f}" for seconds in (whole, min(wholes), max(wholes), network, whole - network)),
                NOTHING if share is None else f"{share:.2f}",
                *(f"{size / 1e6:,.0f}" for size in (timing.peak, timing.peak - timing.libraries, timing.files)),
            )
    return found


def share_of_reference(timings: Mapping[str, Timing], name: str, clock: Clock) -> float | None:
    """The time of a picture as a share of torch's in bfloat16; None if that was not measured."""
    reference = timings.get(REFERENCE)
    return None if reference is None else timings[name].whole(clock) / reference.whole(clock)


def targets(rows: Iterable[Row], clock: Clock) -> list[Measurement]:
    """What the targets are about: time in int8, and memory of every export relative to torch's smaller peak."""
    found = []
    for row in rows:
        place, int8 = f"{row.config}, cores: {row.cores}", row.timings.get("openvino int8")
        if int8 and row.config in SHARES and (share := share_of_reference(row.timings, "openvino int8", clock)):
            found.append(Measurement(f"{place}: int8 of {REFERENCE}", share, SHARES[row.config]))
        if int8 and row.config.endswith(LITE) and row.cores == LITE_CORES:
            found.append(Measurement(f"{place}: seconds in int8", int8.whole(clock), LITE_SECONDS))
        peaks = {name: timing.peak for name, timing in row.timings.items()}
        if of_torch := [peak for name, peak in peaks.items() if name.startswith("torch")]:
            found += [
                Measurement(f"{place}: peak of {name} of torch's", peak / min(of_torch), 1.0)
                for name, peak in peaks.items()
                if not name.startswith("torch")
            ]
    return found
