"""Values of options that are read without pydantic are those that typer reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.core import TyperOption

from panoptic_blend.cli.values import DoubtfulError, read

pytestmark = pytest.mark.skipif(not hasattr(TyperOption, "get_runtime_param"), reason="this typer has no pydantic")


def _command(
    path: Path,
    paths: Annotated[list[Path] | None, typer.Option()] = None,
    texts: Annotated[list[str] | None, typer.Argument()] = None,
    text: str = "a",
    kind: Annotated[Literal["png", "json"] | None, typer.Option()] = None,
    count: Annotated[int | None, typer.Option(min=1, max=99)] = None,
    share: Annotated[float, typer.Option(min=0, max=0.9)] = 0.0,
    any_number: Annotated[float, typer.Option()] = -1.5,
    flag: Annotated[bool, typer.Option("--flag")] = False,
    existing: Annotated[Path, typer.Option(exists=True)] = Path(),
) -> None: ...


def _parameters() -> dict[str, Any]:
    app = typer.Typer()
    app.command()(_command)
    return {parameter.name or "": parameter for parameter in typer.main.get_command(app).params}


PARAMETERS = _parameters()

WRITTEN = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    st.text("0123456789-+._e \t", max_size=6),
    st.sampled_from(["png", "PNG", "json", "inf", "nan", "1_0", "٣", "99", "100", "0.9", "0.91", "1e2", "1.", ".5"]),
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(PARAMETERS)), WRITTEN)
def test_a_value_is_that_of_typer(name: str, text: str) -> None:
    parameter = PARAMETERS[name]
    given = (text, text) if name in ("paths", "texts") else text
    try:
        found = read(parameter, given)
    except DoubtfulError:
        return
    expected = parameter.get_runtime_param().coerce(given, param=parameter, ctx=None)
    assert found == expected and type(found) is type(expected)


def test_plain_values_are_not_left_to_typer(tmp_path: Path) -> None:
    given = {
        "path": str(tmp_path),
        "paths": (str(tmp_path), "nothing"),
        "texts": ("model.num_things=6",),
        "text": "",
        "kind": "json",
        "count": "7",
        "share": "0.25",
        "any_number": "-3e-2",
        "flag": True,
    }
    found = {name: read(PARAMETERS[name], value) for name, value in given.items()}
    assert found == {
        "path": tmp_path,
        "paths": [tmp_path, Path("nothing")],
        "texts": ["model.num_things=6"],
        "text": "",
        "kind": "json",
        "count": 7,
        "share": 0.25,
        "any_number": -0.03,
        "flag": True,
    }
    assert [read(PARAMETERS[name], None) for name in ("paths", "texts", "kind", "count")] == [(), (), None, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", None),
        ("count", "0"),
        ("count", "100"),
        ("count", "x"),
        ("share", "0.91"),
        ("kind", "gif"),
        ("existing", "/"),
    ],
)
def test_what_may_be_refused_is_left_to_typer(name: str, value: str | None) -> None:
    with pytest.raises(DoubtfulError):
        read(PARAMETERS[name], value)
