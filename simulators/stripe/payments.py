"""Payments of invoices: by magic payment methods, out of band, by a payment intent; and back.

A dispute is made by the payer's bank, which is a person at the control origin; its states and
fields are those of PyPI stripe 16.1.0, and that it takes the money at once is unverified.
"""

from typing import Literal

from pydantic import Field

from simulators.kit import Record, Reply
from simulators.stripe.errors import declined, invalid, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Amount, Form, Metadata
from simulators.stripe.listing import listed
from simulators.stripe.money import THREE_DECIMALS, currency_of
from simulators.stripe.parties import billable
from simulators.stripe.state import Act, Fields, number, part, text
from simulators.stripe.totals import settled
from simulators.stripe.views import view

URL = "/v1/invoice_payments"
CARDS = frozenset({"pm_card_visa", "pm_card_mastercard", "pm_card_amex"})
DECLINES = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
}
"""Magic payment methods and the reason for which they decline."""
_RETRY_SECONDS = 3 * 86_400


class PayForm(Form):
    forgive: bool = False
    off_session: bool = False
    paid_out_of_band: bool = False
    payment_method: str | None = None
    source: str | None = None


class AttachForm(Form):
    payment_intent: str


class IntentForm(Form):
    amount: Amount = Field(ge=1)
    confirm: bool = False
    currency: str
    customer: str | None = None
    description: str | None = None
    metadata: Metadata = None
    off_session: bool = False
    payment_method: str | None = None


class RefundForm(Form):
    amount: Amount | None = Field(default=None, ge=1)
    metadata: Metadata = None
    payment_intent: str
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None


class DisputeForm(Form):
    amount: Amount | None = Field(default=None, ge=1)
    payment_intent: str
    reason: str = "general"


def pay(act: Act) -> Fields | Reply:
    """`POST /v1/invoices/{id}/pay`: out of band, or by a card; a decline leaves it open."""
    invoice = act.find("invoice")
    form = act.read(PayForm)
    status = invoice.fields["status"]
    if status == "paid":
        raise refused("Invoice is already paid")
    if status not in {"open", "uncollectible"}:
        raise refused(f"You cannot pay an invoice that is {status}.")
    if form.paid_out_of_band:
        return view(act.account, settle_out_of_band(act, invoice))
    method = form.payment_method or form.source or method_of(act, invoice)
    if method is None:
        text_ = "There is no `default_payment_method` set on this Customer or Invoice."
        raise refused(f"{text_} Please pass a payment method.", "invoice_no_payment_method_types")
    refusal = charge(act, invoice, method)
    return view(act.account, invoice) if refusal is None else refusal


def method_of(act: Act, invoice: Record) -> str | None:
    """Return the payment method of the invoice, else of the customer."""
    own = text(invoice.fields, "default_payment_method")
    customer = act.account.store.get("customer", text(invoice.fields, "customer"))
    inherited = {} if customer is None else part(customer.fields, "invoice_settings")
    return own or text(inherited, "default_payment_method") or None


def charge(act: Act, invoice: Record, method: str) -> Reply | None:
    """Charge what remains to a payment method; return the 402 when it declines."""
    amount, currency = number(invoice.fields, "amount_remaining"), invoice.fields["currency"]
    _check_amount(amount, str(currency))
    if method not in CARDS and method not in DECLINES:
        raise invalid(f"No such PaymentMethod: '{method}'", "payment_method", "resource_missing")
    customer = text(invoice.fields, "customer")
    intent = _intent(act, amount, str(currency), customer, method)
    attempts = number(invoice.fields, "attempt_count") + 1
    act.update(invoice, {"attempted": True, "attempt_count": attempts})
    if method in DECLINES:
        act.update(invoice, {"next_payment_attempt": _next_attempt(act, invoice)})
        _record_payment(act, invoice, intent, amount, "open")
        tell(act, "invoice.payment_failed", invoice)
        return declined(DECLINES[method], view(act.account, intent))
    _record_payment(act, invoice, intent, amount, "paid")
    _receive(act, invoice, amount)
    return None


