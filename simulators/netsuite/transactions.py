"""Time and invoices, as far as they make customers and projects undeletable.

Not modelled: tax, payments, credit, approval actions and transforms.
"""

import re

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.state import Fields, ref_id, text

_DURATION = re.compile(r"(\d{1,3}):([0-5]\d)|\d{1,3}(\.\d{1,2})?")


def check_time(account: Account, fields: Fields) -> None:
    """Fill in and check a time entry; its time is `7:30` or decimal hours.

    Raises:
        ReplyError: the duration has another form, or the task is of another project.
    """
    if not _DURATION.fullmatch(text(fields, "hours")):
        raise errors.invalid_value(text(fields, "hours"), "hours", "hours")
    task = account.store.get("projectTask", ref_id(fields, "caseTaskEvent") or "")
    if task is not None and ref_id(task.fields, "project") != ref_id(fields, "customer"):
        raise errors.invalid_value(task.id, "caseTaskEvent", "caseTaskEvent")
    entity = state.find_reference(account, ("customer", "job"), ref_id(fields, "customer") or "")
    if entity is not None and fields.get("subsidiary") is None:
        fields["subsidiary"] = entity.fields.get("subsidiary")
    fields.setdefault("tranDate", today(account))
    fields.setdefault("timeType", {"id": "A"})
    fields.setdefault("approvalStatus", {"id": "1"})


def check_invoice(account: Account, fields: Fields, before: Record | None, number: str) -> None:
    """Fill in and check an invoice; it posts to the period of its date.

    Raises:
        ReplyError: the currency is not the customer's, or the period is closed.
    """
    entity = state.find_reference(account, ("customer", "job"), ref_id(fields, "entity") or "")
    if entity is None:
        raise errors.invalid_value(ref_id(fields, "entity") or "", "entity", "entity")
    customer = state.customer_of(account, entity)
    for name in ("subsidiary", "currency"):
        if fields.get(name) is None:
            fields[name] = entity.fields.get(name)
        if before is not None and ref_id(before.fields, name) != ref_id(fields, name):
            raise errors.invalid_value(ref_id(fields, name) or "", name, name)
    listed = {ref_id(row, "currency") for row in state.lines(customer.fields, "currencyList")}
    if listed and ref_id(fields, "currency") not in listed:
        raise errors.invalid_value(ref_id(fields, "currency") or "", "currency", "currency")
    fields.setdefault("tranDate", today(account))
    fields["postingPeriod"] = {"id": _open_period(account, text(fields, "tranDate")).id}
    fields.setdefault("approvalStatus", {"id": "2"})
    fields.setdefault("exchangeRate", 1.0)
    fields.setdefault("tranId", f"INV{number}")
    waiting = ref_id(fields, "approvalStatus") == "1"
    fields["status"] = {"id": "D" if waiting else "A"}
    _add_up(fields)


def check_invoice_removal(account: Account, record: Record) -> None:
    """Refuse to delete an invoice of a closed period.

    Raises:
        ReplyError: the period is closed or locked.
    """
    _open_period(account, text(record.fields, "tranDate"))


def today(account: Account) -> str:
    """Return the account's date."""
    return account.clock.now().date().isoformat()


def _open_period(account: Account, day: str) -> Record:
    for period in account.store.list("accountingPeriod"):
        fields = period.fields
        if fields.get("isQuarter") or fields.get("isYear"):
            continue
        if text(fields, "startDate") <= day <= text(fields, "endDate"):
            if any(fields.get(lock) for lock in ("closed", "arLocked", "allLocked")):
                raise errors.closed_period()
            return period
    raise errors.closed_period()


def _add_up(fields: Fields) -> None:
    rows: list[JsonValue] = []
    total = 0.0
    for line in state.lines(fields, "item"):
        quantity, rate = _amount(line.get("quantity"), 1.0), _amount(line.get("rate"), 0.0)
        amount = _amount(line.get("amount"), round(quantity * rate, 2))
        total += amount
        rows.append({**line, "amount": amount})
    if rows:
        fields["item"] = {"items": rows}
    fields["subtotal"] = fields["total"] = fields["amountRemaining"] = round(total, 2)
    fields["amountPaid"] = 0.0


def _amount(value: JsonValue, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
