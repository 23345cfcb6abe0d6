"""The endpoints of ``panoptic-blend serve``, asked over a socket of this machine."""

from __future__ import annotations

import base64
import io
import json
import socket
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from served_model import CATEGORIES, Answer, Served, jpeg, serving

from panoptic_blend.formats.images import decode_picture, decode_segment_ids
from panoptic_blend.scoring.evaluate_files import evaluate_files
from panoptic_blend.serve.limits import Limits
from panoptic_blend.serve.replies import PredictReply

LIMITS = Limits(megabytes=0.2, megapixels=0.01, queue=1, seconds=30, hosts=frozenset({"gpu.lan"}))


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(LIMITS) as started:
        yield started


def test_a_picture_is_predicted(served: Served) -> None:
    """Half of the tree is covered, more than 0.4 of it, so that it is left out; the sky has 30 rows less the cat."""
    answer = served.ask("POST", "/predict", jpeg())
    assert answer.status == 200
    reply = PredictReply.model_validate_json(answer.body)
    found = [(segment.category_id, segment.area, segment.score) for segment in reply.segments_info]
    assert found == [(3, 600, 0.9), (8, 1200, None), (9, 600, None)]
    assert answer.json["segments_info"][0]["bbox"] == [0, 0, 30, 20] and "score" not in answer.json["segments_info"][1]
    ids = decode_segment_ids(base64.b64decode(reply.png), "map", (40, 60))
    assert [int((ids == segment.id).sum()) for segment in reply.segments_info] == [600, 1200, 600]


def test_settings_are_those_of_the_request(served: Served) -> None:
    reply = served.ask("POST", "/predict?overlap=0.5&stuff_area=700", jpeg()).json
    assert reply["settings"] == {"confidence": 0.2, "overlap": 0.5, "stuff_area": 700}
    assert [(s["category_id"], s["area"]) for s in reply["segments_info"]] == [(3, 600), (5, 300), (8, 900)]
    for query in ("confidence=2", "overlap=x", "colour=1", "stuff_area=nan"):
        answer = served.ask("POST", f"/predict?{query}", jpeg())
        assert answer.status == 400 and answer.json["error"].startswith(query.partition("=")[0]), answer


def test_pictures_of_the_page_are_fused_again_and_downloaded(served: Served, tmp_path: Path) -> None:
    added = served.ask("POST", "/pictures?name=..%2Fa%20photo.png", jpeg(ending=".png"))
    assert added.status == 201
    one = f"/pictures/{added.json['id']}"
    assert (added.json["name"], added.json["width"], added.json["height"]) == ("a photo.png", 60, 40)
    assert decode_picture(served.ask("GET", f"{one}/photo.jpg").body, "photo").shape == (40, 60, 3)
    rows = served.ask("GET", f"{one}/view?confidence=0.95").json["segments"]
    assert rows == [[1, 3, 1800, None], [2, 4, 600, None]]
    view = served.ask("GET", f"{one}/view?overlap=0.5").json
    values, lengths = np.split(np.frombuffer(zlib.decompress(base64.b64decode(view["map"])), "<u2"), 2)
    assert np.bincount(values, lengths).tolist() == [0, *(row[2] for row in view["segments"])]

    drawing = served.ask("GET", f"{one}/drawing.jpg")
    assert decode_picture(drawing.body, "drawing").shape == (40, 60, 3)
    assert drawing.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20photo_drawing.jpg"
    assert decode_segment_ids(served.ask("GET", f"{one}/map.png").body, "map").max() == 3
    zipfile.ZipFile(io.BytesIO(served.ask("GET", f"{one}/coco.zip").body)).extractall(tmp_path)
    written = tmp_path / "panoptic.json"
    assert json.loads(written.read_text())["images"][0]["file_name"] == "a photo.png"
    assert evaluate_files(written, written)["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": 3}

    labels = served.ask("GET", f"{one}/labelme.json")
    assert (
        labels.headers["content-disposition"].endswith("a%20photo.json") and labels.json["imagePath"] == "a photo.png"
    )
    shapes = [(shape["label"], shape["shape_type"], shape.get("score")) for shape in labels.json["shapes"]]
    assert shapes == [("sky", "polygon", None), ("cat & <b>dog</b>", "polygon", 0.9), ("grass", "polygon", None)]

    assert served.ask("GET", f"{one}/passwd").status == 404
    assert served.ask("DELETE", one).status == 204
    assert served.ask("GET", f"{one}/view").status == 404


@pytest.mark.parametrize(
    "name", ["..", "a/../..", "C:\\x\\a.jpg", "a\0\nb.jpg", "\U0001f436" * 500 + ".jpg", "", ".jpg"]
)
def test_names_of_pictures_lead_nowhere(served: Served, name: str) -> None:
    added = served.ask("POST", f"/pictures?{urlencode({'name': name})}", jpeg()).json
    for file in ("coco.zip", "labelme.json", "map.png"):
        assert served.ask("GET", f"/pictures/{added['id']}/{file}").status == 200, (added["name"], file)


