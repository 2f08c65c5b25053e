"""Customers (vendor page, 5.1)."""

import hashlib
from typing import Literal

from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Amount, Form, Metadata, merged
from simulators.stripe.listing import listed, searched
from simulators.stripe.state import Act, Fields
from simulators.stripe.subscriptions import cancel_all
from simulators.stripe.views import view

URL = "/v1/customers"
_FILTERS = ("created", "email")


class Address(Form):
    city: str | None = None
    country: str | None = None
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    state: str | None = None


class Shipping(Form):
    address: Address
    name: str
    phone: str | None = None


class InvoiceSettings(Form):
    custom_fields: list[dict[str, str]] | None = None
    default_payment_method: str | None = None
    footer: str | None = None


class CustomerForm(Form):
    address: Address | None = None
    balance: Amount = 0
    description: str | None = None
    email: str | None = None
    invoice_prefix: str | None = None
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata = None
    name: str | None = None
    next_invoice_sequence: int = 1
    payment_method: str | None = None
    phone: str | None = None
    preferred_locales: list[str] | None = None
    shipping: Shipping | None = None
    tax_exempt: Literal["exempt", "none", "reverse"] | None = None


def create(act: Act) -> Fields:
    """`POST /v1/customers`; nothing about a customer is unique."""
    form = act.read(CustomerForm)
    fields: Fields = {
        "address": _address(form),
        "balance": form.balance,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": form.description,
        "discount": None,
        "email": form.email,
        "invoice_prefix": form.invoice_prefix,
        "invoice_settings": _invoice_settings(form),
        "name": form.name,
        "next_invoice_sequence": form.next_invoice_sequence,
        "phone": form.phone,
        "preferred_locales": list(form.preferred_locales or []),
        "shipping": None if form.shipping is None else form.shipping.model_dump(mode="json"),
        "tax_exempt": form.tax_exempt or "none",
        "test_clock": None,
    }
    customer = act.insert("customer", fields, form.metadata)
    if form.invoice_prefix is None:
        prefix = hashlib.sha256(customer.id.encode()).hexdigest()[:8].upper()
        act.account.store.update(customer, {"invoice_prefix": prefix})
    tell(act, "customer.created", customer)
    return view(act.account, customer)


def update(act: Act) -> Fields:
    """`POST /v1/customers/{id}`: what is given is changed, metadata is merged."""
    customer = act.find("customer")
    form = act.read(CustomerForm)
    plain = form.model_dump(mode="json", include=form.model_fields_set - {"payment_method"})
    changes: Fields = {name: value for name, value in plain.items() if name != "metadata"}
    if form.given("metadata"):
        changes["metadata"] = merged(customer.fields["metadata"], form.metadata)
    if form.given("invoice_settings"):
        changes["invoice_settings"] = _invoice_settings(form)
    if form.given("tax_exempt"):
        changes["tax_exempt"] = form.tax_exempt or "none"
    changed(act, "customer.updated", customer, changes)
    return view(act.account, customer)


def delete(act: Act) -> Fields:
    """`DELETE /v1/customers/{id}`: cancels subscriptions, keeps invoices, cannot be undone."""
    customer = act.find("customer")
    cancel_all(act, customer.id)
    for item in act.account.store.indexed("invoiceitem", "customer", customer.id):
        act.delete(item)
    tell(act, "customer.deleted", customer)
    return act.delete(customer)


def read_one(act: Act) -> Fields:
    """`GET /v1/customers/{id}`; a deleted one is answered as its stub."""
    gone = act.account.store.get("customer", act.target, dead=True)
    if gone is not None and not gone.live:
        return {"id": gone.id, "object": "customer", "deleted": True}
    return view(act.account, act.find("customer"))


def read_all(act: Act) -> Fields:
    """`GET /v1/customers`."""
    return listed(act, URL, act.account.store.list("customer"), _FILTERS)


def search(act: Act) -> Fields:
    """`GET /v1/customers/search`."""
    return searched(act, "customer", f"{URL}/search")


def _address(form: CustomerForm) -> Fields | None:
    return None if form.address is None else form.address.model_dump(mode="json")


def _invoice_settings(form: CustomerForm) -> Fields:
    given = form.invoice_settings or InvoiceSettings()
    shown: Fields = given.model_dump(mode="json")
    if shown["default_payment_method"] is None:
        shown["default_payment_method"] = form.payment_method
    return {**shown, "rendering_options": None}
