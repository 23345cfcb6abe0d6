"""The port on which a model is served, and the command."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from served_model import StaticModel

from panoptic_blend.cli import serving
from panoptic_blend.serve.running import address_of, listening


def test_a_port_is_taken_once(refused: Callable[..., str]) -> None:
    with listening("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert address_of(first) == f"http://127.0.0.1:{port}/"
        assert refused(listening, "127.0.0.1", port) == f"port {port} is in use; choose another with --port"
    with listening("0.0.0.0", 0) as everywhere:
        assert address_of(everywhere).startswith("http://127.0.0.1:")


def test_what_is_no_address_of_this_machine_is_refused(refused: Callable[..., str]) -> None:
    for host in ("192.0.2.1", "no address"):
        assert refused(listening, host, 0).startswith(f"{host}: is not an address of this machine; ")


def test_the_command_takes_the_port_before_it_loads_the_model_and_says_the_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    loaded = SimpleNamespace(predictor=StaticModel())
    monkeypatch.setattr(serving, "running", lambda *arguments: nullcontext(loaded))
    served: list[socket.socket] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: served.extend(sockets))
    serving.serve(Path("best.safetensors"), port=0)
    assert len(served) == 1
    assert capsys.readouterr().out.startswith("best.safetensors is served at http://127.0.0.1:")
    with listening("127.0.0.1", 0) as other:
        monkeypatch.setattr(serving, "running", lambda *arguments: pytest.fail("the model was loaded"))
        refused(lambda: serving.serve(Path("best.safetensors"), port=other.getsockname()[1]))
