"""Programs in WebAssembly: what they return, what they keep, and where they cannot run."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from panoptic_blend import webassembly
from panoptic_blend.webassembly import run


def encode(pixels: int) -> list[int] | None:
    """Start and value of the runs of a row of zeros."""
    found = run("panoptic_blend", "runs", "encode", [np.zeros(pixels, np.int32)], [1, pixels], 8 * pixels)
    return None if found is None else found.view(np.int32).tolist()


def test_the_memory_for_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webassembly, "_KEPT", 2**20)
    webassembly._threads.__dict__.clear()
    for pixels, is_kept in ((100, True), (2**20, False), (100, True)):
        assert encode(pixels) == [0, 0]
        assert ("runs" in webassembly._threads.__dict__) == is_kept


def test_too_much_memory_is_no_output() -> None:
    assert run("panoptic_blend", "runs", "encode", [np.zeros(4, np.int32)], [1, 4], 2**33) is None
    assert encode(100) == [0, 0]


def test_without_wasmtime_there_is_no_output(without_wasmtime: None) -> None:
    assert encode(100) is None


def test_the_first_inputs_of_a_process_are_left_to_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webassembly, "_waiting", 401)
    assert [encode(100), encode(100), encode(100)] == [None, None, [0, 0]]


def test_a_forked_process_compiles_another_program() -> None:
    webassembly._compile.cache_clear()
    webassembly._compile("panoptic_blend", "runs")
    child = multiprocessing.get_context("fork").Process(
        target=webassembly._compile, args=("panoptic_blend.formats", "png_rows")
    )
    child.start()
    child.join(timeout=20)
    assert child.exitcode == 0
