"""Objects as Stripe shows them: with id, `object`, and the lists that hang on them."""

from collections.abc import Sequence

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.stripe.money import Tax, rates_of, taxes_on
from simulators.stripe.state import TYPES, Fields, line_id, names, number, part, text

EMBEDDED_LINES_MAX = 10
"""Lines that an invoice carries itself; the rest is paged at its `lines.url`."""
EXPAND_DEPTH_MAX = 4
_HIDDEN = {"credit_note_line_item": ("created",), "invoiceitem": ("created", "tax_rates")}


def view(account: Account, record: Record) -> Fields:
    """Return an object without expansions."""
    if record.type == "billing.meter_event":
        shown: Fields = {"object": record.type}  # it has no id
    else:
        shown = {"id": record.id, "object": record.type}
    hidden = _HIDDEN.get(record.type, ())
    for name, value in record.fields.items():
        if not name.startswith("_") and name not in hidden:
            shown[name] = value
    match record.type:
        case "invoice":
            rows = [line_view(account, item) for item in items_of(account, record)]
            shown["lines"] = embedded(f"/v1/invoices/{record.id}/lines", rows)
        case "invoiceitem":
            shown["tax_rates"] = _rates(account, record)
            shown["net_amount"] = number(record.fields, "amount")
        case "credit_note":
            found = account.store.indexed("credit_note_line_item", "note", record.id)
            rows = [view(account, row) for row in found]
            shown["lines"] = embedded(f"/v1/credit_notes/{record.id}/lines", rows)
        case "credit_note_line_item":
            shown["tax_rates"] = _rates(account, record)
        case "subscription":
            found = account.store.indexed("subscription_item", "subscription", record.id)
            rows = [view(account, row) for row in found]
            url = f"/v1/subscription_items?subscription={record.id}"
            shown["items"] = embedded(url, rows, limit=20)
        case "subscription_item":
            price = account.store.get("price", text(record.fields, "price"))
            shown["price"] = None if price is None else view(account, price)
    return shown


def embedded(url: str, rows: Sequence[Fields], limit: int = EMBEDDED_LINES_MAX) -> Fields:
    """Return the list inside an object: its first rows, and whether there are more."""
    data: list[JsonValue] = [*rows[:limit]]
    return {
        "object": "list",
        "data": data,
        "has_more": len(rows) > limit,
        "total_count": len(rows),
        "url": url,
    }


def items_of(account: Account, invoice: Record) -> list[Record]:
    """Return the items on an invoice, in the order of its lines."""
    return account.store.indexed("invoiceitem", "invoice", invoice.id)


def line_taxes(account: Account, item: Record, invoice: Record) -> list[Tax]:
    """Return the tax on a line: by its own rates, else by the invoice's default ones."""
    own = names(item.fields, "tax_rates") or names(invoice.fields, "_default_tax_rates")
    exempt = text(invoice.fields, "customer_tax_exempt")
    return taxes_on(number(item.fields, "amount"), rates_of(account, own), exempt)


def line_view(account: Account, item: Record) -> Fields:
    """Return an invoice item as the line that it is on its invoice."""
    fields = item.fields
    invoice = account.store.get("invoice", text(fields, "invoice"), dead=True)
    taxes = [] if invoice is None else line_taxes(account, item, invoice)
    amount = number(fields, "amount")
    subscription_item = fields.get("_subscription_item")
    details: Fields = {"proration": fields["proration"], "subscription": fields["_subscription"]}
    if subscription_item is None:
        kind, details = "invoice_item_details", {**details, "invoice_item": item.id}
    else:
        kind = "subscription_item_details"
        details = {**details, "subscription_item": subscription_item, "invoice_item": None}
    return {
        "id": line_id(item),
        "object": "line_item",
        "amount": amount,
        "currency": fields["currency"],
        "description": fields["description"],
        "discount_amounts": [],
        "discountable": fields["discountable"],
        "discounts": [],
        "invoice": fields["invoice"],
        "livemode": False,
        "metadata": fields["metadata"],
        "parent": {
            "type": kind,
            "invoice_item_details": None,
            "subscription_item_details": None,
            kind: details,
        },
        "period": fields["period"],
        "pretax_credit_amounts": [],
        "pricing": fields["pricing"],
        "quantity": fields["quantity"],
        "quantity_decimal": fields["quantity_decimal"],
        "subscription": fields["_subscription"],
        "subtotal": amount,
        "taxes": [tax.view() for tax in taxes],
    }


def expand(account: Account, shown: Fields, paths: Sequence[str]) -> str | None:
    """Replace ids by their objects along each path; return the first path that leads nowhere."""
    for path in paths:
        steps = path.split(".")
        depth = len(steps) - (steps[0] == "data")
        if depth > EXPAND_DEPTH_MAX or not _expand(account, shown, steps):
            return path
    return None


def _expand(account: Account, node: JsonValue, steps: Sequence[str]) -> bool:
    if not steps or node is None:
        return True
    if isinstance(node, list):
        return all(_expand(account, child, steps) for child in node)
    if not isinstance(node, dict):
        return False
    name, rest = steps[0], steps[1:]
    if name == "payments" and node.get("object") == "invoice" and name not in node:
        node[name] = payments_of(account, text(node, "id"))
    if name not in node:
        return False
    child = node[name]
    if isinstance(child, str):
        found = _object(account, child)
        if found is None:
            return False
        node[name] = child = found
    elif not rest and not isinstance(child, dict | list | None):
        return False
    return _expand(account, child, rest)


def payments_of(account: Account, invoice: str) -> Fields:
    """Return the payments of an invoice, which it shows only when they are expanded."""
    found = account.store.indexed("invoice_payment", "invoice", invoice)
    rows = [view(account, row) for row in reversed(found)]
    return embedded(f"/v1/invoice_payments?invoice={invoice}", rows)


def _object(account: Account, id_: str) -> Fields | None:
    kind = TYPES.get(id_.partition("_")[0])
    record = account.store.get(kind, id_, dead=True) if kind is not None else None
    if record is None:
        return None
    if not record.live:
        return {"id": record.id, "object": record.type, "deleted": True}
    return view(account, record)


def _rates(account: Account, record: Record) -> list[JsonValue]:
    rates = rates_of(account, names(record.fields, "tax_rates"))
    return [view(account, rate) for rate in rates]


def default_rates(account: Account, invoice: Record) -> list[JsonValue]:
    """Return the invoice's default tax rates as objects."""
    rates = rates_of(account, names(invoice.fields, "_default_tax_rates"))
    return [view(account, rate) for rate in rates]


def price_of(fields: Fields) -> str | None:
    """Return the price id behind a line's pricing."""
    price = part(part(fields, "pricing"), "price_details").get("price")
    return price if isinstance(price, str) else None
