"""Which steps would a new plan change? Told by a hash of each request, kept with the plan."""

import hashlib
from typing import Any

from canonical.opportunity import OpportunityToProjectPlan
from canonical.provisioning import ProvisionTasks, StepRequest

HASH_LENGTH = 16
_FOR_BILLING = {"tasks": {"__all__": {"cap", "legal_entity", "tax_category", "client_po"}}}
"""What a plan carries for billing and sends nowhere: it changes no effect of a step."""


def with_hashes(plan: OpportunityToProjectPlan) -> OpportunityToProjectPlan:
    """Return the plan with the hash of each request, by `<step>[:<item>]`."""
    named: list[tuple[str, StepRequest]] = [
        *(("match_client", request) for request in plan.matches),
        *(("provision_client", request) for request in plan.clients),
        *(("add_client_entity", request) for request in plan.client_entities),
        *(("add_client_currency", request) for request in plan.client_currencies),
        *(("provision_erp_project", request) for request in plan.erp_projects),
        ("provision_psa_client", plan.psa_client),
        ("provision_psa_project", plan.psa_project),
        ("provision_tasks", plan.tasks),
        *([("provision_milestones", plan.milestones)] if plan.milestones else []),
        ("link_psa_project", plan.link_psa_project),
        *(("link_erp_project", request) for request in plan.link_erp_projects),
        ("write_back", plan.write_back),
        ("open_for_time", plan.open_for_time),
    ]
    hashes = {
        f"{step}:{request.item}" if request.item else step: _hash(request)
        for step, request in named
    }
    return plan.model_copy(update={"request_hashes": hashes})


def _hash(request: StepRequest) -> str:
    left_out: dict[str, Any] = {**_FOR_BILLING}
    if isinstance(request, ProvisionTasks) and not request.milestones:
        # As before milestones had tasks: plans of that time have the same effect without any.
        left_out["milestones"] = True
    sent = request.model_dump_json(exclude=left_out)
    return hashlib.sha256(sent.encode()).hexdigest()[:HASH_LENGTH]
