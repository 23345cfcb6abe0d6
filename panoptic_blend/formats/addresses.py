"""Files elsewhere, by addresses that fsspec knows: https, s3, gs, members of zip files and more (extra ``remote``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from panoptic_blend.extras import require_extra
from panoptic_blend.failures import in_short
from panoptic_blend.formats.images import Picture, decode_picture, read_picture
from panoptic_blend.structures import PanopticBlendError

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::|://)")


@dataclass(frozen=True)
class Address:
    """The address of a file, such as ``s3://bucket/a.jpg`` or ``zip://a.jpg::https://host/b.zip``.

    One that ends with ``/`` is that of a folder.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def path(self) -> PurePosixPath:
        """The address as a path: without what follows ``?``, ``#``, or the ``::`` before the file that it lies in."""
        protocol, _, rest = self.text.partition("://")
        return PurePosixPath(protocol.rpartition("::")[2], re.split(r"[?#]|::", rest)[0].strip("/"))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    @property
    def is_folder(self) -> bool:
        """Whether this is the address of a folder."""
        return self.text.partition("://")[2].partition("::")[0].endswith("/")

    def read(self) -> bytes:
        """Read the whole file."""
        import fsspec

        with _naming(self), fsspec.open(self.text, "rb") as file:
            content: bytes = file.read()
            return content

    def files(self, recursive: bool) -> Iterator[tuple[Address, str]]:
        """The files in this folder, in the order of their names relative to it, with these names."""
        import fsspec

        with _naming(self):
            system, root = fsspec.url_to_fs(self.text)
            found = sorted(system.find(root, maxdepth=None if recursive else 1))
        protocol, _, rest = self.text.partition("://")
        inner, *outer = rest.split("::", maxsplit=1)
        for path in found:
            name = path.removeprefix(root.rstrip("/")).lstrip("/")
            yield Address("::".join([f"{protocol}://{inner}{name}", *outer])), name


Location = Path | Address
"""Where a picture is."""


def location_of(text: str) -> Location:
    """The path or the address that a text names; a file or folder that exists is no address.

    Raises:
        MissingExtraError: it is an address, and fsspec is not installed.
    """
    if not _PROTOCOL.match(text) or Path(text).exists():
        return Path(text)
    require_extra("remote")
    return Address(text)


def read_picture_at(location: Location) -> Picture:
    """Read a picture as `read_picture` does."""
    return decode_picture(location.read(), str(location)) if isinstance(location, Address) else read_picture(location)


@contextmanager
def _naming(address: Address) -> Iterator[None]:
    """Turn errors of fsspec and its packages, which may be of any type, into one that names the address."""
    try:
        yield
    except Exception as error:
        raise PanopticBlendError(
            f"{address}: cannot be read ({in_short(error)}); check the address and your access to it"
        ) from error
