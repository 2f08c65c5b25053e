"""The `q` filter of record collections (vendor page, 4.2).

Texts are compared without regard to case (unverified); dates are written month/day/year.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput
from pydantic import JsonValue

from simulators.kit import Record
from simulators.netsuite import errors, state
from simulators.netsuite.schema import Field, Kind, RecordType

Test = Callable[[Record], bool]
Value = str | int | float | bool | date | None
Compare = Callable[[Value], bool]

_GRAMMAR = Lark(Path(__file__).with_name("filter.lark").read_text(), parser="lalr")
_BUILT_IN = {
    "id": Field(Kind.REFERENCE),
    "externalId": Field(Kind.TEXT),
}


def compile_filter(kind: RecordType, q: str) -> Test:
    """Return the test that a filter puts to each record.

    Raises:
        ReplyError: the filter does not parse, or asks what its field cannot answer.
    """
    try:
        tree = _parse(q)
    except UnexpectedInput as error:
        raise errors.invalid_parameter(
            f"Invalid search query: unexpected input at position {error.pos_in_stream}.", "q"
        ) from error
    return _node(kind, tree)


@lru_cache(maxsize=1000)
def _parse(q: str) -> Tree[Token]:
    return _GRAMMAR.parse(q)


def _node(kind: RecordType, tree: Tree[Token]) -> Test:
    if tree.data == "condition":
        return _condition(kind, tree)
    parts = [_node(kind, part) for part in tree.children if isinstance(part, Tree)]
    if tree.data == "conjunction":
        return lambda record: all(part(record) for part in parts)
    return lambda record: any(part(record) for part in parts)


def _condition(kind: RecordType, tree: Tree[Token]) -> Test:
    name, operator, value = tree.children
    field = _find_field(kind, str(name))
    root = str(operator).upper()
    negated = root.endswith("_NOT")
    root = root.removesuffix("_NOT")
    sent = _sent(value)
    if root == "EMPTY":
        if sent:
            raise errors.invalid_parameter("EMPTY takes no value.", "q")
        compare: Compare = _is_empty
    else:
        compare = _COMPARE[_family(field)](root, sent)
    own = str(name)
    return lambda record: compare(_value(record, own, field)) is not negated


def _find_field(kind: RecordType, name: str) -> Field:
    field = kind.fields.get(name) or _BUILT_IN.get(name)
    if field is None or field.kind in (Kind.SUBRECORD, Kind.MULTISELECT):
        raise errors.invalid_parameter(f"The field {name} cannot be used in a filter.", "q")
    return field


def _sent(value: Tree[Token] | Token | None) -> list[str]:
    if not isinstance(value, Tree):
        return []
    if value.data == "list":
        return [text for item in value.children for text in _sent(item)]
    raw = str(value.children[0])
    if value.data == "quoted":
        return [raw[1:-1].replace('\\"', '"').replace("\\\\", "\\")]
    return [raw]


def _family(field: Field) -> str:
    match field.kind:
        case Kind.FLAG:
            return "flag"
        case Kind.DATE | Kind.MOMENT:
            return "date"
        case Kind.NUMBER | Kind.REFERENCE:
            return "number"
        case Kind.CHOICE if all(option.isdecimal() for option in field.options):
            return "number"
        case _:
            return "text"


def _value(record: Record, name: str, field: Field) -> Value:
    if name == "id":
        return int(record.id)
    if name == "externalId":
        return record.key
    if field.kind is Kind.MOMENT:
        return (record.created_at if name == "dateCreated" else record.modified_at).date()
    value: JsonValue = record.fields.get(name)
    if field.kind in (Kind.REFERENCE, Kind.CHOICE):
        chosen = state.ref_id(record.fields, name)
        return int(chosen) if chosen is not None and chosen.isdecimal() else chosen
    if field.kind is Kind.DATE and isinstance(value, str):
        return date.fromisoformat(value)
    return value if isinstance(value, str | int | float | bool) else None


def _is_empty(value: Value) -> bool:
    return value is None or value == ""


def _one(operator: str, sent: list[str], count: int = 1) -> list[str]:
    if len(sent) != count:
        raise errors.invalid_parameter(f"{operator} takes {count} value(s).", "q")
    return sent


def _flag(operator: str, sent: list[str]) -> Compare:
    (wanted,) = _one(operator, sent)
    if operator != "IS" or wanted.lower() not in ("true", "false"):
        raise _unfit(operator)
    expected = wanted.lower() == "true"
    return lambda value: bool(value) is expected


def _text(operator: str, sent: list[str]) -> Compare:
    (raw,) = _one(operator, sent)
    wanted = raw.casefold()
    tests: Mapping[str, Callable[[str], bool]] = {
        "IS": lambda value: value == wanted,
        "CONTAIN": lambda value: wanted in value,
        "START_WITH": lambda value: value.startswith(wanted),
        "END_WITH": lambda value: value.endswith(wanted),
    }
    test = tests.get(operator)
    if test is None:
        raise _unfit(operator)
    return lambda value: isinstance(value, str) and test(value.casefold())


def _number(operator: str, sent: list[str]) -> Compare:
    try:
        wanted = [float(text) for text in sent]
    except ValueError as error:
        raise errors.invalid_parameter(f"{operator} takes numbers.", "q") from error
    if operator == "ANY_OF":
        return lambda value: isinstance(value, int | float) and value in wanted
    if operator in ("BETWEEN", "WITHIN"):
        _one(operator, sent, 2)
        return lambda value: isinstance(value, int | float) and wanted[0] <= value <= wanted[1]
    _one(operator, sent)
    limit = wanted[0]
    tests: Mapping[str, Callable[[float], bool]] = {
        "EQUAL": lambda value: value == limit,
        "GREATER": lambda value: value > limit,
        "GREATER_OR_EQUAL": lambda value: value >= limit,
        "LESS": lambda value: value < limit,
        "LESS_OR_EQUAL": lambda value: value <= limit,
    }
    test = tests.get(operator)
    if test is None:
        raise _unfit(operator)
    return lambda value: isinstance(value, int | float) and test(value)


def _date(operator: str, sent: list[str]) -> Compare:
    (raw,) = _one(operator, sent)
    day = parse_account_date(raw)
    if day is None:
        raise errors.invalid_parameter(f"{raw} is no date of the form 1/31/2026.", "q")
    tests: Mapping[str, Callable[[date], bool]] = {
        "ON": lambda value: value == day,
        "BEFORE": lambda value: value < day,
        "AFTER": lambda value: value > day,
        "ON_OR_AFTER": lambda value: value >= day,
        "ON_OR_BEFORE": lambda value: value <= day,
    }
    test = tests.get(operator)
    if test is None:
        raise _unfit(operator)
    return lambda value: isinstance(value, date) and test(value)


def parse_account_date(text: str) -> date | None:
    """Return a date written month/day/year, the date format of this account."""
    try:
        return datetime.strptime(text, "%m/%d/%Y").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None


def _unfit(operator: str) -> Exception:
    return errors.invalid_parameter(
        f"The operator {operator} does not fit the type of the field.", "q"
    )


_COMPARE: Mapping[str, Callable[[str, list[str]], Compare]] = {
    "flag": _flag,
    "text": _text,
    "number": _number,
    "date": _date,
}
