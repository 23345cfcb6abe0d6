"""Downloads from a server that drops connections, states false lengths, changes files and refuses requests."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from urllib.request import Request

import pytest
from file_server import FileServer, Served, serving

from panoptic_blend.download import transfer as module
from panoptic_blend.download.remote_file import RemoteFile
from panoptic_blend.download.transfer import RetryPolicy, download, probe
from panoptic_blend.download.web import _Redirects
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]
CONTENT = bytes(range(256)) * 1000
DATE = "Fri, 01 Jun 2018 00:00:00 GMT"
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


@dataclass
class Fetching:
    """Download ``/file`` of a server to a folder, and record pauses, progress and messages."""

    server: FileServer
    target: Path
    pauses: list[float] = field(default_factory=list)
    shown: list[tuple[str, int, int | None]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    timeout: float = 5

    def __call__(
        self, path: str = "/file", sha256: str | None = None, check: Callable[[Path], None] = lambda path: None
    ) -> None:
        download(
            self.server.url + path,
            self.target,
            sha256=sha256,
            check=check,
            retries=RetryPolicy(self.timeout, (1, 2, 4), self.pauses.append),
            progress=lambda *shown: self.shown.append(shown),
            say=self.said.append,
        )

    def left(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.iterdir())


@pytest.fixture
def fetch(server: FileServer, tmp_path: Path) -> Fetching:
    return Fetching(server, tmp_path / "new" / "file")


def test_a_finished_download_leaves_only_the_file(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT)
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.left() == ["file"]
    assert fetch.shown[0] == ("fetching file", 0, 256_000) and fetch.shown[-1] == ("fetching file", 256_000, 256_000)
    assert fetch.pauses == [] and server.ranges() == [None]


def test_dropped_connections_are_resumed_after_growing_pauses(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT, drops=[1000, 0, 500])
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.left() == ["file"]
    assert server.ranges() == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-"]
    assert fetch.pauses == [1, 2, 4]
    assert fetch.said[0].startswith("file: the connection ended at 1000 of 256000 bytes; trying again in 1 s")


def test_attempts_are_bounded_and_a_later_run_continues(server: FileServer, fetch: Fetching, refused: Refused) -> None:
    server.files["/file"] = Served(CONTENT, drops=[0, 0, 0, 0])
    assert "4 times in a row; try again later" in refused(fetch)
    assert server.ranges() == [None] * 4
    fetch.pauses.clear()
    server.files["/file"].drops = [1000, 0, 0, 0]
    assert "4 times in a row; run it again later to continue from byte 1000" in refused(fetch)
    assert fetch.pauses == [1, 2, 4] and fetch.left() == ["file.part", "file.part.json"]
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.left() == ["file"]
    assert server.ranges()[-1] == "bytes=1000-"


def test_many_interruptions_with_progress_are_not_a_failure(
    server: FileServer, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MIN_PROGRESS", 1000)
    server.files["/file"] = Served(CONTENT, drops=[1000] * 10)
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.pauses == [1] * 10


def test_without_ranges_the_download_restarts_and_attempts_are_bounded(
    server: FileServer, fetch: Fetching, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/file"] = Served(CONTENT, ranges=False, drops=[5000])
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.ranges() == [None, "bytes=5000-"]
    fetch.target.unlink()
    monkeypatch.setattr(module, "_MIN_PROGRESS", 1000)  # every attempt brings the same 5000 bytes
    server.files["/file"].drops = [5000] * 100
    assert "the connection ended at 5000 of 256000 bytes, 4 times in a row" in refused(fetch)


@pytest.mark.parametrize("is_terse", [False, True])
@pytest.mark.parametrize("etag, date", [('"v1"', None), (None, DATE), ('W/"v1"', DATE), (None, None)])
def test_a_download_resumes_with_an_etag_a_date_or_only_the_length(
    server: FileServer, fetch: Fetching, etag: str | None, date: str | None, is_terse: bool
) -> None:
    headers = {} if date is None else {"Last-Modified": date}
    server.files["/file"] = Served(CONTENT, etag, headers, drops=[1000], is_terse=is_terse)
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.ranges() == [None, "bytes=1000-"]


@pytest.mark.parametrize("honors_if_range", [True, False])
def test_a_file_that_changed_between_attempts_is_fetched_again(
    server: FileServer, fetch: Fetching, refused: Refused, honors_if_range: bool
) -> None:
    server.files["/file"] = Served(CONTENT, '"v1"', drops=[1000] + [0] * 3)
    refused(fetch)
    server.files["/file"] = Served(CONTENT[::-1], '"v2"', honors_if_range=honors_if_range)
    fetch()
    assert fetch.target.read_bytes() == CONTENT[::-1] and fetch.left() == ["file"]


def test_a_range_with_a_wrong_start_is_not_appended(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT, drops=[1000], wrong_start=-1)
    fetch()
    assert fetch.target.read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=1000-", None] and "starts again" in fetch.said[1]


def test_a_stalled_connection_is_closed_and_resumed(server: FileServer, fetch: Fetching) -> None:
    served = server.files["/file"] = Served(CONTENT, stalls_at=131_072)
    fetch.timeout, fetch.pauses = 0.2, _Swap(lambda: setattr(served, "stalls_at", None))
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.ranges() == [None, "bytes=131072-"]
    assert fetch.said == ["file: the connection broke (TimeoutError); trying again in 1 s"]


@pytest.mark.parametrize("length", ["-1", "many", "9" * 5000])
def test_an_invalid_length_is_ignored(server: FileServer, length: str) -> None:
    server.files["/file"] = Served(CONTENT, announced=None, headers={"Content-Length": length})
    assert probe(f"{server.url}/file", RetryPolicy()).length is None


def test_a_length_too_long_ends_after_bounded_attempts(server: FileServer, fetch: Fetching, refused: Refused) -> None:
    server.files["/file"] = Served(CONTENT, announced=len(CONTENT) + 10)
    assert "times in a row; " in refused(fetch)
    assert not fetch.target.exists() and len(server.ranges()) == 4


def test_a_length_too_short_is_found_by_the_check(server: FileServer, fetch: Fetching, refused: Refused) -> None:
    def check(path: Path) -> None:
        if path.read_bytes() != CONTENT:
            raise PanopticBlendError("not whole; fetch it again")

    server.files["/file"] = Served(CONTENT, announced=len(CONTENT) - 10)
    assert refused(fetch, "/file", None, check) == "not whole; fetch it again"
    assert fetch.left() == []


def test_a_missing_length_is_accepted(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT, announced=None)
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.shown[-1] == ("fetching file", 256_000, None)


def test_a_partial_file_without_metadata_or_length_is_fetched_again(server: FileServer, fetch: Fetching) -> None:
    fetch.target.parent.mkdir()
    part = fetch.target.with_name("file.part")
    server.files["/file"] = Served(CONTENT)
    for memory in (None, "{", '{"length": "long"}', '{"length": null, "validator": null, "md5": null}'):
        part.write_bytes(b"stale")
        if memory is not None:
            part.with_name("file.part.json").write_text(memory)
        fetch()
        assert fetch.target.read_bytes() == CONTENT and fetch.left() == ["file"]
    assert server.ranges() == [None] * 4


@pytest.mark.parametrize("extra, requests", [(b"", 0), (b"x", 1)])
def test_a_partial_file_that_is_complete_is_not_fetched_and_one_too_long_is(
    server: FileServer, fetch: Fetching, extra: bytes, requests: int
) -> None:
    fetch.target.parent.mkdir()
    fetch.target.with_name("file.part").write_bytes(CONTENT + extra)
    memory = {"length": len(CONTENT), "validator": '"v1"', "md5": None}
    fetch.target.with_name("file.part.json").write_text(json.dumps(memory))
    server.files["/file"] = Served(CONTENT)
    fetch()
    assert fetch.target.read_bytes() == CONTENT and len(server.requests) == requests


def test_a_file_that_became_shorter_is_fetched_again(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT, None, drops=[2000])
    short = Served(CONTENT[:1500], None)
    fetch.pauses = _Swap(lambda: server.files.update({"/file": short}))
    fetch()
    assert fetch.target.read_bytes() == CONTENT[:1500]
    assert server.ranges() == [None, "bytes=2000-", None]  # the second is refused by 416


class _Swap(list[float]):
    """A record of pauses that calls a function at each."""

    def __init__(self, happen: Callable[[], None]) -> None:
        super().__init__()
        self._happen = happen

    def append(self, pause: float) -> None:
        self._happen()


def test_server_errors_are_retried_and_refusals_are_not(server: FileServer, fetch: Fetching, refused: Refused) -> None:
    server.files["/file"] = Served(CONTENT, statuses=[500, 503, 429])
    fetch()
    assert fetch.target.read_bytes() == CONTENT and fetch.pauses == [1, 2, 4]
    fetch.target.unlink()
    server.files["/file"] = Served(CONTENT, statuses=[500] * 4)
    assert "answers 500 Internal Server Error, 4 times in a row; try again later" in refused(fetch)
    for status in (404, 403, 410, 400):
        server.requests.clear()
        server.files["/file"] = Served(CONTENT, statuses=[status] * 2)
        assert f"/file: the server answers {status} " in refused(fetch)
        assert len(server.requests) == 1


def test_redirects_are_followed_with_the_range_and_only_over_http(
    server: FileServer, fetch: Fetching, refused: Refused, tmp_path: Path
) -> None:
    server.files["/file"] = Served(b"", location="/moved")
    server.files["/moved"] = Served(CONTENT, drops=[1000])
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.requests[-1] == ("GET", "/moved", "bytes=1000-")
    fetch.target.unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    for location in ((tmp_path / "secret").as_uri(), "ftp://127.0.0.1/file", "data:,x", "http://[", "/file"):
        server.files["/file"].location = location
        refused(fetch)
        assert not fetch.target.exists()


def test_a_redirect_does_not_leave_encryption(refused: Refused) -> None:
    move = partial(_Redirects().redirect_request, Request("https://a/file"), BytesIO(), 302, "", {})
    assert "leads to http://a/file" in refused(move, "http://a/file")
    assert move("https://b/file") is not None


def test_a_web_page_is_refused_and_the_partial_file_is_kept(
    server: FileServer, fetch: Fetching, refused: Refused
) -> None:
    server.files["/file"] = Served(CONTENT, drops=[1000] + [0] * 3)
    refused(fetch)
    page = Served(b"<html>Log in</html>", None, {"Content-Type": "text/html; charset=utf-8"})
    server.files["/file"], kept = page, server.files["/file"]
    assert "sent a web page" in refused(fetch)
    server.files["/file"] = kept
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.ranges()[-1] == "bytes=1000-"


def test_a_given_checksum(server: FileServer, fetch: Fetching, refused: Refused) -> None:
    server.files["/file"] = Served(CONTENT)
    fetch("/file", hashlib.sha256(CONTENT).hexdigest().upper())
    assert fetch.shown[-1] == ("checking file", 256_000, 256_000)
    fetch.target.unlink()
    assert f"SHA256 is {hashlib.sha256(CONTENT).hexdigest()}, not {'0' * 64}; " in refused(fetch, "/file", "0" * 64)
    assert fetch.left() == []


@pytest.mark.parametrize(
    "etag, headers, digest",
    [
        (f'"{MD5}"', {"x-served-by": "nginx"}, None),
        (f'"{MD5}-2"', {"Via": "AmazonS3"}, None),
        ('"v1"', {"Content-MD5": base64.b64encode(bytes.fromhex(MD5)).decode()}, MD5),
        ('"v1"', {"Content-MD5": "nonsense"}, None),
    ],
)
def test_the_md5_is_read_from_headers(
    server: FileServer, etag: str, headers: dict[str, str], digest: str | None
) -> None:
    server.files["/file"] = Served(CONTENT, etag, headers)
    assert probe(f"{server.url}/file", RetryPolicy()) == RemoteFile(256_000, etag, digest)


@pytest.mark.parametrize(
    "etag, encryption, digest",
    [(f'"{MD5}"', None, MD5), (f'"{MD5}"', "AES256", MD5), (f'"{MD5}"', "aws:kms", None), (f'"{MD5}-2"', None, None)],
)
def test_the_tag_of_s3_is_an_md5_unless_uploaded_in_parts_or_under_a_key(
    server: FileServer, fetch: Fetching, refused: Refused, etag: str, encryption: str | None, digest: str | None
) -> None:
    headers = {} if encryption is None else {"x-amz-server-side-encryption": encryption}
    server.files["/file"] = Served(CONTENT, etag, headers, server="AmazonS3")
    assert probe(f"{server.url}/file", RetryPolicy()).md5 == digest
    server.files["/file"].content = CONTENT[::-1]
    if digest is None:
        fetch()
    else:
        assert f"not {MD5}; this is another file or a damaged one" in refused(fetch)
        assert fetch.left() == []


def test_a_probe_is_one_request_without_content(server: FileServer, refused: Refused) -> None:
    server.files["/file"] = Served(CONTENT)
    assert probe(f"{server.url}/file", RetryPolicy()).length == 256_000
    assert [method for method, _, _ in server.requests] == ["HEAD"]
    server.files["/file"].has_head = False
    assert probe(f"{server.url}/file", RetryPolicy()) == RemoteFile(None, None, None)
    assert "404 Not Found; check the address" in refused(probe, f"{server.url}/nothing", RetryPolicy())


def test_the_proxy_of_the_environment_is_used(
    server: FileServer, fetch: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", server.url)
    server.files["http://elsewhere.invalid/file"] = Served(CONTENT)
    assert probe("http://elsewhere.invalid/file", RetryPolicy()).length == 256_000


def test_a_refused_connection(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        pauses: list[float] = []
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        assert "no connection (Connection refused), 3 times in a row" in refused(
            probe, url, RetryPolicy(5, (1, 2, 4), pauses.append)
        )
        assert pauses == [1, 2]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "host/x", "http://", "http://a b/", "http://u:p@host/", "http://h:x/"]
)
def test_addresses_that_are_not_http_are_refused(url: str, refused: Refused) -> None:
    assert repr(url) in refused(probe, url, RetryPolicy())


def test_a_full_disk_is_reported_before_the_download(
    server: FileServer, fetch: Fetching, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/file"] = Served(CONTENT)
    monkeypatch.setattr("panoptic_blend.files.free_space", lambda folder: 255_999)
    assert "file.part needs 256.0 kB and 256.0 kB are free; make room" in refused(fetch)
    assert fetch.shown == []


def test_an_interrupt_keeps_the_bytes_received(server: FileServer, fetch: Fetching) -> None:
    server.files["/file"] = Served(CONTENT)

    def stop(step: str, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(
            f"{server.url}/file",
            fetch.target,
            sha256=None,
            check=lambda path: None,
            retries=RetryPolicy(),
            progress=stop,
            say=fetch.said.append,
        )
    assert fetch.left() == ["file.part", "file.part.json"]
    fetch()
    assert fetch.target.read_bytes() == CONTENT and server.ranges() == [None, "bytes=131072-"]
