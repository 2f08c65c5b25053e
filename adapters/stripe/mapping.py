"""Canonical requests to Stripe's form fields; pure.

Sources: vendor page sections 1 (amounts), 5.1 (customer), 5.2 (lines), 5.3 (invoice).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken, Invalid, MissingMapping, Rejected
from adapters.stripe.client import VENDOR
from adapters.stripe.config import StripeConfig
from canonical.ids import ExternalId
from canonical.invoicing import Billee, Invoice, InvoiceLine, IssuedLine, ProvisionInvoice
from canonical.money import Money, minor_digits
from canonical.records import RecordRef

KEY: Final = "dealthread_key"
"""Metadata: our external id, for when the idempotency key is forgotten (section 2)."""
LINE: Final = "dealthread_line"
"""Metadata of a line: which of ours it is."""
NET: Final = "dealthread_net"
"""Metadata of an invoice: its net as asked for, in the smallest unit. Nothing else is issued."""
PO: Final = "PO number"
"""Name of the custom field with the client PO."""
LINES_MAX: Final = 250
"""Items of an invoice (section 5.2)."""
NAME_MAX: Final = 256
"""Length of a customer's name (unverified); a label here, and shortened."""
TEXT_MAX: Final = 500
"""Length of a line's description and of a metadata value (unverified)."""
PO_MAX: Final = 140
"""Length of a custom field's value (unverified)."""

ZERO_DECIMAL: Final = frozenset(
    re.findall("[A-Z]{3}", "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF")
)
THREE_DECIMAL: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
"""Currencies whose smallest unit is not a hundredth at Stripe (the page has jpy; the rest is
unverified). CLDR has others: taking its word for the Serbian dinar would bill a hundredth."""

Form = dict[str, object]


def minor_units(money: Money) -> int:
    """Return an amount in Stripe's smallest unit.

    Raises:
        Invalid: it is finer than that.
    """
    units = money.amount.scaleb(stripe_digits(money.currency))
    if units != units.to_integral_value():
        raise invalid(f"{money} is finer than Stripe keeps {money.currency}.", "amount")
    return int(units)


def stripe_digits(currency: str) -> int:
    """Return how many decimals the smallest unit of a currency is at Stripe."""
    if currency in ZERO_DECIMAL:
        return 0
    if currency in THREE_DECIMAL:
        return 3
    return 2


def money(units: object, currency: str) -> Money:
    """Return an amount of Stripe's.

    Raises:
        ContractBroken: it is no whole number, or the currency does not exist.
    """
    if not isinstance(units, int) or isinstance(units, bool) or minor_digits(currency) is None:
        raise ContractBroken(f"Stripe sent {units!r} {currency!r} as an amount.", vendor=VENDOR)
    try:
        return Money(amount=Decimal(units).scaleb(-stripe_digits(currency)), currency=currency)
    except ValueError as error:
        raise ContractBroken(f"Stripe sent an impossible amount: {error}", vendor=VENDOR) from error


def customer_form(external_id: ExternalId, request: Billee) -> Form:
    """Return the customer to create (section 5.1)."""
    address = request.address
    street = [line.strip() for line in address.street.splitlines() if line.strip()]
    fields = {
        "line1": street[0] if street else "",
        "line2": ", ".join(street[1:]),
        "city": address.city,
        "postal_code": address.postal_code,
        "state": address.region,
        "country": address.country,
    }
    return _given(
        {
            "name": shortened(request.name, NAME_MAX),
            "email": request.billing_email,
            "address": _given(fields),
            "metadata": {KEY: external_id},
        }
    )


