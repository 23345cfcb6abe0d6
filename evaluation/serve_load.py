"""Put a load on ``panoptic-blend serve``: every request is answered, memory stays flat, and bad uploads harm nobody.

    python -m evaluation.serve_load runs/own/best.safetensors --pictures datasets/own/val

Starts the command as a process of its own on a free port of this machine and sends pictures to it from several clients
at once. A client that is told to come again (503) does so after the time that it was told. Then files are sent that are
no pictures, or too large. Exits non-zero if a request is lost, if the memory of the server grows by more than 10 %
after the first fifth of the requests, or if the server does not answer a picture at the end.
"""

from __future__ import annotations

import argparse
import http.client
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.terminal import right_aligned

MOST_GROWTH = 0.10


@dataclass
class Load:
    """What the clients have seen, in seconds, and the resident memory of the server in bytes, request by request."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """The largest memory of the last fifth of the requests over that of the first fifth, less 1."""
        fifth = max(1, len(self.memory) // 5)
        return max(self.memory[-fifth:]) / max(self.memory[:fifth]) - 1


def main() -> None:
    """Measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="what `panoptic-blend serve` takes")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of pictures to send in turn")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    files = [path for path in sorted(options.pictures.iterdir()) if path.suffix.lower() in PICTURE_SUFFIXES]
    with serving(options.model) as (port, process):
        load = put_load(port, process, islice(cycle(files), options.requests), options.clients)
        answers = [(name, ask(port, body)) for name, body in bad_uploads(files[0].read_bytes())]
        survives = ask(port, files[0].read_bytes()) == 200
    Console().print(table(load), *(f"{name}: {status}" for name, status in answers), sep="\n")
    problems = missed_targets(load, options.requests, answers, survives)
    print(*problems, sep="\n")
    sys.exit(bool(problems))


@contextmanager
def serving(model: str) -> Iterator[tuple[int, psutil.Process]]:
    """The port of a server of ``model``, and its process."""
    command = [sys.executable, "-c", "from panoptic_blend.cli.main import main; main('serve')", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            said = re.search(r"http://127\.0\.0\.1:(\d+)/", server.stdout.readline())
            if not said:
                sys.exit("the server did not start")
            yield int(said[1]), psutil.Process(server.pid)
        finally:
            server.terminate()


def put_load(port: int, process: psutil.Process, files: Iterator[Path], clients: int) -> Load:
    """Send all ``files``, each to ``/predict``, from ``clients`` threads that take the next one when they are free."""
    load, lock = Load(), threading.Lock()

    def client() -> None:
        while True:
            with lock:
                path = next(files, None)
            if path is None:
                return
            start = time.monotonic()
            try:
                status: int | str = ask_again(port, path.read_bytes(), load.statuses)
            except OSError as error:
                status = type(error).__name__
            with lock:
                load.statuses[status] += 1
                load.latencies.append(time.monotonic() - start)
                load.memory.append(process.memory_info().rss)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.monotonic() - start
    return load


def ask_again(port: int, body: bytes, statuses: Counter[int | str]) -> int:
    """The status of the answer to a picture, after as many times as the server says that it is busy."""
    while True:
        status, headers = _answer(port, body)
        if status != 503:
            return status
        statuses[status] += 1
        time.sleep(int(headers["Retry-After"]))


def ask(port: int, body: bytes) -> int | str:
    """The status of the answer to a body; the name of the error if the connection ends before."""
    try:
        return _answer(port, body)[0]
    except OSError as error:
        return type(error).__name__


def _answer(port: int, body: bytes) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def bad_uploads(picture: bytes) -> list[tuple[str, bytes]]:
    """Bodies that cannot be predicted, with what they are."""
    huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return [
        ("nothing", b""),
        ("text", b"hello" * 1000),
        ("half a picture", picture[: len(picture) // 2]),
        ("a header alone", picture[:20]),
        ("60000 x 60000 pixels", huge),
        ("100 MB", bytes(10**8)),
    ]


def table(load: Load) -> Table:
    """The figures of a load."""
    shown = right_aligned("answers", "pictures/s", "median s", "95 % s", "memory MB", "growth %")
    answers = ", ".join(f"{count} x {status}" for status, count in load.statuses.items())
    median, late = np.percentile(load.latencies, [50, 95])
    rate = f"{len(load.latencies) / load.seconds:.2f}"
    memory = f"{max(load.memory) / 1e6:.0f}"
    shown.add_row(answers, rate, f"{median:.2f}", f"{late:.2f}", memory, f"{100 * load.growth:.1f}")
    return shown


def missed_targets(load: Load, requests: int, answers: list[tuple[str, int | str]], survives: bool) -> list[str]:
    """What is wrong, a line each."""
    problems = []
    if load.statuses[200] != requests:
        problems.append(f"{requests - load.statuses[200]} of {requests} requests were not answered")
    if load.growth > MOST_GROWTH:
        problems.append(f"memory grew by {100 * load.growth:.1f} %")
    problems += [f"{name}: answered with {status}, not refused" for name, status in answers if status not in (400, 413)]
    if not survives:
        problems.append("the server does not answer any more")
    return problems


if __name__ == "__main__":
    main()
