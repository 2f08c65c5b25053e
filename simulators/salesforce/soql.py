"""SOQL text into a tree; what the tree means is `query`'s business. The grammar is `soql.lark`."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import cast

from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from simulators.salesforce.errors import ApiError

_SNIPPET = 20
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Kind(StrEnum):
    """What a literal is."""

    STRING = "string"
    NUMBER = "number"
    DATE = "date"
    DATETIME = "datetime"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal as written, strings without quotes and escapes."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """A field path, alias or function name, and its column in the text, from 1."""

    text: str
    at: int

    @property
    def parts(self) -> tuple[str, ...]:
        """The path cut at its dots."""
        return tuple(self.text.split("."))


@dataclass(frozen=True, slots=True)
class Call:
    """`COUNT()`, `COUNT(field) alias`, `FIELDS(ALL)`."""

    function: Name
    argument: Name | None
    alias: Name | None


@dataclass(frozen=True, slots=True)
class Compare:
    """A field against literals: `=` and its like, `like`, `in`, `not in`."""

    field: Name
    operator: str
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """A field against the rows of another query."""

    field: Name
    query: "Query"
    negated: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    inner: "Condition"


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions of which all, or any, must hold."""

    all: bool
    parts: tuple["Condition", ...]


Condition = Compare | Membership | Not | Junction


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of the order."""

    field: Name
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query, or one in parentheses."""

    items: tuple["Item", ...]
    entity: Name
    alias: str | None
    where: Condition | None = None
    order: tuple[Sort, ...] = ()
    limit: int | None = None
    offset: int = 0


Item = Name | Call | Query


@dataclass(frozen=True, slots=True)
class _Limit:
    rows: int


@dataclass(frozen=True, slots=True)
class _Offset:
    rows: int


@dataclass(frozen=True, slots=True)
class _Where:
    condition: Condition


@dataclass(frozen=True, slots=True)
class _Subquery:
    query: Query


Part = Token | Item | _Limit | _Offset | _Where | tuple[Sort, ...]


class _Tree(Transformer[Token, Query]):
    """Rules of the grammar into the types above, bottom up."""

    def start(self, parts: list[Query]) -> Query:
        return parts[0]

    def query(self, parts: list[Part]) -> Query:
        at = next(n for n, p in enumerate(parts) if isinstance(p, Token) and p.type == "FROM")
        names = [p for p in parts[at:] if isinstance(p, Token) and p.type == "PATH"]
        rest = parts[at + 1 :]
        return Query(
            items=tuple(p for p in parts[:at] if isinstance(p, Name | Call | Query)),
            entity=_name(names[0]),
            alias=str(names[1]) if len(names) > 1 else None,
            where=next((p.condition for p in rest if isinstance(p, _Where)), None),
            order=next((p for p in rest if isinstance(p, tuple)), ()),
            limit=next((p.rows for p in rest if isinstance(p, _Limit)), None),
            offset=next((p.rows for p in rest if isinstance(p, _Offset)), 0),
        )

    def column(self, parts: list[Token]) -> Name:
        return _name(parts[0])

    def call(self, parts: list[Token | None]) -> Call:
        function, argument, alias = parts
        return Call(
            _name(function),
            None if argument is None else _name(argument),
            None if alias is None else _name(alias),
        )

    def child(self, parts: list[Query]) -> Query:
        return parts[0]

    def where(self, parts: list[Token | Condition]) -> _Where:
        return _Where(cast(Condition, parts[1]))

    def conjunction(self, parts: list[Token | Condition]) -> Junction:
        return Junction(True, tuple(p for p in parts if not isinstance(p, Token)))

    def disjunction(self, parts: list[Token | Condition]) -> Junction:
        return Junction(False, tuple(p for p in parts if not isinstance(p, Token)))

    def negation(self, parts: list[Token | Condition]) -> Not:
        return Not(cast(Condition, parts[1]))

    def compare(self, parts: list[Token | Literal]) -> Compare:
        operator = "!=" if parts[1] == "<>" else str(parts[1])
        return Compare(_name(parts[0]), operator, (cast(Literal, parts[2]),))

    def like(self, parts: list[Token | Literal]) -> Compare:
        return Compare(_name(parts[0]), "like", (cast(Literal, parts[2]),))

    def within(self, parts: list[Token | tuple[Literal, ...] | _Subquery]) -> Condition:
        return _member(parts, negated=False)

    def without(self, parts: list[Token | tuple[Literal, ...] | _Subquery]) -> Condition:
        return _member(parts, negated=True)

    def values(self, parts: list[Literal]) -> tuple[Literal, ...]:
        return tuple(parts)

    def subquery(self, parts: list[Query]) -> _Subquery:
        return _Subquery(parts[0])

    def value(self, parts: list[Token]) -> Literal:
        kind = Kind(parts[0].type.lower())
        text = str(parts[0])
        return Literal(kind, _unquote(text) if kind is Kind.STRING else text)

    def ordering(self, parts: list[Token | Sort]) -> tuple[Sort, ...]:
        return tuple(p for p in parts if isinstance(p, Sort))

    def sort(self, parts: list[Token | None]) -> Sort:
        words = {p.type for p in parts[1:] if p is not None}
        # Nulls come first unless said otherwise, whichever way the order runs.
        return Sort(_name(parts[0]), "DESC" in words, "LAST" not in words)

    def limit(self, parts: list[Token]) -> _Limit:
        return _Limit(int(parts[1]))

    def offset(self, parts: list[Token]) -> _Offset:
        return _Offset(int(parts[1]))


