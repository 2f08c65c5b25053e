"""Reading Stripe's JSON: ids, texts, amounts and moments of its objects; pure.

Sources: vendor page sections 1 (amounts, timestamps), 4 (expanded fields).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TypeAlias

from adapters.errors import ContractBroken
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import KEY, money
from adapters.wire import JsonValue
from canonical.money import Money
from canonical.records import RecordRef

Row: TypeAlias = Mapping[str, JsonValue]


def taxes(value: JsonValue, currency: str, *, inclusive_only: bool = False) -> Money:
    """Return the sum of a list of taxes; of those alone that are in the amount, if asked."""
    total = money(0, currency)
    for each in rows_in(value):
        if not inclusive_only or each.get("tax_behavior") == "inclusive":
            total = total + units(each, "amount", currency)
    return total


def record(row: Row, type_: str, connection: str) -> RecordRef:
    """Return the canonical name of an object."""
    return RecordRef(system=connection, type=type_, id=id_of(row))


def id_of(row: Row) -> str:
    """Return an object's id.

    Raises:
        ContractBroken: it has none.
    """
    id_ = text(row, "id")
    if not id_:
        raise ContractBroken("Stripe sent an object without an id.", vendor=VENDOR)
    return id_


def key_of(row: Row) -> str:
    """Return our external id on an object, or an empty string."""
    return text(inner(row, "metadata"), KEY)


def is_void(row: Row) -> bool:
    """Return whether an invoice or credit note is void, which is for good."""
    return row.get("status") == "void"


def reference(value: JsonValue) -> str:
    """Return the id in a field that is an id or, expanded, an object; empty where it is null."""
    if isinstance(value, dict):
        return id_of(value)
    return value if isinstance(value, str) else ""


def inner(row: Row, name: str) -> Row:
    """Return an object within an object, empty where it is null."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def rows_in(value: JsonValue) -> list[Row]:
    """Return the objects in an array, empty where it is null."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def text(row: Row, name: str) -> str:
    """Return a text of an object, empty where it is null."""
    value = row.get(name)
    return value if isinstance(value, str) else ""


def units(row: Row, name: str, currency: str) -> Money:
    """Return an amount of an object.

    Raises:
        ContractBroken: it is missing.
    """
    return money(row.get(name), currency)


def whole(row: Row, name: str) -> int:
    """Return a number of an object, 0 where it is null."""
    value = row.get(name)
    return value if isinstance(value, int) else 0


def moment(value: JsonValue) -> datetime:
    """Return a time of Stripe's.

    Raises:
        ContractBroken: it is none.
    """
    try:
        return datetime.fromtimestamp(value if isinstance(value, int) else -1e18, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ContractBroken(f"Stripe sent the time {value}.", vendor=VENDOR) from error


def day(value: JsonValue, config: StripeConfig) -> date | None:
    """Return the day of a time of Stripe's in the account's zone; None where there is none."""
    if not isinstance(value, int):
        return None
    return moment(value).astimezone(config.zone).date()
