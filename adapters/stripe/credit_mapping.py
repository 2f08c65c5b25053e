"""Credit requests to Stripe's form fields; pure.

Source: vendor page section 5.4 (credit note).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from adapters.errors import Invalid, Rejected
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from adapters.stripe.mapping import KEY, TEXT_MAX, Form, invalid, minor_units, seconds, shortened
from canonical.ids import ExternalId
from canonical.invoicing import (
    CreditReason,
    Invoice,
    InvoiceStatus,
    IssuedLine,
    ProvisionCredit,
    Settlement,
)

REASON: Final = "dealthread_reason"
"""Metadata of a credit note's line: why we credit it."""
REASONS: Final[Mapping[CreditReason, str]] = {
    CreditReason.REBILL: "order_change",
    CreditReason.CONCESSION: "product_unsatisfactory",
    CreditReason.SERVICE_CREDIT: "product_unsatisfactory",
    CreditReason.CANCELLED: "order_change",
}
"""Stripe keeps one of four reasons for a whole note; ours stands with each line."""


@dataclass(frozen=True)
class Creditable:
    """An invoice as far as a credit depends on it."""

    invoice: Invoice
    remaining: int
    """What Stripe itself says remains to be paid: refunds open nothing there."""
    credited: Mapping[str, int] = field(default_factory=dict)
    """By line id: net that is credited already."""
    refunds: Sequence[tuple[str, int]] = ()
    """Refunds, and what of each is on no credit note yet."""


def credit_form(
    external_id: ExternalId, request: ProvisionCredit, of: Creditable, config: StripeConfig
) -> Form:
    """Return the credit note to create (section 5.4).

    What exceeds the rest still to be paid must be told where it goes, to the cent: what was
    refunded already comes first, since that is this credit's money.

    Raises:
        Rejected: a line is not on the invoice, or more of it is credited than it is; or the
            invoice is a draft or void.
    """
    invoice = of.invoice
    _check_state(invoice)
    if not request.lines or len({line.item for line in request.lines}) < len(request.lines):
        raise invalid("A credit names lines of the invoice, each once.", "lines")
    by_item = {line.item: line for line in invoice.lines if line.item}
    lines: list[Form] = []
    gross = 0
    for line in request.lines:
        billed = by_item.get(line.item)
        if billed is None:
            raise invalid(f"The invoice has no line {line.item}.", "lines")
        if line.amount.currency != invoice.currency:
            raise invalid(f"The credit of {line.item} is not in {invoice.currency}.", "currency")
        before, units = of.credited.get(billed.id, 0), minor_units(line.amount)
        if not 0 < units <= minor_units(billed.amount) - before:
            raise _too_much(line.amount.amount, billed, before)
        lines.append(
            {
                "type": "invoice_line_item",
                "invoice_line_item": billed.id,
                "amount": units,
                "metadata": {REASON: line.reason},
            }
        )
        gross += units + _tax(billed, before + units) - _tax(billed, before)
    form: Form = {
        "invoice": invoice.record.id,
        "lines": lines,
        "email_type": "none",
        "effective_at": seconds(request.on, config),
        "metadata": {KEY: external_id},
    }
    reasons = {REASONS[line.reason] for line in request.lines}
    if len(reasons) == 1:
        form["reason"] = reasons.pop()
    if request.memo:
        form["memo"] = shortened(request.memo, TEXT_MAX)
    return {**form, **_given_back(gross - of.remaining, request.settlement, of.refunds)}


def _check_state(invoice: Invoice) -> None:
    if invoice.status in {InvoiceStatus.DRAFT, InvoiceStatus.VOID}:
        words = "still a draft" if invoice.status is InvoiceStatus.DRAFT else "void"
        raise Rejected(
            f"The invoice {invoice.number or invoice.record.id} is {words}: it cannot be credited.",
            vendor=VENDOR,
            operation="check the credit",
        )


def _given_back(excess: int, settlement: Settlement, refunds: Sequence[tuple[str, int]]) -> Form:
    """Say where the part goes that was paid already."""
    linked: list[Form] = []
    for id_, free in refunds:
        amount = min(free, excess)
        if amount > 0:
            linked.append({"type": "refund", "refund": id_, "amount_refunded": amount})
            excess -= amount
    form: Form = {"refunds": linked} if linked else {}
    if excess > 0:
        balance = settlement is Settlement.BALANCE
        form["credit_amount" if balance else "out_of_band_amount"] = excess
    return form


def _tax(line: IssuedLine, net: int) -> int:
    """Return the tax on the first part of a line, so that parts sum up to the line's tax."""
    share = Decimal(net) / minor_units(line.amount) * minor_units(line.tax)
    return int(share.quantize(Decimal(1), ROUND_HALF_UP))


def _too_much(amount: Decimal, billed: IssuedLine, before: int) -> Invalid:
    text = f"{amount} of {billed.item} cannot be credited: it was {billed.amount}"
    if before:
        text += ", and a part of it is credited already"
    return invalid(f"{text}.", "amount")
