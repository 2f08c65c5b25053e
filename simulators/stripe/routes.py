"""The paths of `/v1` and their endpoints."""

from collections.abc import Sequence
from functools import partial

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
from simulators.stripe.service import Endpoint

Row = tuple[str, str, Endpoint]


def _catalog(kind: str, url: str, create: Endpoint, searched: bool) -> list[Row]:
    rows: list[Row] = [
        ("POST", url, create),
        ("GET", url, partial(catalog.read_all, kind=kind)),
        ("GET", f"{url}/{{id}}", partial(catalog.read_one, kind=kind)),
        ("POST", f"{url}/{{id}}", partial(catalog.update, kind=kind)),
    ]
    if searched:
        rows.insert(0, ("GET", f"{url}/search", partial(catalog.search, kind=kind)))
    return rows


def _payment(kind: str, url: str) -> list[Row]:
    return [
        ("GET", url, partial(payments.read_all, kind=kind)),
        ("GET", f"{url}/{{id}}", partial(payments.read_one, kind=kind)),
    ]


_INVOICE = f"{invoices.URL}/{{id}}"
_NOTE = f"{credit_notes.URL}/{{id}}"
_METER = f"{meters.URL}/{{id}}"

ROUTES: Sequence[Row] = (
    ("POST", customers.URL, customers.create),
    ("GET", customers.URL, customers.read_all),
    ("GET", f"{customers.URL}/search", customers.search),
    ("GET", f"{customers.URL}/{{id}}", customers.read_one),
    ("POST", f"{customers.URL}/{{id}}", customers.update),
    ("DELETE", f"{customers.URL}/{{id}}", customers.delete),
    ("POST", items.URL, items.create),
    ("GET", items.URL, items.read_all),
    ("GET", f"{items.URL}/{{id}}", items.read_one),
    ("POST", f"{items.URL}/{{id}}", items.update),
    ("DELETE", f"{items.URL}/{{id}}", items.delete),
    ("POST", invoices.URL, invoices.create),
    ("GET", invoices.URL, invoices.read_all),
    ("GET", f"{invoices.URL}/search", invoices.search),
    ("GET", _INVOICE, invoices.read_one),
    ("POST", _INVOICE, invoices.update),
    ("DELETE", _INVOICE, invoices.delete),
    ("GET", f"{_INVOICE}/lines", items.read_lines),
    ("POST", f"{_INVOICE}/lines/{{line}}", items.update_line),
    ("POST", f"{_INVOICE}/add_lines", items.add_lines),
    ("POST", f"{_INVOICE}/update_lines", items.update_lines),
    ("POST", f"{_INVOICE}/remove_lines", items.remove_lines),
    ("POST", f"{_INVOICE}/finalize", invoice_states.finalize),
    ("POST", f"{_INVOICE}/send", invoice_states.send),
    ("POST", f"{_INVOICE}/void", invoice_states.void),
    ("POST", f"{_INVOICE}/mark_uncollectible", invoice_states.mark_uncollectible),
    ("POST", f"{_INVOICE}/pay", payments.pay),
    ("POST", f"{_INVOICE}/attach_payment", payments.attach_payment),
    *_payment("invoice_payment", payments.URL),
    ("POST", "/v1/payment_intents", payments.create_intent),
    *_payment("payment_intent", "/v1/payment_intents"),
    ("POST", "/v1/refunds", payments.create_refund),
    *_payment("refund", "/v1/refunds"),
    *_payment("dispute", "/v1/disputes"),
    ("POST", credit_notes.URL, credit_notes.create),
    ("GET", credit_notes.URL, credit_notes.read_all),
    ("GET", f"{credit_notes.URL}/preview", credit_notes.preview),
    ("GET", _NOTE, credit_notes.read_one),
    ("POST", _NOTE, credit_notes.update),
    ("GET", f"{_NOTE}/lines", credit_notes.read_lines),
    ("POST", f"{_NOTE}/void", credit_notes.void),
    *_catalog("product", "/v1/products", catalog.create_product, True),
    *_catalog("price", "/v1/prices", catalog.create_price, True),
    *_catalog("tax_rate", "/v1/tax_rates", catalog.create_tax_rate, False),
    ("POST", meters.URL, meters.create),
    ("GET", meters.URL, meters.read_all),
    ("GET", _METER, meters.read_one),
    ("POST", _METER, meters.update),
    ("POST", f"{_METER}/deactivate", partial(meters.switch, status="inactive")),
    ("POST", f"{_METER}/reactivate", partial(meters.switch, status="active")),
    ("GET", f"{_METER}/event_summaries", meters.summaries),
    ("POST", "/v1/billing/meter_events", meters.create_event),
    ("POST", "/v1/billing/meter_event_adjustments", meters.adjust),
    ("POST", subscriptions.URL, subscriptions.create),
    ("GET", subscriptions.URL, subscriptions.read_all),
    ("GET", f"{subscriptions.URL}/search", subscriptions.search),
    ("GET", f"{subscriptions.URL}/{{id}}", subscriptions.read_one),
    ("POST", f"{subscriptions.URL}/{{id}}", subscriptions.update),
    ("DELETE", f"{subscriptions.URL}/{{id}}", subscriptions.cancel),
    ("GET", "/v1/subscription_items", subscriptions.read_items),
    ("GET", "/v1/events", webhooks.read_events),
    ("GET", "/v1/events/{id}", webhooks.read_event),
    ("POST", webhooks.URL, webhooks.create),
    ("GET", webhooks.URL, webhooks.read_all),
    ("GET", f"{webhooks.URL}/{{id}}", webhooks.read_one),
    ("POST", f"{webhooks.URL}/{{id}}", webhooks.update),
    ("DELETE", f"{webhooks.URL}/{{id}}", webhooks.delete),
)
