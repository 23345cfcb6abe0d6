"""The load on a server, with a stand-in for the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from evaluation.serve_load import Load, ask, bad_uploads, missed_targets, put_load, table


@pytest.fixture
def port() -> Iterator[int]:
    """A server that is busy at first, and takes bodies that begin with ``picture``."""
    busy = iter([True, True])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503 if next(busy, False) else 200 if body.startswith(b"picture") else 400)
            self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_every_request_is_answered_also_by_a_busy_server(port: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"picture")
    load = put_load(port, psutil.Process(), iter([path] * 12), clients=3)
    assert load.statuses == {200: 12, 503: 2} and len(load.latencies) == len(load.memory) == 12
    assert [ask(port, body) for name, body in bad_uploads(b"photo") if name != "100 MB"] == [400] * 5
    assert table(load).row_count == 1


def test_what_is_missed_is_named() -> None:
    load = Load(memory=[100, 90, 90, 90, 109])
    load.statuses.update({200: 5})
    assert missed_targets(load, 5, [("text", 400), ("100 MB", 413)], True) == []
    load.memory[-1] = 112
    assert missed_targets(load, 6, [("text", 200)], False) == [
        "1 of 6 requests were not answered",
        "memory grew by 12.0 %",
        "text: answered with 200, not refused",
        "the server does not answer any more",
    ]
