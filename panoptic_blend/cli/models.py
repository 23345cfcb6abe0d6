"""The model of a command, on the devices that it was given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from panoptic_blend.config.options import Precision
from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError, Progress
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.runtime.team import Team
    from panoptic_blend.runtime.threads import Threads


@dataclass(frozen=True)
class RunningModel:
    """A model on the device of this process, the processes that share the images, and the threads of this one."""

    predictor: Predictor
    team: Team
    threads: Threads

    @contextmanager
    def progress(self, task: str, items: str = "") -> Iterator[Progress]:
        """The `progress_line` of all processes, which the first one shows; each follows the free cores meanwhile."""
        line = progress_line(task, items) if self.team.is_first else nullcontext(_unseen)
        with line as show:
            yield self.threads.following(show)

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
) -> Iterator[RunningModel]:
    """The model of a command on its devices; a process alone on the CPU has as many threads as there are free cores.

    The device is said, unless it is the CPU alone. An error in one process ends all, and only the first one tells it.
    """
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


def _unseen(done: int, total: int) -> None:
    """The progress of a process that is not the first."""