@lru_cache(maxsize=512)
def parse_soql(text: str) -> Query:
    """Return the tree of a query.

    Raises:
        ApiError: `MALFORMED_QUERY`, with the place.
    """
    try:
        return _TREE.transform(_PARSER.parse(text))
    except UnexpectedInput as error:
        raise _malformed(text, error) from error


def at_place(text: str, column: int, message: str) -> str:
    """Return a message as SOQL errors have it: an excerpt, a caret, row and column.

    `column` counts characters of the whole text from 1; line breaks are shown as blanks.
    """
    start = max(0, column - 1 - _SNIPPET)
    excerpt = re.sub(r"\s", " ", text[start : column - 1 + _SNIPPET])
    caret = " " * (column - 1 - start) + "^"
    row = text.count("\n", 0, column - 1) + 1
    in_row = column - 1 - (text.rfind("\n", 0, column - 1) + 1) + 1
    return f"\n{excerpt}\n{caret}\nERROR at Row:{row}:Column:{in_row}\n{message}"


def _malformed(text: str, error: UnexpectedInput) -> ApiError:
    at, found = len(text), "<EOF>"
    if isinstance(error, UnexpectedToken) and isinstance(error.token, Token):
        if error.token.type != "$END":
            at, found = error.token.start_pos or 0, str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        at, found = error.pos_in_stream or 0, str(error.char)
    message = at_place(text, at + 1, f"unexpected token: '{found}'")
    return ApiError(400, "MALFORMED_QUERY", message)


def _name(part: object) -> Name:
    token = cast(Token, part)
    return Name(str(token), (token.start_pos or 0) + 1)


def _member(
    parts: list[Token | tuple[Literal, ...] | _Subquery], *, negated: bool
) -> Compare | Membership:
    name, last = _name(parts[0]), parts[-1]
    if isinstance(last, _Subquery):
        return Membership(name, last.query, negated)
    literals = cast("tuple[Literal, ...]", last)
    return Compare(name, "not in" if negated else "in", literals)


def _unquote(text: str) -> str:
    # An escaped wildcard stays escaped: only LIKE can tell what it means.
    return re.sub(r"\\([^%_])", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])


_PARSER = Lark(
    Path(__file__).with_name("soql.lark").read_text(encoding="utf-8"),
    parser="lalr",
    maybe_placeholders=True,
)
_TREE = _Tree()
