"""A condition that a person types, as SOQL: parsed, and written anew from what was understood.

Nothing that was typed reaches the query as it is. The grammar is an allow-list:

    condition := term ((AND | OR) term)*      AND and OR are not mixed without parentheses
    term      := '(' condition ')' | NOT term | field operator literal | field IN '(' literals ')'
    operator  := = != < <= > >= LIKE

Source: vendor page section 7 (SOQL): the operators, literals, and what has to be escaped in texts.
"""

import re
from dataclasses import dataclass
from typing import Final, NoReturn

from adapters.errors import Invalid
from adapters.salesforce.client import VENDOR

LENGTH_MAX: Final = 1_000
DEPTH_MAX: Final = 10
TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\\x00-\x1f]|\\['"\\%_])*')
      | (?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d))
      | (?P<day>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?\d{1,18}(?:\.\d{1,9})?)
      | (?P<name>[A-Za-z][A-Za-z0-9_]{0,79}(?:\.[A-Za-z][A-Za-z0-9_]{0,79}){0,4})
      | (?P<operator>!=|<=|>=|=|<|>)
      | (?P<mark>[(),])
    )(?![A-Za-z0-9_'])""",
    re.VERBOSE,
)
OPENING: Final = re.compile(r"\s*(?P<mark>[(),])|\s*(?P<operator>!=|<=|>=|=|<|>)")
"""Marks and operators may touch what follows them; names and literals may not."""
WORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "LIKE"})
CONSTANTS: Final = {"TRUE": "true", "FALSE": "false", "NULL": "null"}
LITERALS: Final = frozenset({"text", "moment", "day", "number"})


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def soql_condition(typed: str) -> str:
    """Return a typed condition as SOQL; an empty one is empty.

    Raises:
        Invalid: it is none that the grammar knows; the message names the place.
    """
    if not typed.strip():
        return ""
    if len(typed) > LENGTH_MAX:
        _refuse(f"it is longer than {LENGTH_MAX} characters", LENGTH_MAX)
    return _Reader(_tokens(typed), len(typed)).whole()


def _tokens(typed: str) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while typed[place:].strip():
        match = OPENING.match(typed, place) or TOKEN.match(typed, place)
        if match is None or match.lastgroup is None:
            place += len(typed[place:]) - len(typed[place:].lstrip())
            _refuse(f"{typed[place : place + 20]!r} is nothing that a condition knows", place)
        text = match[match.lastgroup]
        kind = "word" if match.lastgroup == "name" and text.upper() in WORDS else match.lastgroup
        found.append(_Token(kind, text, match.end() - len(text)))
        place = match.end()
    return found


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self._tokens = tokens
        self._next = 0
        self._end = _Token("end", "the end", end)

    def whole(self) -> str:
        written = self._condition(0)
        if (rest := self._seen()).kind != "end":
            _refuse(f"{rest.text!r} is unexpected: join conditions by AND or OR", rest.place)
        return written

    def _condition(self, depth: int) -> str:
        if depth > DEPTH_MAX:
            _refuse("it is nested too deeply", self._seen().place)
        terms = [self._term(depth)]
        joined = ""
        while (word := self._word("AND", "OR")) is not None:
            if joined and word.text.upper() != joined:
                _refuse("AND and OR are mixed: use parentheses", word.place)
            joined = word.text.upper()
            terms.append(self._term(depth))
        return f" {joined} ".join(terms)

    def _term(self, depth: int) -> str:
        if self._word("NOT"):
            return f"(NOT {self._term(depth + 1)})"
        if self._mark("("):
            inner = self._condition(depth + 1)
            self._wanted(")")
            return f"({inner})"
        field = self._taken("a field's name", "name")
        if field.text.upper() in CONSTANTS:
            _refuse(f"{field.text!r} is no field's name", field.place)
        return f"{field.text} {self._compared()}"

    def _compared(self) -> str:
        if self._word("IN"):
            self._wanted("(")
            values = [self._literal()]
            while self._mark(","):
                values.append(self._literal())
            self._wanted(")")
            return f"IN ({', '.join(values)})"
        if self._word("LIKE"):
            return f"LIKE {self._taken('a text', 'text').text}"
        operator = self._taken("=, !=, <, <=, >, >=, LIKE or IN", "operator")
        return f"{operator.text} {self._literal()}"

    def _literal(self) -> str:
        token = self._seen()
        if token.kind == "name" and token.text.upper() in CONSTANTS:
            self._next += 1
            return CONSTANTS[token.text.upper()]
        return self._taken("a literal: 'text', 12.5, 2026-01-31, true or null", *LITERALS).text

    def _seen(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def _taken(self, what: str, *kinds: str) -> _Token:
        token = self._seen()
        if token.kind not in kinds:
            _refuse(f"{what} is expected, not {token.text!r}", token.place)
        self._next += 1
        return token

    def _word(self, *words: str) -> _Token | None:
        token = self._seen()
        if token.kind != "word" or token.text.upper() not in words:
            return None
        self._next += 1
        return token

    def _mark(self, mark: str) -> bool:
        found = self._seen().text == mark and self._seen().kind == "mark"
        self._next += found
        return found

    def _wanted(self, mark: str) -> None:
        if not self._mark(mark):
            _refuse(f"{mark!r} is expected, not {self._seen().text!r}", self._seen().place)


def _refuse(why: str, place: int) -> NoReturn:
    raise Invalid(
        f"The condition can't be used, at character {place + 1}: {why}.",
        vendor=VENDOR,
        operation="read the condition",
        field="where",
    )
