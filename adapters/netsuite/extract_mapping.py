"""NetSuite's rows as rows of an extract; pure.

Sources: vendor page sections 4.3, 5.1 (a merge deletes the customer that is merged away and moves
what hung on it: Merging Customer Records, NetSuite's help), 5.6, 5.9 to 5.11 (statuses). A merged
customer is therefore no row: its projects and documents name the one it was merged into.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken
from adapters.netsuite.billing_mapping import day_from, money_from, number_of, stage_from, text_of
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.cost_mapping import REJECTED, minutes_from
from adapters.netsuite.invoice_mapping import moment_from
from adapters.netsuite.mapping import Row
from canonical.billing import ChargeStage
from canonical.extracts import ExtractKind, ExtractRow, ExtractState
from canonical.money import Money

STAGES: Final[Mapping[ChargeStage, ExtractState]] = {
    ChargeStage.HOLD: ExtractState.ON_HOLD,
    ChargeStage.READY: ExtractState.READY,
    ChargeStage.NON_BILLABLE: ExtractState.VOIDED,
}
INVOICES: Final[Mapping[str, ExtractState]] = {
    "A": ExtractState.OPEN,
    "B": ExtractState.PAID,
    "D": ExtractState.DRAFT,
    "E": ExtractState.VOIDED,
    "V": ExtractState.VOIDED,
}
"""Status of an invoice (section 5.9)."""
UNISSUED: Final = frozenset({"D", "E"})
VOID: Final = "V"


def client_row(row: Row, subsidiary: str, config: NetSuiteConfig) -> ExtractRow:
    """Return a customer; it is listed for a subsidiary, or for all it is open to."""
    return ExtractRow(
        kind=ExtractKind.CLIENT,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        number=text_of(row, "companyname") or text_of(row, "entityid"),
        client_id=text_of(row, "id"),
        subsidiary=subsidiary,
        state=_in_use(row.get("isinactive") != "T"),
        changed_at=_changed(row, config),
    )


def project_row(row: Row, config: NetSuiteConfig) -> ExtractRow:
    """Return a project, with the PSA's that is noted on it."""
    closed = text_of(row, "entitystatus") == config.statuses.project_closed
    return ExtractRow(
        kind=ExtractKind.PROJECT,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        number=text_of(row, "companyname"),
        client_id=text_of(row, "customer"),
        project_id=text_of(row, "id"),
        subsidiary=text_of(row, "subsidiary"),
        state=_in_use(row.get("isinactive") != "T" and not closed),
        links=tuple(filter(None, (text_of(row, "psa"),))),
        changed_at=_changed(row, config),
    )


def charge_row(row: Row, config: NetSuiteConfig) -> ExtractRow:
    """Return a charge; one on an invoice that waits for approval is reserved."""
    invoice = text_of(row, "invoice")
    client, project = _whose(row, "billto")
    state = STAGES[stage_from(row)]
    if invoice:
        state = ExtractState.RESERVED if _status(row) in UNISSUED else ExtractState.BILLED
    return ExtractRow(
        kind=ExtractKind.CHARGE,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        client_id=client,
        project_id=project,
        subsidiary=text_of(row, "subsidiary"),
        date=day_from(row, "chargedate", config),
        state=state,
        amount=money_from(row, "amount", "currency", config),
        invoice_id=invoice,
        changed_at=_changed(row, config),
    )


def time_row(row: Row, reversed_: bool, config: NetSuiteConfig) -> ExtractRow:
    """Return the cost of time, as NetSuite computed it (section 5.5)."""
    gone = reversed_ or text_of(row, "approvalstatus") == REJECTED
    return ExtractRow(
        kind=ExtractKind.COST,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        project_id=text_of(row, "customer"),
        subsidiary=text_of(row, "subsidiary"),
        date=day_from(row, "trandate", config),
        state=ExtractState.VOIDED if gone else ExtractState.OPEN,
        amount=money_from(row, "cost", "costcurrency", config),
        minutes=minutes_from(row),
        changed_at=_changed(row, config),
    )


def report_row(row: Row, config: NetSuiteConfig) -> ExtractRow:
    """Return the cost of an expense: a report of one line; its project stands on the line alone."""
    return ExtractRow(
        kind=ExtractKind.COST,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        subsidiary=text_of(row, "subsidiary"),
        date=day_from(row, "trandate", config),
        state=ExtractState.OPEN,
        amount=money_from(row, "foreigntotal", "currency", config),
        changed_at=_changed(row, config),
    )


