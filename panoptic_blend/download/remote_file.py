"""The properties of a file on a web server that a download needs, read from response headers."""

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
    """A file on a server, as its headers describe it; None where they are silent.

    ``length`` is in bytes. ``validator`` changes with the file: a strong ETag or the date of the last change. ``md5``
    is in hexadecimal digits.
    """

    length: int | None
    validator: str | None
    md5: str | None

    @classmethod
    def from_headers(cls, headers: Message) -> RemoteFile:
        """Read the headers of a response with the complete file."""
        length = re.fullmatch(r"\d{1,18}", headers.get("Content-Length", ""))
        return cls(int(length[0]) if length else None, validator_of(headers), _md5(headers))

    @classmethod
    def read(cls, path: Path) -> RemoteFile | None:
        """Read a JSON that ``write`` wrote, or return None if there is no valid one."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")


def validator_of(headers: Message) -> str | None:
    """The strong ETag of a response, or else the date of the last change, or else None."""
    etag = headers.get("ETag", "")
    return etag if re.fullmatch(r'"[!-~]+"', etag) else headers.get("Last-Modified")


def _md5(headers: Message) -> str | None:
    """The MD5 that a server states: in Content-MD5, or as the ETag of an S3 object that was uploaded in one piece.

    The ETag of a multipart upload is not an MD5 and ends in the number of parts; neither is that of an object
    encrypted with a key of KMS or of the customer.
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
