"""Invoices as NetSuite has them: records and rows to the canonical form; pure.

Sources: vendor page 5.9 (fields, status, the query of payments), 5.10, 5.6 (a charge names its
invoice and line). Unverified: `taxDetails` and its fields, and which of code and name a status is.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from adapters.errors import ContractBroken
from adapters.netsuite.billing_mapping import currency_code, day_from, number_of, text_of
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.mapping import Row, lines
from canonical.invoicing import (
    Application,
    ApplicationKind,
    Delivery,
    Invoice,
    InvoiceStatus,
    IssuedLine,
    ProvisionInvoice,
)
from canonical.money import Money
from canonical.records import RecordRef

STATUSES: Final[Mapping[str, InvoiceStatus]] = {
    "A": InvoiceStatus.OPEN,
    "B": InvoiceStatus.SETTLED,
    "D": InvoiceStatus.DRAFT,
    "E": InvoiceStatus.REJECTED,
    "V": InvoiceStatus.VOID,
    "Open": InvoiceStatus.OPEN,
    "Paid In Full": InvoiceStatus.SETTLED,
    "Pending Approval": InvoiceStatus.DRAFT,
    "Rejected": InvoiceStatus.REJECTED,
    "Voided": InvoiceStatus.VOID,
}
"""By the code of the page, and by name, since accounts were seen to answer either (unverified)."""


def invoice_from(
    body: Row,
    applications: Sequence[Application],
    billed: Sequence[Row],
    connection: str,
    config: NetSuiteConfig,
) -> Invoice:
    """Return an invoice from its record, expanded, and the charges that name it.

    The client is the record's entity: where that is a project, the caller says whose it is.
    """
    currency = currency_of(body, config)
    status = status_from(body)
    gross = amount_of(body, "total", currency)
    tax = Money(amount=sum_of(body, ("taxTotal", "tax2Total")), currency=currency)
    issued = status not in {InvoiceStatus.DRAFT, InvoiceStatus.REJECTED}
    return Invoice(
        record=RecordRef(system=connection, type="invoice", id=text_of(body, "id")),
        external_id=text_of(body, "externalId"),
        status=status,
        number=text_of(body, "tranId") if issued else "",
        currency=currency,
        net=Money(amount=gross.amount - tax.amount, currency=currency),
        tax=tax,
        gross=gross,
        remaining=amount_of(body, "amountRemaining", currency),
        lines=_issued_lines(body, billed, currency, config),
        applications=tuple(applications),
        on=day_of(body, "tranDate"),
        due=day_of(body, "dueDate"),
        period=reference(body, "postingPeriod", "refName") if issued else "",
        client_id=reference(body, "entity"),
        client_po=text_of(body, "otherRefNum"),
        **_delivery_of(body, config),
        changed_at=_moment_of(body, "lastModifiedDate"),
    )


def currency_of(body: Row, config: NetSuiteConfig) -> str:
    """Return the ISO code of a record's currency; raises as `currency_code` does."""
    return currency_code(reference(body, "currency"), config)


def status_from(body: Row) -> InvoiceStatus:
    """Return where an invoice stands.

    Raises:
        ContractBroken: in a state that the page does not name.
    """
    code = reference(body, "status")
    if code not in STATUSES:
        raise ContractBroken(f"NetSuite has an unknown status {code[:20]!r} of an invoice.")
    return STATUSES[code]


def is_projects(body: Row) -> bool:
    """Return whether the record's entity is a project: its link says so (section 4)."""
    entity = body.get("entity")
    links = entity.get("links") if isinstance(entity, Mapping) else None
    return any(
        "/job/" in str(link.get("href"))
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, Mapping)
    )


def _delivery_of(body: Row, config: NetSuiteConfig) -> dict[str, Any]:
    """Return what the account's field says of the delivery; a list's value by name, else by id."""
    if config.delivery is None:
        return {}
    field = config.delivery.field
    words = [word for part in ("refName", "id") if (word := reference(body, field, part))]
    for delivery, named in (
        (Delivery.REJECTED, config.delivery.rejected),
        (Delivery.TRANSMITTED, config.delivery.transmitted),
    ):
        if named & set(words):
            return {"delivery": delivery, "delivery_word": words[0]}
    return {}


def _issued_lines(
    body: Row, billed: Sequence[Row], currency: str, config: NetSuiteConfig
) -> tuple[IssuedLine, ...]:
    charges: dict[str, list[str]] = {}
    for row in billed:
        # A charge that someone else made has no external id; its own must not read as none.
        name = text_of(row, "externalid") or f"charge/{text_of(row, 'id')}"
        charges.setdefault(text_of(row, "invoiceline"), []).append(name)
    return tuple(
        IssuedLine(
            id=text_of(line, "line"),
            item=text_of(line, config.invoice_item_field),
            description=text_of(line, "description"),
            amount=amount_of(line, "amount", currency),
            tax=_tax_of(body, line, currency),
            charges=tuple(charges.get(text_of(line, "line"), ())),
        )
        for line in lines(body, "item")
    )


