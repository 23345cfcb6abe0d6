"""What the options of `options` and `model_options` are made of: sections, and types with limits."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character; leave it out")
    return text


# The upper limits, here and where an option has its own type, are far above anything of use: they keep a mistake, or a
# stranger's checkpoint, from filling memory.
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**6, strict=True)]
Weight = Annotated[float, Field(ge=0, le=10**6)]
Text = Annotated[str, Field(max_length=4096), AfterValidator(_without_nul)]
PathText = Annotated[Text, AfterValidator(os.path.expanduser)]


class Options(BaseModel):
    """A section of options: frozen, and without unknown keys. Its validator is built when it is first needed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)
