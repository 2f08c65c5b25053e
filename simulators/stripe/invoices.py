"""Invoices while they are drafts, and what may be changed later (vendor page, 5.3)."""

from typing import Literal

from pydantic import Field, JsonValue

from simulators.kit import Record
from simulators.stripe.errors import invalid, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Form, Metadata, merged
from simulators.stripe.items import attach
from simulators.stripe.listing import listed, searched
from simulators.stripe.money import currency_of, rates_of
from simulators.stripe.parties import billable, copied
from simulators.stripe.state import Act, Fields, number, part, text
from simulators.stripe.totals import recount
from simulators.stripe.views import default_rates, view

URL = "/v1/invoices"
AUTO_FINALIZE_SECONDS = 3600
DAY_SECONDS = 86_400
DAYS_UNTIL_DUE = 30
"""The account's default for invoices which are sent."""
_FILTERS = ("collection_method", "created", "customer", "due_date", "status")
_ALWAYS = frozenset({"auto_advance", "default_payment_method", "footer", "metadata"})
"""What may still be given once an invoice is finalized."""


class CustomField(Form):
    name: str = Field(max_length=40)
    value: str = Field(max_length=140)


class AutomaticTax(Form):
    enabled: bool


class Revision(Form):
    action: Literal["revision"]
    invoice: str


class InvoiceUpdate(Form):
    auto_advance: bool = False
    automatic_tax: AutomaticTax | None = None
    automatically_finalizes_at: int | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] = "charge_automatically"
    custom_fields: list[CustomField] | None = Field(default=None, max_length=4)
    days_until_due: int | None = Field(default=None, ge=0)
    default_payment_method: str | None = None
    default_tax_rates: list[str] | None = None
    description: str | None = None
    due_date: int | None = None
    effective_at: int | None = None
    footer: str | None = None
    metadata: Metadata = None
    number: str | None = Field(default=None, max_length=26)
    statement_descriptor: str | None = None


class InvoiceForm(InvoiceUpdate):
    currency: str | None = None
    customer: str | None = None
    from_invoice: Revision | None = None
    pending_invoice_items_behavior: Literal["exclude", "include"] = "exclude"
    subscription: str | None = None


def create(act: Act) -> Fields:
    """`POST /v1/invoices`: an empty draft, or one with the customer's pending items."""
    form = act.read(InvoiceForm)
    _check(act, form)
    if form.from_invoice is not None:
        return _revise(act, form, form.from_invoice.invoice)
    if form.customer is None:
        raise invalid("Missing required param: customer.", "customer", "parameter_missing")
    invoice = make_invoice(act, billable(act, form.customer), form)
    if form.pending_invoice_items_behavior == "include":
        take_pending(act, invoice)
    recount(act, invoice)
    return view(act.account, invoice)


def make_invoice(
    act: Act,
    customer: Record,
    form: InvoiceForm,
    reason: str = "manual",
    more: Fields | None = None,
) -> Record:
    """Create an empty draft."""
    pending = act.account.store.indexed("invoiceitem", "customer", customer.id)
    first = text(pending[0].fields, "currency") if pending else ""
    currency = currency_of(form.currency or text(customer.fields, "currency") or first or "usd")
    rates_of(act.account, form.default_tax_rates or [], "default_tax_rates")
    fields: Fields = {
        **_blank(act),
        **copied(customer),
        "auto_advance": form.auto_advance,
        "automatically_finalizes_at": _finalizes_at(act, form),
        "billing_reason": reason,
        "collection_method": form.collection_method,
        "currency": currency,
        "custom_fields": _custom_fields(form),
        "default_payment_method": form.default_payment_method,
        "description": form.description,
        "due_date": _due_date(form, act.now),
        "effective_at": form.effective_at,
        "footer": form.footer,
        "number": form.number,
        "statement_descriptor": form.statement_descriptor,
        "_days_until_due": form.days_until_due,
        "_default_tax_rates": list(form.default_tax_rates or []),
        **(more or {}),
    }
    invoice = act.insert("invoice", fields, form.metadata)
    act.account.store.update(invoice, {"default_tax_rates": default_rates(act.account, invoice)})
    tell(act, "invoice.created", invoice)
    return invoice


