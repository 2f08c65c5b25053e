"""Canonical requests to Kantata JSON; pure.

Sources: vendor page sections 5 (external references), 6 (workspaces), 7 (stories), 10 (milestones).
Money is integer cents in the minor units of the currency (for JPY: yen, unverified), except a
workspace's `price`, which is main units (section 0).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from adapters.errors import Invalid
from adapters.kantata.config import KantataConfig
from canonical.deal import ContractLineType
from canonical.ids import VENDOR_ID_PATTERN, ExternalId
from canonical.provisioning import (
    MilestoneTask,
    PlannedMilestone,
    PlannedTask,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import RecordRef

TEXT_MAX: Final = 255
"""Of a usual text, names and titles among them (unverified)."""
STORY_TITLE_MAX: Final = 200
"""Of a task's title, as the official client documents it."""
CANCELLED: Final = "cancelled"
"""Status of an invoice that bills nothing any more; likewise the next (section 10.2)."""
PAID: Final = "accepted payment"
MILESTONES_MAX: Final = 100
"""Of one bulk create (section 10.1)."""


def reference(service: str, model: str, ref: str) -> dict[str, object]:
    """Return an inline external reference (section 5)."""
    return {
        "service_name": service,
        "service_model": model,
        "service_model_ref": ref,
        "status": "successful",
    }


def erp_link_body(
    project_id: str, erp_project_ids: str, config: KantataConfig
) -> dict[str, object]:
    """Return the reference that notes the ERP's projects on a workspace (section 5)."""
    ref = _bounded(erp_project_ids, "erp_project_ids")
    named = reference(config.erp_service, "project", ref)
    return {
        "external_reference": {"subject_type": "Workspace", "subject_id": project_id, **named},
    }


def eligibility_body(milestone_id: str, note: str, config: KantataConfig) -> dict[str, object]:
    """Return the reference that notes on a billing milestone that it is being billed (section 5).

    Milestones have neither a status nor custom fields, and are not editable once invoiced: a
    reference is the one thing that can always be put on them.
    """
    named = reference(config.billing_service, "eligibility", _bounded(note, "note"))
    return {
        "external_reference": {
            "subject_type": "BillingMilestone",
            "subject_id": milestone_id,
            **named,
        },
    }


def client_name(request: ProvisionPsaClient) -> str:
    """Return the name of a client's workspace group."""
    return shortened(request.name, TEXT_MAX)


def client_body(
    key: ExternalId, request: ProvisionPsaClient, config: KantataConfig
) -> dict[str, object]:
    """Return the workspace group to create (section 6.4)."""
    address = request.address
    parts = (address.street, f"{address.postal_code} {address.city}".strip(), address.country)
    body: dict[str, object] = {
        "name": client_name(request),
        "company": True,
        "external_reference": reference(config.key_service, "client", key),
        "custom_fields": _key_field(config.integration_key_fields.workspace_group, key),
    }
    if request.billing_email:
        body["email"] = _bounded(request.billing_email, "billing_email")
    if text := ", ".join(part for part in parts if part):
        body["address"] = text
    return {"workspace_group": body}


def project_body(
    key: ExternalId, request: ProvisionPsaProject, manager_id: str, config: KantataConfig
) -> dict[str, object]:
    """Return the workspace to create, closed for time (section 6.2)."""
    client = known(request.client, "client")
    body: dict[str, object] = {
        "title": project_title(request.name, request.code),
        "creator_role": "maven",
        "budgeted": True,
        "price": format(request.price.amount, "f"),
        "currency": request.price.currency,
        "start_date": request.start.isoformat(),
        "access_level": "invitation",
        "require_time_approvals": True,
        "require_expense_approvals": True,
        "time_trackable": False,
        "stage": "project",
        "primary_workspace_group_id": client.id,
        "external_reference": reference(config.key_service, "project", key),
        "custom_fields": _key_field(config.integration_key_fields.workspace, key),
    }
    if request.end is not None:
        body["due_date"] = request.end.isoformat()
    if request.rate_card:
        body["rate_card_id"] = checked_id(request.rate_card, "rate_card")
    if request.template:
        body["project_tracker_template_id"] = checked_id(request.template, "template")
        body["project_template_start_date"] = request.start.isoformat()
    if manager_id:
        body["primary_maven_id"] = manager_id
        body["approver_ids"] = [manager_id]
    return {"workspace": body}


def project_title(name: str, code: str) -> str:
    """Return the title of a project: its name, shortened where needed, and its whole code."""
    tail = f" ({code})"
    return shortened(name, max(TEXT_MAX - len(tail), 1)) + tail


def tasks_body(
    key: ExternalId, request: ProvisionTasks, config: KantataConfig
) -> dict[str, object]:
    """Return one deliverable with its tasks and milestones, created in one call (section 7).

    A milestone's task stands beside its contract line's, not below it: the children of the one
    deliverable, read at one level, are what was asked for, in its order; only one level of nested
    create is documented; and work on a line is neither finished nor dated by its milestones.
    """
    project = known(request.project, "project")
    lines = {task.ref: task for task in request.tasks}
    tasks = [_task(task, project) for task in request.tasks]
    milestones = [_milestone_task(each, lines, project) for each in request.milestones]
    return {
        "story": {
            "title": shortened(request.title, STORY_TITLE_MAX),
            "story_type": "deliverable",
            "workspace_id": project.id,
            "external_reference": reference(config.key_service, "task_list", key),
            "custom_fields": _key_field(config.integration_key_fields.story, key),
            "sub_stories": tasks + milestones,
        }
    }


