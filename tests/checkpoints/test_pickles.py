"""Pickles are written by the libraries that write them, and by hand where only malice would."""

from __future__ import annotations

import builtins
import collections
import copyreg
import os
import pickle
import pickletools
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.checkpoints.pickles import Array, loads, read_pickle
from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.structures import PanopticBlendError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def refused(path: Path, content: bytes | None = None) -> str:
    """The one line with which a file is refused."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PanopticBlendError) as error:
        read_pickle(path)
    message = str(error.value)
    assert message.startswith(f"{path}: not a file of tensors (")
    assert "\n" not in message
    return message.removeprefix(f"{path}: not a file of tensors ")


# --- what is read ----------------------------------------------------------------------------------------------------

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "plain": np.array([[1.5, -2], [3, 4]], dtype=np.float32),
    "big endian": np.array([1.5, -2, 3], dtype=">f4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "a view": np.arange(12, dtype=np.int64).reshape(3, 4)[::2, 1:],
    "half": np.array([1, 2], dtype=np.float16),
    "bool": np.array([True, False]),
    "bytes": np.arange(256, dtype=np.uint8),
    "no axis": np.array(7, dtype=np.int32),
    "nothing": np.zeros((0, 3), dtype=np.float32),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str, protocol: int) -> None:
    found = loads(pickle.dumps(ARRAYS[name], protocol))
    assert isinstance(found, Array)
    tensor = found.tensor()
    assert tensor.is_contiguous()
    assert tensor.shape == ARRAYS[name].shape
    assert tensor.tolist() == ARRAYS[name].tolist()
    assert str(tensor.dtype) == f"torch.{ARRAYS[name].dtype.name}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_numbers(protocol: int) -> None:
    plain: dict[Any, Any] = {"a": [1, -2, 10**30, 1.5, None, True], "b": ("ü\n", b"\xff\x00", b""), 3: {"c": {}}}
    default: dict[int, list[int]] = collections.defaultdict(list, {1: [2]})
    content: dict[Any, Any] = {
        **plain,
        "ordered": collections.OrderedDict([("x", 1), ("y", 2)]),
        "counter": collections.Counter({5: 2, 6: 1}),
        "default": default,
        "number": np.float64(2.5),
        "count": np.int64(-7),
    }
    found = loads(pickle.dumps(content, protocol))
    rest: dict[Any, Any] = {
        "ordered": {"x": 1, "y": 2},
        "counter": {5: 2, 6: 1},
        "default": {1: [2]},
        "number": 2.5,
        "count": -7,
    }
    assert found == {**plain, **rest}
    assert list(found["ordered"]) == ["x", "y"]


def test_attributes_of_a_state_dict_are_forgotten() -> None:
    state = collections.OrderedDict(x=np.ones(1))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    assert loads(pickle.dumps(state)).keys() == {"x"}


def test_older_numpy_names() -> None:
    content = pickle.dumps(ARRAYS["plain"], 2)
    assert b"numpy._core" in content
    assert loads(content.replace(b"numpy._core", b"numpy.core")).tensor().tolist() == ARRAYS["plain"].tolist()


@pytest.mark.parametrize("protocol", [0, 2])
def test_pickles_of_python_2(protocol: int) -> None:
    """They hold the numbers of an array as text, one byte a letter."""
    numbers = np.array([1.5, -2.25], dtype="<f4").tobytes()
    if protocol:
        name, data = b"U\x07conv1_w", b"U\x08" + numbers
        code = b"}" + name + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        content = b"\x80\x02" + code + b"(K\x01K\x02\x85" + dtype + b"\x89" + data + b"tbs."
    else:
        data = b"S'" + b"".join(b"\\x%02x" % byte for byte in numbers) + b"'\n"
        code = b"(dS'conv1_w'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        dtype = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        content = code + b"(I1\n(I2\nt" + dtype + b"I00\n" + data + b"tbs."
    assert loads(content)["conv1_w"].tensor().tolist() == [1.5, -2.25]


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_training_checkpoint(tmp_path: Path, is_zip: bool) -> None:
    """Optimizer and scheduler come with numbers of numpy's and counters."""
    scheduler = {"milestones": collections.Counter({60000: 1}), "base_lr": np.float64(0.01), "last": np.ones(2)}
    found_by = collections.defaultdict(dict, {"a": {"b": 1}})
    content = {"model": {"w": torch.ones(2)}, "scheduler": scheduler, "hooks": found_by, "iteration": np.int64(9)}
    torch.save(content, tmp_path / "model_final.pth", _use_new_zipfile_serialization=is_zip)
    found = read_pickle(tmp_path / "model_final.pth")
    assert found["model"]["w"].tolist() == [1, 1]
    assert found["iteration"] == 9
    assert found["hooks"] == {"a": {"b": 1}}
    assert found["scheduler"]["milestones"] == {60000: 1}
    assert found["scheduler"]["base_lr"] == 0.01
    assert found["scheduler"]["last"].tensor().tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".bin", ".safetensors", ""])
