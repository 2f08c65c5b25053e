"""SuiteQL statements as typed trees (vendor page, 4.3)."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from simulators.netsuite import errors

UNSUPPORTED = "Invalid or unsupported search"


@dataclass(frozen=True)
class Column:
    """A column, lower case; `table` is its alias where it was given."""

    table: str | None
    name: str


@dataclass(frozen=True)
class Literal:
    """A text or a number."""

    value: str | Decimal


@dataclass(frozen=True)
class Call:
    """A function of operands; `count` has none."""

    name: str
    args: tuple["Operand", ...]


Operand = Column | Literal | Call


@dataclass(frozen=True)
class Compare:
    """Two operands and one of =, <>, <, >, <=, >=."""

    left: Operand
    operator: str
    right: Operand


@dataclass(frozen=True)
class Member:
    """An operand within a list."""

    left: Operand
    options: tuple[Operand, ...]


@dataclass(frozen=True)
class Like:
    """An operand like a pattern with % and _."""

    left: Operand
    pattern: Operand


@dataclass(frozen=True)
class IsNull:
    """An operand without a value."""

    left: Operand


@dataclass(frozen=True)
class Not:
    """The opposite of a condition; unknown stays unknown."""

    part: "Condition"


@dataclass(frozen=True)
class AllOf:
    """Conditions joined by AND."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """Conditions joined by OR."""

    parts: tuple["Condition", ...]


Condition = Compare | Member | Like | IsNull | Not | AllOf | AnyOf


@dataclass(frozen=True)
class Output:
    """A column of the result, by the name that it gets there."""

    operand: Operand
    name: str


@dataclass(frozen=True)
class Source:
    """A table by its alias."""

    table: str
    alias: str


@dataclass(frozen=True)
class Join:
    """A further table; `left` keeps rows without a partner."""

    source: Source
    left: bool
    on: Condition


@dataclass(frozen=True)
class Order:
    """One sort key."""

    operand: Operand
    descending: bool


@dataclass(frozen=True)
class Statement:
    """A whole query; `columns` is None for `*`."""

    columns: tuple[Output, ...] | None
    distinct: bool
    source: Source
    joins: tuple[Join, ...]
    where: Condition | None
    order: tuple[Order, ...]


Part = Operand | Condition | Output | Source | Join | Order | Token | None


@lru_cache(maxsize=1000)
def parse_statement(q: str) -> Statement:
    """Return the statement.

    Raises:
        ReplyError: it is no SuiteQL, or more of it than is understood here.
    """
    try:
        tree = _GRAMMAR.parse(q)
    except UnexpectedInput as error:
        raise errors.invalid_query(f"{UNSUPPORTED}.") from error
    return _Builder().transform(tree)


class _Builder(Transformer[Token, Statement]):
    """Turns lark's tree into ours, from the leaves up."""

    def start(self, parts: list["Part | tuple[Output, ...]"]) -> Statement:
        sources = [part for part in parts if isinstance(part, Source)]
        columns = next((part for part in parts if isinstance(part, tuple)), None)
        conditions = [part for part in parts if isinstance(part, Condition)]
        return Statement(
            columns=columns or None,
            distinct=any(isinstance(p, Token) and p.type == "DISTINCT" for p in parts),
            source=sources[0],
            joins=tuple(part for part in parts if isinstance(part, Join)),
            where=conditions[0] if conditions else None,
            order=tuple(part for part in parts if isinstance(part, Order)),
        )

    def columns(self, parts: list[Part]) -> tuple[Output, ...]:
        return tuple(part for part in parts if isinstance(part, Output))

    def column(self, parts: list[Part]) -> Output:
        operand = _operands(parts)[0]
        names = [str(p) for p in parts if isinstance(p, Token) and p.type == "NAME"]
        if names:
            return Output(operand, names[0].lower())
        return Output(operand, operand.name if isinstance(operand, Column) else "expr1")

    def table(self, parts: list[Part]) -> Source:
        names = [str(p).lower() for p in parts if isinstance(p, Token) and p.type == "NAME"]
        return Source(names[0], names[-1])

    def join(self, parts: list[Part]) -> Join:
        kind = next((p for p in parts if isinstance(p, Token) and p.type == "JOIN_KIND"), "")
        (source,) = [part for part in parts if isinstance(part, Source)]
        return Join(source, str(kind).lower().startswith("left"), _conditions(parts)[0])

    def order(self, parts: list[Part]) -> Order:
        return Order(_operands(parts)[0], str(parts[-1]).lower() == "desc")

    def any(self, parts: list[Part]) -> Condition:
        first, *more = _conditions(parts)
        return AnyOf((first, *more)) if more else first

    def all(self, parts: list[Part]) -> Condition:
        first, *more = _conditions(parts)
        return AllOf((first, *more)) if more else first

    def negation(self, parts: list[Part]) -> Condition:
        return Not(_conditions(parts)[0])

    def comparison(self, parts: list[Part]) -> Condition:
        left, right = _operands(parts)
        return Compare(left, str(parts[1]).replace("!=", "<>"), right)

    def membership(self, parts: list[Part]) -> Condition:
        left, *options = _operands(parts)
        return _maybe_not(parts, Member(left, tuple(options)))

    def likeness(self, parts: list[Part]) -> Condition:
        left, pattern = _operands(parts)
        return _maybe_not(parts, Like(left, pattern))

    def between(self, parts: list[Part]) -> Condition:
        left, low, high = _operands(parts)
        return _maybe_not(parts, AllOf((Compare(left, ">=", low), Compare(left, "<=", high))))

    def nullness(self, parts: list[Part]) -> Condition:
        return _maybe_not(parts, IsNull(_operands(parts)[0]))

    def qualified(self, parts: list[Token]) -> Operand:
        return Column(str(parts[0]).lower(), str(parts[1]).lower())

    def plain(self, parts: list[Token]) -> Operand:
        return Column(None, str(parts[0]).lower())

    def string(self, parts: list[Token]) -> Operand:
        return Literal(str(parts[0])[1:-1].replace("''", "'"))

    def number(self, parts: list[Token]) -> Operand:
        return Literal(Decimal(str(parts[0])))

    def count(self, _parts: list[Part]) -> Operand:
        return Call("count", ())

    def call(self, parts: list[Part]) -> Operand:
        return Call(str(parts[0]).lower(), tuple(_operands(parts)))


def _operands(parts: list[Part]) -> list[Operand]:
    return [part for part in parts if isinstance(part, Operand)]


def _conditions(parts: list[Part]) -> list[Condition]:
    return [part for part in parts if isinstance(part, Condition)]


def _maybe_not(parts: list[Part], condition: Condition) -> Condition:
    negated = any(isinstance(part, Token) and part.type == "NOT" for part in parts)
    return Not(condition) if negated else condition


_GRAMMAR = Lark(
    Path(__file__).with_name("suiteql.lark").read_text(), parser="lalr", maybe_placeholders=False
)
