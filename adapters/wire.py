"""JSON and nested forms on the wire without a float in between, and Retry-After."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from json.encoder import encode_basestring_ascii
from typing import Final, NoReturn, TypeAlias

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | Decimal | bool | None"
"""Parsed JSON; numbers with a fraction or an exponent are `Decimal`."""

JsonBody: TypeAlias = Mapping[str, object] | Sequence[object]
"""What may be sent: mappings, sequences, str, int, bool, None and Decimal, never float."""

EXPONENT_MAX: Final = 60
RETRY_AFTER_SECONDS_MAX: Final = 86_400.0


def dump_json(value: object) -> str:
    """Return `value` as JSON, each Decimal as the exact number that it is.

    Raises TypeError for a float (it is no longer exact) or another type without a JSON form,
    ValueError for a Decimal that is not finite or absurdly large.
    """
    # A body of 100 lines has thousands of values. What nearly all of them are is told apart first:
    # matching against an abstract class costs more than all the rest.
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, dict):
        return f"{{{','.join([f'{_name(k)}:{dump_json(v)}' for k, v in value.items()])}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join([dump_json(each) for each in value])}]"
    match value:
        case Decimal():
            if not value.is_finite() or abs(value.adjusted()) > EXPONENT_MAX:
                raise ValueError(f"{value} is not a number that can be sent")
            return format(value, "f")
        case None | bool() | int():
            return json.dumps(value)
        case Mapping():
            return dump_json(dict(value))
        case _:
            raise TypeError(f"a {type(value).__name__} has no exact form in JSON")


def form_pairs(body: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return a nested body as pairs of a form with brackets: `lines[0][amount]`, `true`, `12.5`.

    As Stripe and Chargebee want it. None and empty mappings and sequences are left out: an empty
    value unsets a field there, and only an empty string says that. Raises as `dump_json` does.
    """
    return [pair for name, value in body.items() for pair in _form_pairs(name, value)]


def _form_pairs(name: str, value: object) -> list[tuple[str, str]]:
    match value:
        case None:
            return []
        case str():
            return [(name, str(value))]
        case Mapping():
            inner = [(f"{name}[{key}]", each) for key, each in value.items()]
        case list() | tuple():
            inner = [(f"{name}[{place}]", each) for place, each in enumerate(value)]
        case _:
            return [(name, dump_json(value))]
    return [pair for key, each in inner for pair in _form_pairs(key, each)]


def load_json(text: str) -> JsonValue:
    """Parse JSON, fractions as Decimal; raises ValueError for anything else, NaN included."""
    try:
        parsed: JsonValue = json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return parsed


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Return a Retry-After header in seconds from `now`, between 0 and a day; None if unreadable.

    Seconds or an HTTP date (RFC 9110, 10.2.3); fractions are taken too, as some vendors send them.
    """
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]+)?", text):
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a {type(key).__name__} is no JSON field name")
    return encode_basestring_ascii(key)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
