"""Requests over HTTP and HTTPS, and nothing else; failures sorted into those that pass and those that stay."""

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


class PassingError(Exception):
    """What may be gone at the next try; the message says what happened."""


class NoHeadError(PanopticBlendError):
    """The server sends files and does not tell of them beforehand."""


class RangeRefusedError(PassingError):
    """The server has no such bytes of the file."""


def require_http(url: str) -> None:
    """Raise an error unless ``url`` is an address of the web, without a user's name."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError as error:
        raise PanopticBlendError(f"{url!r}: not an address ({error}); give http://host/path") from None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not plain:
        raise PanopticBlendError(f"{url!r}: not a plain address of http or https; give http://host/path")


def open_url(url: str, timeout: float, headers: Mapping[str, str], method: str = "GET") -> HTTPResponse:
    """Send a request, through the proxies that the environment names, and follow redirects.

    Raises:
        PassingError: no answer, or one that says to try again.
        PanopticBlendError: an answer that will stay, or a web page in place of a file.
    """
    require_http(url)
    try:
        request = Request(url, headers=dict(headers), method=method)
        response: HTTPResponse = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        raise _refusal(url, error.code) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise PanopticBlendError(
                f"{url}: its certificate is not valid ({error.reason.verify_message}); check the address"
            ) from None
        raise PassingError(f"no connection ({getattr(error.reason, 'strerror', None) or error.reason})") from None
    except (InvalidURL, ValueError):
        raise PanopticBlendError(f"{url}: leads to no valid address; check it") from None
    except (OSError, HTTPException) as error:
        raise PassingError(f"no answer ({getattr(error, 'strerror', None) or type(error).__name__})") from None
    if response.status not in {200, 206}:
        response.close()
        raise _refusal(url, response.status)
    if response.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
        response.close()
        raise PanopticBlendError(f"{url}: the server sent a web page, not the file; is there a login in between?")
    return response


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> Request | None:
        require_http(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener() -> OpenerDirector:
    """Without the handlers of files, FTP and data URLs, which a redirect could lead to."""
    opener = OpenerDirector()
    handlers = ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor, _Redirects
    for handler in handlers:
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "panoptic-blend")]
    return opener


def _refusal(url: str, status: int) -> Exception:
    what = f"the server answers {status} {responses.get(status, '')}".strip()
    if status == 416:
        return RangeRefusedError(what)
    if status in _TEMPORARY or (status >= 500 and status != 501):
        return PassingError(what)
    kind = NoHeadError if status in {405, 501} else PanopticBlendError
    return kind(f"{url}: {what}; check the address")
