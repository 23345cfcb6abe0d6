"""Known weights from a local server: fetched once, checked each time, and refused in one line with a remedy."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import FileServer, Served, serving

from panoptic_blend.cli import main as cli
from panoptic_blend.download import known_weights as table
from panoptic_blend.download import weights_cache as module
from panoptic_blend.download.known_weights import KnownWeights
from panoptic_blend.download.transfer import RetryPolicy
from panoptic_blend.download.weights_cache import cached_path, fetch_weights

Refused = Callable[..., str]
CONTENT = bytes(range(256)) * 40
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()
FREE, SHARED, ACADEMIC = "resnet18_imagenet_v1", "mask_rcnn_r50_3x_detectron2", "blendmask_r50_3x_official"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(module.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv(module.OFFLINE, "")
    monkeypatch.setattr(module, "_RETRIES", RetryPolicy(5, (0, 0), lambda seconds: None))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A mirror with the same bytes under the names of three files, whose checksums are adapted."""
    known = dict(table.known_weights())
    known[FREE] = replace(known[FREE], sha256=SHA256[:8])
    known[SHARED] = replace(known[SHARED], md5=MD5[:6])
    known[ACADEMIC] = replace(known[ACADEMIC], sha256=SHA256)
    for part in (module, table):
        monkeypatch.setattr(part, "known_weights", lambda: known)
    with serving() as server:
        monkeypatch.setenv(module.MIRROR, f"{server.url}/mirror/")
        for name in (FREE, SHARED, ACADEMIC):
            server.files[f"/mirror/{known[name].file}"] = Served(CONTENT)
        yield server


def known(name: str = FREE) -> KnownWeights:
    return module.named(name)


def served(server: FileServer, name: str = FREE) -> Served:
    return server.files[f"/mirror/{known(name).file}"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_a_file_is_fetched_once_and_its_whole_checksum_kept(
    server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch_weights(known())
    assert path == cache / "weights" / FREE / "resnet18-f37072fd.pth" and path.read_bytes() == CONTENT
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{SHA256}  {path.name}\n"
    assert fetch_weights(known()) == path and len(server.requests) == 1
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name, f"{path.name}.sha256"]
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"fetching {FREE} from {server.url}/mirror/resnet18-f37072fd.pth\n"


def test_an_interrupted_download_goes_on_where_it_stopped(server: FileServer, refused: Refused) -> None:
    served(server).drops = [1000] * 3
    assert "run it again later to continue from byte 3000" in refused(fetch_weights, known())
    assert not cached_path(known()).exists()
    assert fetch_weights(known()).read_bytes() == CONTENT
    assert server.ranges()[-1] == "bytes=3000-"


@pytest.mark.parametrize("name", [FREE, SHARED, ACADEMIC])
def test_another_file_is_refused_and_not_kept(server: FileServer, refused: Refused, name: str) -> None:
    module.accept_license(ACADEMIC)
    served(server, name).content = CONTENT[::-1]
    message = refused(fetch_weights, known(name))
    assert message.startswith(f"{name}: ") and ("MD5" if name == SHARED else "SHA-256") in message
    assert not cached_path(known(name)).parent.exists()
    served(server, name).content = CONTENT
    assert fetch_weights(known(name)).read_bytes() == CONTENT


def test_a_cached_file_that_changed_is_fetched_again(
    server: FileServer, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch_weights(known())
    path.write_bytes(CONTENT[:-1] + b"x")
    monkeypatch.setenv(module.OFFLINE, "1")
    assert "changed since it was fetched" in refused(fetch_weights, known())
    monkeypatch.setenv(module.OFFLINE, "")
    assert fetch_weights(known()).read_bytes() == CONTENT


def test_a_file_that_the_user_brought_is_checked(
    server: FileServer, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(module.OFFLINE, "1")
    assert "not in" in refused(fetch_weights, known()) and server.requests == []
    path = cached_path(known())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another")
    assert "another file or a damaged one" in refused(fetch_weights, known())
    path.write_bytes(CONTENT)
    assert fetch_weights(known()) == path
    path.write_bytes(b"another")
    assert "changed since" in refused(fetch_weights, known())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"statuses": [403]}, "the server answers 403 Forbidden; check the address, or bring the file here"),
        ({"statuses": [404]}, "the server answers 404 Not Found; check the address, or bring the file here"),
        ({"statuses": [503] * 3}, "503 Service Unavailable, 3 times in a row; try again later, or bring the file here"),
        ({"location": "file:///etc/passwd"}, "the server answers 302 Found"),
        ({"headers": {"Content-Type": "text/html"}}, "the server sent a web page, not the file"),
    ],
)
def test_refusals_of_a_server(server: FileServer, refused: Refused, change: dict[str, object], said: str) -> None:
    for name, value in change.items():
        setattr(served(server), name, value)
    message = refused(fetch_weights, known())
    assert said in message and message.endswith(f"in another way, as {cached_path(known())}")


def test_a_full_disk(server: FileServer, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(module, "download", full)
    assert "No space left on device); make room there, or set PANOPTIC_BLEND_CACHE" in refused(fetch_weights, known())


def test_a_mirror_has_to_be_an_address(server: FileServer, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.MIRROR, "file:///etc")
    assert "not a plain http or https address" in refused(fetch_weights, known())


def test_terms_are_shown_and_non_commercial_ones_accepted_once(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "weights", "fetch", ACADEMIC) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {ACADEMIC}: AdelaiDet: non-commercial use only") and server.requests == []
    command = message.strip().rpartition("run once: panoptic-blend ")[2]
    assert run(monkeypatch, *command.split()) == 0, "the advice works"
    printed = capsys.readouterr()
    assert printed.out == f"{cached_path(known(ACADEMIC))}\n"
    assert printed.err.splitlines()[1].startswith(f"{ACADEMIC}: AdelaiDet: non-commercial use only, ")
    assert run(monkeypatch, "weights", "fetch", ACADEMIC) == 0
    assert run(monkeypatch, "weights", "fetch", SHARED) == 0
    assert "CC BY-SA 3.0: name the authors" in capsys.readouterr().err


def test_the_british_spelling_offline_and_unknown_names(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--offline", "weights", "fetch", ACADEMIC, f"--accept-licence={ACADEMIC}") == 2
    assert f"{ACADEMIC}: not in" in capsys.readouterr().err, "it is accepted, but not here"
    assert run(monkeypatch, "weights", "list", "--accept-license", "blendmask_r50_3x_oficial") == 2
    assert "did you mean blendmask_r50_3x_official?" in capsys.readouterr().err
    assert run(monkeypatch, "weights", "list", "--accept-license") == 2, "an option without its value"


def test_one_downloads_and_the_others_wait_for_it(server: FileServer) -> None:
    with ThreadPoolExecutor(4) as pool:  # the lock is of an open folder, so threads exclude one another as processes do
        paths = list(pool.map(fetch_weights, [known()] * 4))
    assert set(paths) == {cached_path(known())} and len(server.requests) == 1
