"""Foreign exceptions in one line: what was being done, the option to lower, and where the traceback is."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from panoptic_blend.failures import ForeignError, doing, first_line, in_one_line, in_short
from panoptic_blend.structures import PanopticBlendError


def fail(error: Exception) -> Exception:
    """The error, as it is after it has left two blocks of `doing`."""
    with (
        pytest.raises(type(error)) as caught,
        doing("train", folder=Path("run")),
        doing("iteration 3 on a.jpg", lower="train.batch_size"),
    ):
        raise error
    return caught.value


def allocate(library: str) -> object:
    if library == "torch":
        return torch.empty(2**50)
    if library == "numpy":
        return np.empty(2**50)
    return cv2.resize(np.zeros((9, 9, 3), np.uint8), (2**22, 2**22))


@pytest.mark.parametrize("library", ["torch", "numpy", "opencv"])
def test_out_of_memory_of_the_libraries_names_the_item_and_what_to_lower(library: str) -> None:
    with pytest.raises(Exception, match="alloc") as error, doing("predicting a.jpg", lower="test.short_side"):
        allocate(library)
    assert str(in_one_line(error.value)) == "predicting a.jpg: memory ran out; lower test.short_side"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of"),
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
        MemoryError(),
        MemoryError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=repr,
)
def test_out_of_memory_of_devices_and_of_the_system_too(error: Exception) -> None:
    assert str(in_one_line(fail(error))) == "iteration 3 on a.jpg: memory ran out; lower train.batch_size"


def test_without_an_option_to_lower_the_machine_is_named() -> None:
    assert str(in_one_line(MemoryError())) == (
        "memory ran out; close other programs, or take a machine with more memory"
    )


def test_any_other_exception_says_what_was_being_done_and_its_first_line() -> None:
    found = in_one_line(fail(KeyError("x")))
    assert isinstance(found, ForeignError)
    assert str(found) == "iteration 3 on a.jpg: KeyError: 'x'"
    assert str(in_one_line(ValueError("first\nsecond"))) == "ValueError: first"
    assert str(in_one_line(AssertionError())) == "AssertionError"


def test_the_error_stays_of_its_type_and_its_traceback_shows_what_was_being_done() -> None:
    error = fail(ValueError("wrong"))
    assert error.args == ("wrong",)
    found = in_one_line(error)
    assert isinstance(found, ForeignError)
    assert found.trace.endswith("ValueError: wrong\niteration 3 on a.jpg\ntrain\n")


def test_our_own_errors_are_left_alone() -> None:
    error = PanopticBlendError("a.json: broken; fetch it again")
    assert in_one_line(fail(error)) is error


def test_an_error_of_the_system_names_its_file_or_else_what_was_being_done() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert str(in_one_line(full)).startswith("operating system: No space left")
    assert str(in_one_line(fail(full))) == (
        "iteration 3 on a.jpg: No space left on device; check the path and the disk"
    )
    denied = OSError(errno.EACCES, "Permission denied", "out/a.png")
    assert str(in_one_line(fail(denied))) == "out/a.png: Permission denied; check the path and the disk"


def test_an_error_of_another_process_gets_the_folder_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(ForeignError) as error, doing("train", folder=tmp_path):
        raise in_one_line(ValueError("wrong"))
    found = in_one_line(error.value)
    assert found is error.value and error.value.folder == tmp_path
    assert str(found) == "ValueError: wrong"


def test_the_traceback_is_kept_in_the_folder_of_the_command_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = in_one_line(fail(ValueError("wrong")))
    assert isinstance(found, ForeignError)
    elsewhere = found.keep_trace()
    assert elsewhere is not None
    assert elsewhere.parent == tmp_path
    assert elsewhere.read_text().endswith(found.trace)
    assert not Path("run").exists()

    Path("run").mkdir()
    assert found.keep_trace() == Path("run/traceback.txt")
    assert Path("run/traceback.txt").read_text() == found.trace

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    found.folder = None
    assert found.keep_trace() is None


@pytest.mark.parametrize(
    ("error", "line", "short"),
    [
        (AssertionError(), "AssertionError", "AssertionError"),
        (ValueError("\nfirst\nsecond"), "first", "ValueError: first"),
    ],
)
def test_an_exception_in_short_is_one_line_even_without_a_message(error: Exception, line: str, short: str) -> None:
    assert (first_line(error), in_short(error)) == (line, short)
