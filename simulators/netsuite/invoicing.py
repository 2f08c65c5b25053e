"""Invoices, and the charges that they take (vendor page, 5.6 and 5.9).

Simulator choices: an invoice with `whichChargesToAdd` (a transformed project always has it) takes
the project's charges that are ready and not billed, one line each; besides, a line of any invoice
may name charges in `charges`, ids separated by commas. Both fill `invoice` and `invoiceLine` on the
charges; deleting the invoice or the line empties them, a credit memo does not. Approval routing is
the account's setting `invoiceApprovalRouting`.

Not on the page: an inactive customer, or one on hold, gets no new invoice; with the account's
setting `invoiceAddsReadyCharges` a project's new invoice takes every ready charge of it, asked for
or not, as the screen offers them.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.charges import READY
from simulators.netsuite.draft import Draft
from simulators.netsuite.fields import ENTITIES, SEGMENTS
from simulators.netsuite.ledger import VOIDED, fill_head, post, price_lines
from simulators.netsuite.money import as_json, decimal
from simulators.netsuite.settlement import settled
from simulators.netsuite.state import Fields, ref_id, text

PENDING, APPROVED, REJECTED = "1", "2", "3"


def check_invoice(draft: Draft) -> None:
    """Fill in and check an invoice; an approved one posts to the period of its date.

    Raises:
        ReplyError: a field does not fit, a charge cannot be billed, or a period is locked.
    """
    account, fields = draft.account, draft.fields
    draft.require("entity")
    entity = state.find_reference(account, ENTITIES, ref_id(fields, "entity") or "")
    if entity is None:
        draft.refuse("entity")
        return
    if draft.before is not None and ref_id(draft.before.fields, "status") == VOIDED:
        raise errors.user_error("This transaction has been voided.")
    customer = state.customer_of(account, entity)
    fill_head(draft, entity)
    if draft.before is None:
        _check_standing(draft, customer)
    listed = {ref_id(row, "currency") for row in state.lines(customer.fields, "currencyList")}
    if listed and ref_id(fields, "currency") not in listed:
        draft.refuse("currency")
    if entity.type == "job":
        draft.default("job", {"id": entity.id})
    _fall_due(draft, customer)
    routed = bool(state.governance(account).get("invoiceApprovalRouting"))
    draft.default("approvalStatus", {"id": PENDING if routed else APPROVED})
    offered = entity.type == "job" and state.governance(account).get("invoiceAddsReadyCharges")
    if draft.before is None and (offered or fields.get("whichChargesToAdd") is not None):
        _add_charges(draft)
    _check_charges(draft, customer)
    price_lines(draft)
    settle(draft)
    post(draft, ref_id(fields, "approvalStatus") == APPROVED)


def settle(draft: Draft) -> None:
    """Fill what is paid and what is left, and the status.

    Raises:
        ReplyError: more is paid than the invoice is over.
    """
    fields = draft.fields
    paid = settled(draft.account, draft.id)
    left = decimal(fields["total"]) - paid
    if paid and left < 0:
        raise errors.user_error("The total cannot be less than the amount applied.", "item")
    fields |= {"amountPaid": as_json(paid), "amountRemaining": as_json(left)}
    fields["status"] = {"id": status_of(fields, left)}


def status_of(fields: Fields, left: Decimal) -> str:
    """Return the status of an invoice by its approval and what is left to pay."""
    match ref_id(fields, "approvalStatus"):
        case "1":
            return "D"
        case "3":
            return "E"
        case _:
            return "B" if left <= 0 and decimal(fields.get("total")) > 0 else "A"


def bill_charges(account: Account, record: Record, before: Fields | None) -> None:
    """Tell charges which invoice has them, and those that left it that none has."""
    now = dict(_charges_of(record.fields))
    then = dict(_charges_of(before)) if before is not None else {}
    for number in then.keys() - now.keys():
        _mark(account, number, None, None)
    for number, line in now.items():
        if then.get(number) != line:
            _mark(account, number, record.id, line)


def free_charges(account: Account, record: Record) -> None:
    """Make the charges of a deleted invoice billable again."""
    for number, _ in _charges_of(record.fields):
        _mark(account, number, None, None)


def ready_charges(account: Account, bill_to: str) -> list[Record]:
    """Return the charges of a project or customer that wait for an invoice."""
    return [
        charge
        for charge in account.store.indexed("charge", "billTo", bill_to)
        if ref_id(charge.fields, "stage") == READY
        and ref_id(charge.fields, "use") == "Actual"
        and ref_id(charge.fields, "invoice") is None
    ]


def _check_standing(draft: Draft, customer: Record) -> None:
    if customer.fields.get("isInactive"):
        draft.refuse("entity")
    if ref_id(customer.fields, "creditHoldOverride") == "ON":
        raise errors.user_error("This customer is on credit hold.", "entity")


def _fall_due(draft: Draft, customer: Record) -> None:
    draft.default("terms", customer.fields.get("terms"))
    terms = draft.account.store.get("term", ref_id(draft.fields, "terms") or "")
    if terms is not None and "dueDate" not in draft.sent:
        days = int(decimal(terms.fields.get("daysUntilNetDue")))
        due = date.fromisoformat(text(draft.fields, "tranDate")) + timedelta(days=days)
        draft.fields["dueDate"] = due.isoformat()


def _add_charges(draft: Draft) -> None:
    """Append a line for every charge that the date allows."""
    fields = draft.fields
    which = ref_id(fields, "whichChargesToAdd")
    until = {
        "TRANSACTION_DATE": text(fields, "tranDate"),
        "AS_OF_DATE": text(fields, "asOfDate"),
    }.get(which or "")
    rows: list[JsonValue] = [*state.lines(fields, "item")]
    taken = {number for number, _ in _charges_of(fields)}
    for charge in ready_charges(draft.account, ref_id(fields, "entity") or ""):
        if charge.id in taken or (until and text(charge.fields, "chargeDate") > until):
            continue
        rows.append({"line": str(len(rows) + 1), **_line_of(charge)})
    fields["item"] = {"items": rows}


def _line_of(charge: Record) -> Fields:
    own = charge.fields
    line: Fields = {"item": own.get("billingItem"), "charges": charge.id}
    for name in ("quantity", "rate", "amount", "chargeType", *SEGMENTS):
        line[name] = own.get(name)
    line["description"] = own.get("description") or own.get("memo")
    if own.get("billTo") is not None:
        line["job"] = own["billTo"]
    return {name: value for name, value in line.items() if value is not None}


def _check_charges(draft: Draft, customer: Record) -> None:
    """Refuse charges that are billed, not ready, or of somebody else.

    Raises:
        ReplyError: one of them is.
    """
    seen: set[str] = set()
    for number, _ in _charges_of(draft.fields):
        charge = draft.account.store.get("charge", number)
        if charge is None or number in seen:
            raise errors.invalid_value(number, "charges", "item")
        seen.add(number)
        own = charge.fields
        holder = ref_id(own, "invoice")
        if holder == draft.id:
            continue
        if holder is not None or ref_id(own, "stage") != READY or ref_id(own, "use") != "Actual":
            raise errors.user_error(f"Charge {number} is not ready for billing.", "item")
        entity = state.find_reference(draft.account, ENTITIES, ref_id(own, "billTo") or "")
        foreign = entity is None or state.customer_of(draft.account, entity).id != customer.id
        if foreign or any(
            ref_id(own, name) != ref_id(draft.fields, name) for name in ("subsidiary", "currency")
        ):
            raise errors.invalid_value(number, "charges", "item")


def _charges_of(fields: Fields) -> Iterator[tuple[str, str]]:
    """Yield each charge that the lines name, with the number of its line."""
    for line in state.lines(fields, "item"):
        for number in text(line, "charges").split(","):
            if number.strip():
                yield number.strip(), str(line.get("line"))


def _mark(account: Account, number: str, invoice: str | None, line: str | None) -> None:
    charge = account.store.get("charge", number)
    if charge is not None:
        changes: Fields = {"invoice": {"id": invoice} if invoice is not None else None}
        changes["invoiceLine"] = int(line) if line is not None else None
        account.store.update(charge, changes)
