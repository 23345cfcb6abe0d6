"""The runs of equal pixels in the filtered rows of a PNG, found by the WebAssembly program ``png_rows.wat``.

Every filtered pixel depends on its neighbors at the left and above, which numpy cannot vectorize, and PNG libraries
compute all of them. The program computes only those at the edges of segments.
"""

from __future__ import annotations

import numpy as np

from panoptic_blend import webassembly
from panoptic_blend.structures import Runs

_RUN = 8
"""Bytes of a run."""


def runs_of_rows(rows: bytes, height: int, width: int) -> Runs | None:
    """Undo the filters of ``height`` > 0 rows, each a type and ``width`` > 0 pixels RGB, and encode the result.

    The values of the runs are segment ids, ``R + 256 G + 256**2 B`` (int32). Returns None if a filter type is unknown,
    or if `webassembly.run` cannot run here.
    """
    inputs, numbers = [np.frombuffer(rows, np.uint8)], [width, height]
    found = webassembly.run(__package__, "png_rows", "decode", inputs, numbers, _RUN * height * width)
    return None if found is None else Runs.from_bytes(found, np.int32, (height, width))
