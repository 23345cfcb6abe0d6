"""The names of floating-point precisions; apart from the options, whose classes take long to build."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
