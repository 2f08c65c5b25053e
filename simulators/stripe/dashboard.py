"""What a person does in the Dashboard, by type of object."""

from collections.abc import Callable
from functools import partial

from simulators.kit import Record, Reply
from simulators.stripe import (
    catalog,
    credit_notes,
    customers,
    invoice_states,
    invoices,
    items,
    meters,
    payments,
    subscriptions,
    webhooks,
)
from simulators.stripe.errors import refused
from simulators.stripe.state import Act, Fields
from simulators.stripe.views import view

Deed = Callable[[Act], Fields | Reply]

CREATE: dict[str, Deed] = {
    "billing.meter": meters.create,
    "credit_note": credit_notes.create,
    "customer": customers.create,
    "dispute": payments.create_dispute,
    "invoice": invoices.create,
    "invoiceitem": items.create,
    "payment_intent": payments.create_intent,
    "price": catalog.create_price,
    "product": catalog.create_product,
    "refund": payments.create_refund,
    "subscription": subscriptions.create,
    "tax_rate": catalog.create_tax_rate,
    "webhook_endpoint": webhooks.create,
}
UPDATE: dict[str, Deed] = {
    "credit_note": credit_notes.update,
    "customer": customers.update,
    "invoice": invoices.update,
    "invoiceitem": items.update,
    "price": partial(catalog.update, kind="price"),
    "product": partial(catalog.update, kind="product"),
    "subscription": subscriptions.update,
    "tax_rate": partial(catalog.update, kind="tax_rate"),
    "webhook_endpoint": webhooks.update,
}
DELETE: dict[str, Deed] = {
    "customer": customers.delete,
    "invoice": invoices.delete,
    "invoiceitem": items.delete,
    "subscription": subscriptions.cancel,
    "webhook_endpoint": webhooks.delete,
}


def move(act: Act, record: Record, status: str) -> Fields | Reply:
    """Move an invoice, void a credit note, or decide on a dispute.

    Raises:
        Refusal: there is no such move from where it stands.
    """
    moves: dict[tuple[str, str], Deed] = {
        ("invoice", "open"): invoice_states.finalize,
        ("invoice", "void"): invoice_states.void,
        ("invoice", "uncollectible"): invoice_states.mark_uncollectible,
        ("credit_note", "void"): credit_notes.void,
        ("dispute", "lost"): partial(payments.close_dispute, status="lost"),
        ("dispute", "won"): partial(payments.close_dispute, status="won"),
    }
    if (record.type, status) == ("invoice", "paid"):
        if record.fields["status"] not in {"open", "uncollectible"}:
            raise refused(f"You cannot pay an invoice that is {record.fields['status']}.")
        return view(act.account, payments.settle_out_of_band(act, record))
    if (record.type, status) not in moves:
        raise refused(f"A {record.type} cannot be moved to {status}.")
    return moves[record.type, status](act)
