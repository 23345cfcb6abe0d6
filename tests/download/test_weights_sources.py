"""A name stands wherever weights are taken: in the library, in commands, and in the config of a run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from file_server import FileServer, Served, serving

from panoptic_blend.checkpoints import inspection
from panoptic_blend.checkpoints.importing import import_weights
from panoptic_blend.checkpoints.io import load_weights, read_checkpoint
from panoptic_blend.cli import main as cli
from panoptic_blend.config.experiment import load_config
from panoptic_blend.download import known_weights as table
from panoptic_blend.download import weights_cache as cache
from panoptic_blend.download.weights_sources import model_source, weights_path
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.build import build_model
from panoptic_blend.sweep.apply import require_applicable

Refused = Callable[..., str]
NETWORK = {
    "backbone": {"depth": 18},
    **{part: {"channels": 32} for part in ("fpn", "bottom", "semantic")},
    "fcos": {"num_convs": 0},
}
TINY = {"model": NETWORK | {"num_things": 6, "num_stuff": 4}}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a tiny model for Shapes, as torch writes them."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    torch.manual_seed(3)
    torch.save(build_model(load_config(path)).state_dict(), buffer := io.BytesIO())
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def server(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A publisher of a whole model, ``tiny_r18``, and of a backbone, ``back_r18``."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(cache.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv(cache.OFFLINE, "")
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    with serving() as server:
        known = {
            "licenses": {"free": {"name": "Free", "address": "https://free"}},
            "publishers": {"we": {"address": f"{server.url}/", "license": "free", "source": "https://figures"}},
            "weights": {
                "tiny_r18": {"publisher": "we", "file": "tiny.pth", "config": str(config)},
                "back_r18": {"publisher": "we", "file": "back.pth"},
            },
        }
        (tmp_path / "known.yaml").write_text(yaml.safe_dump(known))
        monkeypatch.setattr(table, "_TABLE", tmp_path / "known.yaml")
        table.known_weights.cache_clear()
        server.files["/tiny.pth"] = Served(content)
        yield server
    table.known_weights.cache_clear()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_paths_win_over_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny_r18").mkdir()  # a folder is no file of weights
    assert weights_path("tiny_r18") == tmp_path / "cache" / "weights" / "tiny_r18" / "tiny.pth"
    (tmp_path / "tiny_r18").rmdir()
    (tmp_path / "tiny_r18").write_bytes(b"mine")
    assert weights_path("tiny_r18") == Path("tiny_r18") and model_source(Path("a.pth")) == (Path("a.pth"), None)


def test_a_typo_names_the_closest(refused: Refused) -> None:
    expected = "tiny_r81: no such file, and no weights of this name; did you mean tiny_r18?"
    assert refused(weights_path, "tiny_r81") == refused(load, "tiny_r81") == expected
    assert weights_path("yolo") == Path("yolo"), "it may be a path; who reads it says that it is not there"


def test_load(server: FileServer, tmp_path: Path, refused: Refused, content: bytes) -> None:
    (tmp_path / "tiny.pth").write_bytes(content)
    expected = load(tmp_path / "tiny.yaml", tmp_path / "tiny.pth").model.state_dict()
    predictors = load(Path("tiny_r18")), load(tmp_path / "tiny.yaml", weights="tiny_r18")
    for predictor in predictors:
        assert all(torch.equal(value, expected[name]) for name, value in predictor.model.state_dict().items())
        assert predictor.config.model.fpn.channels == 32, "the config is that of the table"
    assert len(server.requests) == 1
    assert refused(load, "back_r18") == "back_r18: is no whole model; train from it with --weights back_r18"
    assert refused(load, tmp_path / "tiny.yaml").endswith("give a checkpoint, or weights with it, such as tiny_r18")


def test_load_weights_and_import(tmp_path: Path) -> None:
    config = load_config(tmp_path / "tiny.yaml")
    model = build_model(config)
    load_weights(model, "tiny_r18")
    found = import_weights("tiny_r18", tmp_path / "out.safetensors")
    assert found.config.model.fpn == config.model.fpn
    state = read_checkpoint(tmp_path / "out.safetensors").state
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_inspect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inspection, "config_names", list)  # to compare with every config takes seconds
    assert run(monkeypatch, "weights", "inspect", "tiny_r18") == 0
    assert "tiny_r18: " in (printed := capsys.readouterr().out) and "6 things, 4 stuff" in printed


def test_apply_needs_a_checkpoint(tmp_path: Path, refused: Refused) -> None:
    assert "import it with" in refused(require_applicable, Path("tiny_r18"), tmp_path / "out.safetensors")


def test_train(
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    generated: Path,
    tmp_path: Path,
) -> None:
    options = ["train.iterations=0", "train.precision=32-true", "data.workers=0", f"data.root={generated}"]
    config = tmp_path / "tiny.yaml"
    arguments = ["train", config, *options, "test.short_side=64", "-o", tmp_path / "run"]
    assert run(monkeypatch, *arguments, "--weights", "tiny_r18", "--offline") == 2
    assert capsys.readouterr().err.startswith("error: tiny_r18: not in ") and server.requests == []
    monkeypatch.setenv(cache.OFFLINE, "")
    assert run(monkeypatch, *arguments, "train.weights=tiny_r18") == 0
    checkpoint, model = read_checkpoint(tmp_path / "run" / "last.safetensors"), build_model(load_config(config))
    load_weights(model, "tiny_r18")
    assert checkpoint.config.train.weights == "tiny_r18" and len(server.requests) == 1
    assert all(torch.equal(value, checkpoint.state[name]) for name, value in model.state_dict().items())
