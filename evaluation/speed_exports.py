"""Measure exported models beside torch: a whole picture, from its pixels to the panoptic map or the instances.

    python -m evaluation.speed_exports                  # measure what has no line yet, and print the tables
    python -m evaluation.speed_exports --table          # print the tables only

Weights are random and chosen so that 500 boxes are candidates and 100 instances are found in a picture of 640 x 480,
which is resized to the config's test size. Every engine and precision runs in a process of its own, limited to so many
cores, and all of a config take turns, so that a busy moment affects all alike. What is measured of a config on so many
cores is a line of ``--results``, and such a line is not measured again; remove it to do so. Models are kept in
``--output``. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evaluation.result_lines import add_line, machine_name
from evaluation.speed import PICTURE, input_size
from evaluation.speed_models import CANDIDATES, saved_model
from evaluation.speed_rows import Row, Timing, read_rows, table, targets
from evaluation.speed_worker import picture
from evaluation.timing import measurement_table
from panoptic_blend.cli.running import guarded, stoppable
from panoptic_blend.config.experiment import load_config
from panoptic_blend.deploy.manifest import Engine, is_exported
from panoptic_blend.export.int8_parts import PARTS
from panoptic_blend.export.writing import ExportRequest, export_model
from panoptic_blend.files import locked
from panoptic_blend.formats.images import write_picture
from panoptic_blend.inference.predictor import load
from panoptic_blend.structures import PanopticBlendError, Size
from panoptic_blend.table_formats import markdown

RESULTS = Path(__file__).parent / "results" / "speed.jsonl"
CONFIGS = (
    *("panoptic/blendmask_r50_3x", "panoptic/blendmask_lite"),
    *("instance/blendmask_rt_r50_4x", "instance/blendmask_rt_lite"),
)
PACKAGES = "panoptic_blend", "torch", "openvino", "onnxruntime", "nncf"
CHECKPOINT = "model.safetensors"


@dataclass(frozen=True)
class Variant:
    """An engine, its arithmetic, and what it loads in the folder of a config."""

    engine: str
    precision: str
    file: str

    @property
    def name(self) -> str:
        """Its name in rows and tables."""
        return f"{self.engine} {self.precision}"


VARIANTS = (
    Variant("torch", "float32", CHECKPOINT),
    Variant("torch", "bfloat16", CHECKPOINT),
    Variant("openvino", "float32", "openvino"),
    Variant("openvino", "bfloat16", "openvino"),
    Variant("openvino", "int8", "openvino-int8"),
    Variant("onnx", "float32", "onnx"),
)


def main() -> None:
    """Parse the options, measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", default=CONFIGS)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="print the tables, and measure nothing")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="time in the tables")
    parser.add_argument("--output", type=Path, default=Path("runs/speed"), help="folder of the models")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.table:
        with stoppable("interrupted; run the same command again to continue"), locked(options.output, "--output"):
            measure_missing(options.config, options.cores, options.repeats, options.output, options.results)
    rows = read_rows(options.results).values()
    measurements = targets(rows, options.clock)
    for shown in (table(rows, options.clock), measurement_table("Targets", measurements)):
        print(markdown(shown))
    sys.exit(any(measurement.is_missed for measurement in measurements))


def measure_missing(configs: Sequence[str], cores: Sequence[int], repeats: int, output: Path, results: Path) -> None:
    """Measure every config on every number of cores that has no row of this machine."""
    for name in configs:
        for number in cores:
            if (name, number, machine_name()) in read_rows(results):
                print(f"{name}, cores: {number}: finished")
                continue
            print(f"{name}, cores: {number}: measuring", flush=True)
            folder = output / name
            prepare(name, folder)
            timings = measure(folder, number, repeats)
            add_line(results, row(name, number, timings))


def row(name: str, cores: int, timings: dict[str, Timing]) -> Row:
    """The row of a config that was measured here and now."""
    return Row(
        config=name,
        cores=cores,
        input=input_size(name),
        candidates=CANDIDATES,
        machine=machine_name(),
        date=datetime.now(UTC).date().isoformat(),
        versions={package: version(package) for package in PACKAGES},
        timings=timings,
    )


def prepare(name: str, folder: Path) -> None:
    """Write the checkpoint of a config and its exports, as far as they are missing."""
    if saved_model(load_config(name), folder / CHECKPOINT):
        for variant in VARIANTS:
            shutil.rmtree(folder / variant.file, ignore_errors=True)
    engines: tuple[Engine, ...] = ("openvino", "onnx")
    for engine in engines:
        if not is_exported(folder / engine):
            export_model(load(folder / CHECKPOINT), ExportRequest(CHECKPOINT, engine, folder / engine))
    int8 = folder / "openvino-int8"
    if not is_exported(int8):
        export_int8(folder / CHECKPOINT, int8)


def export_int8(checkpoint: Path, folder: Path) -> None:
    """Export a model with all its parts in int8: random weights do not show which of them hurt."""
    calibration = checkpoint.with_name("calibration.png")
    write_picture(calibration, picture(*PICTURE))
    with patch.dict(PARTS, clear=True):
        export_model(load(checkpoint), ExportRequest(CHECKPOINT, "openvino", folder, calibration=(calibration,)))


def measure(folder: Path, cores: int, repeats: int) -> dict[str, Timing]:
    """The timings of all variants in the folder of a config."""
    models = {variant.name: (folder / variant.file, variant.precision) for variant in VARIANTS}
    rounds, libraries = timed_rounds(models, cores, repeats, PICTURE)
    return {
        name: Timing(
            wall=[found[name]["wall"] for found in rounds],
            processor=[found[name]["processor"] for found in rounds],
            instances=rounds[-1][name]["instances"],
            peak=rounds[-1][name]["peak"],
            libraries=libraries[name],
            files=size_of(path),
        )
        for name, (path, _) in models.items()
    }


def timed_rounds(
    models: Mapping[str, tuple[Path, str]], cores: int, repeats: int, size: Size
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Let models predict a picture in turn, after a round that is not counted.

    Args:
        models: the checkpoint or exported folder of each, and its precision.
        size: height and width of the picture.

    Returns:
        What `evaluation.speed_worker` says of each model in each round, and the memory of each before its model.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(*model, cores, size)) for name, model in models.items()}
        libraries = {name: int(one.read()["libraries"]) for name, one in workers.items()}
        rounds = [{name: one.predict() for name, one in workers.items()} for _ in range(repeats + 1)]
    return rounds[1:], libraries


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.iterdir()))


@dataclass(frozen=True)
class Worker:
    """A process of `evaluation.speed_worker`."""

    command: Sequence[str]
    process: subprocess.Popen[str]

    def predict(self) -> dict[str, Any]:
        """Let it predict the picture once, and return what it says of that."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """The next line that it writes."""
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise PanopticBlendError(f"{' '.join(self.command)}: ended; its error is above")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def worker(model: Path, precision: str, cores: int, size: Size) -> Iterator[Worker]:
    """A process that runs a model on so many cores, with a picture of ``size``."""
    command = [sys.executable, "-m", "evaluation.speed_worker", str(model), precision, *map(str, (cores, *size))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Worker(command, process)


if __name__ == "__main__":
    guarded(main)
