"""The bare workflow: what an engineer would write on Temporal alone to make the same vendor calls.

No ledger, no keys, no undo, no parking, no visibility beyond Temporal's own. Its requests are
planned before the clock starts, so it pays for no policy either. It comes in two shapes:

* `step`: one activity looks and writes, as many activities as the saga has steps;
* `call`: one activity per vendor call, so that Temporal repeats each by itself.
"""

import asyncio
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical.deal import DealLinks
    from canonical.ids import external_id
    from canonical.model import CanonicalModel
    from canonical.opportunity import OpportunityToProjectPlan
    from canonical.provisioning import StepRequest
    from canonical.records import RecordRef

ATTEMPT = timedelta(seconds=60)


class Shape(StrEnum):
    """How much one activity does."""

    STEP = "step"
    CALL = "call"


class BareDeal(CanonicalModel):
    """One deal with all its requests."""

    shape: Shape
    crm: str
    plan: OpportunityToProjectPlan


@workflow.defn
class BareOpportunityToProject:
    """Provisions one deal, as long as nothing goes wrong."""

    @workflow.run
    async def run(self, deal: BareDeal) -> str:
        """Make the calls of OpportunityToProject in its order and return the project's id."""
        plan, erp, psa = deal.plan, deal.plan.clients[0].connection, deal.plan.psa_client.connection
        self._shape, self._deal = deal.shape, plan.deal_id
        await self._call("read_deal", deal.crm, deal.crm, plan.deal_id)
        await self._call("search_clients", erp, plan.matches[0], external_id(self._deal))
        client = await self._have("client", erp, plan.clients[0])
        (erp_project, *_), project = await asyncio.gather(
            asyncio.gather(
                *(
                    self._have("erp_project", erp, fill(wanted, client=client))
                    for wanted in plan.erp_projects
                )
            ),
            self._psa_project(psa, plan),
        )
        links = DealLinks(
            erp_client_id=client.id,
            erp_project_id=erp_project.id,
            psa_project_id=project.id,
            integration_status=plan.write_back.links.integration_status,
        )
        opened = DealLinks(integration_status="Open for time")
        note = fill(plan.link_psa_project, project=project, erp_projects=(erp_project,))
        back = fill(plan.link_erp_projects[0], project=erp_project, psa_project=project)
        await asyncio.gather(self._have("psa_link", psa, note), self._have("erp_link", erp, back))
        await self._have("deal_links", deal.crm, fill(plan.write_back, links=links))
        await self._have("open", psa, fill(plan.open_for_time, project=project))
        await self._have("deal_links", deal.crm, fill(plan.write_back, links=opened))
        return project.id

    async def _psa_project(self, psa: str, plan: OpportunityToProjectPlan) -> RecordRef:
        client = await self._have("psa_client", psa, plan.psa_client)
        wanted = fill(plan.psa_project, client=client)
        project = await self._have("psa_project", psa, wanted)
        await self._have("tasks", psa, fill(plan.tasks, project=project))
        if plan.milestones is not None:
            await self._have("milestones", psa, fill(plan.milestones, project=project))
        return project

    async def _have(self, what: str, connection: str, request: StepRequest) -> RecordRef:
        """Look for a record and write it where it is missing."""
        arguments = (request, external_id(f"{self._deal}/{what}"))
        if self._shape is Shape.STEP:
            found = await self._call(f"have_{what}", connection, *arguments)
        else:
            found = await self._call(f"find_{what}", connection, *arguments)
            found = found or await self._call(f"write_{what}", connection, *arguments)
        if found is None:
            raise RuntimeError(f"{what} was not written")
        return found

    async def _call(self, name: str, connection: str, *arguments: object) -> RecordRef | None:
        found: RecordRef | None = await workflow.execute_activity(
            name,
            args=arguments,
            result_type=RecordRef | None,  # type: ignore[arg-type]  # a union is no type
            task_queue=f"vendor.{connection}",
            start_to_close_timeout=ATTEMPT,
        )
        return found


def fill(request: Any, **known: object) -> Any:  # noqa: ANN401 - keeps the request's type
    """Return a planned request with what earlier steps found out."""
    return request.model_copy(update=known)
