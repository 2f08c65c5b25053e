"""In which state an issued invoice is, from what its issuing system says of it (DESIGN 4)."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from canonical.invoicing import (
    Application,
    ApplicationKind,
    Delivery,
    Invoice,
    InvoiceStatus,
)
from canonical.lifecycle import InvoiceState, SettledBy, TrackedInvoice

_BY = {
    ApplicationKind.PAYMENT: SettledBy.CASH,
    ApplicationKind.CREDIT: SettledBy.CREDIT,
    ApplicationKind.WRITE_OFF: SettledBy.WRITE_OFF,
    ApplicationKind.WITHHOLDING: SettledBy.WITHHOLDING,
}


def state_of(
    invoice: Invoice | None,
    today: date,
    *,
    disputed: bool = False,
    delivery: Delivery = Delivery.UNKNOWN,
) -> InvoiceState:
    """Return the state of an invoice; None: it is not there any more.

    Args:
        invoice: as read.
        today: in the zone of its legal entity.
        disputed: somebody disputes it.
        delivery: what became of it on its way to the client.
    """
    if invoice is None:
        return InvoiceState.GONE
    if invoice.status is InvoiceStatus.VOID:
        return InvoiceState.VOIDED
    if invoice.remaining.amount <= 0 and invoice.gross.amount > 0:
        by = settled_by(invoice.applications)
        return InvoiceState.CREDITED if by is SettledBy.CREDIT else InvoiceState.SETTLED
    if disputed:
        return InvoiceState.DISPUTED
    if invoice.status is InvoiceStatus.UNCOLLECTIBLE:
        return InvoiceState.SETTLED
    if invoice.due is not None and invoice.due < today:
        return InvoiceState.OVERDUE
    if invoice.remaining != invoice.gross:
        return InvoiceState.PART_SETTLED
    return InvoiceState(delivery) if delivery else InvoiceState.ISSUED


def says_anew(invoice: Invoice, known: TrackedInvoice) -> bool:
    """Whether the issuing system says something of the delivery that it did not say before.

    What it goes on saying gives way to what a person said since: sent by post, for example.
    """
    return bool(invoice.delivery) and invoice.delivery_word != known.delivery_word


def settled_by(applications: Iterable[Application]) -> SettledBy:
    """Return what settled an invoice, as far as it is settled: cash and credit are told apart."""
    sums: dict[SettledBy, Decimal] = {}
    for each in applications:
        by = _BY[each.kind]
        sums[by] = sums.get(by, Decimal(0)) + each.amount.amount
    # A payment that was reversed settles nothing.
    kinds = [by for by, total in sums.items() if total]
    if not kinds:
        return SettledBy.NOTHING
    return kinds[0] if len(kinds) == 1 else SettledBy.SEVERAL
