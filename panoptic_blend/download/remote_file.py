"""What the headers of a web server say of a file, as far as a download needs it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from panoptic_blend.files import replacing


@dataclass(frozen=True)
class RemoteFile:
    """What a server says of a file.

    ``length`` in bytes; ``validator``, a strong ETag or else a date, changes when the file does; ``md5`` in
    hexadecimal digits. None is what it does not say.
    """

    length: int | None
    validator: str | None
    md5: str | None

    @classmethod
    def from_headers(cls, headers: Message) -> RemoteFile:
        """What the headers of a complete answer say."""
        length = re.fullmatch(r"\d{1,18}", headers.get("Content-Length", ""))
        return cls(int(length[0]) if length else None, validator_of(headers), _md5(headers))

    @classmethod
    def read(cls, path: Path) -> RemoteFile | None:
        """As `write` left it, or None."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")


def validator_of(headers: Message) -> str | None:
    """A strong ETag, or the date of the last change."""
    etag = headers.get("ETag", "")
    return etag if re.fullmatch(r'"[!-~]+"', etag) else headers.get("Last-Modified")


def _md5(headers: Message) -> str | None:
    """The MD5 a server states: in Content-MD5, or as the ETag of an object that S3 took in one piece.

    The ETag of an upload in parts ends in their number, and that of an object under a key of its own is no MD5 either.
    """
    try:
        digest = base64.b64decode(headers.get("Content-MD5", ""), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) == 16:
        return digest.hex()
    is_s3 = headers.get("Server") == "AmazonS3"
    is_plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256"
    is_plain &= "x-amz-server-side-encryption-customer-algorithm" not in headers
    match = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("ETag", ""))
    return match[1] if match and is_s3 and is_plain else None
