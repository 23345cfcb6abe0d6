"""Requests over HTTP and HTTPS only; temporary failures are distinguished from permanent ones."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, InvalidURL, responses
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from panoptic_blend.structures import PanopticBlendError

_TEMPORARY = {408, 425, 429}


class TransientError(Exception):
    """A failure that another attempt may not meet; the message says what happened."""


class HeadNotSupportedError(PanopticBlendError):
    """The server does not support the method HEAD."""


class RangeRefusedError(TransientError):
    """The server refuses the requested range of bytes."""


def require_http(url: str) -> None:
    """Raise PanopticBlendError unless ``url`` is a plain HTTP or HTTPS address without a user name."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises if the port is invalid
    except ValueError as error:
        raise PanopticBlendError(f"{url!r}: not an address ({error}); give http://host/path") from None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not plain:
        raise PanopticBlendError(f"{url!r}: not a plain http or https address; give http://host/path")


def open_url(url: str, timeout: float, headers: Mapping[str, str], method: str = "GET") -> HTTPResponse:
    """Send a request through the proxies that the environment names, and follow redirects.

    Raises:
        TransientError: no response, or one that means to try again later.
        PanopticBlendError: a permanent failure, or a web page instead of a file.
    """
    require_http(url)
    try:
        request = Request(url, headers=dict(headers), method=method)
        response: HTTPResponse = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        raise _status_error(url, error.code) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise PanopticBlendError(
                f"{url}: its certificate is not valid ({error.reason.verify_message}); check the address"
            ) from None
        raise TransientError(f"no connection ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except (InvalidURL, ValueError):
        raise PanopticBlendError(f"{url}: leads to an invalid address; check it") from None
    except (OSError, HTTPException) as error:
        raise TransientError(f"no answer ({getattr(error, 'strerror', None) or type(error).__name__})") from None
    if response.status not in {200, 206}:
        response.close()
        raise _status_error(url, response.status)
    if response.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
        response.close()
        raise PanopticBlendError(f"{url}: the server sent a web page, not the file; check for a login or proxy page")
    return response


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        require_http(newurl)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme == "http":
            raise PanopticBlendError(
                f"{req.full_url}: leads to {newurl}, which anyone on the way could change; check it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> OpenerDirector:
    """An opener without handlers for file, FTP and data URLs, to which a redirect could lead."""
    opener = OpenerDirector()
    handlers = ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor, _Redirects
    for handler in handlers:
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "panoptic-blend")]
    return opener


def _status_error(url: str, status: int) -> Exception:
    answer = f"the server answers {status} {responses.get(status, '')}".strip()
    if status == 416:
        return RangeRefusedError(answer)
    if status in _TEMPORARY or (status >= 500 and status != 501):
        return TransientError(answer)
    kind = HeadNotSupportedError if status in {405, 501} else PanopticBlendError
    return kind(f"{url}: {answer}; check the address")