def test_the_content_decides(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(pickle.dumps({"w": np.ones(2)}))
    assert read_pickle(path)["w"].tensor().tolist() == [1, 1]
    for is_zip in (True, False):
        torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=is_zip)
        assert read_pickle(path)["w"].tolist() == [1, 1]


# --- what is refused -------------------------------------------------------------------------------------------------


class Call:
    """Pickled, it asks whoever unpickles it for a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "torch", "old torch"])
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"model": {"w": x}}, lambda x: ([x],)], ids=["", "dict", "list"]
)
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, protocol: int | str, wrap: Callable[[Any], Any]) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    content = wrap(Call(os.mkdir, str(victim)))
    if isinstance(protocol, str):
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "torch")
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    assert f"(it wants {os.mkdir.__module__}.mkdir, which is neither array nor container)" in refused(path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(content))
    assert victim.exists()  # it would have


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_mmengine_keeps_beside_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool) -> None:
    """Its checkpoints hold histories of losses, which are passed over; other objects of it are refused."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    for name in ("HistoryBuffer", "Hook"):
        setattr(module, name, type(name, (), {"__module__": module.__name__, "__qualname__": name}))
    for package in ("mmengine", "mmengine.logging", module.__name__):
        monkeypatch.setitem(sys.modules, package, module)
    history = module.HistoryBuffer()
    history.__dict__ |= {"max_length": 10**6, "_log_history": np.array([1.5, 2.5]), "_count_history": np.array([1, 1])}
    content: dict[str, Any] = {
        "meta": {"dataset_meta": {"classes": ("person",), "palette": [(220, 20, 60)]}, "cfg": "model = dict()"},
        "state_dict": {"x.weight": torch.ones(2)},
        "message_hub": {"log_scalars": {"train/loss": history}, "runtime_info": {"epoch": 12}, "resumed_keys": {}},
    }
    path = tmp_path / "epoch_12.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert read_pickle(path)["meta"] == content["meta"]
    found = read_weights(path).state
    assert found.keys() == {"x.weight"} and found["x.weight"].tolist() == [1, 1]
    torch.save(content | {"hook": module.Hook()}, path, _use_new_zipfile_serialization=is_zip)
    message = refused(path)
    assert "it wants mmengine.logging.history_buffer.Hook" in message and "have only its state dict exported" in message


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, open, type, np.load, np.save])
@pytest.mark.parametrize("is_torch", [True, False])
def test_no_other_function_is_called(tmp_path: Path, function: Callable[..., Any], is_torch: bool) -> None:
    path = tmp_path / "weights"
    if is_torch:
        torch.save(Call(function, "1"), path)
    else:
        path.write_bytes(pickle.dumps(Call(function, "1")))
    module = "" if is_torch and function.__module__ == builtins.__name__ else f"{function.__module__}."
    assert f"(it wants {module}{function.__name__}, which" in refused(path)


