"""Kantata's time, expenses, adjustments and events to canonical values, and invoices back; pure.

Sources: vendor page sections 8 (time), 9 (expenses), 10.2 (invoices), 14 (events). Money is integer
minor units; `currency_base_unit` says how many make one main unit (its meaning is unverified).
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken, Invalid
from adapters.kantata.client import Listing, Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import TEXT_MAX, checked_id, checked_key, known, reference, shortened
from canonical.billing import PsaChange, ReserveEntries
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.ids import ExternalId
from canonical.money import Money, minor_digits

APPROVED: Final = "approved"
RESERVED_LISTS: Final[Mapping[EntryKind, str]] = {
    EntryKind.TIME: "time_entry_ids",
    EntryKind.EXPENSE: "expense_ids",
    EntryKind.ADJUSTMENT: "time_adjustment_ids",
}
"""Fields of an invoice that name what is on it (section 10.2)."""
SUBJECTS: Final[Mapping[str, str]] = {
    "timesheet": "timesheet",
    "time_entry": "time_entry",
    "expense": "expense",
    "expense_report": "expense_report",
    "time_adjustment": "adjustment",
    "invoice": "invoice",
    "billing_milestone": "milestone",
    "story": "task",
    "workspace": "project",
}
"""What stands before the colon of an event type -> subject type; all other events are noise."""


def entry_from(
    kind: EntryKind, row: Row, page: Listing, source: str, *, invoice: str = "", adjusts: str = ""
) -> Entry:
    """Return one row of a list as an entry, with what the same answer includes.

    `invoice` and `adjusts` are what had to be looked up, where the row itself does not say.
    `approved_by` is a user id yet: the answer does not include approvers (see `approvers`).

    Raises:
        ContractBroken: the row has not the documented form.
    """
    build = {
        EntryKind.TIME: _time_entry,
        EntryKind.EXPENSE: _expense,
        EntryKind.ADJUSTMENT: _adjustment,
    }[kind]
    try:
        facts = {**_common(kind, row, page, source), **build(row, page)}
        facts["reservation_id"] = reservation_id(row) or invoice
        facts["adjusts"] = facts.get("adjusts") or adjusts
        return Entry.model_validate(facts)
    except ValueError as error:
        raise ContractBroken(f"Kantata sent a strange {kind} {id_of(row)}: {error}") from error


def _common(kind: EntryKind, row: Row, page: Listing, source: str) -> dict[str, object]:
    user = page.included("users").get(_id(row, "user_id"), {})
    submission = submission_of(row, page)
    resolved = str((submission or {}).get("status")) == APPROVED
    return {
        "source": source,
        "kind": kind,
        "id": id_of(row),
        "project_id": _id(row, "workspace_id"),
        "task_id": _id(row, "story_id"),
        "person_id": _id(row, "user_id"),
        "person_email": str(user.get("email_address") or "").lower(),
        "role": str(page.included("roles").get(_id(row, "role_id"), {}).get("name") or ""),
        "currency": str(row.get("currency") or ""),
        "notes": str(row.get("notes") or ""),
        "submission_id": _id(row, "active_submission_id"),
        "approved_by": _id(submission or {}, "current_resolution_creator_id") if resolved else "",
        "approved_at": (
            _moment((submission or {}).get("current_resolution_created_at_date"))
            if resolved
            else None
        ),
        "updated_at": _moment(row.get("updated_at")),
    }


def _time_entry(row: Row, page: Listing) -> dict[str, object]:
    del page
    return {
        "service_date": row.get("date_performed"),
        "minutes": row.get("time_in_minutes"),
        "billable": _flag(row, "billable"),
        "psa_rate": main_units(row, "rate_in_cents"),
        "approved": _flag(row, "approved"),
    }


def _expense(row: Row, page: Listing) -> dict[str, object]:
    """Amounts are as incurred: a foreign one is what was paid, not what Kantata converted."""
    amount = money_of(row, "amount_in_cents")
    foreign = row.get("foreign_exchange_amount")
    if isinstance(foreign, Mapping) and foreign.get("source_value") is not None:
        # That the source value is in main units is unverified: it is not called `_in_cents`.
        value = Decimal(str(foreign["source_value"]))
        amount = Money(amount=value, currency=str(foreign.get("source_currency")))
    category = page.included("expense_categories").get(_id(row, "expense_category_id"), {})
    return {
        "service_date": row.get("date"),
        "amount": amount,
        "currency": amount.currency if amount else row.get("currency"),
        "category": str(row.get("category") or category.get("name") or ""),
        "billable": _flag(row, "is_billable"),
        "receipt": _id(row, "receipt_id"),
        "approved": expense_is_approved(row, page),
    }


def expense_is_approved(row: Row, page: Listing) -> bool:
    """Return whether an expense is on an approved report, or needs none (section 9)."""
    submission = submission_of(row, page)
    if submission is not None:
        return str(submission.get("status")) == APPROVED
    project = page.included("workspaces").get(_id(row, "workspace_id"), {})
    return (
        not _id(row, "active_submission_id") and project.get("require_expense_approvals") is False
    )


def _adjustment(row: Row, page: Listing) -> dict[str, object]:
    """A correction by a person with rights to it; there is no approval of it (section 8.3)."""
    del page
    return {
        "service_date": row.get("original_date"),
        "minutes": row.get("time"),
        "billable": _flag(row, "billable"),
        "psa_rate": main_units(row, "bill_rate_in_cents"),
        "approved": True,
        "adjusts": _id(row, "time_entry_id"),
    }


def submission_of(row: Row, page: Listing) -> Row | None:
    """Return the timesheet or report that a row is on, where the answer includes it."""
    id_ = _id(row, "active_submission_id")
    for collection in ("timesheet_submissions", "expense_report_submissions"):
        if id_ and (found := page.included(collection).get(id_)) is not None:
            return found
    return None


def reservation_id(row: Row) -> str:
    """Return the invoice that a row says it is on; some kinds only say that there is one."""
    return _id(row, "invoice_id") or _id(row, "active_invoice_id")


def is_reserved(row: Row) -> bool:
    """Return whether a row says that it is on an invoice, draft or not."""
    return bool(reservation_id(row)) or row.get("is_invoiced") is True


def money_of(row: Row, name: str) -> Money | None:
    """Return an amount of minor units, in the row's own currency; None where there is none."""
    value = main_units(row, name)
    if value is None:
        return None
    try:
        return Money(amount=value, currency=str(row.get("currency")))
    except ValueError as error:
        raise ContractBroken(f"Kantata sent a strange {name}: {error}") from error


