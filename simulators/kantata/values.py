"""Kinds of fields, and how a value from JSON or a form becomes one that is stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum

from simulators.kit import JsonValue

Fields = dict[str, JsonValue]

ACCOUNT_ID = "1"
ACCOUNT_ZONE = timezone(timedelta(hours=-7))
"""The zone in which the account's datetimes are written (section 1); this one has no DST."""
TEXT_LENGTH_MAX = 255
"""The usual length of a text column; unverified save where a field says otherwise."""
CURRENCIES = {
    "USD": ("$", 100),
    "EUR": ("€", 100),
    "GBP": ("£", 100),
    "JPY": ("¥", 1),
    "CHF": ("CHF", 100),
    "CAD": ("C$", 100),
    "AUD": ("A$", 100),
    "KWD": ("KD", 1000),
}
"""Symbol and base unit (how many "cents" make one); those of yen and dinar are unverified."""
_DECIMALS = {1: 0, 100: 2, 1000: 3}

_TRUE = frozenset({"true", "1", "t"})
_FALSE = frozenset({"false", "0", "f"})


class Kind(StrEnum):
    """What a field holds; `MONEY` is an amount in main units, `INTEGER` may be cents."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    MONEY = "money"
    DATE = "date"
    CHOICE = "choice"
    REFERENCE = "reference"
    REFERENCES = "references"
    LIST = "list"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a collection.

    `target` is the collection that a reference names; `kept` is false for what only directs a
    create; `shown` is false for what an answer has only when it is included.
    """

    kind: Kind = Kind.TEXT
    required: bool = False
    length_max: int | None = TEXT_LENGTH_MAX
    choices: tuple[str, ...] = ()
    target: str = ""
    default: JsonValue = None
    on_create: bool = True
    on_update: bool = True
    kept: bool = True
    shown: bool = True


class BadValue(ValueError):
    """A value does not fit; the text continues the field's name."""


def parse_value(field: Field, value: JsonValue) -> JsonValue:
    """Return a value as it is stored; an empty text is no value for all but texts.

    Raises:
        BadValue: it does not fit the kind.
    """
    if value is None or (value == "" and field.kind is not Kind.TEXT):
        return [] if field.kind in (Kind.REFERENCES, Kind.LIST) else None
    return _PARSERS[field.kind](field, value)


def parse_boolean(value: JsonValue) -> bool:
    """Return true or false, written in JSON or as text."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise BadValue("must be true or false")


def parse_id(value: JsonValue) -> str:
    """Return an id as text; requests may send integers (section 1)."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadValue("is invalid")
    return str(value)


def parse_date(value: JsonValue) -> date:
    """Return a date such as 2026-04-08."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise BadValue("is not a valid date") from None


def parse_moment(text: str) -> datetime:
    """Return a datetime; without an offset it is in the account's zone."""
    try:
        # A plus sign left unescaped arrives as a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise BadValue("is not a valid datetime") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=ACCOUNT_ZONE)


def wire_datetime(moment: datetime) -> str:
    """Return a datetime with the account's offset and whole seconds."""
    return moment.astimezone(ACCOUNT_ZONE).replace(microsecond=0).isoformat()


def utc(moment: datetime) -> datetime:
    """Return a moment without fractions, as the API shows and compares it."""
    return moment.astimezone(UTC).replace(microsecond=0)


def to_cents(amount: str, currency: str) -> int:
    """Return main units as the smallest unit, half up."""
    unit = Decimal(CURRENCIES[currency][1])
    return int((Decimal(amount) * unit).quantize(Decimal(1), ROUND_HALF_UP))


def formatted(cents: int, currency: str) -> str:
    """Return an amount as people read it: `$1,250` or `$1,250.50`."""
    symbol, unit = CURRENCIES[currency]
    amount = Decimal(cents) / unit
    text = f"{amount:,.0f}" if amount == amount.to_integral() else f"{amount:,.{_DECIMALS[unit]}f}"
    return f"{symbol}{text}"


def ids_in(fields: Fields, name: str) -> list[str]:
    """Return a list of ids that is stored in a field."""
    value = fields.get(name)
    return [str(each) for each in value] if isinstance(value, list) else []


def text_in(fields: Fields, name: str) -> str:
    """Return a text or an id that is stored in a field, empty where there is none."""
    value = fields.get(name)
    return "" if value is None else str(value)


def integer_in(fields: Fields, name: str) -> int:
    """Return a whole number that is stored in a field, 0 where there is none."""
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def objects_in(value: JsonValue) -> list[Fields]:
    """Return the objects of a list; anything else is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(field: Field, value: JsonValue) -> str:
    if isinstance(value, bool | list | dict):
        raise BadValue("must be text")
    text = str(value)
    if field.length_max is not None and len(text) > field.length_max:
        raise BadValue(f"is too long (maximum is {field.length_max} characters)")
    return text


def _integer(value: JsonValue) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value)
    if isinstance(value, bool | float) or not text.removeprefix("-").isdecimal():
        raise BadValue("must be an integer")
    return int(text)


def _decimal(value: JsonValue) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise BadValue("is not a number") from None
    if isinstance(value, bool) or not number.is_finite():
        raise BadValue("is not a number")
    return number


def _choice(field: Field, value: JsonValue) -> str:
    if value not in field.choices:
        raise BadValue("is not included in the list")
    return str(value)


def _object(value: JsonValue) -> JsonValue:
    if not isinstance(value, dict):
        raise BadValue("must be an object")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if isinstance(value, dict) and all(name.isdecimal() for name in value):
        return [value[name] for name in sorted(value, key=int)]  # a form with numbered elements
    if not isinstance(value, list):
        raise BadValue("must be a list")
    return value


_PARSERS: Mapping[Kind, Callable[[Field, JsonValue], JsonValue]] = {
    Kind.TEXT: _text,
    Kind.BOOLEAN: lambda _, value: parse_boolean(value),
    Kind.INTEGER: lambda _, value: _integer(value),
    Kind.NUMBER: lambda _, value: float(_decimal(value)),
    Kind.MONEY: lambda _, value: str(_decimal(value)),
    Kind.DATE: lambda _, value: parse_date(value).isoformat(),
    Kind.CHOICE: _choice,
    Kind.REFERENCE: lambda _, value: parse_id(value),
    Kind.REFERENCES: lambda _, value: [parse_id(each) for each in _list(value)],
    Kind.LIST: lambda _, value: [*_list(value)],
    Kind.OBJECT: lambda _, value: _object(value),
}
