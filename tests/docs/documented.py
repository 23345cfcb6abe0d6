"""The README and the guides taken apart: blocks of code, commands, code within sentences, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

PROGRAMS = {"panoptic-blend", "python", "torchrun", "make", "pip"}
"""Programs whose command lines are checked, by the first word of the line."""


@dataclass(frozen=True)
class Block:
    """A block of code on a page: fenced, or indented and then without a language."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line on a page, as the words that a shell would make of it."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


@dataclass(frozen=True)
class Text:
    """Code within a sentence, the target of a link or the title of a heading."""

    page: str
    line: int
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The blocks of code of a page, without Sphinx directives."""
    for token in _tokens(page):
        language = token.info.strip()
        if token.type in ("fence", "code_block") and not language.startswith("{"):
            yield Block(page, _line(token) + (token.type == "fence"), language, token.content)


def commands(block: Block) -> Iterator[Command]:
    """The command lines of a block; each line of a block of shell must be one.

    Raises:
        AssertionError: a line of shell starts with an unknown program.
    """
    if block.language == "python":
        return
    for offset, line in _lines(block.text):
        first = line.split(maxsplit=1)[0].removeprefix(".venv/bin/") if line.strip() else ""
        if first in PROGRAMS:
            words = shlex.split(line, comments=True)
            yield Command(block.page, block.line + offset, (first, *words[1:]))
        elif block.language == "sh" and first and not first.startswith("#"):
            raise AssertionError(
                f"{block.page}:{block.line + offset}: {line!r} starts with a program that no test knows; add it "
                "to PROGRAMS here and to `check` in test_documented_commands.py, or fence it as text"
            )


def code_in_sentences(page: str) -> Iterator[Text]:
    """Code between backticks."""
    for token in _tokens(page):
        for child in token.children or ():
            if child.type == "code_inline":
                yield Text(page, _line(token), child.content)


def links(page: str) -> Iterator[Text]:
    """Where the links of a page lead, and its pictures lie."""
    for token in _tokens(page):
        for child in token.children or ():
            if target := child.attrGet("href") or child.attrGet("src"):
                yield Text(page, _line(token), str(target))


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    tokens = _tokens(page)
    titles = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with the number of lines before them; one that ends in a backslash goes on in the next."""
    start, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines()):
        start = start if parts else number
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield start, "".join(parts).strip()
            parts = []


@cache
def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


def _line(token: Token) -> int:
    assert token.map is not None
    return token.map[0] + 1