def invoice_form(external_id: ExternalId, request: ProvisionInvoice, config: StripeConfig) -> Form:
    """Return the draft to create, without lines (section 5.3); the client is known by then."""
    if len(request.client_po) > PO_MAX:
        raise invalid(f"The client PO is longer than {PO_MAX} characters.", "client_po")
    form = _given(
        {
            "customer": known(request.client),
            "collection_method": "send_invoice",
            "due_date": last_second(request.on + timedelta(days=request.payment_days), config),
            "currency": request.currency.lower(),
            "description": shortened(request.title, TEXT_MAX),
            "pending_invoice_items_behavior": "exclude",
            "metadata": {KEY: external_id, **asked_net(request)},
        }
    )
    # Else Stripe issues the draft by itself after an hour (section 5.3).
    form["auto_advance"] = False
    form["effective_at"] = seconds(request.on, config)
    if request.client_po:
        form["custom_fields"] = [{"name": PO, "value": request.client_po}]
    if config.automatic_tax:
        form["automatic_tax"] = {"enabled": True}
    return form


def asked_net(request: ProvisionInvoice) -> dict[str, str]:
    """Return the metadata by which the net that was asked for is known when it is issued."""
    return {NET: str(sum(minor_units(line.amount) for line in request.lines))}


def lines_form(lines: Sequence[InvoiceLine], config: StripeConfig) -> Form:
    """Return the lines to add (section 5.3; their fields as in 5.2).

    Raises:
        MissingMapping: a tax category has no rates.
    """
    return {"lines": [_line(line, config) for line in lines]}


def _line(line: InvoiceLine, config: StripeConfig) -> Form:
    form: Form = {"metadata": {LINE: line.item}}
    if line.description:
        form["description"] = _fitting(line.description)
    if config.product and line.unit_price >= 0 < line.quantity:
        unit = line.unit_price.scaleb(stripe_digits(line.amount.currency))
        form["quantity_decimal"] = _plain(line.quantity)
        form["price_data"] = {
            "currency": line.amount.currency.lower(),
            "product": config.product,
            "unit_amount_decimal": _plain(unit),
        }
    else:
        form["amount"] = minor_units(line.amount)
    if line.start is not None:
        end = line.end or line.start
        form["period"] = {"start": seconds(line.start, config), "end": seconds(end, config)}
    if rates := _tax_rates(line.tax_category, config):
        form["tax_rates"] = rates
    return form


def _tax_rates(category: str, config: StripeConfig) -> Sequence[str]:
    if not category or (category not in config.tax_rates and config.automatic_tax):
        return ()
    if category not in config.tax_rates:
        raise MissingMapping(
            f"The tax category {category} has no rates under settings.tax_rates.",
            vendor=VENDOR,
            operation="check the lines",
            field="tax_category",
        )
    return config.tax_rates[category]


def check_lines(request: ProvisionInvoice, config: StripeConfig) -> None:
    """See that the lines can be sent, before anything is written.

    Raises:
        Invalid, MissingMapping: with what to change.
    """
    items = [line.item for line in request.lines]
    if not 1 <= len(items) <= LINES_MAX:
        raise invalid(f"An invoice takes 1 to {LINES_MAX} lines, not {len(items)}.", "lines")
    if len(set(items)) < len(items) or not all(0 < len(item) <= TEXT_MAX for item in items):
        raise invalid("Two lines of the invoice have the same name, or one has none.", "lines")
    for line in request.lines:
        if line.amount.currency != request.currency:
            raise invalid(f"The line {line.item} is not in {request.currency}.", "currency")
        if line.start is not None and line.end is not None and line.end < line.start:
            raise invalid(f"The line {line.item} ends before it starts.", "end")
        product = Money.rounded(line.quantity * line.unit_price, request.currency)
        if product != line.amount:
            raise invalid(f"The line {line.item} is {product}, not {line.amount}.", "amount")
        minor_units(line.amount)
    lines_form(request.lines, config)


def missing_lines(request: ProvisionInvoice, invoice: Invoice) -> tuple[InvoiceLine, ...]:
    """Return the lines asked for that the invoice does not have."""
    there = {line.item for line in invoice.lines}
    return tuple(line for line in request.lines if line.item not in there)


def surplus_lines(request: ProvisionInvoice, invoice: Invoice) -> tuple[IssuedLine, ...]:
    """Return the lines that were not asked for: edited, there twice, or someone else's."""
    left = {line.item: line.amount for line in request.lines}
    return tuple(line for line in invoice.lines if left.pop(line.item, None) != line.amount)


