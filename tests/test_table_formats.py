"""Tables as LaTeX, Markdown and CSV: names and numbers survive, whatever characters they have."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table

from panoptic_blend.table_formats import Figures, comma_separated, latex, markdown
from panoptic_blend.terminal import print_tables, right_aligned

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda name: not name.endswith("\\")  # `escape` of rich doubles it where no markup follows
)


@pytest.fixture
def table() -> Table:
    table = right_aligned("name", "PQ_Th", "change", "interval", title="50% & more")
    table.add_row(escape("[a|b]"), "63.2", "-1.50", Figures("-2.00 to +0.10", {"low": "-2.00", "high": "+0.10"}))
    table.add_row("-", "-", "-", Figures("-", {"low": "", "high": ""}))
    return table


def test_latex(table: Table) -> None:
    assert latex(table) == (
        "% 50% & more\n"
        "\\begin{tabular}{lrrr}\n"
        "\\toprule\n"
        "name & PQ\\_Th & change & interval \\\\\n"
        "\\midrule\n"
        "{[}a\\textbar{}b] & 63.2 & $-$1.50 & $-$2.00 to +0.10 \\\\\n"
        "- & -- & -- & -- \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_markdown(table: Table) -> None:
    assert markdown(table) == (
        "**50% \\& more**\n"
        "\n"
        "| name | PQ_Th | change | interval |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| \\[a\\|b\\] | 63.2 | -1.50 | -2.00 to +0.10 |\n"
        "| - | - | - | - |\n"
    )


def test_csv_has_plain_numbers_and_nothing_for_a_dash(table: Table) -> None:
    assert comma_separated(table) == (
        "50% & more\r\nname,PQ_Th,change,interval low,interval high\r\n[a|b],63.2,-1.50,-2.00,+0.10\r\n-,,,,\r\n"
    )


def test_a_table_without_title_and_rows() -> None:
    empty = right_aligned("name", "PQ")
    assert comma_separated(empty) == "name,PQ\r\n"
    assert markdown(empty) == "| name | PQ |\n| --- | ---: |\n"
    assert latex(empty).splitlines()[2:4] == ["name & PQ \\\\", "\\midrule"]


@given(NAMES)
def test_a_name_is_one_cell_in_every_format(name: str) -> None:
    table = right_aligned("name", "PQ")
    table.add_row(escape(name), "1.0")
    plain = " ".join(name.split())
    [_, row] = csv.reader(io.StringIO(comma_separated(table), newline=""))
    assert row == [plain, "1.0"]
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", markdown(table).splitlines()[2])
    assert len(cells) == 4 and re.sub(r"\\(.)", r"\1", cells[1].strip()) == plain
    line = latex(table).splitlines()[4]
    assert len(re.findall(r"(?<!\\)&", line)) == 1 and not re.search(r"(?<!\\)[%#_$]", line)


def test_remarks_stay_out_of_what_is_read_by_programs(table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(table, form="text", remarks=["a remark"])
    shown = capsys.readouterr()
    assert shown.out.endswith("a remark\n") and shown.err == ""
    print_tables(table, table, form="csv", remarks=["a remark"])
    shown = capsys.readouterr()
    assert shown.out == comma_separated(table) + "\r\n" + comma_separated(table)
    assert shown.err == "a remark\n"
