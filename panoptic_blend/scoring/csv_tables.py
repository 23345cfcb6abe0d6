"""Write tables as CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from panoptic_blend.structures import ImageId

Row = Sequence[object]


def known(figure: float) -> float | None:
    """Replace NaN by None, which becomes an empty cell or null."""
    return None if math.isnan(figure) else figure


def image_column(ids: Iterable[ImageId]) -> dict[str, type]:
    """The column ``image`` of a table: of whole numbers if all ids are numbers of 64 bits, else of texts."""
    are_numbers = all(isinstance(key, int) and abs(key) < 2**63 for key in ids)
    return {"image": int if are_numbers else str}


def write_csv(path: Path, header: Iterable[object], rows: Iterable[Row]) -> None:
    """Write rows below a header; None and NaN become empty cells."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([known(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
