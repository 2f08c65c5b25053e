"""Filters of lists. Unknown ones never get here: they are ignored silently (section 3)."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from simulators.kantata.errors import syntax
from simulators.kantata.values import (
    BadValue,
    ids_in,
    parse_boolean,
    parse_date,
    parse_moment,
    text_in,
    utc,
)
from simulators.kit import Record

if TYPE_CHECKING:
    from simulators.kantata.scene import Scene

Predicate = Callable[[Record], bool]
Filter = Callable[["Scene", str], Predicate]
"""Makes a test of rows from the value of a query parameter."""


def hides_nothing(_record: Record) -> bool:
    """Hide no row: the default filter of most collections."""
    return False


def wanted_boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return a boolean parameter, None where it is not given.

    Raises:
        ApiError: 400, it is something else.
    """
    if name not in query:
        return None
    try:
        return parse_boolean(query[name])
    except BadValue as error:
        raise syntax(f"{name} {error}") from None


def by_id(field: str) -> Filter:
    """Rows whose reference is one of a comma list."""

    def make(_scene: "Scene", value: str) -> Predicate:
        wanted = frozenset(value.split(","))
        return lambda record: text_in(record.fields, field) in wanted

    return make


def by_ids(field: str) -> Filter:
    """Rows whose list of references shares one with a comma list."""

    def make(_scene: "Scene", value: str) -> Predicate:
        wanted = frozenset(value.split(","))
        return lambda record: not wanted.isdisjoint(ids_in(record.fields, field))

    return make


def by_text(field: str) -> Filter:
    """Rows whose text equals the value, upper and lower case being the same."""

    def make(_scene: "Scene", value: str) -> Predicate:
        return lambda record: text_in(record.fields, field).casefold() == value.casefold()

    return make


def containing(*fields: str) -> Filter:
    """Rows in which one of the texts contains the value."""

    def make(_scene: "Scene", value: str) -> Predicate:
        part = value.casefold()
        return lambda record: any(part in text_in(record.fields, f).casefold() for f in fields)

    return make


def by_flag(field: str) -> Filter:
    """Rows whose flag is as wanted."""

    def make(_scene: "Scene", value: str) -> Predicate:
        wanted = _boolean(value)
        return lambda record: (record.fields.get(field) is True) == wanted

    return make


def on_any_value(test: Predicate) -> Filter:
    """Rows that pass a test, whatever value the parameter has."""
    return lambda _scene, _value: test


def when_true(test: Predicate) -> Filter:
    """Rows that pass a test; every row where the value is false."""

    def make(_scene: "Scene", value: str) -> Predicate:
        return test if _boolean(value) else lambda _record: True

    return make


def within_dates(field: str) -> Filter:
    """Rows whose date lies within `a:b`, both included."""

    def make(_scene: "Scene", value: str) -> Predicate:
        first, _, last = value.partition(":")
        try:
            start, end = parse_date(first).isoformat(), parse_date(last).isoformat()
        except BadValue:
            raise syntax(f"{value} is not a date range such as 2026-01-01:2026-01-31") from None
        return lambda record: start <= text_in(record.fields, field) <= end

    return make


def _by_stamp(stamp: Callable[[Record], datetime], is_after: bool) -> Filter:
    def make(_scene: "Scene", value: str) -> Predicate:
        try:
            moment = utc(parse_moment(value))
        except BadValue:
            raise syntax(f"{value} is not a datetime") from None
        if is_after:  # as whole seconds compare, without making whole seconds of every stamp
            first = moment + timedelta(seconds=1)
            return lambda record: stamp(record) >= first
        return lambda record: stamp(record) < moment

    return make


COMMON: Mapping[str, Filter] = {
    "created_after": _by_stamp(lambda record: record.created_at, True),
    "created_before": _by_stamp(lambda record: record.created_at, False),
    "updated_after": _by_stamp(lambda record: record.modified_at, True),
    "updated_before": _by_stamp(lambda record: record.modified_at, False),
}


def _boolean(value: str) -> bool:
    try:
        return parse_boolean(value)
    except BadValue:
        raise syntax(f"{value} is not true or false") from None
