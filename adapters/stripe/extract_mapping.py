"""Stripe's objects as rows of an extract; pure.

Sources: vendor page sections 5.1 to 5.4; fields of items, payments, refunds and payment intents as
in PyPI stripe 16.1.0. An invoice that was paid stays so at Stripe when the money goes back: where
some went back, the caller reads it whole and gives what `views` makes of it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import LINE, money
from adapters.stripe.rows import (
    Row,
    day,
    id_of,
    inner,
    key_of,
    reference,
    taxes,
    text,
    units,
    whole,
)
from adapters.stripe.views import DRAFT, STATUSES, VOID, credit_view
from canonical.extracts import ExtractKind, ExtractRow, ExtractState
from canonical.invoicing import Invoice, InvoiceStatus
from canonical.money import Money

STATES: Final[Mapping[InvoiceStatus, ExtractState]] = {
    InvoiceStatus.DRAFT: ExtractState.DRAFT,
    InvoiceStatus.OPEN: ExtractState.OPEN,
    InvoiceStatus.UNCOLLECTIBLE: ExtractState.OPEN,
    InvoiceStatus.SETTLED: ExtractState.PAID,
    InvoiceStatus.VOID: ExtractState.VOIDED,
}


def client_row(row: Row) -> ExtractRow:
    """Return a customer; one that is deleted is in no list."""
    return ExtractRow(
        kind=ExtractKind.CLIENT,
        id=id_of(row),
        external_id=key_of(row),
        number=text(row, "name"),
        client_id=id_of(row),
        state=ExtractState.OPEN,
    )


def item_row(row: Row, config: StripeConfig) -> ExtractRow:
    """Return an invoice item, before tax that comes on top; its `invoice` is expanded.

    One on no invoice waits for the client's next one: it is ready.
    """
    currency = _currency(row)
    invoice = inner(row, "invoice")
    state = ExtractState.BILLED if invoice else ExtractState.READY
    if text(invoice, "status") in {DRAFT, VOID}:
        held = text(invoice, "status") == DRAFT
        state = ExtractState.RESERVED if held else ExtractState.VOIDED
    amount = "net_amount" if row.get("net_amount") is not None else "amount"
    return ExtractRow(
        kind=ExtractKind.CHARGE,
        id=id_of(row),
        external_id=text(inner(row, "metadata"), LINE),
        client_id=reference(row.get("customer")),
        date=day(row.get("date"), config),
        state=state,
        amount=units(row, amount, currency),
        invoice_id=reference(row.get("invoice")),
    )


def invoice_row(row: Row, whole_: Invoice | None, config: StripeConfig) -> ExtractRow:
    """Return an invoice, as it stands by itself or, where money went back, by its whole view.

    Raises:
        ContractBroken: it is in a state that the page does not name.
    """
    currency = _currency(row)
    known = whole_.status if whole_ is not None else STATUSES.get(text(row, "status"))
    if known is None:
        raise ContractBroken(
            f"Stripe sent an invoice that is {row.get('status')!r}.", vendor=VENDOR
        )
    gross, tax = money(row.get("total"), currency), taxes(row.get("total_taxes"), currency)
    left = whole_.remaining if whole_ else units(row, "amount_remaining", currency)
    state = STATES[known]
    if state is ExtractState.VOIDED:
        left = money(0, currency)
    elif state is ExtractState.OPEN and left.amount < gross.amount:
        state = ExtractState.PART_PAID
    moments = inner(row, "status_transitions")
    own_day = row.get("effective_at") or moments.get("finalized_at") or row.get("created")
    return ExtractRow(
        kind=ExtractKind.INVOICE,
        id=id_of(row),
        external_id=key_of(row),
        number=text(row, "number"),
        client_id=reference(row.get("customer")),
        date=day(own_day, config),
        state=state,
        amount=_minus(gross, tax),
        gross=gross,
        left=left,
    )


def credit_row(row: Row, connection: str, config: StripeConfig) -> ExtractRow:
    """Return a credit note; Stripe applies each in full, to its one invoice (section 5.4)."""
    note = credit_view(row, connection, config)
    return ExtractRow(
        kind=ExtractKind.CREDIT,
        id=note.record.id,
        external_id=note.external_id,
        number=note.number,
        client_id=reference(row.get("customer")),
        date=note.on,
        state=ExtractState.VOIDED if note.voided else ExtractState.PAID,
        amount=note.net,
        gross=note.gross,
        left=money(0, _currency(row)),
        invoice_id=note.invoice.id if note.invoice else "",
    )


def payment_row(row: Row, config: StripeConfig) -> ExtractRow:
    """Return what was paid on an invoice; its `invoice` is expanded."""
    paid_at = inner(row, "status_transitions").get("paid_at") or row.get("created")
    return ExtractRow(
        kind=ExtractKind.PAYMENT,
        id=id_of(row),
        number=payment_source(row),
        client_id=reference(inner(row, "invoice").get("customer")),
        date=day(paid_at, config),
        state=ExtractState.PAID,
        amount=units(row, "amount_paid", _currency(row)),
        left=money(0, _currency(row)),
        invoice_id=reference(row.get("invoice")),
    )


def returned_row(row: Row, invoice_id: str, config: StripeConfig) -> ExtractRow:
    """Return a refund or dispute: a payment that is negative."""
    amount = units(row, "amount", _currency(row))
    return ExtractRow(
        kind=ExtractKind.PAYMENT,
        id=id_of(row),
        number=reference(row.get("payment_intent")),
        date=day(row.get("created"), config),
        state=ExtractState.PAID,
        amount=Money(amount=-amount.amount, currency=amount.currency),
        left=money(0, _currency(row)),
        invoice_id=invoice_id,
    )


def unapplied_row(row: Row, left: int, config: StripeConfig) -> ExtractRow:
    """Return a payment intent of which a part is on no invoice."""
    return ExtractRow(
        kind=ExtractKind.PAYMENT,
        id=id_of(row),
        number=id_of(row),
        client_id=reference(row.get("customer")),
        date=day(row.get("created"), config),
        state=ExtractState.UNAPPLIED,
        amount=units(row, "amount_received", _currency(row)),
        left=money(left, _currency(row)),
    )


def payment_source(row: Row) -> str:
    """Return the payment intent behind a payment of an invoice; empty where it has none."""
    return reference(inner(row, "payment").get("payment_intent"))


def paid_units(row: Row) -> int:
    """Return what a payment of an invoice came to, in the smallest unit."""
    return whole(row, "amount_paid")


def _currency(row: Row) -> str:
    return text(row, "currency").upper()


def _minus(left: Money, right: Money) -> Money:
    amount: Decimal = left.amount - right.amount
    return Money(amount=amount, currency=left.currency)
