"""Subscriptions to fixed fees: the first invoice, renewals by the clock, cancelling (page, 5.5).

Left out: metered prices, trials, changes of items, pausing, schedules.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import Field

from simulators.kit import Record
from simulators.stripe.errors import invalid, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Form, Metadata, merged, plain
from simulators.stripe.invoice_states import finalize_draft
from simulators.stripe.invoices import InvoiceForm, make_invoice, take_pending
from simulators.stripe.listing import listed, searched
from simulators.stripe.money import rates_of, rounded
from simulators.stripe.parties import billable
from simulators.stripe.payments import CARDS, charge
from simulators.stripe.state import Act, Fields, names, number, part, text
from simulators.stripe.totals import recount
from simulators.stripe.views import view

URL = "/v1/subscriptions"
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


class Item(Form):
    metadata: Metadata = None
    price: str
    quantity: int = Field(default=1, ge=0)
    tax_rates: list[str] | None = None


class SubscriptionUpdate(Form):
    cancel_at_period_end: bool = False
    days_until_due: int | None = Field(default=None, ge=0)
    default_payment_method: str | None = None
    description: str | None = None
    metadata: Metadata = None


class SubscriptionForm(SubscriptionUpdate):
    billing_cycle_anchor: int | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] = "charge_automatically"
    currency: str | None = None
    customer: str
    default_tax_rates: list[str] | None = None
    items: list[Item] = Field(min_length=1, max_length=20)
    payment_behavior: Literal["allow_incomplete", "error_if_incomplete"] = "allow_incomplete"
    proration_behavior: Literal["create_prorations", "none"] = "create_prorations"


class CancelForm(Form):
    invoice_now: bool = False
    prorate: bool = False


def create(act: Act) -> Fields:
    """`POST /v1/subscriptions`: a first invoice comes at once, for whole periods from now."""
    form = act.read(SubscriptionForm)
    customer = billable(act, form.customer)
    prices = [_price(act, item) for item in form.items]
    rates_of(act.account, form.default_tax_rates or [], "default_tax_rates")
    if form.billing_cycle_anchor not in {None, act.now}:
        raise refused("Another billing_cycle_anchor than now is not simulated.")
    automatic = form.collection_method == "charge_automatically"
    inherited = text(part(customer.fields, "invoice_settings"), "default_payment_method")
    method = form.default_payment_method or inherited
    if automatic and not method:
        text_ = "This customer has no attached payment source or default payment method."
        raise refused(f"{text_} Please consider adding one.", "resource_missing")
    if form.payment_behavior == "error_if_incomplete" and automatic and method not in CARDS:
        raise refused("The payment method would decline.", "card_declined")
    subscription = act.insert("subscription", _fields(act, form, prices[0]), form.metadata)
    for item, price in zip(form.items, prices, strict=True):
        _insert_item(act, subscription, item, price)
    if customer.fields["currency"] is None:
        act.account.store.update(customer, {"currency": prices[0].fields["currency"]})
    invoice = bill(act, subscription, "subscription_create")
    status = "active"
    if automatic:
        finalize_draft(act, invoice)
        if invoice.fields["status"] == "open" and charge(act, invoice, method) is not None:
            status = "incomplete"
    act.update(subscription, {"status": status})
    tell(act, "customer.subscription.created", subscription)
    return view(act.account, subscription)


def update(act: Act) -> Fields:
    """`POST /v1/subscriptions/{id}`: metadata and how it ends; items stay."""
    subscription = act.find("subscription")
    form = act.read(SubscriptionUpdate)
    changes: Fields = form.model_dump(mode="json", include=form.model_fields_set - {"metadata"})
    if form.given("metadata"):
        changes["metadata"] = merged(subscription.fields["metadata"], form.metadata)
    changed(act, "customer.subscription.updated", subscription, changes)
    return view(act.account, subscription)


def cancel(act: Act) -> Fields:
    """`DELETE /v1/subscriptions/{id}`: now; `prorate` credits the rest of the period."""
    subscription = act.find("subscription")
    form = act.read(CancelForm)
    if subscription.fields["status"] == "canceled":
        raise refused("The subscription is already canceled.", "resource_missing")
    if form.prorate:
        for item in _items(act, subscription):
            _credit_rest(act, subscription, item)
    if form.invoice_now:
        invoice = _draft(act, subscription, "subscription_cycle")
        take_pending(act, invoice)
        recount(act, invoice)
    _end(act, subscription)
    return view(act.account, subscription)


def cancel_all(act: Act, customer: str) -> None:
    """Cancel everything a customer subscribes to, since the customer is deleted."""
    for subscription in act.account.store.indexed("subscription", "live", "yes"):
        if subscription.fields["customer"] == customer:
            _end(act, subscription)


def renew(act: Act, subscription: Record) -> None:
    """Bill every period that has begun, or end where that was wished."""
    while subscription.fields["status"] == "active":
        ends = max(number(item.fields, "current_period_end") for item in _items(act, subscription))
        if ends > act.now:
            return
        if subscription.fields["cancel_at_period_end"]:
            _end(act, subscription)
            return
        for item in _items(act, subscription):
            price = act.find("price", text(item.fields, "price"))
            span: Fields = {
                "current_period_start": ends,
                "current_period_end": _after(ends, part(price.fields, "recurring")),
            }
            act.account.store.update(item, span)
        bill(act, subscription, "subscription_cycle")
        tell(act, "customer.subscription.updated", subscription)


def read_one(act: Act) -> Fields:
    """`GET /v1/subscriptions/{id}`."""
    return view(act.account, act.find("subscription"))


def read_all(act: Act) -> Fields:
    """`GET /v1/subscriptions`: without cancelled ones unless `status` asks for them."""
    wanted = act.params.pop("status", None)
    rows = act.account.store.list("subscription")
    if wanted is None:
        rows = [row for row in rows if row.fields["status"] != "canceled"]
    elif wanted != "all":
        rows = [row for row in rows if row.fields["status"] == wanted]
    return listed(act, URL, rows, ("collection_method", "created", "customer"))


def read_items(act: Act) -> Fields:
    """`GET /v1/subscription_items?subscription=`."""
    url = "/v1/subscription_items"
    return listed(act, url, act.account.store.list("subscription_item"), ("subscription",))


def search(act: Act) -> Fields:
    """`GET /v1/subscriptions/search`."""
    return searched(act, "subscription", f"{URL}/search")


def bill(act: Act, subscription: Record, reason: str) -> Record:
    """Create the invoice of the current period, a draft that finalizes itself."""
    invoice = _draft(act, subscription, reason)
    for item in _items(act, subscription):
        price = act.find("price", text(item.fields, "price"))
        _insert_line(act, subscription, item, price, invoice)
    take_pending(act, invoice)
    recount(act, invoice)
    return invoice


def _draft(act: Act, subscription: Record, reason: str) -> Record:
    fields = subscription.fields
    days = fields["days_until_due"]
    form = InvoiceForm(
        auto_advance=True,
        currency=text(fields, "currency"),
        collection_method="send_invoice" if isinstance(days, int) else "charge_automatically",
        days_until_due=days if isinstance(days, int) else None,
        default_payment_method=text(fields, "default_payment_method") or None,
        default_tax_rates=names(fields, "_default_tax_rates"),
    )
    details: Fields = {"metadata": fields["metadata"], "subscription": subscription.id}
    more: Fields = {
        "parent": {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": details,
        },
        "_subscription": subscription.id,
    }
    customer = billable(act, text(fields, "customer"))
    invoice = make_invoice(act, customer, form, reason, more)
    act.account.store.update(subscription, {"latest_invoice": invoice.id})
    return invoice


def _fields(act: Act, form: SubscriptionForm, price: Record) -> Fields:
    nulls = (
        "application application_fee_percent billing_cycle_anchor_config billing_thresholds"
        " cancel_at canceled_at cancellation_details customer_account default_source ended_at"
        " latest_invoice next_pending_invoice_item_invoice on_behalf_of pause_collection"
        " payment_settings pending_invoice_item_interval pending_setup_intent pending_update"
        " schedule test_clock transfer_data trial_end trial_settings trial_start"
    )
    days = form.days_until_due
    if form.collection_method == "send_invoice" and days is None:
        text_ = "Missing required param: days_until_due."
        raise invalid(text_, "days_until_due", "parameter_missing")
    return {
        **dict.fromkeys(nulls.split()),
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": act.now,
        "billing_mode": {"type": "flexible"},
        "cancel_at_period_end": form.cancel_at_period_end,
        "collection_method": form.collection_method,
        "currency": price.fields["currency"],
        "customer": form.customer,
        "days_until_due": days,
        "default_payment_method": form.default_payment_method,
        "default_tax_rates": [
            view(act.account, rate) for rate in rates_of(act.account, form.default_tax_rates or [])
        ],
        "description": form.description,
        "discounts": [],
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "start_date": act.now,
        "status": "incomplete",
        "_default_tax_rates": list(form.default_tax_rates or []),
    }


def _price(act: Act, item: Item) -> Record:
    price = act.find("price", item.price, "items[0][price]")
    if price.fields["type"] != "recurring":
        raise refused("The price specified is set to `type=one_time`.", param="items[0][price]")
    return price


def _insert_item(act: Act, subscription: Record, item: Item, price: Record) -> None:
    fields: Fields = {
        "billing_thresholds": None,
        "current_period_end": _after(act.now, part(price.fields, "recurring")),
        "current_period_start": act.now,
        "discounts": [],
        "price": price.id,
        "quantity": item.quantity,
        "subscription": subscription.id,
        "tax_rates": list(item.tax_rates or []),
    }
    act.insert("subscription_item", fields, item.metadata)


def _insert_line(
    act: Act, subscription: Record, item: Record, price: Record, invoice: Record
) -> None:
    """Put a period of an item on an invoice."""
    many = number(item.fields, "quantity")
    unit = Decimal(text(price.fields, "unit_amount_decimal"))
    product = act.find("product", text(price.fields, "product"))
    fields: Fields = {
        **_line_base(act, subscription, item),
        "amount": rounded(unit * many),
        "description": f"{many} × {product.fields['name']}",
        "invoice": invoice.id,
        "period": {
            "end": item.fields["current_period_end"],
            "start": item.fields["current_period_start"],
        },
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price.id, "product": product.id},
            "unit_amount_decimal": plain(unit),
        },
        "proration": False,
        "quantity": many,
        "quantity_decimal": str(many),
    }
    act.insert("invoiceitem", fields)


def _credit_rest(act: Act, subscription: Record, item: Record) -> None:
    """Leave a pending credit for the part of the period that is not used."""
    price = act.find("price", text(item.fields, "price"))
    start = number(item.fields, "current_period_start")
    end = number(item.fields, "current_period_end")
    unit = Decimal(text(price.fields, "unit_amount_decimal"))
    whole = unit * number(item.fields, "quantity")
    amount = -rounded(whole * (end - act.now) / (end - start))
    fields: Fields = {
        **_line_base(act, subscription, item),
        "amount": amount,
        "description": "Unused time",
        "invoice": None,
        "period": {"end": end, "start": act.now},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price.id, "product": price.fields["product"]},
            "unit_amount_decimal": str(amount),
        },
        "proration": True,
        "quantity": 1,
        "quantity_decimal": "1",
        "_subscription_item": None,
    }
    act.insert("invoiceitem", fields)


def _line_base(act: Act, subscription: Record, item: Record) -> Fields:
    return {
        "currency": subscription.fields["currency"],
        "customer": subscription.fields["customer"],
        "date": act.now,
        "discountable": False,
        "discounts": [],
        "frozen_fields": [],
        "invoicing_rules": [],
        "parent": None,
        "proration_details": None,
        "tax_rates": item.fields["tax_rates"],
        "test_clock": None,
        "_subscription": subscription.id,
        "_subscription_item": item.id,
        "_was_pending": False,
    }


def _items(act: Act, subscription: Record) -> list[Record]:
    return act.account.store.indexed("subscription_item", "subscription", subscription.id)


def _end(act: Act, subscription: Record) -> None:
    act.update(subscription, {"status": "canceled", "canceled_at": act.now, "ended_at": act.now})
    tell(act, "customer.subscription.deleted", subscription)


def _after(start: int, recurring: Fields) -> int:
    """Return the end of a period; the 31st becomes the month's last day."""
    interval, count = text(recurring, "interval"), number(recurring, "interval_count")
    moment = datetime.fromtimestamp(start, UTC)
    if interval in _DAYS:
        return int((moment + timedelta(days=_DAYS[interval] * count)).timestamp())
    months = moment.month - 1 + _MONTHS[interval] * count
    year, month = moment.year + months // 12, months % 12 + 1
    first = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    day = min(moment.day, (first - timedelta(days=1)).day)
    return int(moment.replace(year=year, month=month, day=day).timestamp())
