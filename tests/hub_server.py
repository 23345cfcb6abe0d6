"""A stand-in for the Hugging Face Hub: repositories whose files can be listed, fetched and committed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The files of each repository by name, the private repositories, and the requests so far.

    ``token`` is the only one that may write, and ``stored`` holds the large files of commits by their SHA-256.
    """

    url: str
    token: str = "hf_secret"
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree)/[^/?]+)?(?:\?.*)?", self.path):
            files = self.hub.repos.get(match[1])
            if files is None:
                return self._refuse(404, "RepoNotFound")
            siblings = [{"rfilename": name} for name in files]
            if "/tree/" in self.path:
                return self._json([{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in files.items()])
            return self._json(
                {"id": match[1], "sha": COMMIT, "siblings": siblings, "private": match[1] in self.hub.private}
            )
        return self._file()

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        content = self._body()
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._refuse(401)
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            repo = f"{asked.get('organization', 'me')}/{asked['name']}"
            if repo in self.hub.repos:
                return self._json({"url": f"{self.hub.url}/{repo}"}, 409)
            self.hub.repos[repo] = {}
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(repo)
            return self._json({"url": f"{self.hub.url}/{repo}"})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            return self._json({"files": [self._mode(item["path"]) for item in json.loads(content)["files"]]})
        if self.path.endswith("/info/lfs/objects/batch"):
            action = {"upload": {"href": f"{self.hub.url}/store"}}
            wanted = json.loads(content)["objects"]
            return self._json({"transfer": "basic", "objects": [{**item, "actions": action} for item in wanted]})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/.*", self.path):
            self._commit(self.hub.repos[match[1]], [json.loads(line) for line in content.splitlines()])
            return self._json({"commitUrl": f"{self.hub.url}/{match[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        return self._refuse(404)

    def do_PUT(self) -> None:
        content = self._body()
        self.hub.stored[hashlib.sha256(content).hexdigest()] = content
        self._json({})

    def _commit(self, files: dict[str, bytes], lines: list[Any]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]

    @staticmethod
    def _mode(name: str) -> dict[str, Any]:
        mode = "lfs" if name.endswith((".safetensors", ".png", ".jpg")) else "regular"
        return {"path": name, "uploadMode": mode, "shouldIgnore": False}

    def _file(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        files = self.hub.repos.get(match[1]) if match else None
        if match is None or files is None:
            return self._refuse(404, "RepoNotFound")
        if match[2] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if match[3] not in files:
            return self._refuse(404, "EntryNotFound")
        content = files[match[3]]
        self._answer(200, content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str = "") -> None:
        self._answer(status, b"", {"X-Error-Code": code} if code else {})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def hub_serving(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A running stand-in without repositories, which the Hub's library takes for the Hub; ``cache`` is its cache."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub = Hub(f"http://127.0.0.1:{server.server_port}")
        handler.hub = hub  # type: ignore[attr-defined]
        monkeypatch.setenv("no_proxy", "*")
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        _, separator, rest = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}{separator}{rest}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