def _tax_of(body: Row, line: Row, currency: str) -> Money:
    """Return a line's tax: its own amount, else the SuiteTax details that it names."""
    if line.get("tax1Amt") is not None:
        return amount_of(line, "tax1Amt", currency)
    own = text_of(line, "taxDetailsReference")
    details = [
        number_of(detail, "taxAmount")
        for detail in lines(body, "taxDetails")
        if own and text_of(detail, "taxDetailsReference") == own
    ]
    if not details and line.get("grossAmt") is not None:
        gross, net = (amount_of(line, name, currency) for name in ("grossAmt", "amount"))
        return Money(amount=gross.amount - net.amount, currency=currency)
    return Money(amount=sum(details, Decimal(0)), currency=currency)


def applications_from(
    rows: Sequence[Row],
    items: Mapping[str, set[str]],
    currency: str,
    config: NetSuiteConfig,
) -> tuple[Application, ...]:
    """Return what is applied to an invoice, one for each paying or crediting record.

    `items` are those on the credit memos among them, where the configuration asks for them.
    """
    found: dict[str, Application] = {}
    for row in rows:
        id_ = text_of(row, "nextdoc")
        amount = Money(amount=number_of(row, "foreignamount"), currency=currency)
        if id_ in found:
            amount = amount + found[id_].amount
        found[id_] = Application(
            id=id_,
            kind=_kind_of(text_of(row, "type"), items.get(id_, set()), config),
            amount=amount,
            on=day_from(row, "trandate", config),
            reference=text_of(row, "tranid"),
            external_id=text_of(row, "externalid"),
        )
    return tuple(found.values())


def _kind_of(type_: str, items: set[str], config: NetSuiteConfig) -> ApplicationKind:
    """NetSuite has payments and credit memos; that a memo writes off, its items alone tell."""
    if type_ != "CustCred":
        return ApplicationKind.PAYMENT
    if items and items <= config.write_off_items:
        return ApplicationKind.WRITE_OFF
    if items and items <= config.withholding_items:
        return ApplicationKind.WITHHOLDING
    return ApplicationKind.CREDIT


def disagreements(invoice: Invoice, request: ProvisionInvoice) -> list[str]:
    """Return in words where an invoice is not what was asked for, net; empty: it is."""
    wanted = {line.item: line for line in request.lines}
    there = {line.item: line for line in invoice.lines if line.item in wanted}
    found = [f"line {item} is missing" for item in wanted if item not in there]
    for line in invoice.lines:
        asked = wanted.get(line.item)
        if asked is None or there.get(line.item) is not line:
            charges = f" (charges {', '.join(line.charges)})" if line.charges else ""
            found.append(f"a line of {line.amount} is not on the draft{charges}")
        elif line.amount != asked.amount:
            found.append(f"line {line.item} is {line.amount}, not {asked.amount}")
        elif set(line.charges) != set(asked.charges):
            odd = ", ".join(sorted(set(line.charges) ^ set(asked.charges)))
            found.append(f"line {line.item} has other charges than asked for: {odd}")
    return found


# Values of a record.


def reference(body: Row, name: str, part: str = "id") -> str:
    """Return the id, or another part, of a reference or enumeration of a record."""
    value = body.get(name)
    if isinstance(value, Mapping):
        value = value.get(part)
    return "" if value is None else str(value)


def amount_of(body: Row, name: str, currency: str) -> Money:
    """Return an amount of a record; one that NetSuite leaves out is zero."""
    if body.get(name) is None:
        return Money(amount=Decimal(0), currency=currency)
    try:
        return Money(amount=number_of(body, name), currency=currency)
    except ValueError as error:
        raise ContractBroken(f"NetSuite sent a strange {name}: {error}") from error


def sum_of(body: Row, names: Sequence[str]) -> Decimal:
    """Return the sum of amounts of a record, as far as they are there."""
    return sum((number_of(body, name) for name in names if body.get(name) is not None), Decimal(0))


def day_of(body: Row, name: str) -> date | None:
    """Return a day of a record, or None; raises ContractBroken where it is none."""
    text = text_of(body, name)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ContractBroken(f"NetSuite sent a strange {name}: {text[:20]!r}.") from error


def _moment_of(body: Row, name: str) -> datetime | None:
    text = text_of(body, name)
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise ContractBroken(f"NetSuite sent a strange {name}: {text[:30]!r}.") from error