def invoice_row(row: Row, tax: Decimal, config: NetSuiteConfig) -> ExtractRow:
    """Return an invoice, net of its tax lines; `left` is what is unpaid, with tax.

    Raises:
        ContractBroken: it is in a state that the page does not name.
    """
    state = INVOICES.get(_status(row))
    if state is None:
        raise ContractBroken(f"NetSuite has an unknown status {_status(row)[:20]!r} of an invoice.")
    gross = money_from(row, "foreigntotal", "currency", config)
    left = _optional(row, "foreignamountunpaid", gross)
    if state is ExtractState.OPEN and left is not None and left.amount < gross.amount:
        state = ExtractState.PART_PAID
    return _document(ExtractKind.INVOICE, row, state, gross, tax, config, left=left)


def credit_row(
    row: Row, tax: Decimal, applied_to: Sequence[str], config: NetSuiteConfig
) -> ExtractRow:
    """Return a credit memo as a positive amount; a person's own is created from no invoice."""
    total = money_from(row, "foreigntotal", "currency", config)
    gross = Money(amount=abs(total.amount), currency=total.currency)
    invoice = text_of(row, "createdfrom") or _only(applied_to)
    return _settling(ExtractKind.CREDIT, row, gross, tax, invoice, config)


def payment_row(row: Row, applied_to: Sequence[str], config: NetSuiteConfig) -> ExtractRow:
    """Return a payment."""
    paid = money_from(row, "foreigntotal", "currency", config)
    none = Decimal(0)
    return _settling(ExtractKind.PAYMENT, row, paid, none, _only(applied_to), config)


def sums_by(rows: Sequence[Row], name: str) -> dict[str, Decimal]:
    """Return the sums of amounts without their sign, by a column.

    Tax lines have the sign of a credit on an invoice and of a debit on a memo (from memory).
    """
    sums: dict[str, Decimal] = {}
    for row in rows:
        id_ = text_of(row, name)
        sums[id_] = sums.get(id_, Decimal(0)) + number_of(row, "foreignamount")
    return {id_: abs(total) for id_, total in sums.items()}


def _settling(
    kind: ExtractKind, row: Row, gross: Money, tax: Decimal, invoice: str, config: NetSuiteConfig
) -> ExtractRow:
    left = _optional(row, "foreignpaymentamountunused", gross)
    state = ExtractState.PAID
    if _status(row) == VOID:
        state = ExtractState.VOIDED
    elif left is not None and left.amount > 0:
        state = ExtractState.UNAPPLIED
    return _document(kind, row, state, gross, tax, config, left=left, invoice_id=invoice)


def _document(
    kind: ExtractKind,
    row: Row,
    state: ExtractState,
    gross: Money,
    tax: Decimal,
    config: NetSuiteConfig,
    *,
    left: Money | None,
    invoice_id: str = "",
) -> ExtractRow:
    client, project = _whose(row, "entity")
    return ExtractRow(
        kind=kind,
        id=text_of(row, "id"),
        external_id=text_of(row, "externalid"),
        number=text_of(row, "tranid"),
        client_id=client,
        project_id=project,
        subsidiary=text_of(row, "subsidiary"),
        date=day_from(row, "trandate", config),
        state=state,
        amount=Money(amount=gross.amount - tax, currency=gross.currency),
        gross=gross,
        left=left,
        invoice_id=invoice_id,
        changed_at=_changed(row, config),
    )


def _whose(row: Row, entity: str) -> tuple[str, str]:
    """Return client and project: the entity of a record is either (section 5.2)."""
    if project := text_of(row, "project"):
        return text_of(row, "customer"), project
    return text_of(row, entity), ""


def _optional(row: Row, name: str, like: Money) -> Money | None:
    if row.get(name) is None:
        return None
    return Money(amount=abs(number_of(row, name)), currency=like.currency)


def _only(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else ""


def _status(row: Row) -> str:
    """Return the code of a status: `CustInvc:A`, of which the part after the colon counts."""
    return text_of(row, "status").rpartition(":")[2]


def _in_use(used: bool) -> ExtractState:
    return ExtractState.OPEN if used else ExtractState.INACTIVE


def _changed(row: Row, config: NetSuiteConfig) -> datetime | None:
    return moment_from(row, "changed", config) if row.get("changed") is not None else None
