"""WHERE clauses as functions of a row (vendor page 7, literals and operators).

Stored dates and datetimes sort as text, so they are compared as text. Text is compared without
regard to case, ids with regard to it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.errors import ApiError
from simulators.salesforce.ids import full_id
from simulators.salesforce.schema import NUMERIC, Field, FieldType
from simulators.salesforce.scope import Scope
from simulators.salesforce.soql import (
    Compare,
    Condition,
    Kind,
    Literal,
    Membership,
    Name,
    Not,
    Query,
)
from simulators.salesforce.values import parse_datetime

Test = Callable[[Record], bool]
Subquery = Callable[[Query], set[JsonValue]]
Atom = str | float | bool | None

_FILTERABLE_TEXT_MAX = 255
_KEYS = frozenset({FieldType.ID, FieldType.REFERENCE})
_NO_LIKE = _KEYS | NUMERIC | {FieldType.DATE, FieldType.DATETIME, FieldType.BOOLEAN}
_NAMES = {FieldType.DATETIME: "dateTime", FieldType.REFERENCE: "reference"}


@dataclass(frozen=True, slots=True)
class Span:
    """What a literal stands for: everything from `low` on and, for date words, before `high`."""

    low: Atom
    high: str | None = None

    def holds(self, value: Atom) -> bool:
        """Whether a value is in it."""
        if self.high is None or not isinstance(value, str):
            return value == self.low
        return str(self.low) <= value < self.high


def compile_condition(scope: Scope, condition: Condition | None, subquery: Subquery) -> Test:
    """Return the function that tells whether a row fits.

    Raises:
        ApiError: unknown fields, operators or literals which do not suit the field.
    """
    if condition is None:
        return lambda _record: True
    if isinstance(condition, Not):
        inner = compile_condition(scope, condition.inner, subquery)
        return lambda record: not inner(record)
    if isinstance(condition, Membership):
        column, read = scope.column(condition.field)
        if column.type not in _KEYS:
            text = "semi joins need an ID or reference field"
            raise scope.refuse("INVALID_QUERY_FILTER_OPERATOR", condition.field, text)
        allowed, negated = subquery(condition.query), condition.negated
        return lambda record: (read(record) in allowed) is not negated
    if isinstance(condition, Compare):
        return _compare(scope, condition)
    tests = [compile_condition(scope, part, subquery) for part in condition.parts]
    decide = all if condition.all else any
    return lambda record: decide(test(record) for test in tests)


def _compare(scope: Scope, node: Compare) -> Test:
    column, read = scope.column(node.field)
    _check_operator(scope, node, column)
    if node.operator == "like":
        pattern = _like(node.literals[0].text)
        return lambda record: pattern.fullmatch(str(read(record) or "")) is not None
    spans = [_span(scope, node.field, column, literal) for literal in node.literals]
    fold = _fold(column)
    if node.operator in ("=", "in"):
        return lambda record: any(span.holds(fold(read(record))) for span in spans)
    if node.operator in ("!=", "not in"):
        return lambda record: not any(span.holds(fold(read(record))) for span in spans)
    order = _ORDERS[node.operator]
    span = spans[0]
    return lambda record: _in_order(fold(read(record)), span, order)


def _in_order(value: Atom, span: Span, order: Callable[[Atom, Span], bool]) -> bool:
    return value is not None and span.low is not None and order(value, span)


def _before(value: Atom, bound: Atom) -> bool:
    if isinstance(value, str) and isinstance(bound, str):
        return value < bound
    return not isinstance(value, str) and not isinstance(bound, str) and (value or 0) < (bound or 0)


_ORDERS: dict[str, Callable[[Atom, Span], bool]] = {
    "<": lambda value, span: _before(value, span.low),
    ">=": lambda value, span: not _before(value, span.low),
    "<=": lambda value, span: _before(value, span.low) or span.holds(value),
    ">": lambda value, span: not (_before(value, span.low) or span.holds(value)),
}


def _check_operator(scope: Scope, node: Compare, column: Field) -> None:
    name = node.field
    if column.type is FieldType.TEXTAREA and column.length > _FILTERABLE_TEXT_MAX:
        text = f"field '{column.name}' can not be filtered in a query call"
        raise scope.refuse("INVALID_FIELD", name, text)
    wrong_like = node.operator == "like" and column.type in _NO_LIKE
    if wrong_like or (column.type is FieldType.BOOLEAN and node.operator in _ORDERS):
        text = f"invalid operator on {column.type} field"
        raise scope.refuse("INVALID_QUERY_FILTER_OPERATOR", name, text)
    if node.operator == "like" and node.literals[0].kind is not Kind.STRING:
        raise _wrong_literal(scope, name, column)


def _span(scope: Scope, name: Name, column: Field, literal: Literal) -> Span:
    word = literal.text.lower() if literal.kind is Kind.WORD else ""
    if word == "null":
        return Span(None)
    if column.type in NUMERIC and literal.kind is Kind.NUMBER:
        return Span(float(literal.text))
    if column.type is FieldType.BOOLEAN and word in ("true", "false"):
        return Span(word == "true")
    if column.type in (FieldType.DATE, FieldType.DATETIME):
        return _moment(scope, name, column, literal)
    if literal.kind is not Kind.STRING or column.type in NUMERIC | {FieldType.BOOLEAN}:
        raise _wrong_literal(scope, name, column)
    if column.type in _KEYS:
        record_id = full_id(literal.text)
        if record_id is None and literal.text:
            text = f"invalid ID field: {literal.text}"
            raise scope.refuse("INVALID_QUERY_FILTER_OPERATOR", name, text)
        return Span(record_id)
    return Span(literal.text.casefold() or None)


def _moment(scope: Scope, name: Name, column: Field, literal: Literal) -> Span:
    is_date = column.type is FieldType.DATE
    if literal.kind is Kind.WORD:
        days = _date_word(literal.text.upper(), scope.context.account.clock.now().date())
        if days is None:
            raise _wrong_literal(scope, name, column)
        tail = "" if is_date else "T00:00:00.000+0000"
        return Span(days[0].isoformat() + tail, days[1].isoformat() + tail)
    if is_date and literal.kind is Kind.DATE:
        return Span(literal.text)
    moment = parse_datetime(literal.text) if literal.kind is Kind.DATETIME else None
    if is_date or moment is None:
        raise _wrong_literal(scope, name, column)
    return Span(moment)


def _wrong_literal(scope: Scope, name: Name, column: Field) -> ApiError:
    quoted = "should be" if column.type not in _NO_LIKE - _KEYS else "should not be"
    wanted = _NAMES.get(column.type, column.type.value)
    text = (
        f"value of filter criterion for field '{column.name}' must be of type {wanted}"
        f" and {quoted} enclosed in quotes"
    )
    return scope.refuse("INVALID_FIELD", name, text)


def _fold(column: Field) -> Callable[[JsonValue], Atom]:
    exact = column.type in _KEYS

    def fold(value: JsonValue) -> Atom:
        if isinstance(value, str):
            return value if exact else _folded(column, value)
        if isinstance(value, bool) or value is None:
            return value
        return float(value) if isinstance(value, int | float) else None

    return fold


def _folded(column: Field, value: str) -> str:
    if column.type in (FieldType.DATE, FieldType.DATETIME):
        return value
    return value.casefold()


def _like(text: str) -> re.Pattern[str]:
    pieces = re.findall(r"\\.|.", text, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(p) or re.escape(p[-1]) for p in pieces)
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _date_word(word: str, today: date) -> tuple[date, date] | None:
    """Return first day and day after the last; weeks begin on Sunday, days are UTC days."""
    name, _, count = word.partition(":")
    days = int(count or 0)
    if count or name in ("LAST_90_DAYS", "NEXT_90_DAYS"):
        days = 90 if not count else days
        name = name.replace("90", "N")
        tomorrow = today + timedelta(1)
        spans = {
            "LAST_N_DAYS": (today - timedelta(days), tomorrow),
            "NEXT_N_DAYS": (tomorrow, tomorrow + timedelta(days)),
        }
        return spans.get(name)
    near = {"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}
    if name in near:
        first = today + timedelta(near[name])
        return first, first + timedelta(1)
    which, _, unit = name.partition("_")
    steps = {"LAST": -1, "THIS": 0, "NEXT": 1}
    return _period(unit, today, steps[which]) if which in steps else None


def _period(unit: str, today: date, step: int) -> tuple[date, date] | None:
    if unit == "WEEK":
        first = today - timedelta((today.weekday() + 1) % 7) + timedelta(weeks=step)
        return first, first + timedelta(weeks=1)
    if unit == "MONTH":
        month = today.year * 12 + today.month - 1 + step
        return _month(month), _month(month + 1)
    if unit == "YEAR":
        return date(today.year + step, 1, 1), date(today.year + step + 1, 1, 1)
    return None


def _month(count: int) -> date:
    return date(count // 12, count % 12 + 1, 1)
