"""Run the web application on a port of this machine until it is interrupted."""

from __future__ import annotations

import errno
import socket

import uvicorn

from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.serve.application import Server
from panoptic_blend.serve.limits import Limits
from panoptic_blend.structures import PanopticBlendError

MOST_CONNECTIONS = 512


def listening(host: str, port: int) -> socket.socket:
    """A socket on which this machine is called; port 0 is any free one.

    Raises:
        PanopticBlendError: the port is taken or not allowed, or the host is not an address of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.EADDRINUSE, errno.EACCES):
            seen = "is in use" if number == errno.EADDRINUSE else "is not allowed"
            raise PanopticBlendError(f"port {port} {seen}; choose another with --port") from None
        raise PanopticBlendError(f"{host}: is not an address of this machine; give another --host") from None


def address_of(listener: socket.socket) -> str:
    """The address of the page, as a browser takes it."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def web_server(predictor: PicturePredictor, name: str, limits: Limits) -> uvicorn.Server:
    """The web server of a model; ``run(sockets=[...])`` serves it until the process is interrupted."""
    config = uvicorn.Config(
        Server(predictor, name, limits).application(),
        log_config=None,  # its own would close the log handlers of the program that this runs in
        log_level="error",
        access_log=False,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)
