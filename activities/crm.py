"""What OpportunityToProject does in the CRM: read and plan the deal, write ids back."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from activities.attempt import attempt
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner
from adapters.errors import NotFound
from canonical import activities as ref
from canonical.deal import Deal, DealLinks
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.opportunity import OpportunityToProjectPlan, PlanOpportunity
from canonical.provisioning import WriteBack
from canonical.records import Receipt, RecordRef, UndoReceipt
from canonical.saga import Route, StepCall, UndoCall
from policies.bundle import Bundle
from policies.planning import plan_opportunity


@dataclass(frozen=True)
class CrmActivities:
    """The CRM side of the sagas."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By CRM connection: the approved policy bundle; a plan pins it by its hash."""
    today: Callable[[], date]
    routed: Callable[[Route], Route] = lambda route: route
    """What this installation changes of the policy's routes."""

    @implements(ref.PLAN_OPPORTUNITY)
    async def plan_opportunity(self, call: StepCall[PlanOpportunity]) -> OpportunityToProjectPlan:
        """Read the deal and plan every request; writes only to the store.

        Key: none needed, the last plan stands. Raises what the policy finds wrong with the deal.
        """
        async with attempt(self.runner.store, call):
            deal = await self._deal(call.request)
            _check_full_id(deal, call.request)
            plan = plan_opportunity(
                deal,
                self.bundle(deal.crm),
                corrections=call.request.corrections,
                today=self.today(),
            )
            routes = {name: self.routed(route) for name, route in plan.routes.items()}
            plan = plan.model_copy(update={"routes": routes})
            await self.runner.store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    async def _deal(self, request: PlanOpportunity) -> Deal:
        try:
            return await self.ports.crm(request.connection).read_deal(request.opportunity_id)
        except NotFound as error:
            raise StepFailed(
                FailureDetail(
                    kind=FailureKind.REJECTED,
                    reason=error.reason,
                    message=error.message,
                    system=request.connection,
                    field="opportunity_id",
                    owner=request.connection,
                )
            ) from error

    @implements(ref.WRITE_BACK)
    async def write_back(self, call: StepCall[WriteBack]) -> Receipt:
        """Write ids and state into the opportunity's own fields, keeping what stood there.

        Key: the step. Undo: restores the fields unless someone changed them since.
        """
        return await self._write(call)

    @implements(ref.UNDO_WRITE_BACK)
    async def undo_write_back(self, call: UndoCall[WriteBack]) -> UndoReceipt:
        """Put the opportunity's fields back."""
        request = call.request
        return await self.runner.undo_update(
            call, _text(request.links), lambda: self._read(request), lambda v: self._put(request, v)
        )

    @implements(ref.CONFIRM_IN_CRM)
    async def confirm_in_crm(self, call: StepCall[WriteBack]) -> Receipt:
        """Tell the CRM that delivery can start. Key: the step. No undo: it lies past the pivot."""
        return await self._write(call)

    async def _write(self, call: StepCall[WriteBack]) -> Receipt:
        request = call.request
        return await self.runner.update(
            call, _text(request.links), lambda: self._read(request), lambda v: self._put(request, v)
        )

    async def _read(self, request: WriteBack) -> str:
        """Return the fields that this step writes, and no others."""
        links = await self.ports.crm(request.connection).read_links(request.deal_id)
        written = request.links.model_dump(exclude_none=True)
        return json.dumps({name: getattr(links, name) or "" for name in sorted(written)})

    async def _put(self, request: WriteBack, value: str) -> RecordRef:
        links = DealLinks.model_validate_json(value)
        return await self.ports.crm(request.connection).write_links(request.deal_id, links)


def _check_full_id(deal: Deal, request: PlanOpportunity) -> None:
    """Refuse another form of the same id: it would be a second saga of one deal."""
    if deal.id != request.opportunity_id:
        raise StepFailed(
            FailureDetail(
                kind=FailureKind.REJECTED,
                reason="invalid",
                message=f"{request.opportunity_id} is known as {deal.id}: start it by that id.",
                system=request.connection,
                field="opportunity_id",
                owner=request.connection,
            )
        )


def _text(links: DealLinks) -> str:
    return json.dumps(links.model_dump(exclude_none=True), sort_keys=True)
