"""A local web server that misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file of the server, and the way in which it is served.

    The first requests get the error ``statuses``, one each. The next responses break off after ``drops`` bytes, one
    each. ``announced`` is the stated length: -1 for the true one, None for no length, else a false one. ``wrong_start``
    is added to the stated start of a range. A terse server sends no headers about the file with a range. After
    ``stalls_at`` bytes nothing more is sent until the server stops.
    """

    content: bytes
    etag: str | None = '"0123456789abcdef0123456789abcdef-2"'  # S3's format for an upload in two parts
    headers: dict[str, str] = field(default_factory=dict)
    server: str = "Python"
    ranges: bool = True
    honors_if_range: bool = True
    has_head: bool = True
    statuses: list[int] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    announced: int | None = -1
    location: str | None = None
    wrong_start: int = 0
    is_terse: bool = False
    stalls_at: int | None = None


@dataclass
class FileServer:
    """The served files by path, and the requests so far as (method, path, range)."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def ranges(self) -> list[str | None]:
        """The ranges of the GET requests so far."""
        return [asked for method, _, asked in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    file_server: FileServer

    def do_HEAD(self) -> None:
        self._answer(is_head=True)

    def do_GET(self) -> None:
        self._answer(is_head=False)

    def version_string(self) -> str:
        served = self.file_server.files.get(self.path)
        return served.server if served else "Python"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _answer(self, is_head: bool) -> None:
        self.file_server.requests.append((self.command, self.path, self.headers["Range"]))
        served = self.file_server.files.get(self.path)
        if served is None:
            return self.send_error(404)
        if is_head and not served.has_head:
            return self.send_error(405)
        if served.statuses:
            return self.send_error(served.statuses.pop(0))
        if served.location is not None:
            self.send_response(302)
            self.send_header("Location", served.location)
            return self.end_headers()
        start = self._start(served)
        if start and start >= len(served.content):
            return self.send_error(416)
        self._head(served, start)
        if not is_head:
            rest = served.content[start : served.stalls_at]
            self.wfile.write(rest[: served.drops.pop(0)] if served.drops else rest)
            if served.stalls_at is not None:
                self.file_server.stopping.wait()
        self.close_connection = True

    def _start(self, served: Served) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        known = None, served.etag, served.headers.get("Last-Modified")
        is_same = condition in known or not served.honors_if_range
        return int(match[1]) if match and served.ranges and is_same else 0

    def _head(self, served: Served, start: int) -> None:
        total = len(served.content) if served.announced == -1 else served.announced
        self.send_response(206 if start else 200)
        if start:
            shown = start + served.wrong_start
            self.send_header("Content-Range", f"bytes {shown}-{len(served.content) - 1}/{total}")
        if total is not None:
            self.send_header("Content-Length", str(total - start))
        if served.etag is not None and not (start and served.is_terse):
            self.send_header("ETag", served.etag)
        for name, value in served.headers.items() if not (start and served.is_terse) else ():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serving() -> Iterator[FileServer]:
    """A running server without files."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        file_server = FileServer(f"http://127.0.0.1:{server.server_port}")
        handler.file_server = file_server  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield file_server
        finally:
            file_server.stopping.set()
            server.shutdown()
            thread.join()
