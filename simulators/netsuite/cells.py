"""Values of SuiteQL: compared, matched, sorted and written; None is SQL's unknown."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation

from simulators.netsuite import errors
from simulators.netsuite.filtering import parse_account_date
from simulators.netsuite.statement import UNSUPPORTED
from simulators.netsuite.tables import Cell, Row

Env = dict[str, Row | None]
"""One row of a join: the row of each table by its alias, None without a partner."""
Eval = Callable[[Env], Cell]
Test = Callable[[Env], bool | None]
_MOMENT = "%Y-%m-%d %H:%M:%S"


def opposite(known: bool | None) -> bool | None:
    return None if known is None else not known


def any_of(results: Iterator[bool | None]) -> bool | None:
    unknown = False
    for result in results:
        if result:
            return True
        unknown = unknown or result is None
    return None if unknown else False


def upper(value: Cell) -> Cell:
    return value.upper() if isinstance(value, str) else value


def lower(value: Cell) -> Cell:
    return value.lower() if isinstance(value, str) else value


def iso_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise errors.invalid_query(f"{UNSUPPORTED}.") from error


def moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, _MOMENT)  # noqa: DTZ007 - in the account's time zone
    except ValueError as error:
        raise errors.invalid_query(f"{UNSUPPORTED}.") from error


def moment_text(value: Cell) -> Cell:
    return value.strftime(_MOMENT) if isinstance(value, datetime) else None


def comparison(left: Eval, operator: str, right: Eval) -> Test:
    def test(env: Env) -> bool | None:
        one, other = left(env), right(env)
        if one is None or other is None:
            return None
        result = _compare(*_alike(one, other))
        match operator:
            case "=":
                return result == 0
            case "<>":
                return result != 0
            case "<":
                return result < 0
            case "<=":
                return result <= 0
            case ">":
                return result > 0
            case _:
                return result >= 0

    return test


def membership(left: Eval, options: Sequence[str | Decimal]) -> Test:
    """Return the test for a list of literals, at one cost whatever its length."""
    texts = frozenset(option for option in options if isinstance(option, str))
    numbers = frozenset(option for option in options if isinstance(option, Decimal))
    numerals = frozenset(filter(None, map(_numeral, texts)))

    def test(env: Env) -> bool | None:
        value = left(env)
        match value:
            case None:
                return None
            case str():
                return value in texts or (bool(numbers) and _numeral(value) in numbers)
            case date():
                days = (parse_account_date(option) for option in texts)
                return any(day is not None and _compare(day, value) == 0 for day in days)
            case _:
                return value in numbers or value in numerals

    return test


def _numeral(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _alike(one: Cell, other: Cell) -> tuple[Cell, Cell]:
    """Convert a text beside a number or a date, as Oracle's database does."""
    if isinstance(one, str) and not isinstance(other, str):
        return _converted(one, other), other
    if isinstance(other, str) and not isinstance(one, str):
        return one, _converted(other, one)
    return one, other


def _converted(text: str, model: Cell) -> Cell:
    try:
        found = parse_account_date(text) if isinstance(model, date) else Decimal(text)
    except InvalidOperation:
        found = None
    if found is None:
        raise errors.invalid_query(f"{UNSUPPORTED}.")
    return found


def _compare(one: Cell, other: Cell) -> int:
    if isinstance(one, str) and isinstance(other, str):
        return (one > other) - (one < other)
    if isinstance(one, date) and isinstance(other, date):
        first, second = _at_midnight(one), _at_midnight(other)
        return (first > second) - (first < second)
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal):
        return (one > other) - (one < other)
    raise errors.invalid_query(f"{UNSUPPORTED}.")


def _at_midnight(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime.combine(value, time())


def likeness(left: Eval, pattern: Eval) -> Test:
    compiled: dict[str, re.Pattern[str]] = {}

    def test(env: Env) -> bool | None:
        value, wanted = left(env), pattern(env)
        if value is None or not isinstance(wanted, str):
            return None
        if wanted not in compiled:
            parts = re.escape(wanted).replace("%", ".*").replace("_", ".")
            compiled[wanted] = re.compile(parts, re.DOTALL)
        return compiled[wanted].fullmatch(cell_text(value)) is not None

    return test


def cell_text(value: str | int | Decimal | date) -> str:
    match value:
        case Decimal():
            return f"{value.normalize():f}"
        case date():
            return f"{value.month}/{value.day}/{value.year}"
        case _:
            return str(value)


def sortable(value: Cell) -> tuple[bool, int, Cell]:
    """Order numbers among numbers and texts among texts; what has no value comes last."""
    rank = 0 if isinstance(value, int | Decimal) else 1
    return value is None, rank, 0 if value is None else value