def _task(task: PlannedTask, project: RecordRef) -> dict[str, object]:
    body: dict[str, object] = {
        "title": shortened(task.title, STORY_TITLE_MAX),
        "story_type": "task",
        "workspace_id": project.id,
        "billable": task.billable,
        "fixed_fee": task.type is ContractLineType.FIXED_FEE,
        "budget_estimate_in_cents": task.budget.minor_units,
    }
    if task.start is not None:
        body["start_date"] = task.start.isoformat()
    if task.due is not None:
        body["due_date"] = task.due.isoformat()
    return body


def _milestone_task(
    milestone: MilestoneTask, lines: Mapping[str, PlannedTask], project: RecordRef
) -> dict[str, object]:
    """Return what the project manager completes; an hour logged on it is its line's."""
    line = lines.get(milestone.line)
    if line is None:
        raise Invalid(f"No task is of contract line {milestone.line}.", field="milestones")
    body: dict[str, object] = {
        "title": shortened(milestone.title, STORY_TITLE_MAX),
        "story_type": "milestone",
        "workspace_id": project.id,
        "billable": line.billable,
        "fixed_fee": line.type is ContractLineType.FIXED_FEE,
    }
    if milestone.due is not None:
        body["due_date"] = milestone.due.isoformat()
    return body


def milestone_refs(key: ExternalId) -> list[str]:
    """Return the references that the milestones of one request can have.

    They make a query of 7,000 characters; Kantata takes 200 of them (section 5).
    """
    return [f"{checked_key(key)}:{number}" for number in range(1, MILESTONES_MAX + 1)]


def milestones_body(
    key: ExternalId, request: ProvisionMilestones, config: KantataConfig
) -> dict[str, object]:
    """Return all billing milestones as one bulk create (section 10.1).

    Raises:
        Invalid: there are none, or more than one call takes; or not each has its task.
    """
    project = known(request.project, "project")
    tasks: Sequence[RecordRef | None] = request.tasks or [None] * len(request.milestones)
    if len(tasks) != len(request.milestones):
        text = f"{len(request.milestones)} milestones do not go with {len(tasks)} tasks."
        raise Invalid(text, field="milestones")
    if not 1 <= len(request.milestones) <= MILESTONES_MAX:
        raise Invalid(f"A project takes 1 to {MILESTONES_MAX} milestones.", field="milestones")
    refs = milestone_refs(key)
    return {
        "billing_milestones": [
            _milestone(ref, milestone, task, project, config)
            for ref, milestone, task in zip(refs, request.milestones, tasks, strict=False)
        ]
    }


def _milestone(
    ref: str,
    milestone: PlannedMilestone,
    task: RecordRef | None,
    project: RecordRef,
    config: KantataConfig,
) -> dict[str, object]:
    body: dict[str, object] = {
        "title": shortened(milestone.title, TEXT_MAX),
        "amount_in_cents": milestone.amount.minor_units,
        "workspace_id": project.id,
        "billing_type": "upon_completion" if task else "fixed_date",
        "external_reference": {
            **reference(config.key_service, "milestone", ref),
            # One subject has one reference per service, so the contract's name for it goes here.
            "external_message": _bounded(milestone.ref, "milestones"),
        },
    }
    if task is not None:
        body["story_id"] = known(task, "tasks").id
    if milestone.due is not None:
        body["date_to_invoice"] = milestone.due.isoformat()
    return body


def shortened(label: str, length_max: int) -> str:
    """Return a label on one line that fits, with an ellipsis where something is left out."""
    text = " ".join(label.split())
    return text if len(text) <= length_max else text[: length_max - 1].rstrip() + "…"


def known(record: RecordRef | None, field: str) -> RecordRef:
    """Return what a request hangs on, with an id of Kantata's.

    Raises:
        Invalid: it is not there, or its id is none of Kantata's.
    """
    if record is None:
        raise Invalid(f"The {field} has to be there first.", field=field)
    checked_id(record.id, field)
    return record


def checked_id(id_: str, field: str = "record") -> str:
    """Return an id that may go into a URL or a list of ids.

    Raises:
        Invalid: it is none of Kantata's.
    """
    if not re.fullmatch(r"[0-9]{1,18}", id_):
        raise Invalid(f"{id_[:40]!r} is no Kantata id: digits only.", field=field)
    return id_


def checked_key(key: ExternalId) -> ExternalId:
    """Return an external id that may go into a comma list.

    Raises:
        Invalid: it has characters that would break the list.
    """
    if not VENDOR_ID_PATTERN.fullmatch(key):
        raise Invalid(f"{key[:40]!r} is no external id.", field="external_id")
    return key


def _bounded(text: str, field: str) -> str:
    if len(text) > TEXT_MAX:
        raise Invalid(f"{field} has {len(text)} characters; {TEXT_MAX} fit.", field=field)
    return text


def _key_field(field_id: str, key: str) -> list[dict[str, object]]:
    return [{"custom_field_id": field_id, "value": key}]