def take_pending(act: Act, invoice: Record) -> None:
    """Put the customer's pending items of the invoice's currency on it."""
    customer = text(invoice.fields, "customer")
    for item in act.account.store.indexed("invoiceitem", "customer", customer):
        if item.fields["currency"] == invoice.fields["currency"]:
            attach(act, item, invoice)


def update(act: Act) -> Fields:
    """`POST /v1/invoices/{id}`: a draft wholly, a finalized one save for money and wording."""
    invoice = act.find("invoice")
    form = act.read(InvoiceUpdate)
    status = invoice.fields["status"]
    frozen = sorted(form.model_fields_set - _ALWAYS)
    if status != "draft" and frozen:
        text_ = f"Finalized invoices can't be updated in this way: {', '.join(frozen)}."
        raise refused(text_, "invoice_not_editable", frozen[0])
    _check(act, form, invoice)
    changes = _changes(act, form, invoice)
    changed(act, "invoice.updated", invoice, changes)
    if status == "draft":
        rates = default_rates(act.account, invoice)
        act.account.store.update(invoice, {"default_tax_rates": rates})
        recount(act, invoice)
    return view(act.account, invoice)


def delete(act: Act) -> Fields:
    """`DELETE /v1/invoices/{id}`: one-off drafts alone.

    Items made for it go with it, those that were pending before return to that (unverified).
    """
    invoice = act.find("invoice")
    if invoice.fields["status"] != "draft":
        raise refused("You can only delete draft invoices.", "invoice_not_editable")
    if part(invoice.fields, "parent"):
        raise refused("You can't delete invoices created by subscriptions.")
    for item in act.account.store.indexed("invoiceitem", "invoice", invoice.id):
        if item.fields["_was_pending"]:
            act.update(item, {"invoice": None, "_was_pending": False})
        else:
            act.delete(item)
    tell(act, "invoice.deleted", invoice)
    return act.delete(invoice)


def read_one(act: Act) -> Fields:
    """`GET /v1/invoices/{id}`."""
    return view(act.account, act.find("invoice"))


def read_all(act: Act) -> Fields:
    """`GET /v1/invoices`."""
    subscription = act.params.pop("subscription", None)
    rows = act.account.store.list("invoice")
    if subscription is not None:
        rows = [row for row in rows if row.fields["_subscription"] == subscription]
    return listed(act, URL, rows, _FILTERS)


def search(act: Act) -> Fields:
    """`GET /v1/invoices/search`."""
    return searched(act, "invoice", f"{URL}/search")


def due_at(invoice: Record, now: int) -> int | None:
    """Return when an invoice that is finalized now must be paid."""
    if invoice.fields["collection_method"] != "send_invoice":
        return None
    days = invoice.fields["_days_until_due"]
    given = invoice.fields["due_date"]
    if isinstance(days, int) or not isinstance(given, int):
        return now + DAY_SECONDS * (days if isinstance(days, int) else DAYS_UNTIL_DUE)
    return given


def _blank(act: Act) -> Fields:
    """Return a draft's fields before anything is known of it."""
    zeros = (
        "amount_due amount_overpaid amount_paid amount_remaining amount_shipping attempt_count"
        " post_payment_credit_notes_amount pre_payment_credit_notes_amount starting_balance"
        " subtotal subtotal_excluding_tax total total_excluding_tax"
    )
    nulls = (
        "account_tax_ids amount_paid_off_stripe application customer_account default_source"
        " ending_balance from_invoice hosted_invoice_url invoice_pdf last_finalization_error"
        " latest_revision next_payment_attempt on_behalf_of parent receipt_number rendering"
        " shipping_cost shipping_details test_clock threshold_reason webhooks_delivered_at"
    )
    moments = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
    return {
        **dict.fromkeys(zeros.split(), 0),
        **dict.fromkeys(nulls.split()),
        "account_country": "US",
        "account_name": "Dealthread Demo Inc.",
        "attempted": False,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "default_tax_rates": [],
        "discounts": [],
        "issuer": {"type": "self"},
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": act.now,
        "period_start": act.now,
        "status": "draft",
        "status_transitions": dict.fromkeys(moments),
        "total_discount_amounts": [],
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "_overdue": False,
        "_subscription": None,
    }


