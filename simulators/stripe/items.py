"""Invoice items: pending lines, and the lines of drafts (vendor page, 5.2 and 5.3)."""

from decimal import Decimal

from pydantic import Field

from simulators.kit import Record
from simulators.stripe.catalog import PriceData, TaxBehavior, make_price
from simulators.stripe.errors import invalid, refused
from simulators.stripe.events import changed, tell
from simulators.stripe.forms import Amount, Fine, Form, Metadata, merged, plain
from simulators.stripe.listing import Page, listed, paged
from simulators.stripe.money import currency_of, rates_of, rounded
from simulators.stripe.parties import billable
from simulators.stripe.state import Act, Fields, item_id, part, text
from simulators.stripe.totals import recount
from simulators.stripe.views import items_of, line_view, view

URL = "/v1/invoiceitems"
ITEMS_MAX = 250
"""On one invoice."""


class Period(Form):
    end: int
    start: int


class Pricing(Form):
    price: str | None = None


class LineForm(Form):
    """What a line may be given, whether by itself or as an item."""

    amount: Amount | None = None
    description: str | None = None
    discountable: bool = True
    metadata: Metadata = None
    period: Period | None = None
    price_data: PriceData | None = None
    pricing: Pricing | None = None
    quantity: int | None = Field(default=None, ge=0)
    quantity_decimal: Fine | None = Field(default=None, ge=0)
    tax_rates: list[str] | None = None
    unit_amount_decimal: Fine | None = None


class ItemForm(LineForm):
    currency: str | None = None
    customer: str
    invoice: str | None = None
    subscription: str | None = None
    tax_behavior: TaxBehavior | None = None


class ItemUpdate(LineForm):
    tax_behavior: TaxBehavior | None = None


class AddedLine(LineForm):
    invoice_item: str | None = None


class ChangedLine(LineForm):
    id: str


class AddLines(Form):
    invoice_metadata: Metadata = None
    lines: list[AddedLine]


class ChangeLines(Form):
    invoice_metadata: Metadata = None
    lines: list[ChangedLine]


class RemovedLine(Form):
    behavior: str = "delete"
    id: str


class RemoveLines(Form):
    invoice_metadata: Metadata = None
    lines: list[RemovedLine]


def create(act: Act) -> Fields:
    """`POST /v1/invoiceitems`: pending, or on the draft that is named."""
    form = act.read(ItemForm)
    customer = billable(act, form.customer)
    invoice = None if form.invoice is None else act.find("invoice", form.invoice, "invoice")
    if invoice is not None and invoice.fields["customer"] != customer.id:
        raise refused("The invoice belongs to another customer.", param="invoice")
    item = make_item(act, form, customer, invoice, form.currency)
    if invoice is not None:
        recount(act, invoice)
    return view(act.account, item)


def update(act: Act) -> Fields:
    """`POST /v1/invoiceitems/{id}`, while pending or on a draft."""
    item = act.find("invoiceitem")
    invoice = _open_to_change(act, item)
    _change(act, item, act.read(ItemUpdate))
    if invoice is not None:
        recount(act, invoice)
    return view(act.account, item)


def delete(act: Act) -> Fields:
    """`DELETE /v1/invoiceitems/{id}`, while pending or on a draft."""
    item = act.find("invoiceitem")
    invoice = _open_to_change(act, item)
    tell(act, "invoiceitem.deleted", item)
    stub = act.delete(item)
    if invoice is not None:
        recount(act, invoice)
    return stub


def read_one(act: Act) -> Fields:
    """`GET /v1/invoiceitems/{id}`."""
    return view(act.account, act.find("invoiceitem"))


def read_all(act: Act) -> Fields:
    """`GET /v1/invoiceitems`; `pending` tells those on no invoice."""
    pending = act.params.pop("pending", None)
    rows = act.account.store.list("invoiceitem")
    rows = [row for row in rows if row.fields["_subscription_item"] is None]
    if pending is not None:
        wanted = str(pending).lower() == "true"
        rows = [row for row in rows if (row.fields["invoice"] is None) == wanted]
    return listed(act, URL, rows, ("created", "customer", "invoice"))


def read_lines(act: Act) -> Fields:
    """`GET /v1/invoices/{id}/lines`, in the order of the lines."""
    invoice = act.find("invoice")
    rows = items_of(act.account, invoice)
    return paged(act, f"/v1/invoices/{invoice.id}/lines", act.read(Page), rows, line_view)