def surplus_form(lines: Sequence[IssuedLine]) -> Form:
    """Return the lines to take off a draft (section 5.3; `behavior` as in PyPI stripe 16.1.0).

    What someone else put there is not ours to delete: it waits for another invoice again.
    """
    return {
        "lines": [
            {"id": checked_id(line.id), "behavior": "delete" if line.item else "unassign"}
            for line in lines
        ]
    }


def check_amounts(request: ProvisionInvoice, invoice: Invoice) -> None:
    """See that every line is what was asked for, and that there are no others.

    Raises:
        Rejected: Stripe, or a person there, made something else of it.
    """
    asked = {line.item: line.amount for line in request.lines}
    strange = [line for line in invoice.lines if line.item not in asked]
    others = [line for line in invoice.lines if asked.get(line.item, line.amount) != line.amount]
    if not strange and not others and len(invoice.lines) == len(asked):
        return
    told = [f"{line.item} is {line.amount}, not {asked[line.item]}" for line in others]
    told += [f"the line {line.description[:40] or line.id} was added" for line in strange]
    told += [f"the line {line.item} is missing" for line in missing_lines(request, invoice)]
    text = "; ".join(told[:5]) or "a line is there twice"
    raise Rejected(
        f"The invoice {invoice.record.id} is not what was asked for: {text}.",
        vendor=VENDOR,
        operation="compare the invoice",
    )


def check_issue(invoice: Invoice, asked: str) -> None:
    """See that a draft is still what was asked for, before it is issued.

    Raises:
        Rejected: somebody added a line, or changed the sum of the lines.
    """
    strange = [line.description[:40] or line.id for line in invoice.lines if not line.item]
    net = str(minor_units(invoice.net))
    if not strange and net == (asked or net):
        return
    text = f"the line {strange[0]} was added" if strange else f"its lines are {invoice.net} now"
    raise Rejected(
        f"The draft {invoice.record.id} was changed at Stripe: {text}.",
        vendor=VENDOR,
        operation="compare the draft",
    )


def seconds(day: date, config: StripeConfig) -> int:
    """Return the first moment of a day in the account's time zone."""
    return int(datetime.combine(day, time(), config.zone).timestamp())


def last_second(day: date, config: StripeConfig) -> int:
    """Return the last moment of a day in the account's time zone."""
    return int(datetime.combine(day, time(23, 59, 59), config.zone).timestamp())


def known(record: RecordRef | None, field: str = "client") -> str:
    """Return a record's id; the workflow fills it in before it asks.

    Raises:
        Invalid: there is none, or it is no id of Stripe's.
    """
    if record is None:
        raise invalid(f"Asked before the {field} was known.", field)
    return checked_id(record.id, field)


def checked_id(id_: str, field: str = "record") -> str:
    """Return an id that may become part of a URL: opaque, up to 255 characters (section 1)."""
    if not re.fullmatch(r"[A-Za-z0-9_]{1,255}", id_):
        raise invalid(f"{id_[:40]!r} is no id of Stripe's.", field)
    return id_


def checked_key(external_id: ExternalId) -> ExternalId:
    """Return an external id that may become a header and part of a search."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", external_id):
        raise invalid(f"{external_id[:40]!r} is no external id for Stripe.", "external_id")
    return external_id


def invalid(text: str, field: str) -> Invalid:
    """Return the refusal of a request that was not sent."""
    return Invalid(text, vendor=VENDOR, operation="check the request", field=field)


def shortened(label: str, length_max: int) -> str:
    """Return a label that fits, with an ellipsis where something is left out."""
    text = " ".join(label.split())
    return text if len(text) <= length_max else f"{text[: length_max - 1].rstrip()}…"


def _fitting(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"


def _given(fields: Mapping[str, object]) -> Form:
    return {name: value for name, value in fields.items() if value not in ("", {}, None)}


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
