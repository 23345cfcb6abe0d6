"""Tables as Parquet files, where the extra `parquet` is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from panoptic_blend.extras import require_extra

_AT_ONCE = 50_000
"""Rows in memory, and in a row group of the file."""


def write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Sequence[object]]) -> None:
    """Write rows of the named columns, in which None is null.

    Columns of `int` become int64, of `float` float64, of `str` dictionaries of strings (categories in pandas).
    Raises MissingExtraError without pyarrow.
    """
    require_extra("parquet", "or write CSV")
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    types = {int: arrow.int64(), float: arrow.float64(), str: arrow.dictionary(arrow.int32(), arrow.string())}
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        remaining = iter(rows)
        while some := list(islice(remaining, _AT_ONCE)):
            values = [
                [_text(value) for value in column] if kind is str else list(column)
                for kind, column in zip(columns.values(), zip(*some, strict=True), strict=True)
            ]
            arrays = [arrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(arrow.table(arrays, schema=schema))


def _text(value: object) -> str | None:
    """As it is in CSV files: half a character, which JSON can hold, is written out."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()