def _check(act: Act, form: InvoiceUpdate, invoice: Record | None = None) -> None:
    if form.automatic_tax is not None and form.automatic_tax.enabled:
        # The simulator determines no tax: this account never set Stripe Tax up.
        text_ = "Stripe Tax is not active on this account: set the origin address first."
        raise refused(text_, param="automatic_tax[enabled]")
    given = [name for name in ("due_date", "days_until_due") if getattr(form, name) is not None]
    method = form.collection_method
    if invoice is not None and not form.given("collection_method"):
        method = "send_invoice" if due_at(invoice, 0) is not None else "charge_automatically"
    if given and method != "send_invoice":
        text_ = f"You can only set `{given[0]}` if `collection_method` is `send_invoice`."
        raise invalid(text_, given[0])
    if len(given) > 1:
        raise invalid("You may only specify one of due_date and days_until_due.", "due_date")
    if form.number is not None:
        taken = [row for row in act.account.store.list("invoice") if row is not invoice]
        if any(row.fields["number"] == form.number for row in taken):
            raise refused(f"The invoice number {form.number} is already in use.", param="number")


def _changes(act: Act, form: InvoiceUpdate, invoice: Record) -> Fields:
    hidden = {"automatic_tax", "days_until_due", "default_tax_rates", "metadata"}
    changes: Fields = form.model_dump(mode="json", include=form.model_fields_set - hidden)
    if form.given("metadata"):
        changes["metadata"] = merged(invoice.fields["metadata"], form.metadata)
    if form.given("default_tax_rates"):
        rates_of(act.account, form.default_tax_rates or [], "default_tax_rates")
        changes["_default_tax_rates"] = list(form.default_tax_rates or [])
    if form.given("auto_advance") or form.given("automatically_finalizes_at"):
        changes["automatically_finalizes_at"] = _finalizes_at(act, form)
    dated = {"collection_method", "days_until_due", "due_date"}
    if dated & form.model_fields_set:
        if not form.given("collection_method"):
            form.collection_method = "send_invoice"
        changes["due_date"] = _due_date(form, number(invoice.fields, "created"))
        changes["_days_until_due"] = form.days_until_due
    return changes


def _custom_fields(form: InvoiceUpdate) -> list[JsonValue] | None:
    return None if form.custom_fields is None else [f.model_dump() for f in form.custom_fields]


def _due_date(form: InvoiceUpdate, created: int) -> int | None:
    if form.collection_method != "send_invoice":
        return None
    if form.due_date is not None:
        return form.due_date
    days = DAYS_UNTIL_DUE if form.days_until_due is None else form.days_until_due
    return created + days * DAY_SECONDS


def _finalizes_at(act: Act, form: InvoiceUpdate) -> int | None:
    if form.automatically_finalizes_at is not None:
        return form.automatically_finalizes_at
    return act.now + AUTO_FINALIZE_SECONDS if form.auto_advance else None


def _revise(act: Act, form: InvoiceForm, of: str) -> Fields:
    """Make a draft which, once finalized, voids the open invoice that it revises."""
    old = act.find("invoice", of, "from_invoice[invoice]")
    if old.fields["status"] != "open":
        raise refused("Only open invoices can be revised.", param="from_invoice[invoice]")
    customer = billable(act, text(old.fields, "customer"))
    form.currency = text(old.fields, "currency")
    more: Fields = {
        "from_invoice": {"action": "revision", "invoice": old.id},
        "_default_tax_rates": old.fields["_default_tax_rates"],
        "collection_method": old.fields["collection_method"],
        "due_date": old.fields["due_date"],
    }
    invoice = make_invoice(act, customer, form, more=more)
    for item in act.account.store.indexed("invoiceitem", "invoice", old.id):
        fields: Fields = {**item.fields, "invoice": invoice.id, "_subscription_item": None}
        fields.pop("metadata")
        act.insert("invoiceitem", fields, _texts(part(item.fields, "metadata")))
    act.update(old, {"latest_revision": invoice.id})
    recount(act, invoice)
    return view(act.account, invoice)


def _texts(metadata: Fields) -> dict[str, str]:
    return {name: str(value) for name, value in metadata.items()}
