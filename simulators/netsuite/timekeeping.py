"""Time entries and what they cost (vendor page, 5.5).

Simulator choices, since the page is silent: decimal hours become whole minutes, half-up, and are
read back as `7:30`; a negative duration takes back time that is posted; `cost` is hours x the
employee's labor cost, in the base currency of the employee's subsidiary, fixed once posted; an
approved entry keeps what it is about until it is rejected, a posted one for ever. Post Time is a
person's act: `PATCH /netsuite/records/timeBill/{id}` with `{"fields": {"posted": true}}`.
"""

import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.draft import Draft, check_segments
from simulators.netsuite.money import as_json, base_currency, decimal, rounded
from simulators.netsuite.periods import LEDGER, open_period, today
from simulators.netsuite.state import ref_id, text

APPROVED, REJECTED = "3", "4"
_CLOCK = re.compile(r"(-?)(\d{1,3}):([0-5]\d)")
_FIXED = (
    "employee",
    "customer",
    "caseTaskEvent",
    "item",
    "subsidiary",
    "tranDate",
    "hours",
    "timeType",
    "isBillable",
    "rate",
    "department",
    "class",
    "location",
)
"""What an approval approves."""
_ACTIONS = {
    "submit": (("1", "4"), "2"),
    "approve": (("1", "2"), APPROVED),
    "reject": (("2", APPROVED), REJECTED),
}
"""From which statuses a record action leads, and where to."""


def minutes_of(value: JsonValue) -> int | None:
    """Return a duration in minutes, None when it is neither `7:30` nor decimal hours."""
    if isinstance(value, str) and (parts := _CLOCK.fullmatch(value)):
        minutes = int(parts[2]) * 60 + int(parts[3])
        return -minutes if parts[1] else minutes
    try:
        hours = Decimal(str(value))
    except InvalidOperation:
        return None
    if not hours.is_finite() or abs(hours) >= 1000:
        return None
    return int((hours * 60).quantize(Decimal(1), ROUND_HALF_UP))


def clock_time(minutes: int) -> str:
    """Return minutes as `7:30`."""
    sign = "-" if minutes < 0 else ""
    return f"{sign}{abs(minutes) // 60}:{abs(minutes) % 60:02}"


def check_time(draft: Draft) -> None:
    """Fill in and check a time entry.

    Raises:
        ReplyError: a field is missing or does not fit, the entry is locked, or a period is closed.
    """
    account, fields = draft.account, draft.fields
    draft.require("employee", "hours")
    minutes = minutes_of(fields["hours"])
    if minutes is None:
        raise errors.invalid_value(str(fields["hours"])[:100], "hours", "hours")
    fields["hours"] = clock_time(minutes)
    employee = account.store.get("employee", ref_id(fields, "employee") or "")
    if employee is not None:
        draft.default("subsidiary", employee.fields.get("subsidiary"))
        if ref_id(fields, "subsidiary") != ref_id(employee.fields, "subsidiary"):
            draft.refuse("subsidiary")
    draft.default("tranDate", today(account))
    draft.default("timeType", {"id": "A"})
    draft.default("isBillable", False)
    draft.default("approvalStatus", {"id": "1"})
    draft.default("posted", False)
    _check_place(draft)
    check_segments(draft)
    _check_locked(draft)
    if employee is not None:
        _cost(draft, employee, minutes)
    posted = fields["posted"] is True and not _was(draft, "posted")
    if posted or (_is_approved(fields) and not _was_approved(draft)):
        open_period(account, text(fields, "tranDate"), LEDGER)


def check_time_removal(account: Account, record: Record) -> None:
    """Refuse to delete what is approved, posted or billed.

    Raises:
        ReplyError: it is.
    """
    if _is_billed(account, record.id):
        raise errors.has_dependents()
    if record.fields.get("posted") is True:
        raise errors.user_error("This time entry cannot be deleted: it has been posted.")
    if _is_approved(record.fields):
        raise errors.user_error("This time entry cannot be deleted: it has been approved.")


def status_after(record: Record, action: str) -> str:
    """Return the approval status that a record action leads to.

    Raises:
        ReplyError: there is no such action, or it does not start from the entry's status.
    """
    if action not in _ACTIONS:
        raise errors.invalid_url(f"The record has no action {action}.", f"@{action}")
    starts, end = _ACTIONS[action]
    if ref_id(record.fields, "approvalStatus") not in starts:
        raise errors.user_error(f"You cannot {action} this time entry in its current status.")
    return end


def _check_place(draft: Draft) -> None:
    account, fields = draft.account, draft.fields
    task = account.store.get("projectTask", ref_id(fields, "caseTaskEvent") or "")
    if task is not None and ref_id(task.fields, "project") != ref_id(fields, "customer"):
        draft.refuse("caseTaskEvent")
    job = account.store.get("job", ref_id(fields, "customer") or "")
    if draft.before is None and job is not None and job.fields.get("allowTime") is False:
        raise errors.user_error("This project does not allow time entry.", "customer")


def _check_locked(draft: Draft) -> None:
    before = draft.before
    if before is None:
        return
    if before.fields.get("posted") is True or _is_billed(draft.account, before.id):
        changed = draft.differs((*_FIXED, "approvalStatus", "posted"))
        if changed is not None:
            text_ = "This time entry cannot be changed: it has been posted or billed."
            raise errors.user_error(text_, changed)
    if _is_approved(before.fields) and _is_approved(draft.fields):
        changed = draft.differs(_FIXED)
        if changed is not None:
            text_ = "This time entry cannot be changed: it has been approved."
            raise errors.user_error(text_, changed)


def _cost(draft: Draft, employee: Record, minutes: int) -> None:
    if _was(draft, "posted"):
        return
    currency = base_currency(draft.account, ref_id(employee.fields, "subsidiary"))
    value = decimal(employee.fields.get("laborCost")) * minutes / 60
    draft.fields["cost"] = as_json(rounded(draft.account, value, currency))
    if currency is not None:
        draft.fields["costCurrency"] = {"id": currency}


def _is_billed(account: Account, time: str) -> bool:
    charges = account.store.indexed("charge", "timeRecord", time)
    return any(ref_id(charge.fields, "invoice") is not None for charge in charges)


def _is_approved(fields: state.Fields) -> bool:
    return ref_id(fields, "approvalStatus") == APPROVED


def _was_approved(draft: Draft) -> bool:
    return draft.before is not None and _is_approved(draft.before.fields)


def _was(draft: Draft, flag: str) -> bool:
    return draft.before is not None and draft.before.fields.get(flag) is True
