"""Damaged files of every reader end in a result or in PanopticBlendError, within 2 GB and 20 s.

``python -m evaluation.fuzz`` reads more of them, and other ones with each ``--seed``.
"""

from __future__ import annotations

import pytest

from evaluation.fuzz import convert_readers, instance_readers, readers, tool_readers, torch_readers
from evaluation.fuzz.runner import Case, Reader, run

SLOW = {"inspect-weights", "inspect-checkpoint"}
"""Readers that build every config of the library first."""


WITHOUT_TORCH = readers.READERS + instance_readers.READERS + convert_readers.READERS + tool_readers.READERS
FEW = {reader.name for reader in tool_readers.READERS}
"""Readers of whom a few files suffice here, as they end in the same code as others."""


@pytest.mark.parametrize("group", [WITHOUT_TORCH, torch_readers.READERS], ids=["without torch", "with torch"])
def test_damaged_files_are_refused_or_read(group: tuple[Reader, ...]) -> None:
    known = {reader.name: reader for reader in group if reader.name not in SLOW}
    cases = [Case(name, 0, number) for name in known for number in range(4 if name in FEW else 60)]
    failures = [f"{failure.case}: {failure.kind}" for _, failure in run(known, cases) if failure]
    assert not failures, "\n".join(["python -m evaluation.fuzz --case ... shows a failure again", *failures])