def test_classes_and_methods_by_opcode(tmp_path: Path) -> None:
    for content in (
        b"(ios\nsystem\n.",
        b"cos\nsystem\n.",
        b"(cos\nsystem\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ):
        assert "(it wants os.system, which" in refused(tmp_path / "weights", content)
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tobytes\x93."
    assert "(it wants numpy.ndarray.tobytes, which" in refused(tmp_path / "weights", dotted)


def test_a_name_of_several_lines_is_one_line(tmp_path: Path) -> None:
    content = b"\x80\x04\x8c\x04o\n\x1bs\x8c\x06system\x93."
    assert r"(it wants o\n\x1bs.system, which" in refused(tmp_path / "weights", content)


def test_tensors_of_a_plain_pickle_are_refused_with_the_way_out(tmp_path: Path) -> None:
    message = refused(tmp_path / "weights", pickle.dumps({"w": torch.ones(2)}))
    assert message.endswith("write it with torch.save")
    assert "torch._utils._rebuild_tensor_v2" in message


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([object, 1], dtype=object), "O8"),
        (np.array(["text"]), "U4"),
        (np.array([b"text"]), "S4"),
        (np.array([1j]), "c16"),
        (np.zeros(2, dtype=[("x", "f4")]), "V4"),
        (np.array([Call(os.mkdir, "victim")], dtype=object), "O8"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_other_things_than_numbers(tmp_path: Path, array: Any, kind: str, protocol: int) -> None:
    message = refused(tmp_path / "weights", pickle.dumps({"w": array}, protocol))
    assert f"(an array of {kind}, not of numbers)" in message or "it wants" in message
    assert not Path("victim").exists()


def test_objects_outside_of_the_pickle(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    assert "it refers to an object outside the file" in refused(path, b"Pstorage\n.")
    assert "it refers to an object outside the file" in refused(path, b"K\x01Q.")
    assert "opcode NEXT_BUFFER at byte 2" in refused(path, b"\x80\x05\x97.")


def test_registered_extensions(tmp_path: Path) -> None:
    """Codes that stand for functions, and that Python keeps once it has looked one up."""
    copyreg.add_extension("os", "getcwd", 7)
    try:
        content = b"\x80\x02\x82\x07)R."
        assert pickle.loads(content) == str(Path.cwd())
        assert "opcode EXT1 at byte 2" in refused(tmp_path / "weights", content)
    finally:
        copyreg.remove_extension("os", "getcwd", 7)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\xff.",  # the memo's 4,294,967,296th entry
        b"Np99999999999\n.",
        b"\x80\x02X\xff\xff\xff\xff.",  # text of 4 GB
        b"\x80\x03B\xff\xff\xff\x7f.",  # bytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # an integer of 2 GB
        b"\x80\x02}" + b")" + b"\x85" * 10**6 + b"K\x01s.",  # a tower of tuples as a key
    ],
)
def test_claims_of_more_than_there_is(tmp_path: Path, content: bytes) -> None:
    assert "claims more than the file holds" in refused(tmp_path / "weights", content)