def main_units(row: Row, name: str) -> Decimal | None:
    """Return a number of minor units as main units; None where there is none.

    Raises:
        ContractBroken: it is no number, or its currency is not said.
    """
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ContractBroken(f"Kantata sent a {name} that is no number.")
    unit = row.get("currency_base_unit")
    if isinstance(unit, int) and not isinstance(unit, bool) and unit > 0:
        return Decimal(value) / unit
    digits = minor_digits(str(row.get("currency")))
    if digits is None:
        raise ContractBroken(f"Kantata sent a {name} without a currency.")
    return Decimal(value).scaleb(-digits)


# Reservations.


def reservation_body(
    key: ExternalId, request: ReserveEntries, config: KantataConfig
) -> dict[str, object]:
    """Return the draft invoice with all entries on it, and nobody told (section 10.2).

    Raises:
        Invalid: there are no entries, or an id is none of Kantata's.
    """
    project = known(request.project, "project")
    if not request.entries:
        raise Invalid("There is nothing to reserve.", field="entries")
    body: dict[str, object] = {
        "workspace_id": project.id,
        "payment_schedule": config.payment_schedule_days,
        "invoice_date": request.on.isoformat(),
        "draft": True,
        "suppress_emails": True,
        "external_reference": reference(config.billing_service, "billing_run", checked_key(key)),
    }
    for kind, name in RESERVED_LISTS.items():
        ids = [checked_id(ref.id, "entries") for ref in request.entries if ref.kind is kind]
        if ids:
            body[name] = ids
    if request.title:
        body["user_invoice_title"] = shortened(request.title, TEXT_MAX)
    return {"invoice": body}


def reserved_entries(row: Row) -> tuple[EntryRef, ...]:
    """Return what is on an invoice, where the answer says it."""
    found: list[EntryRef] = []
    for kind, name in RESERVED_LISTS.items():
        ids = row.get(name)
        if isinstance(ids, list):
            found += [EntryRef(kind=kind, id=str(id_)) for id_ in ids]
    return tuple(found)


# Events.


def change_from(row: Row, own_user: str) -> PsaChange | None:
    """Return a row of the feed as a change, or None where its subject is none of ours.

    Raises:
        ContractBroken: it does not say when it happened.
    """
    subject, _, what = str(row.get("event_type") or "").partition(":")
    if subject not in SUBJECTS:
        return None
    occurred = _moment(row.get("subject_changed_at")) or _moment(row.get("created_at"))
    if occurred is None:
        raise ContractBroken("Kantata sent an event without a time.")
    return PsaChange(
        event_id=id_of(row),
        subject_type=SUBJECTS[subject],
        subject_id=_id(row, "subject_id"),
        action=what if what in {"created", "deleted"} else "updated",
        occurred_at=occurred,
        own=bool(own_user) and _id(row, "user_id") == own_user,
    )


def milestone_change(change: PsaChange, milestone_id: str) -> PsaChange:
    """Return a task's change as one of a milestone tied to it; its event id is its own."""
    return change.model_copy(
        update={
            "event_id": f"{change.event_id}/{milestone_id}",
            "subject_type": SUBJECTS["billing_milestone"],
            "subject_id": milestone_id,
            "action": "updated",
        }
    )


def _id(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None or isinstance(value, bool) else str(value)


def _flag(row: Row, name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise ContractBroken(f"Kantata does not say whether {id_of(row)} is {name}.")
    return value


def _moment(value: object) -> datetime | None:
    """Return a date-time, or the beginning of a date, in the zone that it has or else in UTC."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ContractBroken(f"Kantata sent a strange time {str(value)[:40]!r}.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment_of(row: Row, name: str) -> datetime | None:
    """Return a date-time of a row, or None.

    Raises:
        ContractBroken: it is none.
    """
    return _moment(row.get(name))


def day_of(row: Row, name: str) -> date:
    """Return a date of a row.

    Raises:
        ContractBroken: it has none.
    """
    try:
        return date.fromisoformat(str(row.get(name)))
    except ValueError as error:
        raise ContractBroken(f"Kantata sent no {name}.") from error
