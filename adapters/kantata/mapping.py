"""Canonical requests to Kantata JSON; pure.

Sources: vendor page sections 5 (external references), 6 (workspaces), 7 (stories), 10 (milestones).
Money is integer cents in the minor units of the currency, except a workspace's `price` (section 0).
"""

from typing import Final

from adapters.errors import ContractBroken
from adapters.kantata.config import KantataConfig
from canonical.deal import ContractLineType
from canonical.ids import ExternalId
from canonical.provisioning import (
    PlannedMilestone,
    PlannedTask,
    ProvisionMilestones,
    ProvisionPsaClient,
    ProvisionPsaProject,
    ProvisionTasks,
)
from canonical.records import RecordRef

TITLE_MAX: Final = 255
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


def client_body(
    key: ExternalId, request: ProvisionPsaClient, config: KantataConfig
) -> dict[str, object]:
    """Return the workspace group to create (section 6.4)."""
    address = request.address
    parts = (address.street, f"{address.postal_code} {address.city}".strip(), address.country)
    body: dict[str, object] = {
        "name": shortened(request.name),
        "company": True,
        "external_reference": reference(config.key_service, "client", key),
        "custom_fields": _key_field(config.integration_key_fields.workspace_group, key),
    }
    if request.billing_email:
        body["email"] = request.billing_email
    if text := ", ".join(part for part in parts if part):
        body["address"] = text
    return {"workspace_group": body}


def project_body(
    key: ExternalId, request: ProvisionPsaProject, manager_id: str, config: KantataConfig
) -> dict[str, object]:
    """Return the workspace to create, closed for time (section 6.2)."""
    body: dict[str, object] = {
        "title": shortened(f"{request.name} ({request.code})"),
        "creator_role": "maven",
        "budgeted": True,
        "price": str(request.price.amount),
        "currency": request.price.currency,
        "start_date": request.start.isoformat(),
        "access_level": "invitation",
        "require_time_approvals": True,
        "require_expense_approvals": True,
        "time_trackable": False,
        "stage": "project",
        "external_reference": reference(config.key_service, "project", key),
        "custom_fields": _key_field(config.integration_key_fields.workspace, key),
    }
    if request.end is not None:
        body["due_date"] = request.end.isoformat()
    if request.rate_card:
        body["rate_card_id"] = request.rate_card
    if request.template:
        body["project_tracker_template_id"] = request.template
        body["project_template_start_date"] = request.start.isoformat()
    if manager_id:
        body["primary_maven_id"] = manager_id
        body["approver_ids"] = [manager_id]
    if request.client is not None:
        body["primary_workspace_group_id"] = request.client.id
    return {"workspace": body}


def tasks_body(
    key: ExternalId, request: ProvisionTasks, config: KantataConfig
) -> dict[str, object]:
    """Return one deliverable with a task per contract line, created in one call (section 7)."""
    project = _project(request.project)
    return {
        "story": {
            "title": shortened(request.title),
            "story_type": "deliverable",
            "workspace_id": project.id,
            "external_reference": reference(config.key_service, "task_list", key),
            "custom_fields": _key_field(config.integration_key_fields.story, key),
            "sub_stories": [_task(task, project) for task in request.tasks],
        }
    }


def _task(task: PlannedTask, project: RecordRef) -> dict[str, object]:
    body: dict[str, object] = {
        "title": shortened(task.title),
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


def milestones_body(
    key: ExternalId, request: ProvisionMilestones, config: KantataConfig
) -> dict[str, object]:
    """Return all billing milestones as one bulk create (section 10.1)."""
    project = _project(request.project)
    return {
        "billing_milestones": [
            _milestone(f"{key}:{number}", milestone, project, config)
            for number, milestone in enumerate(request.milestones, 1)
        ]
    }


def _milestone(
    key: str, milestone: PlannedMilestone, project: RecordRef, config: KantataConfig
) -> dict[str, object]:
    body: dict[str, object] = {
        "title": shortened(milestone.title),
        "amount_in_cents": milestone.amount.minor_units,
        "workspace_id": project.id,
        "billing_type": "fixed_date",
        "external_reference": reference(config.key_service, "milestone", key),
    }
    if milestone.due is not None:
        body["date_to_invoice"] = milestone.due.isoformat()
    return body


def shortened(label: str) -> str:
    """Return a label that fits, with an ellipsis where something is left out."""
    text = " ".join(label.split())
    return text if len(text) <= TITLE_MAX else text[: TITLE_MAX - 1].rstrip() + "…"


def _key_field(field_id: str, key: str) -> list[dict[str, object]]:
    return [{"custom_field_id": field_id, "value": key}]


def _project(project: RecordRef | None) -> RecordRef:
    if project is None:
        raise ContractBroken("Something of a project was asked for before the project was known.")
    return project