def test_other_claims(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    assert "(" in refused(path, b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.")  # a frame
    assert "text in zlib" in refused(path, b"c_codecs\nencode\n(Vx\nVzlib\ntR.")
    assert refused(path, b"cbuiltins\nbytes\n(I999999999999\ntR.")
    array = pickle.dumps(np.ones(3, dtype="f4"), 2)
    assert pickletools.genops(array)
    for shape in (b"\x8a\x06\x00\x00\x00\x00\x00\x10", b"K\x04", b"J\xff\xff\xff\xff"):  # 2**44, 4, -1 for 3
        assert b"(K\x01K\x03\x85" in array
        refused(path, array.replace(b"(K\x01K\x03\x85", b"(K\x01" + shape + b"\x85"))


def test_stand_ins_cannot_be_changed(tmp_path: Path) -> None:
    """A pickle that gives state to a function or class it named would otherwise outlive its reading."""
    names = [b"numpy\ndtype", b"numpy\nndarray", b"_codecs\nencode", b"collections\nOrderedDict", b"builtins\nlist"]
    for name in [*names, b"numpy.core.multiarray\n_reconstruct", b"numpy.core.multiarray\nscalar"]:
        for state in (b"}Vx\nK\x01s", b"N}Vx\nK\x01s\x86"):
            refused(tmp_path / "weights", b"c" + name + b"\n" + state + b"b.")
    assert loads(pickle.dumps(np.ones(1))).tensor().tolist() == [1]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated(tmp_path: Path, share: float) -> None:
    content = pickle.dumps({"w": np.ones(1000)})
    refused(tmp_path / "weights.pkl", content[: int(share * len(content))])


@pytest.mark.parametrize("content", [b"<html><body>404</body></html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    assert "expected .pth, .pkl or .safetensors" in refused(tmp_path / "weights.pkl", content)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_random_opcodes(content: bytes) -> None:
    try:
        loads(b"\x80\x04" + content + b".")
    except Exception as error:
        assert not isinstance(error, SystemError)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.sampled_from(PROTOCOLS)
)
def test_spoilt_pickles(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], protocol: int
) -> None:
    """A pickle that was whole once may be read or not, but fails with our error alone."""
    path = tmp_path_factory.getbasetemp() / "spoilt.pkl"
    content = bytearray(pickle.dumps({"model": {"w": np.ones((2, 3)), "b": np.float32(1)}, "n": [1, "x"]}, protocol))
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        read_pickle(path)
    except PanopticBlendError as error:
        assert str(error).startswith(f"{path}: ")


# --- torch's files ---------------------------------------------------------------------------------------------------


def zipped(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as `torch.save` makes it, around a pickle of one's own."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return path


def test_a_tower_of_tuples_in_a_torch_file(tmp_path: Path) -> None:
    """As a key of a dict it would exhaust the stack of Python's hash and end the process."""
    tower = b"\x80\x02}()" + b"\x85" * 200_000 + b"K\x01u."
    for path in (zipped(tmp_path / "new.pth", tower), tmp_path / "old.pth"):
        if not path.exists():
            magic, protocol, system = (
                pickle.dumps(0x1950A86A20F9469CFC6C, 2),
                pickle.dumps(1001, 2),
                pickle.dumps({}, 2),
            )
            path.write_bytes(magic + protocol + system + tower)
        with pytest.raises(PanopticBlendError, match="claims more than the file holds"):
            read_pickle(path)


def test_an_older_torch_file_with_an_archive_behind_it(tmp_path: Path) -> None:
    """What is scanned is what torch would read, which goes by the start; Python finds an archive by its end."""
    tower = b"\x80\x02}()" + b"\x85" * 200_000 + b"K\x01u."
    magic, protocol = pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)
    harmless = zipped(tmp_path / "harmless.pth", pickle.dumps({}, 2)).read_bytes()
    (tmp_path / "both.pth").write_bytes(magic + protocol + pickle.dumps({}, 2) + tower + harmless)
    with pytest.raises(PanopticBlendError, match="claims more than the file holds"):
        read_pickle(tmp_path / "both.pth")


def test_a_compressed_torch_file(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.pth", pickle.dumps({}, 2), zipfile.ZIP_DEFLATED)
    with pytest.raises(PanopticBlendError, match=r"data\.pkl is compressed"):
        read_pickle(path)


def test_a_torch_file_that_was_cut_short(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(9)}, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(PanopticBlendError, match="it ends too early; fetch it again"):
        read_pickle(tmp_path / "w.pth")


def test_a_whole_module(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(PanopticBlendError, match=r"save the state_dict\(\) instead of the module"):
        read_pickle(tmp_path / "w.pth")