def _png(width: int, height: int, bytes_inflated: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(bytes_inflated), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_hostile_uploads_get_an_error_each_and_the_server_goes_on(served: Served) -> None:
    truncated = jpeg()[:500]
    form = b"--x\r\nContent-Disposition: form-data; name=a; filename=a.jpg\r\n\r\n" + jpeg() + b"\r\n--x--"
    uploads = {
        "nothing": (b"", {}, 400),
        "text": (b"hello" * 100, {}, 400),
        "a program": (b"\x7fELF" + bytes(1000), {"Content-Type": "image/jpeg"}, 400),
        "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>", {"Content-Type": "image/svg+xml"}, 400),
        "truncated": (truncated, {}, 400),
        "a header alone": (_png(60, 40, 0)[:30], {}, 400),
        "a bomb": (_png(60, 40, 10**7), {}, 200),  # a decoder reads 40 rows and no more
        "huge sides": (_png(60000, 60000, 10), {}, 413),
        "too many pixels": (jpeg(200, 100), {}, 413),
        "too many bytes": (bytes(10**7), {}, 413),
        "too many bytes in chunks": (iter([bytes(10**5)] * 20), {}, 413),
        "a form": (form, {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        "an odd form": (b"--", {"Content-Type": "multipart/form-data"}, 415),
        "gzip": (zlib.compress(jpeg()), {"Content-Encoding": "gzip"}, 415),
    }
    for name, (body, headers, status) in uploads.items():
        try:
            answer = served.ask("POST", "/predict", body, headers)
        except (BrokenPipeError, ConnectionResetError):  # the server stops reading what is far too much
            assert status == 413, name
            continue
        assert answer.status == status, (name, answer)
        assert status == 200 or len(answer.json["error"].splitlines()) == 1
    assert served.ask("POST", "/predict", jpeg()).status == 200
    assert served.ask("GET", "/health").json["queue"] == {"running_or_waiting": 0, "bound": 2}


def test_a_client_that_hangs_up_is_no_error(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"\x16\x03\x01 not HTTP \r\n\r\n")
        assert b"400" in connection.recv(1000)
    assert served.ask("POST", "/predict", jpeg()).status == 200


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"Host": "localhost:1"}, True),
        ({"Host": "192.168.1.7"}, True),
        ({"Host": "[::1]:80"}, True),
        ({"Host": "GPU.lan:8000"}, True),
        ({"Host": "evil.example"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": ""}, False),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, True),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, False),
        ({"Host": "localhost:1", "Origin": "null"}, False),
        ({"Host": "localhost:1", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "localhost:1", "Sec-Fetch-Site": "same-origin"}, True),
    ],
)
def test_foreign_names_and_pages_are_refused(served: Served, headers: dict[str, str], is_ours: bool) -> None:
    answer = served.ask("GET", "/health", headers=headers)
    assert answer.status == (200 if is_ours else 403)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_a_request_for_which_there_is_no_place_is_told_when_to_come_again() -> None:
    with serving(Limits(queue=0)) as busy:
        busy.model.gate.clear()
        first: list[Answer] = []
        waiting = threading.Thread(target=lambda: first.append(busy.ask("POST", "/predict", jpeg())))
        waiting.start()
        while busy.ask("GET", "/health").json["queue"]["running_or_waiting"] == 0:
            pass
        refused = busy.ask("POST", "/predict", jpeg())
        assert refused.status == 503 and int(refused.headers["retry-after"]) >= 1
        busy.model.gate.set()
        waiting.join()
        assert first[0].status == 200


def test_a_model_that_takes_too_long_is_not_waited_for() -> None:
    with serving(Limits(seconds=0.05)) as slow:
        slow.model.gate.clear()
        answer = slow.ask("POST", "/predict", jpeg())
        assert answer.status == 504 and answer.json["error"].startswith("no answer after 0.05 s; ")


def test_descriptions(served: Served) -> None:
    model = served.ask("GET", "/model").json
    assert model["categories"] == CATEGORIES.records() and model["limits"]["megabytes"] == 0.2
    described = served.ask("GET", "/openapi.json").json
    operation = described["paths"]["/predict"]["post"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["confidence", "overlap", "stuff_area"]
    assert {"PredictReply", "SegmentReply", "ErrorReply"} <= set(described["components"]["schemas"])
    wrong = served.ask("GET", "/predict")
    assert wrong.status == 405 and wrong.headers["allow"] == "POST" and "/openapi.json" in wrong.json["error"]
    assert len(served.ask("GET", "/%0A" + "a" * 50_000).json["error"]) < 300