def add_lines(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/add_lines`: new lines, or pending items; all or none."""
    invoice = draft(act)
    form = act.read(AddLines)
    customer = billable(act, text(invoice.fields, "customer"))
    for line in form.lines:
        if line.invoice_item is None:
            make_item(act, line, customer, invoice, None)
            continue
        item = act.find("invoiceitem", line.invoice_item, "lines[invoice_item]")
        if item.fields["invoice"] is not None:
            raise refused("The invoice item is already attached to an invoice.", param="lines")
        attach(act, item, invoice)
        _change(act, item, line)
    return _answer(act, invoice, form.invoice_metadata)


def update_lines(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/update_lines`."""
    invoice = draft(act)
    form = act.read(ChangeLines)
    for line in form.lines:
        _change(act, _line(act, invoice, line.id), line)
    return _answer(act, invoice, form.invoice_metadata)


def remove_lines(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/remove_lines`: deleted, or pending again by `unassign`."""
    invoice = draft(act)
    form = act.read(RemoveLines)
    for line in form.lines:
        item = _line(act, invoice, line.id)
        if line.behavior == "unassign":
            changed(act, "invoiceitem.updated", item, {"invoice": None})
        elif line.behavior == "delete":
            act.delete(item)
        else:
            raise invalid("Invalid behavior: must be one of delete or unassign", "lines")
    return _answer(act, invoice, form.invoice_metadata)


def update_line(act: Act) -> Fields:
    """`POST /v1/invoices/{id}/lines/{line}`."""
    invoice = draft(act)
    item = _line(act, invoice, act.part)
    _change(act, item, act.read(LineForm))
    recount(act, invoice)
    return line_view(act.account, item)


def draft(act: Act) -> Record:
    """Return the invoice in the path, if its lines may still change.

    Raises:
        Refusal: it is finalized.
    """
    invoice = act.find("invoice")
    _check_draft(invoice)
    return invoice


def attach(act: Act, item: Record, invoice: Record) -> None:
    """Put a pending item on a draft.

    Raises:
        Refusal: other currency, or too many items.
    """
    if item.fields["currency"] != invoice.fields["currency"]:
        text_ = (
            f"The currency of the invoice item ({item.fields['currency']}) differs from that of the"
            f" invoice ({invoice.fields['currency']})."
        )
        raise refused(text_, param="currency")
    if len(items_of(act.account, invoice)) >= ITEMS_MAX:
        raise refused(f"An invoice can have at most {ITEMS_MAX} invoice items.", param="invoice")
    act.update(item, {"invoice": invoice.id, "_was_pending": True})


def make_item(
    act: Act, form: LineForm, customer: Record, invoice: Record | None, currency: str | None
) -> Record:
    """Create an item, pending or on a draft."""
    if invoice is not None:
        _check_draft(invoice)
    priced = _priced(act, form)
    inherited = text(customer.fields if invoice is None else invoice.fields, "currency")
    own = currency or text(priced, "_currency") or inherited
    if not own:
        raise invalid("Missing required param: currency.", "currency", "parameter_missing")
    rates_of(act.account, form.tax_rates or [])
    period: Fields = {"end": act.now, "start": act.now}
    fields: Fields = {
        "amount": 0,
        "currency": currency_of(own),
        "customer": customer.id,
        "date": act.now,
        "description": form.description,
        "discountable": form.discountable and (form.amount or 0) >= 0,
        "discounts": [],
        "frozen_fields": [],
        "invoice": None,
        "invoicing_rules": [],
        "parent": None,
        "period": _period(form) or period,
        "proration": False,
        "proration_details": None,
        "tax_rates": list(form.tax_rates or []),
        "test_clock": None,
        "_subscription": getattr(form, "subscription", None),
        "_subscription_item": None,
        "_was_pending": False,
        **{name: value for name, value in priced.items() if name != "_currency"},
    }
    if text(priced, "_currency") not in {"", fields["currency"]}:
        raise refused("The price has another currency than the invoice item.", param="currency")
    item = act.insert("invoiceitem", fields, form.metadata)
    if invoice is not None:
        attach(act, item, invoice)
        act.update(item, {"_was_pending": False})
    tell(act, "invoiceitem.created", item)
    return item


def _priced(act: Act, form: LineForm) -> Fields:
    """Return amount, quantity and pricing: by the amount, or by quantity and unit price."""
    quantity = form.quantity_decimal if form.quantity_decimal is not None else form.quantity
    many = Decimal(1 if quantity is None else quantity)
    record, unit = _unit_price(act, form)
    given = [form.amount is not None, unit is not None]
    if given.count(True) != 1:
        text_ = "You must specify exactly one of amount, pricing, price_data, unit_amount_decimal."
        raise invalid(text_, "amount", "parameter_missing" if not any(given) else None)
    if form.amount is not None:
        if quantity is not None:
            raise invalid("You may not give a quantity together with an amount.", "quantity")
        amount, unit = form.amount, Decimal(form.amount)
    else:
        unit = unit or Decimal(0)
        amount = rounded(unit * many)
    details: Fields | None = None
    if record is not None:
        details = {"price": record.id, "product": record.fields["product"]}
    return {
        "amount": amount,
        "quantity": int(many) if many == many.to_integral_value() else rounded(many),
        "quantity_decimal": plain(many),
        "pricing": {
            "type": "price_details",
            "price_details": details,
            "unit_amount_decimal": plain(unit or Decimal(0)),
        },
        "_currency": None if record is None else record.fields["currency"],
    }


def _unit_price(act: Act, form: LineForm) -> tuple[Record | None, Decimal | None]:
    ways = [form.price_data, form.pricing and form.pricing.price, form.unit_amount_decimal]
    if sum(way is not None for way in ways) > 1:
        raise invalid("You may only give one of pricing, price_data, unit_amount_decimal.")
    record = None
    if form.price_data is not None:
        record = make_price(act, form.price_data, {"active": False})
    elif form.pricing is not None and form.pricing.price is not None:
        record = act.find("price", form.pricing.price, "pricing[price]")
        if record.fields["type"] != "one_time":
            raise refused("The price specified is set to `type=recurring`.", param="pricing[price]")
    if record is None:
        return None, form.unit_amount_decimal
    return record, Decimal(text(record.fields, "unit_amount_decimal"))


def _change(act: Act, item: Record, form: LineForm) -> None:
    """Change what is given; the amount is worked out anew from the price that stays."""
    changes: Fields = {}
    for name in ("description", "discountable"):
        if form.given(name):
            changes[name] = getattr(form, name)
    if form.given("period") and form.period is not None:
        changes["period"] = _period(form)
    if form.given("tax_rates"):
        rates_of(act.account, form.tax_rates or [])
        changes["tax_rates"] = list(form.tax_rates or [])
    if form.given("metadata"):
        changes["metadata"] = merged(item.fields["metadata"], form.metadata)
    priced = {"amount", "price_data", "pricing", "unit_amount_decimal"} & form.model_fields_set
    quantity = {"quantity", "quantity_decimal"} & form.model_fields_set
    if priced:
        new = _priced(act, form)
        if new.pop("_currency") not in {None, item.fields["currency"]}:
            raise refused("The price has another currency than the line.", param="pricing")
        changes |= new
    elif quantity:
        unit = Decimal(text(part(item.fields, "pricing"), "unit_amount_decimal"))
        many = form.quantity_decimal if form.quantity_decimal is not None else form.quantity
        count = Decimal(1 if many is None else many)
        changes["amount"] = rounded(unit * count)
        changes["quantity"] = rounded(count)
        changes["quantity_decimal"] = plain(count)
    changed(act, "invoiceitem.updated", item, changes)


def _open_to_change(act: Act, item: Record) -> Record | None:
    invoice = act.account.store.get("invoice", text(item.fields, "invoice"))
    if invoice is not None:
        _check_draft(invoice)
    return invoice


def _check_draft(invoice: Record) -> None:
    if invoice.fields["status"] != "draft":
        text_ = "This invoice is no longer editable: its lines can only change while it is a draft."
        raise refused(text_, "invoice_not_editable")


def _line(act: Act, invoice: Record, id_: str) -> Record:
    item = act.account.store.get("invoiceitem", item_id(id_))
    if item is None or item.fields["invoice"] != invoice.id:
        raise invalid(f"No such line item: '{id_}'", "lines", "resource_missing")
    return item


def _answer(act: Act, invoice: Record, metadata: Metadata) -> Fields:
    if metadata is not None:
        act.update(invoice, {"metadata": merged(invoice.fields["metadata"], metadata)})
    recount(act, invoice)
    return view(act.account, invoice)


def _period(form: LineForm) -> Fields | None:
    if form.period is None:
        return None
    if form.period.end < form.period.start:
        raise invalid("The end of the period must not be before its start.", "period")
    return {"end": form.period.end, "start": form.period.start}
