from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from panoptic_blend.checkpoints.io import is_checkpoint, load_weights, read_figure
from panoptic_blend.checkpoints.reading import read_header, read_weights
from panoptic_blend.structures import PanopticBlendError


def refused(path: Path) -> str:
    with pytest.raises(PanopticBlendError) as error:
        read_weights(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("key", [None, "model", "state_dict", "blobs"])
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_where_weights_are(tmp_path: Path, key: str | None, kind: str) -> None:
    path = tmp_path / "weights"
    state: dict[str, Any] = {"w": torch.tensor([1.0, 2]) if kind == "torch" else np.array([1.0, 2])}
    content: dict[str, Any] = state if key is None else {key: state, "cfg": "text", "__author__": "somebody"}
    if kind == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, 2))
    found = read_weights(path)
    assert found.state["w"].tolist() == [1, 2]
    assert found.author == ("somebody" if key else "")
    assert found.header == {}


def test_arrays_in_a_file_of_torch(tmp_path: Path) -> None:
    torch.save({"model": {"a": np.arange(3.0), "b": torch.ones(2)}}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth").state
    assert found["a"].tolist() == [0, 1, 2]
    assert found["b"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pkl", ""])
def test_safetensors_by_their_content(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(save({"w": torch.ones(2)}, {"config": "{}", "categories": "[]", "pq": "0.5", "ap": "0.25"}))
    assert read_weights(path).state["w"].tolist() == [1, 1]
    assert read_header(path)["config"] == "{}"
    assert is_checkpoint(path)
    assert (read_figure(path, "pq"), read_figure(path, "ap")) == (0.5, 0.25)


@pytest.mark.parametrize("pq", ["", "no number", "nan", "inf", "1e999", "[]"])
def test_a_pq_that_is_no_number_is_none(tmp_path: Path, pq: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save({"w": torch.ones(2)}, {"config": "{}", "categories": "[]", "pq": pq}))
    assert read_figure(path, "pq") == -1


def test_other_files_have_no_header(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.save({"w": torch.ones(2)}, path)
    assert read_weights(path).state["w"].tolist() == [1, 1]
    assert read_header(path) == {}
    assert not is_checkpoint(path)
    assert read_figure(path, "pq") == -1


def test_a_member_that_claims_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"w": torch.ones(2)}, path)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")  # the first entry of the directory: packed and plain size from byte 20 on
    data[place + 20 : place + 28] = (2**32 - 2).to_bytes(4, "little") * 2
    path.write_bytes(data)
    assert "claims more bytes than the file has" in refused(path)


def test_one_entry_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "epoch": 3}, tmp_path / "w.pth")
    assert refused(tmp_path / "w.pth").endswith("bare or under `model`, and 'epoch' is not a tensor")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1).expand(10**12),
        torch.ones(3).to_sparse(),
        torch.empty(10**9, device="meta"),
        torch.ones(2, dtype=torch.complex64),
    ],
    ids=["expanded", "sparse", "meta", "complex"],
)
def test_tensors_that_are_not_plain(tmp_path: Path, tensor: Tensor) -> None:
    torch.save({"w": tensor}, tmp_path / "w.pth")
    assert "w is not a plain tensor of numbers" in refused(tmp_path / "w.pth")


def test_many_arrays_of_the_same_bytes(tmp_path: Path) -> None:
    """A small file that would take much memory: every array copies what the pickle holds once."""
    path = tmp_path / "w.pkl"
    shared = np.zeros(1000).tobytes()
    state = {f"w{i}": View(shared) for i in range(50)}
    path.write_bytes(pickle.dumps(state, 3))
    assert path.stat().st_size < 50_000
    assert refused(path).endswith("its arrays claim more numbers than it holds; export them again")


class View:
    """Pickles as an array whose bytes are shared with others."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        make = np.zeros(0).__reduce__()
        return make[0], make[1], (1, (1000,), np.dtype("f8"), False, self.data)


def test_parameters_come_without_their_gradients(tmp_path: Path) -> None:
    torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "w.pth")
    assert not read_weights(tmp_path / "w.pth").state["w"].requires_grad


def test_loading_a_pickle_into_a_model(tmp_path: Path) -> None:
    linear = nn.Linear(2, 1)
    content = {"model": {"weight": np.array([[1, 2]], dtype=">f8"), "bias": np.array([3], dtype=np.float16)}}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    assert load_weights(linear, tmp_path / "w.pkl") == []
    assert linear(torch.tensor([1.0, 10])).tolist() == [24]


def test_a_folder_and_a_closed_file(tmp_path: Path) -> None:
    assert "is a folder, not a file" in refused(tmp_path)
    save_file({"w": torch.ones(1)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:20])
    assert "not a complete safetensors file" in refused(tmp_path / "w.safetensors")
