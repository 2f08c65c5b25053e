"""Stripe's objects as canonical views; pure.

Sources: vendor page sections 3 (field changes since "basil"), 5.3, 5.4; names of a line's taxes
as in PyPI stripe 16.1.0.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias

from adapters.errors import ContractBroken
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import KEY, LINE, money
from adapters.wire import JsonValue
from canonical.engine_invoices import (
    EngineCredit,
    EngineInvoice,
    EngineInvoiceLine,
    EngineInvoiceStatus,
)
from canonical.money import Money
from canonical.records import RecordRef

Row: TypeAlias = Mapping[str, JsonValue]


def invoice_view(
    row: Row, lines: Sequence[Row], connection: str, config: StripeConfig
) -> EngineInvoice:
    """Return an invoice with all its lines.

    Raises:
        ContractBroken: a field that money depends on is missing.
    """
    currency = _text(row, "currency").upper()
    status = _text(row, "status")
    if status not in set(EngineInvoiceStatus):
        raise ContractBroken(f"Stripe sent an invoice that is {status!r}.", vendor=VENDOR)
    issued = row.get("effective_at") or _inner(row, "status_transitions").get("finalized_at")
    return EngineInvoice(
        record=record(row, "invoice", connection),
        external_id=key_of(row),
        status=EngineInvoiceStatus(status),
        number=_text(row, "number"),
        currency=currency,
        subtotal=money(row.get("subtotal"), currency),
        tax=taxes(row.get("total_taxes"), currency, exclusive_only=False),
        total=money(row.get("total"), currency),
        paid=money(row.get("amount_paid"), currency),
        remaining=money(row.get("amount_remaining"), currency),
        lines=tuple(_line(line, currency) for line in lines),
        issued_on=_day(issued, config) if status != EngineInvoiceStatus.DRAFT else None,
        due=_day(row.get("due_date"), config),
    )


def _line(row: Row, currency: str) -> EngineInvoiceLine:
    return EngineInvoiceLine(
        id=id_of(row),
        item=_text(_inner(row, "metadata"), LINE),
        description=_text(row, "description"),
        amount=money(row.get("amount"), currency),
        tax=taxes(row.get("taxes"), currency, exclusive_only=True),
    )


def credit_view(row: Row, connection: str) -> EngineCredit:
    """Return a credit note; errors as for `invoice_view`."""
    currency = _text(row, "currency").upper()
    return EngineCredit(
        record=record(row, "credit_note", connection),
        external_id=key_of(row),
        invoice=RecordRef(system=connection, type="invoice", id=_reference(row.get("invoice"))),
        number=_text(row, "number"),
        voided=is_void(row),
        subtotal=money(row.get("subtotal"), currency),
        tax=taxes(row.get("total_taxes"), currency, exclusive_only=False),
        total=money(row.get("total"), currency),
    )


def taxes(value: JsonValue, currency: str, *, exclusive_only: bool) -> Money:
    """Return the sum of a list of taxes, without those that are in the amount already if asked."""
    listed = (
        [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    )
    total = money(0, currency)
    for each in listed:
        if not (exclusive_only and each.get("tax_behavior") == "inclusive"):
            total = total + money(each.get("amount"), currency)
    return total


def record(row: Row, type_: str, connection: str) -> RecordRef:
    """Return the canonical name of an object."""
    return RecordRef(system=connection, type=type_, id=id_of(row))


def id_of(row: Row) -> str:
    """Return an object's id.

    Raises:
        ContractBroken: it has none.
    """
    id_ = _text(row, "id")
    if not id_:
        raise ContractBroken("Stripe sent an object without an id.", vendor=VENDOR)
    return id_


def key_of(row: Row) -> str:
    """Return our external id on an object, or an empty string."""
    return _text(_inner(row, "metadata"), KEY)


def is_void(row: Row) -> bool:
    """Return whether an invoice or credit note is void, which is for good."""
    return row.get("status") == "void"


def _reference(value: JsonValue) -> str:
    """Return the id in a field that is an id or, expanded, an object (section 4)."""
    return value if isinstance(value, str) else id_of(value if isinstance(value, dict) else {})


def _inner(row: Row, name: str) -> Row:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _day(value: JsonValue, config: StripeConfig) -> date | None:
    if not isinstance(value, int):
        return None
    try:
        return datetime.fromtimestamp(value, UTC).astimezone(config.zone).date()
    except (ValueError, OverflowError, OSError) as error:
        raise ContractBroken(f"Stripe sent the time {value}.", vendor=VENDOR) from error
