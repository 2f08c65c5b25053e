"""Credit memos to NetSuite JSON and SuiteQL, and back; pure.

Source: vendor page 5.10 (fields, transform) and 5.9 (its place in the ladder). Unverified: that
`createdfrom` stands on the lines of a memo in SuiteQL, and that lines sent with a transform take
the place of those that it would copy; what came of it is read back.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from adapters.errors import Invalid, Rejected
from adapters.netsuite.billing_mapping import MEMO_MAX, listed, number_of, text_of
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.invoice_reading import (
    amount_of,
    currency_of,
    day_of,
    reference,
    sum_of,
)
from adapters.netsuite.mapping import Row, lines
from adapters.netsuite.records import checked_external_id, checked_id
from canonical.ids import ExternalId
from canonical.invoicing import CreditNote, ProvisionCredit
from canonical.money import Money
from canonical.records import RecordRef

ACT = "credit the invoice"
COPIED = ("item", "job", "taxCode", "department", "class", "location", "description")
"""What a line of the memo has from the line that it credits: the same tax follows from it."""


def credit_body(
    external_id: ExternalId, request: ProvisionCredit, invoice: Row, config: NetSuiteConfig
) -> dict[str, object]:
    """Return what a transform of the invoice is told: only the lines and amounts credited.

    Raises:
        Invalid: a line is not on the invoice, or its amount is in another currency.
    """
    named = {text_of(line, config.invoice_item_field): line for line in lines(invoice, "item")}
    body: dict[str, object] = {
        "externalId": checked_external_id(external_id),
        "tranDate": request.on.isoformat(),
        "memo": request.memo[:MEMO_MAX],
    }
    currency = currency_of(invoice, config)
    rows: list[dict[str, object]] = []
    for line in request.lines:
        own = named.get(line.item) if line.item else None
        if own is None:
            raise _invalid(f"The invoice has no line {line.item!r}.")
        if line.amount.currency != currency or line.amount.amount <= 0:
            raise _invalid(f"{line.amount} cannot be credited on an invoice in {currency}.")
        row: dict[str, object] = {"quantity": 1, "rate": line.amount.amount}
        row |= {"amount": line.amount.amount, "price": {"id": "-1"}}
        row[config.invoice_item_field] = line.item
        for name in COPIED:
            if own.get(name) is not None:
                value = own[name]
                row[name] = {"id": value["id"]} if isinstance(value, Mapping) else value
        rows.append(row)
    body["item"] = {"items": rows}
    return body


def _invalid(text: str) -> Invalid:
    return Invalid(text, vendor=VENDOR, operation=ACT, field="lines")


def credited_query(invoice_id: str, applied: Sequence[Row], config: NetSuiteConfig) -> str:
    """Return the SuiteQL for the lines of all credit memos made from an invoice or applied to it.

    `applied` are the rows of `applications_query`.
    """
    memos = {text_of(row, "nextdoc") for row in applied if text_of(row, "type") == "CustCred"}
    applied_too = f"OR t.id IN ({listed(sorted(memos))})" if memos else ""
    return (
        f"SELECT t.id, l.createdfrom, l.{config.invoice_item_field} AS item, l.foreignamount "  # noqa: S608 - checked ids and name
        "FROM transactionline l JOIN transaction t ON t.id = l.transaction "
        f"WHERE (l.createdfrom = {checked_id(invoice_id)} {applied_too}) AND t.type = 'CustCred' "
        "AND t.voided = 'F' AND l.mainline = 'F' AND l.taxline = 'F' ORDER BY t.id, l.id"
    )


def credited_lines(
    invoice_id: str, rows: Sequence[Row], applied: Sequence[Row], currency: str
) -> list[tuple[str, Decimal]]:
    """Return what was credited on an invoice before: our name of the line, or none, and its net.

    A memo made from the invoice counts whole; one that somebody made otherwise counts by the share
    of it that is applied to this invoice.
    """
    shares: dict[str, Decimal] = {}
    for row in applied:
        if text_of(row, "type") == "CustCred" and (total := abs(number_of(row, "foreigntotal"))):
            id_, amount = text_of(row, "nextdoc"), number_of(row, "foreignamount")
            shares[id_] = shares.get(id_, Decimal(0)) + amount / total
    found: list[tuple[str, Decimal]] = []
    for row in rows:
        amount, item = abs(number_of(row, "foreignamount")), text_of(row, "item")
        if text_of(row, "createdfrom") != invoice_id:
            share = shares.get(text_of(row, "id"), Decimal(0))
            amount, item = Money.rounded(amount * share, currency).amount, ""
        found.append((item, amount))
    return found


def refuse_too_much(
    request: ProvisionCredit,
    invoice: Row,
    credited: Sequence[tuple[str, Decimal]],
    config: NetSuiteConfig,
) -> None:
    """Compare with the invoice's lines, less earlier credits: NetSuite itself would not.

    A credit without our name of a line, a person's, counts against the invoice as a whole.

    Raises:
        Rejected: more is credited than was invoiced.
    """
    left = {
        text_of(line, config.invoice_item_field): number_of(line, "amount")
        for line in lines(invoice, "item")
    }
    whole = sum((number_of(line, "amount") for line in lines(invoice, "item")), Decimal(0))
    for item, amount in credited:
        whole -= amount
        if item in left:
            left[item] -= amount
    for line in request.lines:
        whole -= line.amount.amount
        left[line.item] -= line.amount.amount
        if left[line.item] < 0:
            rest = left[line.item] + line.amount.amount
            text = f"Line {line.item}: {line.amount} is more than the {rest} left to credit."
            raise Rejected(text, vendor=VENDOR, operation=ACT)
    if whole < 0:
        text = f"With earlier credits this is {-whole} more than was invoiced."
        raise Rejected(text, vendor=VENDOR, operation=ACT)


def credit_from(body: Row, connection: str, config: NetSuiteConfig) -> CreditNote:
    """Return a credit note from its record."""
    currency = currency_of(body, config)
    gross = amount_of(body, "total", currency)
    tax = Money(amount=sum_of(body, ("taxTotal", "tax2Total")), currency=currency)
    return CreditNote(
        record=RecordRef(system=connection, type="credit_note", id=text_of(body, "id")),
        external_id=text_of(body, "externalId"),
        invoice=RecordRef(system=connection, type="invoice", id=reference(body, "createdFrom")),
        number=text_of(body, "tranId"),
        voided=is_void(body),
        net=Money(amount=gross.amount - tax.amount, currency=currency),
        tax=tax,
        gross=gross,
        on=day_of(body, "tranDate"),
    )


def is_void(body: Row) -> bool:
    """Return whether a credit memo was voided; by code or by name."""
    return reference(body, "status") in {"V", "Voided"}


def used_elsewhere(body: Row) -> list[str]:
    """Return the documents, other than its invoice, that a credit memo was applied to."""
    own = reference(body, "createdFrom")
    applied = [line for line in lines(body, "apply") if line.get("apply") is True]
    return [doc for line in applied if (doc := reference(line, "doc")) != own]
