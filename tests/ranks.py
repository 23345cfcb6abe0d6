"""Runs a command of ``panoptic-blend``, or a function, in several processes, as torchrun would start them.

They are forks of a process that has imported torch, which takes a moment instead of seconds.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from panoptic_blend.cli.main import main
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.inference.predictor import load
from panoptic_blend.prediction.journal import Journal, JournalEntry
from panoptic_blend.runtime.launchers import Wanted
from panoptic_blend.runtime.team import together as team_of
from panoptic_blend.sweep.cache import open_cache


class Ended(NamedTuple):
    """The exit code of a process and what it printed, on both outputs."""

    code: int | None
    said: str


def together(
    count: int, command: list[object], folder: Path, *, interrupt: tuple[int, int] | None = None
) -> list[Ended]:
    """Run a command in ``count`` processes over gloo.

    Args:
        folder: for what they print.
        interrupt: a rank, and the picture, counted from 1, at which it gets Ctrl-C, before it is in the journal.
    """
    arguments = [str(argument) for argument in command]
    at = {interrupt[0]: interrupt[1]} if interrupt else {}
    return apart(count, folder, _command, lambda rank: (arguments, at.get(rank, 0)))


def apart(
    count: int, folder: Path, function: Callable[..., object], arguments: Callable[[int], tuple[object, ...]]
) -> list[Ended]:
    """Call a function with the arguments of each rank, in ``count`` processes over gloo that print into ``folder``."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["panoptic_blend.cli.main", "panoptic_blend.training.loop"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = [folder / f"said_{rank}.txt" for rank in range(count)]
    processes = []
    for rank, path in enumerate(said):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        task = (path, place if count > 1 else {}, function, arguments(rank))
        processes.append(context.Process(target=_run, args=task))
        processes[-1].start()
    for process in processes:
        process.join(120)
    return [Ended(process.exitcode, path.read_text()) for process, path in zip(processes, said, strict=True)]


def program(path: Path, arguments: tuple[str, ...], folder: Path) -> Ended:
    """Run a program in a process of its own, whose working folder is ``folder``."""
    with TemporaryDirectory() as said:
        [ended] = apart(1, Path(said), _program, lambda rank: (path, arguments, folder))
    return ended


def _program(path: Path, arguments: tuple[str, ...], folder: Path) -> None:
    os.chdir(folder)
    torch.set_num_threads(1)  # two would spend most of their time waiting
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def tasks_of_slurm(count: int, command: list[object], folder: Path) -> list[Ended]:
    """Run a command in ``count`` processes that Slurm, not torchrun, has started."""
    arguments = [str(argument) for argument in command]
    return apart(count, folder, _task_of_slurm, lambda rank: (arguments, rank, count))


def _task_of_slurm(arguments: list[str], rank: int, count: int) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        del os.environ[name]
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": str(count), "SLURM_STEP_ID": "0", "SLURM_NODELIST": "localhost"}
    os.environ.update({**job, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)})
    _command(arguments, 0)


def _run(said: Path, place: dict[str, object], function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.environ.update({name: str(value) for name, value in place.items()})
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*arguments)


def _command(arguments: list[str], at: int) -> None:
    sys.argv = ["panoptic-blend", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if at:
        Journal.add = _interrupted(Journal.add, at)  # type: ignore[method-assign]
    if arguments[0] == "cache":
        _open_cache(*map(Path, arguments[1:]))
    else:
        main()


def _open_cache(checkpoint: Path, output: Path) -> None:
    """As ``panoptic-blend sweep`` does, without trying settings."""
    with team_of(Wanted(), "cpu") as team:
        predictor = load(checkpoint)
        dataset = CocoPanoptic(Path(str(predictor.config.data.root)), "val2017")
        open_cache(output / "cache.zip", predictor, dataset, lambda done, total: None, team=team)


def _interrupted(add: Callable[..., JournalEntry], at: int) -> Callable[..., JournalEntry]:
    numbers = iter(range(1, 10**6))

    def interrupted(journal: Journal, *entry: Any) -> JournalEntry:
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGINT)
        return add(journal, *entry)

    return interrupted