def settle_out_of_band(act: Act, invoice: Record) -> Record:
    """Mark an invoice as paid outside of Stripe."""
    amount = number(invoice.fields, "amount_remaining")
    outside = number(invoice.fields, "amount_paid_off_stripe") + amount
    act.update(invoice, {"amount_paid_off_stripe": outside, "attempted": True})
    _record_payment(act, invoice, None, amount, "paid")
    _receive(act, invoice, amount)
    return invoice


def attach_payment(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/attach_payment`: a payment of a part, or of the whole."""
    invoice = act.find("invoice")
    form = act.read(AttachForm)
    if invoice.fields["status"] not in {"open", "uncollectible"}:
        raise refused("Payments can only be attached to open or uncollectible invoices.")
    intent = act.find("payment_intent", form.payment_intent, "payment_intent")
    same = [intent.fields[name] == invoice.fields[name] for name in ("customer", "currency")]
    if not all(same) or intent.fields["_invoice"] is not None:
        text_ = "The PaymentIntent must be the customer's, of the invoice's currency, and unused."
        raise refused(text_, param="payment_intent")
    amount = number(intent.fields, "amount_received")
    act.account.store.update(intent, {"_invoice": invoice.id})
    if intent.fields["status"] != "succeeded":
        _record_payment(act, invoice, intent, number(intent.fields, "amount"), "open")
    else:
        _record_payment(act, invoice, intent, amount, "paid")
        _receive(act, invoice, amount)
    return view(act.account, invoice)


def paid(act: Act, invoice: Record) -> None:
    """Move an invoice with nothing left to pay to paid."""
    moments: Fields = {**part(invoice.fields, "status_transitions"), "paid_at": act.now}
    changes: Fields = {
        "status": "paid",
        "status_transitions": moments,
        "next_payment_attempt": None,
    }
    changed(act, "invoice.updated", invoice, changes)
    tell(act, "invoice.paid", invoice)


def create_intent(act: Act) -> Fields | Reply:
    """`POST /v1/payment_intents`; with `confirm` it is charged at once."""
    form = act.read(IntentForm)
    currency = currency_of(form.currency)
    _check_amount(form.amount, currency)
    customer = None if form.customer is None else billable(act, form.customer).id
    method = form.payment_method if form.confirm else None
    if method is not None and method not in CARDS and method not in DECLINES:
        raise invalid(f"No such PaymentMethod: '{method}'", "payment_method", "resource_missing")
    intent = _intent(act, form.amount, currency, customer, method, form.metadata)
    if method in DECLINES:
        return declined(DECLINES[method], view(act.account, intent))
    return view(act.account, intent)


def create_refund(act: Act) -> Fields:
    """`POST /v1/refunds` of a succeeded payment intent."""
    form = act.read(RefundForm)
    intent = act.find("payment_intent", form.payment_intent, "payment_intent")
    left = number(intent.fields, "amount_received") - number(intent.fields, "_refunded")
    refund = refund_of(act, intent, left if form.amount is None else form.amount, form.metadata)
    act.update(refund, {"reason": form.reason})
    return view(act.account, refund)


def refund_of(act: Act, intent: Record, amount: int, metadata: Metadata = None) -> Record:
    """Give back a part of a payment.

    Raises:
        Refusal: more than is left of it.
    """
    left = number(intent.fields, "amount_received") - number(intent.fields, "_refunded")
    if not 0 < amount <= left:
        text_ = f"Refund amount ({amount}) is greater than unrefunded amount ({left})"
        raise refused(text_, "charge_already_refunded" if left == 0 else None, "amount")
    act.update(intent, {"_refunded": number(intent.fields, "_refunded") + amount})
    fields: Fields = {
        "amount": amount,
        "charge": None,
        "currency": intent.fields["currency"],
        "payment_intent": intent.id,
        "reason": None,
        "status": "succeeded",
    }
    refund = act.insert("refund", fields, metadata)
    tell(act, "refund.created", refund)
    tell(act, "charge.refunded", intent)
    return refund


def create_dispute(act: Act) -> Fields:
    """Let the payer's bank take a payment back, until the dispute is won."""
    form = act.read(DisputeForm)
    intent = act.find("payment_intent", form.payment_intent, "payment_intent")
    received = number(intent.fields, "amount_received")
    if not received:
        raise refused("Only what was paid can be disputed.", param="payment_intent")
    fields: Fields = {
        "amount": form.amount or received,
        "charge": None,
        "currency": intent.fields["currency"],
        "payment_intent": intent.id,
        "reason": form.reason,
        "status": "needs_response",
    }
    dispute = act.insert("dispute", fields)
    tell(act, "charge.dispute.created", dispute)
    return view(act.account, dispute)


def close_dispute(act: Act, status: str) -> Fields:
    """Let the bank decide: `won` brings the money back, `lost` does not."""
    dispute = act.find("dispute")
    changed(act, "charge.dispute.closed", dispute, {"status": status})
    return view(act.account, dispute)


def read_one(act: Act, kind: str) -> Fields:
    """`GET` of one payment, payment intent, refund or dispute."""
    return view(act.account, act.find(kind))


def read_all(act: Act, kind: str) -> Fields:
    """`GET` of payments, by `payment` too, of payment intents, refunds or disputes."""
    filters = {
        "dispute": ("charge", "created", "payment_intent"),
        "invoice_payment": ("created", "invoice", "status"),
        "payment_intent": ("created", "customer"),
        "refund": ("charge", "created", "payment_intent"),
    }
    rows = act.account.store.list(kind)
    by = act.params.pop("payment", None) if kind == "invoice_payment" else None
    if isinstance(by, dict):
        rows = [row for row in rows if by.items() <= part(row.fields, "payment").items()]
    return listed(act, act.path, rows, filters[kind])


def _receive(act: Act, invoice: Record, amount: int) -> None:
    received = number(invoice.fields, "amount_paid") + amount
    act.update(invoice, {"amount_paid": received})
    act.update(invoice, settled(invoice))
    if over := number(invoice.fields, "amount_overpaid"):
        # "The amount overpaid is credited to the customer's credit balance" (PyPI stripe 16.1.0).
        customer = act.find("customer", text(invoice.fields, "customer"), "customer")
        balance = number(customer.fields, "balance") - over
        changed(act, "customer.updated", customer, {"balance": balance})
        tell(act, "invoice.overpaid", invoice)
    if number(invoice.fields, "amount_remaining") == 0:
        paid(act, invoice)
        tell(act, "invoice.payment_succeeded", invoice)


def _record_payment(
    act: Act, invoice: Record, intent: Record | None, amount: int, status: str
) -> None:
    """Note a payment; without an intent it happened outside of Stripe."""
    payment: Fields = {"type": "payment_record"}
    if intent is not None:
        payment = {"type": "payment_intent", "payment_intent": intent.id}
        act.account.store.update(intent, {"_invoice": invoice.id})
    fields: Fields = {
        "amount_paid": amount if status == "paid" else None,
        "amount_requested": amount,
        "currency": invoice.fields["currency"],
        "invoice": invoice.id,
        "is_default": True,
        "payment": payment,
        "status": status,
        "status_transitions": {
            "canceled_at": None,
            "paid_at": act.now if status == "paid" else None,
        },
    }
    record = act.insert("invoice_payment", fields)
    if status == "paid":
        tell(act, "invoice_payment.paid", record)


def _intent(
    act: Act,
    amount: int,
    currency: str,
    customer: str | None,
    method: str | None,
    metadata: Metadata = None,
) -> Record:
    good = method in CARDS
    error: Fields | None = None
    if method in DECLINES:
        error = {
            "code": "card_declined",
            "decline_code": DECLINES[method],
            "type": "card_error",
            "message": "Your card was declined.",
        }
    fields: Fields = {
        "amount": amount,
        "amount_received": amount if good else 0,
        "currency": currency,
        "customer": customer,
        "last_payment_error": error,
        "payment_method": method if good else None,
        "status": "succeeded" if good else "requires_payment_method",
        "_invoice": None,
        "_refunded": 0,
    }
    intent = act.insert("payment_intent", fields, metadata)
    kind = "succeeded" if good else "payment_failed" if error else "created"
    tell(act, f"payment_intent.{kind}", intent)
    return intent


def _next_attempt(act: Act, invoice: Record) -> int | None:
    return act.now + _RETRY_SECONDS if invoice.fields["auto_advance"] else None


def _check_amount(amount: int, currency: str) -> None:
    if currency in THREE_DECIMALS and amount % 10:
        text_ = f"Invalid amount for {currency}: the last digit must be 0."
        raise refused(text_, "parameter_invalid_integer", "amount")
