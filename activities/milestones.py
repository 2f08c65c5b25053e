"""What MilestoneToInvoice does: read and judge the milestone, reserve, note, hand over."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from activities.attempt import attempt
from activities.engaging import engaged
from activities.leads import note_lead
from activities.milestone_changes import reconsider
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner
from adapters.errors import NotFound
from adapters.psa_port import Psa
from canonical import activities as ref
from canonical.engagement import ContractLine, Engagement
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.fees import Fee, FeeSource, FeeState
from canonical.ids import Role
from canonical.invoicing import PsaMilestone
from canonical.milestone_to_invoice import (
    HandOverFee,
    LookAtMilestone,
    MarkEligible,
    MilestoneLooked,
    MilestonePlan,
    PlanMilestone,
    ReserveFee,
)
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult
from canonical.saga import Route, StepCall, UndoCall
from policies.bundle import Bundle
from policies.milestone_changes import kept_back
from policies.milestones import Problem, fee_of, judge_milestone, line_of, over_contract
from policies.periods import billing_period
from store.draft_sources import SourceMilestone
from store.errors import Conflict

SUBLEDGER = "subledger"
LISTED_FROM: Final = 5
"""So many milestones of a project on a draft are looked at again by one list of all of them."""


@dataclass(frozen=True)
class MilestoneActivities:
    """The PSA's and the subledger's side of a milestone."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By PSA connection: the approved policy bundle."""
    now: Callable[[], datetime]
    routed: Callable[[Route], Route] = lambda route: route

    @implements(ref.PLAN_MILESTONE)
    async def plan_milestone(self, call: StepCall[PlanMilestone]) -> MilestonePlan:
        """Read the milestone and judge it by contract, order and earlier invoices.

        Key: none needed, the last plan stands. One that is not approved makes a plan that does
        nothing; one that breaks a rule parks with the rule.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            psa = self.ports.psa(request.connection)
            milestone = await psa.read_milestone(request.milestone_id)
            bundle = self.bundle(request.connection)
            versions = await engaged(store, request.connection, milestone.project_id, bundle)
            engagement = versions[-1]
            line = line_of(milestone, engagement)
            fee: Fee | None = None
            warnings: tuple[str, ...] = ()
            kept = await self._kept_back(f"{request.connection}/{milestone.record.id}")
            if milestone.approved and not kept:
                if line is None:
                    raise StepFailed(_no_line(milestone))
                fee, warnings = await self._judged(milestone, line, engagement, bundle)
                project = milestone.project_id
                await note_lead(store, psa, request.connection, project, self.now())
            plan = MilestonePlan(
                bundle=bundle.hash,
                title=f"{milestone.title}: {engagement.title}",
                client_id=engagement.client_id,
                project_code=milestone.project_id,
                legal_entities=(line.legal_entity,) if line else (),
                amount=str(milestone.amount),
                routes={
                    request.connection: self.routed(bundle.route(Role.PSA, request.connection))
                },
                approved=milestone.approved,
                fee=fee,
                limit=line.value if line else None,
                milestone=milestone.record,
                warnings=warnings,
                note="eligible",
                kept_back=kept,
            )
            await store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    async def _kept_back(self, item: str) -> str:
        """Return why a person keeps a milestone back that was given back before."""
        before = await self.runner.store.fees.latest(FeeSource.MILESTONE, item)
        returned = before is not None and before.state is FeeState.RETURNED
        return kept_back(before) if before is not None and returned else ""

    async def _judged(
        self,
        milestone: PsaMilestone,
        line: ContractLine,
        engagement: Engagement,
        bundle: Bundle,
    ) -> tuple[Fee, tuple[str, ...]]:
        """Return what is to be billed, with warnings.

        Raises:
            StepFailed: a rule refuses it, or the contract's value is used up.
        """
        psa = self.ports.psa(engagement.psa)
        everyone = await psa.read_milestones(milestone.project_id)
        siblings = tuple(each for each in everyone if line_of(each, engagement) == line)
        terms = bundle.policies.billing.entities[line.legal_entity]
        now = self.now()
        fee = fee_of(
            milestone,
            line,
            engagement,
            everyone,
            billing_period(now, terms),
            now.astimezone(ZoneInfo(terms.zone)).date(),
        )
        standing = await self.runner.store.fees.standing(engagement.id, line.ref)
        own = next(
            (
                each.fee.amount.amount
                for each in standing.fees
                if each.fee.item == fee.item and each.state != "returned"
            ),
            None,
        )
        judged = judge_milestone(
            milestone, fee, line, siblings, standing, bundle.policies.invoicing
        )
        problems = list(judged.problems)
        if own is None and (over := over_contract(fee, standing.taken, line.value)) is not None:
            problems.append(over)
        if problems:
            raise StepFailed(_refused(problems))
        return fee.model_copy(update={"warnings": judged.warnings}), judged.warnings

    @implements(ref.RESERVE_FEE)
    async def reserve_fee(self, call: StepCall[ReserveFee]) -> Receipt:
        """Reserve the amount against the contract's value. Key: the saga. Undo: returns it."""
        request = call.request

        async def reserve() -> RecordRef:
            try:
                await self.runner.store.fees.reserve(request.run, request.fee, limit=request.limit)
            except Conflict as error:
                raise StepFailed(_refused([Problem("over_contract", str(error))])) from error
            return _fee(request.run)

        return await self.runner.create(call, _nothing, reserve)

    @implements(ref.UNDO_RESERVE_FEE)
    async def undo_reserve_fee(self, call: UndoCall[ReserveFee]) -> UndoReceipt:
        """Give the amount back to the contract."""

        async def release(_record: RecordRef | None) -> UndoReceipt:
            await self.runner.store.fees.release(call.request.run)
            return UndoReceipt(result=UndoResult.RESTORED, record=_fee(call.request.run))

        return await self.runner.undo_create(call, release)

    @implements(ref.MARK_ELIGIBLE)
    async def mark_eligible(self, call: StepCall[MarkEligible]) -> Receipt:
        """Note on the milestone that it is being billed. Key: the step. Undo: as it was."""
        psa, request = self.ports.psa(call.request.connection), call.request
        return await self.runner.update(
            call,
            request.note,
            lambda: psa.read_eligibility(request.milestone),
            lambda note: psa.write_eligibility(request.milestone, note),
        )

    @implements(ref.UNDO_MARK_ELIGIBLE)
    async def undo_mark_eligible(self, call: UndoCall[MarkEligible]) -> UndoReceipt:
        """Put back what the milestone's note was."""
        psa, request = self.ports.psa(call.request.connection), call.request
        return await self.runner.undo_update(
            call,
            request.note,
            lambda: psa.read_eligibility(request.milestone),
            lambda note: psa.write_eligibility(request.milestone, note),
        )

    @implements(ref.HAND_OVER_FEE)
    async def hand_over_fee(self, call: StepCall[HandOverFee]) -> Receipt:
        """Let drafting take the amount: the pivot. Key: the saga. No undo."""

        async def hand_over() -> RecordRef:
            await self.runner.store.fees.hand_over(call.request.run)
            return _fee(call.request.run)

        return await self.runner.create(call, _nothing, hand_over)

    @implements(ref.LOOK_AT_MILESTONE)
    async def look_at_milestone(self, call: StepCall[LookAtMilestone]) -> MilestoneLooked:
        """Compare what was handed over with the milestone as it is now, and give back what is off.

        Key: none needed, the same again changes nothing. Its line of a draft is the saga's to take
        off, since the draft's workflow has to be told.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            try:
                found = await self.ports.psa(request.connection).read_milestone(
                    request.milestone_id
                )
            except NotFound:
                found = None
            item = f"{request.connection}/{request.milestone_id}"
            return await reconsider(store, request.run, item, found)


async def read_again(
    psa: Psa, project_id: str, billed: Sequence[SourceMilestone]
) -> dict[str, PsaMilestone]:
    """Return the billed milestones of a project that are still there, by id.

    A few are read one by one. Many are read with all others of the project, which asks less often.
    """
    if len(billed) >= LISTED_FROM:
        return {each.record.id: each for each in await psa.read_milestones(project_id)}
    found: dict[str, PsaMilestone] = {}
    for each in billed:
        with contextlib.suppress(NotFound):
            found[each.milestone_id] = await psa.read_milestone(each.milestone_id)
    return found


async def _nothing() -> None:
    """Acts on the subledger are idempotent by themselves: there is nothing to look for."""


def _fee(run: str) -> RecordRef:
    return RecordRef(system=SUBLEDGER, type="fee", id=run)


def _no_line(milestone: PsaMilestone) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="no_contract_line",
        message=(
            f"{milestone.title} belongs to no contract line: give it the line's reference in the "
            "PSA (external reference `<line>/<milestone>`), then retry."
        ),
    )


def _refused(problems: list[Problem]) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason=problems[0].code,
        message="; ".join(each.text for each in problems),
    )
