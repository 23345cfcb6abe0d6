"""The weights that are known by name: ``known_weights.yaml`` as records."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter

from panoptic_blend.config.yaml_text import parse_yaml

_TABLE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class License:
    """The license of some weights."""

    id: str
    name: str
    address: str
    """The address of its text."""
    terms: str = ""
    """What it asks of users, unless it is a permissive one."""
    is_commercial: bool = True
    """Whether commercial use is allowed; if not, a user has to accept the license before weights are fetched."""

    def __str__(self) -> str:
        return f"{self.name}: {self.terms} ({self.address})" if self.terms else self.name


@dataclass(frozen=True)
class KnownWeights:
    """Weights that somebody has published."""

    name: str
    publisher: str
    address: str
    license: License
    source: str
    """The page with the figures."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The publisher's figures in percent, such as ``PQ``."""
    config: str | None = None
    """Name of the config that they fit; None if they are no whole model, but a start for training."""
    sha256: str = ""
    """The first digits of the SHA-256, as many as are known."""
    md5: str = ""
    """The first digits of the MD5, as many as are known."""
    megabytes: float | None = None
    """Approximate size in units of 10^6 bytes, if it is known."""

    @property
    def file(self) -> str:
        """The file name at the publisher's."""
        return PurePosixPath(self.address).name


@cache
def known_weights() -> dict[str, KnownWeights]:
    """All known weights by name, the recommended ones first."""
    table: Any = parse_yaml(_TABLE.read_text(encoding="utf-8"), _TABLE.name)
    licenses = {id: License(id=id, **fields) for id, fields in table["licenses"].items()}
    return {name: _entry(name, fields, table["publishers"], licenses) for name, fields in table["weights"].items()}


def _entry(name: str, fields: dict[str, Any], publishers: Any, licenses: Mapping[str, License]) -> KnownWeights:
    publisher = publishers[fields["publisher"]]
    address, license = publisher["address"] + fields.pop("file"), licenses[publisher["license"]]
    given = fields | {"name": name, "address": address, "license": license, "source": publisher["source"]}
    return TypeAdapter(KnownWeights).validate_python(given)


def find_known(source: str | Path) -> KnownWeights | None:
    """The known weights of this name; None if there are none, or if it is the path of a file, which has precedence."""
    known = known_weights().get(str(source))
    return None if known is None or Path(source).is_file() else known


def origin_of(source: str | Path) -> KnownWeights | None:
    """The known weights of this name, or whose publisher gave this name to a file; None if there are none."""
    name = Path(source).name
    return find_known(source) or next((known for known in known_weights().values() if known.file == name), None)


def closest_name(text: str) -> str | None:
    """The known name that ``text`` was probably meant to be, if any."""
    return next(iter(difflib.get_close_matches(text, known_weights(), n=1, cutoff=0.7)), None)
