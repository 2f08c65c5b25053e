"""Stripe's objects as canonical views; pure.

Sources: vendor page sections 1 (field changes since "basil"), 5.3, 5.4; names of a line's taxes
and discounts as in PyPI stripe 16.1.0.
"""

from collections.abc import Sequence
from typing import Final

from adapters.errors import ContractBroken
from adapters.stripe.applications import Settled, applications
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import LINE, PO, money
from adapters.stripe.rows import (
    Row,
    day,
    id_of,
    inner,
    is_void,
    key_of,
    moment,
    record,
    reference,
    rows_in,
    taxes,
    text,
    units,
)
from canonical.invoicing import Application, CreditNote, Invoice, InvoiceStatus, IssuedLine
from canonical.money import Money
from canonical.records import RecordRef

DRAFT: Final = "draft"
VOID: Final = "void"
STATUSES: Final = {
    DRAFT: InvoiceStatus.DRAFT,
    "open": InvoiceStatus.OPEN,
    "paid": InvoiceStatus.SETTLED,
    VOID: InvoiceStatus.VOID,
    "uncollectible": InvoiceStatus.UNCOLLECTIBLE,
}


def invoice_view(
    row: Row, lines: Sequence[Row], settled: Settled, connection: str, config: StripeConfig
) -> Invoice:
    """Return an invoice with all its lines and what was applied to it.

    A refund or a dispute opens an invoice again that Stripe goes on calling paid.

    Raises:
        ContractBroken: a field that money depends on is missing.
    """
    currency = text(row, "currency").upper()
    status = STATUSES.get(text(row, "status"))
    if status is None:
        raise ContractBroken(
            f"Stripe sent an invoice that is {row.get('status')!r}.", vendor=VENDOR
        )
    gross, remaining = money(row.get("total"), currency), units(row, "amount_remaining", currency)
    tax = taxes(row.get("total_taxes"), currency)
    applied: tuple[Application, ...] = ()
    if status is InvoiceStatus.VOID:
        remaining = money(0, currency)
    elif status is not InvoiceStatus.DRAFT:
        applied = applications(row, settled, config)
        remaining = _less(gross, *(each.amount for each in applied))
        if remaining.amount <= 0:
            status = InvoiceStatus.SETTLED
        elif status is InvoiceStatus.SETTLED:
            status = InvoiceStatus.OPEN
    moments = inner(row, "status_transitions")
    return Invoice(
        record=record(row, "invoice", connection),
        external_id=key_of(row),
        status=status,
        number=text(row, "number") if status is not InvoiceStatus.DRAFT else "",
        currency=currency,
        net=_less(gross, tax),
        tax=tax,
        gross=gross,
        remaining=remaining,
        lines=tuple(_line(line, currency) for line in lines),
        applications=applied,
        on=day(row.get("effective_at") or moments.get("finalized_at"), config),
        due=day(row.get("due_date"), config),
        client_id=reference(row.get("customer")),
        client_po=_client_po(row),
        changed_at=moment(latest(row, settled)),
    )


def _line(row: Row, currency: str) -> IssuedLine:
    """Return a line, net: without tax that is in its amount, and without discounts."""
    discounts = [units(each, "amount", currency) for each in rows_in(row.get("discount_amounts"))]
    within = taxes(row.get("taxes"), currency, inclusive_only=True)
    return IssuedLine(
        id=id_of(row),
        item=text(inner(row, "metadata"), LINE),
        description=text(row, "description"),
        amount=_less(units(row, "amount", currency), within, *discounts),
        tax=taxes(row.get("taxes"), currency),
    )


def _client_po(row: Row) -> str:
    fields = rows_in(row.get("custom_fields"))
    return next((text(each, "value") for each in fields if text(each, "name") == PO), "")


def latest(row: Row, settled: Settled) -> int:
    """Return the last moment at which something happened to an invoice, as far as it shows."""
    moments = [row.get("created"), *inner(row, "status_transitions").values()]
    others = (settled.payments, settled.refunds, settled.disputes, settled.notes)
    moments += [each.get("created") for rows in others for each in rows]
    moments += [each.get("voided_at") for each in settled.notes]
    return max([each for each in moments if isinstance(each, int)], default=0)


def credit_view(row: Row, connection: str, config: StripeConfig) -> CreditNote:
    """Return a credit note; errors as for `invoice_view`."""
    currency = text(row, "currency").upper()
    gross, tax = money(row.get("total"), currency), taxes(row.get("total_taxes"), currency)
    return CreditNote(
        record=record(row, "credit_note", connection),
        external_id=key_of(row),
        invoice=RecordRef(system=connection, type="invoice", id=reference(row.get("invoice"))),
        number=text(row, "number"),
        voided=is_void(row),
        net=_less(gross, tax),
        tax=tax,
        gross=gross,
        on=day(row.get("effective_at") or row.get("created"), config),
    )


def _less(amount: Money, *taken: Money) -> Money:
    for each in taken:
        amount = amount + Money(amount=-each.amount, currency=each.currency)
    return amount
