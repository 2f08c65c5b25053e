"""Finds the engagement that bills a project: kept before, or made from the deal it came from."""

from canonical.engagement import Engagement
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.opportunity import OpportunityToProjectPlan
from canonical.records import Receipt, RecordRef
from canonical.saga import SagaResult
from policies.bundle import Bundle
from policies.engaging import engagement_of
from store import Store

PROJECT_STEP = "provision_psa_project"


async def engaged(
    store: Store, psa: str, project_id: str, bundle: Bundle
) -> tuple[Engagement, ...]:
    """Return all versions of the engagement that bills a project, oldest first.

    The first time a project that OpportunityToProject provisioned is billed, its engagement is made
    from that deal's plan and receipts, and kept.

    Raises:
        StepFailed: nothing bills the project, or its deal does not tell enough.
    """
    versions = await store.engagements.of_project(psa, project_id)
    if versions:
        return versions
    made = await _of_deal(store, psa, project_id, bundle)
    if made is None:
        raise StepFailed(_missing(psa, project_id, "no deal that Dealthread provisioned made it"))
    await store.engagements.put(made)
    return (made,)


async def _of_deal(store: Store, psa: str, project_id: str, bundle: Bundle) -> Engagement | None:
    record = RecordRef(system=psa, type="project", id=project_id)
    for reference in await store.sagas.sagas_of(record):
        if reference.step != PROJECT_STEP or reference.undone_at is not None:
            continue
        ended = await store.sagas.completed(reference.workflow_id)
        if ended is None:
            continue
        plan_json, result = ended
        plan = OpportunityToProjectPlan.model_validate_json(plan_json)
        receipts = _receipts(result)
        try:
            return engagement_of(
                plan,
                bundle.policies,
                psa_project=receipts[PROJECT_STEP, ""],
                tasks=receipts["provision_tasks", ""],
                erp_projects=_by_item(receipts, "provision_erp_project"),
                clients=_by_item(receipts, "provision_client"),
            )
        except (KeyError, ValueError) as error:
            raise StepFailed(_missing(psa, project_id, str(error))) from error
    return None


def _receipts(result: SagaResult) -> dict[tuple[str, str], Receipt]:
    """Return the receipts of a saga by step and item."""
    found = {}
    for report in result.steps:
        if report.receipt is not None:
            item = report.key.partition(f":{report.step}")[2].removeprefix(":")
            found[report.step, item] = report.receipt
    return found


def _by_item(receipts: dict[tuple[str, str], Receipt], step: str) -> dict[str, Receipt]:
    return {item: receipt for (name, item), receipt in receipts.items() if name == step}


def _missing(psa: str, project_id: str, why: str) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="no_engagement",
        message=(
            f"Nothing bills project {project_id} of {psa} ({why}): import its contract with "
            "`starter.py engagement import FILE --as NAME`, then retry."
        ),
        system=psa,
        field="engagement",
    )
