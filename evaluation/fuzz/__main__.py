"""Read damaged files for some minutes, and store every kind of failure.

    python -m evaluation.fuzz --minutes 10
    python -m evaluation.fuzz --case pq:0:17        # one case again, with its files under --output

Files that every reader of the library reads are damaged at random: their bytes, and values in JSON, YAML and headers.
A reader may return or raise PanopticBlendError; another exception, more than 2 GB, more than 20 seconds or a crash is a
failure. Exits with 1 if there are failures.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from evaluation.fuzz.runner import Case, Failure, Reader, minimal, run, store
from panoptic_blend.cli.running import guarded
from panoptic_blend.structures import PanopticBlendError

_BATCH = 200
"""Cases of every reader between two looks at the clock."""


def fuzz(
    minutes: Annotated[float, typer.Option(min=0, help="How long to read.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed damages in other ways.")] = 0,
    reader: Annotated[list[str] | None, typer.Option(help="Only these readers; by default all.")] = None,
    case: Annotated[str | None, typer.Option(metavar="READER:SEED:NUMBER", help="Only this case.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the files of failures.")] = Path("fuzz"),
) -> None:
    """Read damaged files; store every kind of failure."""
    readers = _readers(reader or ([Case.parse(case).reader] if case else None))
    found: dict[str, Failure] = {}
    inputs, kinds = Counter[str](), Counter[str]()
    until = time.monotonic() + 60 * minutes
    for batch in [[Case.parse(case)]] if case else _batches(readers, seed, until):
        for one, failure in run(readers, batch):
            inputs[one.reader] += 1
            if failure:
                kinds[failure.kind] += 1
                if failure.kind not in found:
                    found[failure.kind] = failure if case else minimal(readers[one.reader], failure)
                    folder = store(readers[one.reader], found[failure.kind], output)
                    print(f"{found[failure.kind].case}: {failure.kind}: {folder}", flush=True)
    print(f"{inputs.total():,} inputs: " + ", ".join(f"{name} {number:,}" for name, number in sorted(inputs.items())))
    print(f"{kinds.total():,} failures of {len(kinds)} kinds")
    print(*(f"{number:6,}  {kind}  {found[kind].case}" for kind, number in kinds.most_common()), sep="\n")
    raise typer.Exit(int(bool(kinds)))


def _readers(names: list[str] | None) -> dict[str, Reader]:
    from evaluation.fuzz import (  # not in every child, which imports this module
        convert_readers,
        instance_readers,
        readers,
        tool_readers,
        torch_readers,
    )

    groups = (
        readers.READERS,
        instance_readers.READERS,
        convert_readers.READERS,
        tool_readers.READERS,
        torch_readers.READERS,
    )
    known = {reader.name: reader for group in groups for reader in group}
    for name in names or ():
        if name not in known:
            raise PanopticBlendError(f"{name}: no such reader; known are {', '.join(known)}")
    return {name: known[name] for name in names or known}


def _batches(readers: dict[str, Reader], seed: int, until: float) -> Iterator[list[Case]]:
    for start in count(0, _BATCH):
        if time.monotonic() > until:
            return
        yield [Case(name, seed, number) for name in readers for number in range(start, start + _BATCH)]


if __name__ == "__main__":
    guarded(lambda: typer.run(fuzz))
