"""The state of submissions (section 8.2) and what it means for the line items on them.

Pending becomes approved, rejected or cancelled; an approved one can still be rejected or cancelled
as long as nothing on it is invoiced. A rejected or cancelled one is final and frees its items.
"""

from dataclasses import dataclass

from simulators.kantata import participations
from simulators.kantata.errors import invalid, system
from simulators.kantata.permissions import (
    PRIVATE,
    PROJECT_ADMIN,
    is_manager,
    may_approve,
    require_approver,
)
from simulators.kantata.references import NAME as REFERENCE
from simulators.kantata.scene import REFERENCES, Scene
from simulators.kantata.values import Fields, ids_in, text_in
from simulators.kit import Effect, Record

PENDING, APPROVED, REJECTED, CANCELLED = "pending", "approved", "rejected", "cancelled"
ACTIVE = frozenset({PENDING, APPROVED})
STATUS_OF = {"approve": APPROVED, "reject": REJECTED, "cancel": CANCELLED}
"""Action -> the status that it leads to."""


@dataclass(frozen=True, slots=True)
class Sheets:
    """The submissions of one kind of line items."""

    submissions: str
    items_attribute: str
    date_field: str
    required_by: str


SHEETS = {
    "time_entries": Sheets(
        "timesheet_submissions", "time_entry_ids", "date_performed", "require_time_approvals"
    ),
    "expenses": Sheets(
        "expense_report_submissions", "expense_ids", "date", "require_expense_approvals"
    ),
}
ITEMS_OF = {sheets.submissions: name for name, sheets in SHEETS.items()}


def is_invoiced(record: Record) -> bool:
    """Whether a line item is on an invoice which is not cancelled."""
    return record.fields.get("invoice_id") is not None


def active_submission(scene: Scene, item: Record) -> Record | None:
    """Return the pending or approved submission that a line item is on."""
    id_ = item.fields.get("active_submission_id")
    return None if id_ is None else scene.find(SHEETS[item.type].submissions, str(id_))


def is_pending(scene: Scene, item: Record) -> bool:
    """Whether a line item waits for approval."""
    sheet = active_submission(scene, item)
    return sheet is not None and sheet.fields["status"] == PENDING


def is_on_approved(scene: Scene, item: Record) -> bool:
    """Whether a line item is on an approved submission."""
    sheet = active_submission(scene, item)
    return sheet is not None and sheet.fields["status"] == APPROVED


def is_approved(scene: Scene, item: Record) -> bool:
    """Whether a line item is approved, or its project needs no approval (section 8.1)."""
    if is_on_approved(scene, item):
        return True
    workspace = scene.find("workspaces", text_in(item.fields, "workspace_id"))
    return workspace is not None and workspace.fields[SHEETS[item.type].required_by] is not True


def items_of(scene: Scene, submission: Record) -> list[Record]:
    """Return the line items which were submitted and still exist."""
    kind = ITEMS_OF[submission.type]
    return scene.find_all(kind, ids_in(submission.fields, SHEETS[kind].items_attribute))


def resolve(scene: Scene, submission: Record, action: str, description: str) -> Record:
    """Approve, reject or cancel, and return the resolution.

    Raises:
        ApiError: 403, the user may not; 422, the state forbids it.
    """
    workspace_id = text_in(submission.fields, "workspace_id")
    if action != "cancel":
        require_approver(scene, workspace_id)
    elif not _may_cancel(scene, submission):
        raise system(403, "Only the submitter may cancel a submission")
    status = text_in(submission.fields, "status")
    if status not in ((PENDING,) if action == "approve" else ACTIVE):
        raise invalid(f"Submission is already {status}", "status")
    if action == "approve":
        _join_as_admin(scene, workspace_id)
    else:
        _check_release(scene, submission, action)
    return settle(scene, submission, STATUS_OF[action], description)


def settle(scene: Scene, submission: Record, status: str, description: str) -> Record:
    """Set a status, free the items where it is final, and return the resolution."""
    before = submission.fields
    made: Fields = {
        "submission_id": submission.id,
        "status": status,
        "description": description,
        "creator_id": scene.user_id,
    }
    resolution = scene.insert("resolutions", made)
    held = ids_in(before, "resolution_ids")
    changes: Fields = {"status": status, "resolution_ids": [*held, resolution.id]}
    scene.store.update(submission, changes)
    if status not in ACTIVE:
        for item in items_of(scene, submission):
            if item.fields.get("active_submission_id") == submission.id:
                scene.store.update(item, {"active_submission_id": None})
    scene.note(Effect.UPDATE, submission, before)
    return resolution


def _may_cancel(scene: Scene, submission: Record) -> bool:
    by_submitter = scene.user_id in (
        submission.fields.get("user_id"),
        submission.fields.get("submitter_id"),
    )
    return by_submitter or is_manager(scene)


def _check_release(scene: Scene, submission: Record, action: str) -> None:
    items = items_of(scene, submission)
    if any(is_invoiced(item) for item in items):
        raise invalid("Submission has line items that are invoiced", "base")
    is_locked = any(
        row.fields.get("locked") is True
        for item in items
        for row in scene.find_all(REFERENCE, ids_in(item.fields, REFERENCES))
    )
    if action == "reject" and submission.type == "expense_report_submissions" and is_locked:
        raise invalid("Submission has an expense whose external reference is locked", "base")


def _join_as_admin(scene: Scene, workspace_id: str) -> None:
    """Make who approves an administrator of the project, unless it is private (section 2)."""
    workspace = scene.find("workspaces", workspace_id)
    if workspace is not None and workspace.fields["access_level"] != PRIVATE:
        participations.join(scene, workspace_id, scene.user_id, {"access": PROJECT_ADMIN})


def permissions_of(scene: Scene, submission: Record) -> Fields:
    """Return what the user may do with a submission now."""
    status = text_in(submission.fields, "status")
    approver = may_approve(scene, text_in(submission.fields, "workspace_id"))
    return {
        "can_approve": approver and status == PENDING,
        "can_reject": approver and status in ACTIVE,
        "can_cancel": _may_cancel(scene, submission) and status in ACTIVE,
    }
