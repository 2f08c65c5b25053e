"""What was paid on an invoice at Stripe, and what was given back or credited, read as needed.

Sources: vendor page sections 5.3 (payments of an invoice), 5.4; the lists of refunds and disputes
and their filters as in PyPI stripe 16.1.0.
"""

from typing import Final

from adapters.stripe.applications import Settled
from adapters.stripe.objects import Objects
from adapters.stripe.rows import Row, id_of, inner, reference, text, whole
from adapters.stripe.views import DRAFT, VOID

PAYMENTS: Final = "/v1/invoice_payments"
REFUNDS: Final = "/v1/refunds"
DISPUTES: Final = "/v1/disputes"
CREDITS: Final = "/v1/credit_notes"
PAYING: Final = ("payment_intent", "charge")
"""What a payment can be refunded by. One from outside is taken back by a credit note alone
(section 7)."""


async def settled(objects: Objects, row: Row) -> Settled:
    """Return what hangs on an invoice: its own amounts say what there is to ask for."""
    if text(row, "status") in {DRAFT, VOID}:
        return Settled()
    of_it = {"invoice": id_of(row)}
    payments: list[Row] = []
    if whole(row, "amount_paid") or whole(row, "amount_overpaid"):
        filters = {**of_it, "status": "paid"}
        payments = await objects.all(PAYMENTS, "read the payments", filters)
    refunds: list[Row] = []
    disputes: list[Row] = []
    for payment in payments:
        by = inner(payment, "payment")
        for name in PAYING:
            if source := reference(by.get(name)):
                refunds += await objects.all(REFUNDS, "read the refunds", {name: source})
                disputes += await objects.all(DISPUTES, "read the disputes", {name: source})
                break
    notes: list[Row] = []
    counts = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
    if any(whole(row, name) for name in counts):
        notes = await objects.all(CREDITS, "read the credit notes", of_it)
    return Settled(payments, refunds, disputes, notes)
