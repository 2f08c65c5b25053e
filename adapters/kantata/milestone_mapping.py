"""Kantata's billing milestones, their tasks and what was said there, as canonical values; pure.

Sources: vendor page sections 5 (references), 7 (stories), 10.1 (milestones), 13 (custom fields);
the documentation of `GET /story_state_changes`, and the official client's attributes of it and of
posts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from adapters.errors import ContractBroken
from adapters.kantata import time_mapping as mapping
from adapters.kantata.client import Listing, Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import CANCELLED
from canonical.invoicing import PsaMilestone
from canonical.records import RecordRef

COMPLETED: Final = "completed"


@dataclass(frozen=True)
class Evidence:
    """What the evidence rule of the connection found about one milestone."""

    approved: bool = False
    by: str = ""
    at: datetime | None = None
    acceptance: str = ""


def milestone_from(
    row: Row, found: Listing, evidence: Evidence, position: int, system: str, config: KantataConfig
) -> PsaMilestone:
    """Return a row of the list, with its references and invoices, as a milestone.

    Raises:
        ContractBroken: the row has not the documented form.
    """
    amount = mapping.money_of(row, "amount_in_cents")
    if amount is None:
        raise ContractBroken(f"Kantata sent the billing milestone {id_of(row)} without an amount.")
    own = reference_of(row, found, config.key_service)
    noted = reference_of(row, found, config.billing_service)
    return PsaMilestone(
        record=RecordRef(system=system, type="milestone", id=id_of(row)),
        project_id=str(row.get("workspace_id") or ""),
        title=str(row.get("title") or ""),
        amount=amount,
        due=due_date(row),
        external_ref=str(own.get("external_message") or ""),
        position=position,
        approved=evidence.approved,
        approved_by=evidence.by,
        approved_at=evidence.at,
        acceptance=evidence.acceptance,
        eligible=str(noted.get("service_model_ref") or ""),
        invoiced_on=invoiced_on(row, found),
    )


def reference_of(row: Row, found: Listing, service: str) -> Row:
    """Return a subject's reference of a service, which the answer includes; empty without one."""
    held = row.get("external_reference_ids")
    references = found.included("external_references")
    rows = (references.get(str(id_), {}) for id_ in (held if isinstance(held, list) else ()))
    return next((each for each in rows if each.get("service_name") == service), {})


def invoiced_on(row: Row, found: Listing) -> str:
    """Return the invoice that a milestone is on, drafts too; a cancelled one bills nothing."""
    invoices = found.included("invoices")
    held = row.get("invoice_ids")
    ids = [str(id_) for id_ in held] if isinstance(held, list) else []
    live = [id_ for id_ in ids if invoices.get(id_, {}).get("status") != CANCELLED]
    return live[-1] if live else ""


def due_date(row: Row) -> date | None:
    """Return the date on which a milestone is to be invoiced."""
    return mapping.day_of(row, "date_to_invoice") if row.get("date_to_invoice") else None


def by_date(row: Row, now: datetime) -> Evidence:
    """Return whether a milestone's date has come; nobody approves it."""
    due = due_date(row)
    if due is None or due > now.astimezone(UTC).date():
        return Evidence()
    return Evidence(approved=True, at=datetime.combine(due, time(), UTC))


def by_completion(changes: Listing) -> Evidence:
    """Return who completed a task and when: the last of its changes of state to `completed`.

    The trail cannot be changed by anyone (its documentation), so this is sure; a task that was
    completed before the trail began has none.
    """
    rows = [row for row in changes.rows if row.get("state") == COMPLETED]
    if not rows:
        return Evidence(approved=True)
    last = max(rows, key=lambda row: (str(row.get("created_at")), len(id_of(row)), id_of(row)))
    user = changes.included("users").get(str(last.get("user_id")), {})
    return Evidence(approved=True, by=email_of(user), at=mapping.moment_of(last, "created_at"))


def by_value(value: Row, wanted: str) -> Evidence:
    """Return whether a custom field approves; who set it is looked up by `setter_id`.

    When is the value's last change: that of a person who set it to the same again, too.
    """
    shown = shown_value(value)
    approved = bool(shown) and (not wanted or shown.casefold() == wanted.casefold())
    return Evidence(
        approved=approved, at=mapping.moment_of(value, "updated_at") if approved else None
    )


def value_of(story: Row, found: Listing, field_id: str) -> Row:
    """Return a task's value of a custom field, which the answer includes; empty without one."""
    held = story.get("custom_field_value_ids")
    values = found.included("custom_field_values")
    rows = (values.get(str(id_), {}) for id_ in (held if isinstance(held, list) else ()))
    return next((row for row in rows if str(row.get("custom_field_id")) == field_id), {})


def shown_value(value: Row) -> str:
    """Return a custom field's value as people see it (section 13)."""
    shown = value.get("display_value") or value.get("value")
    return "" if shown is None or isinstance(shown, list | Mapping) else str(shown)


def newest_files(found: Iterable[Listing]) -> dict[str, str]:
    """Return the name of the file that was posted last on each task, by task."""
    newest: dict[str, tuple[tuple[str, int, str], str]] = {}
    for page in found:
        files = page.included("attachments")
        for post in page.rows:
            held = post.get("attachment_ids")
            ids = [str(id_) for id_ in held] if isinstance(held, list) else []
            names = [str(files.get(id_, {}).get("filename") or f"attachment/{id_}") for id_ in ids]
            story = str(post.get("story_id") or "")
            when = (str(post.get("created_at")), len(id_of(post)), id_of(post))
            if story and names and (story not in newest or newest[story][0] < when):
                newest[story] = (when, names[-1])
    return {story: name for story, (_, name) in newest.items()}


def email_of(user: Row) -> str:
    """Return a user's e-mail address in small letters."""
    return str(user.get("email_address") or "").lower()
