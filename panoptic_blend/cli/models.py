"""The model of a command, on the devices that it was given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.config.precisions import Precision
from panoptic_blend.extras import require_extra
from panoptic_blend.files import locked
from panoptic_blend.machine import cores
from panoptic_blend.prediction.sharing import ALONE, Alone
from panoptic_blend.structures import PanopticBlendError, Progress
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.deploy.predictor import ExportedPredictor
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.prediction.protocol import PicturePredictor
    from panoptic_blend.runtime.threads import Threads


@dataclass(frozen=True)
class RunningModel:
    """A model on the device of this process, the processes that share the images, and the threads of this one."""

    predictor: PicturePredictor
    team: Alone
    threads: Threads | None = None
    """None for an exported model, whose engine has its own."""

    @contextmanager
    def progress(self, task: str, items: str = "") -> Iterator[Progress]:
        """The `progress_line` of all processes, which the first one shows; each follows the free cores meanwhile."""
        line = progress_line(task, items) if self.team.is_first else nullcontext(_unseen)
        with line as show:
            yield self.threads.following(show) if self.threads else show

    def of_torch(self, task: str) -> Predictor:
        """The predictor, for a task that an exported model cannot do, which raises PanopticBlendError."""
        from panoptic_blend.inference.predictor import Predictor

        if isinstance(self.predictor, Predictor):
            return self.predictor
        raise PanopticBlendError(f"an exported model cannot {task}; give the checkpoint that it was exported from")

    def of_any_kind(self) -> Predictor | ExportedPredictor:
        """The predictor, for tasks that both kinds can do, and that need torch."""
        from panoptic_blend.deploy.predictor import ExportedPredictor

        return self.predictor if isinstance(self.predictor, ExportedPredictor) else self.of_torch("do this")

    def locked(self, output: Path | None) -> AbstractContextManager[None]:
        """Lock the folder for all processes, if there is one."""
        return locked(output, "--output") if output and self.team.is_first else nullcontext()


@contextmanager
def running(
    model: Path,
    weights: Path | None,
    config: str | None,
    overrides: Iterable[str],
    device: str,
    devices: int,
    nodes: int,
    precision: Precision,
    many: bool = False,
) -> Iterator[RunningModel]:
    """The model of a command on its devices; a process alone on the CPU has as many threads as there are free cores.

    An exported model is run by its engine, on the CPU and in this process, and needs no torch; if there are ``many``
    pictures, each core takes one of its own.

    The device is said, unless it is the CPU alone. An error in one process ends all, and only the first one tells it.
    """
    from panoptic_blend.deploy.manifest import MANIFEST, is_exported

    if is_exported(model):
        _require_plain(model, weights, config, device, devices * nodes, precision)
        from panoptic_blend.deploy.predictor import load as load_exported

        yield RunningModel(load_exported(model, overrides=overrides, at_once=cores() if many else 1), ALONE)
        return
    if not model.is_file():
        require_extra("torch", f"or check the path: {model} is no folder with {MANIFEST}")
    from panoptic_blend.inference.predictor import load
    from panoptic_blend.runtime.launchers import Wanted
    from panoptic_blend.runtime.team import together
    from panoptic_blend.runtime.threads import Threads

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights exclude each other; give only one of the two")
    if config is not None:
        model, weights = Path(config), model
    with together(Wanted(devices, nodes), device) as team:
        is_alone_on_cpu = team.in_words == "cpu"
        threads = Threads(is_shared=is_alone_on_cpu)
        predictor = load(model, weights, str(team.device), overrides, precision)
        if team.is_first and not is_alone_on_cpu:
            print(f"running on {team.in_words}", file=sys.stderr)
        threads.start()
        yield RunningModel(predictor, team, threads)


def _require_plain(
    folder: Path, weights: Path | None, config: str | None, device: str, processes: int, precision: Precision
) -> None:
    """Raise an error for options that an exported model does not have."""
    given = {
        "--weights": weights is not None,
        "--config": config is not None,
        f"--device {device}": device not in ("auto", "cpu"),
        "--devices and --nodes": processes > 1,
        f"--precision {precision}": precision not in ("auto", "32-true"),
    }
    if name := next((name for name, is_given in given.items() if is_given), None):
        raise PanopticBlendError(f"{folder}: is an exported model, which runs on the CPU as it is; leave out {name}")


def _unseen(done: int, total: int) -> None:
    """The progress of a process that is not the first."""
