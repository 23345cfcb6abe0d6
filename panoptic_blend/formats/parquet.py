"""Write tables as Parquet files; needs the extra ``parquet``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from panoptic_blend.extras import require_extra

_GROUP_ROWS = 50_000
"""Rows per row group of the file; one group is in memory at a time."""


def write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Sequence[object]]) -> None:
    """Write rows of the named columns; None becomes null.

    Columns of `int` become int64, of `float` float64, of `str` dictionaries of strings (categories in pandas).
    Raises MissingExtraError without pyarrow.
    """
    require_extra("parquet", "or write CSV")
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    types = {int: arrow.int64(), float: arrow.float64(), str: arrow.dictionary(arrow.int32(), arrow.string())}
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        remaining = iter(rows)
        while group := list(islice(remaining, _GROUP_ROWS)):
            values = [
                [_text(value) for value in column] if kind is str else list(column)
                for kind, column in zip(columns.values(), zip(*group, strict=True), strict=True)
            ]
            arrays = [arrow.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(arrow.table(arrays, schema=schema))


def _text(value: object) -> str | None:
    """The text as in CSV files, where a lone surrogate, which JSON can hold, is written as an escape sequence."""
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()
