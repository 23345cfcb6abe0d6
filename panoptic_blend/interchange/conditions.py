"""Conditions on pictures, such as ``things > 50 and not ('traffic light' or dog)``, read without running them as code.

A condition compares numbers and names of numbers by ``== != < <= > >=``, and joins comparisons by ``and``, ``or``,
``not`` and parentheses. A name alone means that its number is not 0. Names with spaces are quoted.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping

from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.structures import PanopticBlendError

Condition = Callable[[Mapping[str, float]], bool]
"""Whether the numbers of a picture, by their names, fulfill it."""

Value = Callable[[Mapping[str, float]], float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w.])|(?P<name>[^\W\d][\w-]*)|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign>==|!=|<=|>=|=|<|>|\(|\)))"
)
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DEEPEST = 50
"""Parentheses and ``not`` within one another; more are no condition that a person wrote."""


def read_condition(text: str, names: Collection[str], option: str) -> Condition:
    """Read a condition on the numbers ``names``; errors start with the ``option`` that has it.

    Raises:
        PanopticBlendError: it is no such condition, or has an unknown name.
    """
    return _Reader(text, names, option).whole()


class _Reader:
    """Reads a condition from left to right; each method reads one rule of the grammar."""

    def __init__(self, text: str, names: Collection[str], option: str) -> None:
        self._text, self._names, self._option = text, names, option
        self._tokens = list(self._split(text))
        self._place = self._depth = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self._place < len(self._tokens):
            raise self._unexpected()
        return condition

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda numbers: any(part(numbers) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda numbers: all(part(numbers) for part in parts)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise PanopticBlendError(f"{self._option}: is nested more than {_DEEPEST} deep; write it plainer")
        if self._take("not"):
            denied = self._one()
            condition: Condition = lambda numbers: not denied(numbers)  # noqa: E731
        elif self._take("("):
            condition = self._either()
            if not self._take(")"):
                raise self._unexpected()
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        left = self._value()
        kind, sign = self._next()
        if kind != "sign" or sign not in _COMPARISONS:
            return lambda numbers: left(numbers) != 0
        self._place += 1
        compare, right = _COMPARISONS[sign], self._value()
        return lambda numbers: compare(left(numbers), right(numbers))

    def _value(self) -> Value:
        kind, text = self._next()
        if kind == "number":
            self._place += 1
            number = float(text)
            return lambda numbers: number
        if kind not in {"name", "quoted"} or (text in {"and", "or", "not"} and kind == "name"):
            raise self._unexpected()
        self._place += 1
        if text not in self._names:
            raise PanopticBlendError(
                f"{self._option}: {text!r} is neither a number of a picture nor a class; "
                f"{suggestion(text, sorted(self._names))}"
            )
        return lambda numbers: numbers[text]

    def _take(self, word: str) -> bool:
        """Go past the next token if it is this word or sign."""
        kind, text = self._next()
        is_there = text == word and kind != "quoted"
        self._place += is_there
        return is_there

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "its end")

    def _split(self, text: str) -> Collection[tuple[str, str]]:
        place, tokens = 0, []
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise PanopticBlendError(f"{self._option}: cannot read {text[place:].strip()!r}; {_HOW}")
            kind = str(found.lastgroup)
            tokens.append((kind, found[kind][1:-1] if kind == "quoted" else found[kind]))
            place = found.end()
        return tokens

    def _unexpected(self) -> PanopticBlendError:
        return PanopticBlendError(f"{self._option}: {self._next()[1]!r} is not expected there; {_HOW}")


_HOW = "write it like \"things > 50 and not 'traffic light'\""
