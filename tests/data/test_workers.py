"""Whatever happens in a data loading process ends in one line in the main process, and in no process left behind."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context, get_start_method
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Dataset

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import evaluation_samples
from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.transforms import Resizing
from panoptic_blend.data.workers import DATA_WORKERS, ErrorsAsItems, _death, load
from panoptic_blend.failures import ForeignError

pytestmark = pytest.mark.skipif(get_start_method() != "fork", reason="functions reach a process by fork only")

Refused = Callable[..., str]


class Calls(Dataset[Any]):
    """Item ``i`` is the result of calling function ``i``."""

    def __init__(self, *functions: Callable[[], Any]) -> None:
        self.functions = functions

    def __getitem__(self, index: int) -> Any:
        return self.functions[index]()


def load_all(*functions: Callable[[], Any], workers: int = 1) -> list[Any]:
    batches = [[index] for index in range(len(functions))]
    return [item.value for [item] in load(ErrorsAsItems(Calls(*functions)), batches, workers)]


class Unsendable:
    """An object whose pickling raises ``error`` in the process that loads it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def fail() -> None:
    raise ConnectionRefusedError(111, "Connection refused")


class Unreceivable:
    """An object that only the main process fails to unpickle."""

    def __reduce__(self) -> Any:
        return fail, ()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_items_come_in_order(workers: int) -> None:
    assert load_all(lambda: 1, lambda: "b", lambda: None, workers=workers) == [1, "b", None]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"),
            "shared memory is full, so a data loading process cannot pass on its data; enlarge /dev/shm "
            "(docker run --shm-size=8g), or lower data.workers (0 needs no shared memory)",
        ),
        (
            OSError(24, "Too many open files"),
            "a data loading process cannot pass on its data (OSError: [Errno 24] Too many open files); "
            "raise the limit of open files (ulimit -n 65536), or lower data.workers (0 needs none)",
        ),
        (
            ValueError("two\nlines"),
            "a data loading process cannot pass on its data (ValueError: two); "
            "set data.workers=0, which passes nothing on",
        ),
    ],
)
def test_items_that_cannot_be_passed_on(error: Exception, expected: str, refused: Refused) -> None:
    """torch alone would print a traceback in the worker and wait for the item for ever."""
    assert refused(load_all, lambda: Unsendable(error)) == expected


def test_an_item_that_cannot_be_received(refused: Refused) -> None:
    message = refused(load_all, Unreceivable)
    assert "cannot pass on its data (ConnectionRefusedError: [Errno 111] Connection refused)" in message


def test_a_process_that_is_killed(refused: Refused) -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    message = refused(load_all, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert message == "a data loading process was killed, perhaps because memory ran out; lower data.workers"
    assert signal.getsignal(signal.SIGCHLD) == handler  # that of torch raises at any moment


def killed(number: signal.Signals) -> None:
    faulthandler.disable()  # pytest has enabled it
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("die", "expected"),
    [
        (lambda: os._exit(3), r"died \(exit code 3\); set data.workers=0 to see why"),
        (lambda: killed(signal.SIGBUS), "enlarge /dev/shm"),
        (lambda: killed(signal.SIGSEGV), r"died \(signal SIGSEGV\)"),
    ],
)
def test_how_a_process_died(die: Callable[[], None], expected: str) -> None:
    process = get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert re.search(expected, str(_death([process], DATA_WORKERS)))


def test_processes_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    def start(process: BaseProcess) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(BaseProcess, "start", start)
    message = refused(load_all, lambda: 1)
    assert message == (
        "1 data loading processes cannot be started (BlockingIOError: [Errno 11] Resource temporarily unavailable); "
        "lower data.workers (0 needs none)"
    )


class Failing(CocoPanoptic):
    error: Exception

    def __getitem__(self, index: int) -> Sample:
        raise self.error


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("3 GiB"), "memory ran out; lower data.workers, data.short_sides or test.short_side"),
        (ZeroDivisionError("by\nzero"), "ZeroDivisionError: by"),
    ],
)
def test_an_exception_that_nobody_foresaw_names_the_image(
    generated: Path, workers: int, error: Exception, expected: str
) -> None:
    """Its traceback survives the way from the process that loads."""
    dataset = Failing(generated, "val2017")
    dataset.error = error
    with pytest.raises(ForeignError) as found:
        next(evaluation_samples(dataset, Resizing(64, 80), workers))
    name = dataset.images.file_names[0]
    assert str(found.value) == f"loading {name} of panoptic_val2017.json: {expected}"
    assert "in __getitem__" in found.value.trace


ORPHAN = """
import signal
from test_workers import load_all

def wait():
    print("loading", flush=True)
    signal.pause()

load_all(wait)
"""


def test_a_process_dies_with_its_parent() -> None:
    """Its output ends only when the last process that could write to it is dead."""
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stdout.readline() == b"loading\n"
        process.kill()
        assert process.communicate(timeout=60)[0] == b""
