"""MilestoneToInvoice: an approved milestone becomes an amount that drafting may take, once.

Trigger: something about the milestone changed in the PSA.
Workflow id: `milestone-to-invoice/<psa>/<milestone id>`.

    read and judge (evidence, sequence, duplicates, earlier invoices)
        not approved: end, a later event begins anew; so does one that came since it was read
    ── reserve the amount against the contract's value ── note it in the PSA
    ══ pivot: hand over to drafting

The amount is reserved before the PSA is told: what the contract's value refuses leaves no trace.

An event after that looks again. What is not approved any more goes back: off its draft, the amount
to the contract, the note off the PSA; the generation is undone, and an approval begins the next.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.draft_acts import ActOnDraft, Withdraw
    from canonical.drafts import BillableKind, BillableRef
    from canonical.ids import Role
    from canonical.milestone_to_invoice import (
        NOT_APPROVED,
        HandOverFee,
        LookAtMilestone,
        MarkEligible,
        MilestoneChanged,
        MilestoneInput,
        MilestoneLooked,
        MilestonePlan,
        PlanMilestone,
        ReserveFee,
    )
    from canonical.saga import Begin, Outcome, SagaResult

from typing import ClassVar

from temporalio.exceptions import ApplicationError

from workflows.calls import call_store
from workflows.desk import Abandon, RollBack
from workflows.engine import Saga
from workflows.step import Step

PLAN_MILESTONE = Step(ref.PLAN_MILESTONE, "Read and judge the milestone", Role.PSA)
RESERVE_FEE = Step(ref.RESERVE_FEE, "Reserve the amount", Role.PSA, ref.UNDO_RESERVE_FEE, own=True)
MARK_ELIGIBLE = Step(
    ref.MARK_ELIGIBLE, "Note it on the milestone", Role.PSA, ref.UNDO_MARK_ELIGIBLE
)
HAND_OVER_FEE = Step(
    ref.HAND_OVER_FEE,
    "Hand over to drafting",
    Role.PSA,
    irreversible="drafting takes the amount at once; return it there, or credit the invoice",
    pivot=True,
    own=True,
)

LOOK_AGAIN = Step(ref.LOOK_AT_MILESTONE, "Look at the milestone again", Role.PSA)
"""Beside the saga's own steps: there is nothing of it to undo."""
COMPLETED = frozenset({Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE})
ENGINE = "dealthread"


@workflow.defn
class MilestoneToInvoice(Saga[MilestonePlan]):
    """Hands one approved milestone over to drafting."""

    PLAN: ClassVar = PLAN_MILESTONE
    STEPS: ClassVar = (PLAN_MILESTONE, RESERVE_FEE, MARK_ELIGIBLE, HAND_OVER_FEE)

    @workflow.init
    def __init__(self, milestone: MilestoneInput) -> None:
        """Remember which milestone; nothing is reserved yet."""
        super().__init__()
        self._input = milestone
        self._id = workflow.info().workflow_id
        self._changed = False
        self._unapproved = False

    @workflow.run
    async def run(self, milestone: MilestoneInput) -> SagaResult:
        """Take the milestone to drafting, and return what was done."""
        info = workflow.info()
        anew = milestone.model_copy(
            update={"sweep": None, "taken_back": False, "bill_again": False}
        )
        result = await self.run_saga(
            Begin(
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                saga=info.workflow_type,
                business_key=milestone.milestone_id,
                correlation_id=milestone.correlation_id or info.workflow_id,
                connection=milestone.psa,
                input_json=anew.model_dump_json(),
                sweep=milestone.sweep,
            )
        )
        if self._unapproved and self._changed:
            # An approval may have come after the read: no later event would tell of it again.
            workflow.continue_as_new(anew)
        if milestone.taken_back and (milestone.bill_again or self._changed):
            workflow.continue_as_new(anew)
        if result.outcome in COMPLETED and (self._changed or not self._generation):
            await self._look_again(result.generation, anew)
            self.board.publish(result.outcome, None)
        return result

    async def _look_again(self, generation: int, anew: MilestoneInput) -> None:
        """Give back what was handed over and is not to be billed any more; begin anew if it is.

        A generation that had completed before, or an event since it was read, leads here.
        """
        if not workflow.patched("looks-again"):
            return
        self._changed, self._forward_only = False, True
        self._generation, self._plan = generation, None
        try:
            looked = await self.step(LOOK_AGAIN, self._look)
        except Abandon:
            return
        if looked.draft and await self._taken_off(looked):
            workflow.continue_as_new(anew)
        if looked.taken_back or looked.bill_again:
            back = {"taken_back": looked.taken_back, "bill_again": looked.bill_again}
            workflow.continue_as_new(anew.model_copy(update=back))
        if self._changed:
            workflow.continue_as_new(anew)

    def _look(self) -> LookAtMilestone:
        return LookAtMilestone(
            connection=self._input.psa, milestone_id=self._input.milestone_id, run=self._id
        )

    async def _taken_off(self, looked: MilestoneLooked) -> bool:
        """Take the amount off its draft; one that was released meanwhile keeps it, and is verified.

        The draft's own workflow is told: it may have become empty.
        """
        act = Withdraw(
            by=ENGINE,
            because=looked.because,
            bills=(BillableRef(kind=BillableKind.FEE, id=looked.fee),),
        )
        id_ = f"{self._id}/withdraw/{workflow.info().run_id}"
        answer = await call_store(ref.ACT_ON_DRAFT, ActOnDraft(id=id_, draft=looked.draft, act=act))
        try:
            await workflow.get_external_workflow_handle(looked.draft).signal("look")
        except ApplicationError:
            workflow.logger.info("draft %s has ended", looked.draft)
        return answer.taken

    @workflow.signal
    def changed(self, _message: MilestoneChanged) -> None:
        """Take note that something changed since the milestone was read."""
        self._changed = True

    def plan_request(self, corrections: dict[str, str]) -> PlanMilestone:
        """Return what reads the milestone; one that breaks a rule parks there."""
        self._changed = False  # the read that is asked for sees what came until now
        return PlanMilestone(
            connection=self._input.psa,
            milestone_id=self._input.milestone_id,
            corrections=corrections,
        )

    @classmethod
    def read_plan(cls, plan_json: str) -> MilestonePlan:
        """Return the plan as an earlier run stored it."""
        return MilestonePlan.model_validate_json(plan_json)

    async def flow(self) -> None:
        """Carry an approved milestone to drafting."""
        if not self.plan.approved or self.plan.kept_back:
            self._unapproved = True
            raise RollBack(self.plan.kept_back or NOT_APPROVED)  # so far there is nothing to undo
        await self.step(RESERVE_FEE, self._reserve)
        await self.step(
            MARK_ELIGIBLE,
            lambda: MarkEligible(
                connection=self._input.psa, milestone=self.plan.milestone, note=self.plan.note
            ),
        )
        await self.step(
            HAND_OVER_FEE,
            lambda: HandOverFee(
                connection=self._input.psa,
                run=self._id,
                milestone=self.plan.milestone,
                psa=self._input.psa,
            ),
        )

    def _reserve(self) -> ReserveFee:
        fee = self.plan.fee
        if fee is None:
            raise RuntimeError("an approved milestone was planned without its amount")
        return ReserveFee(connection=self._input.psa, run=self._id, fee=fee, limit=self.plan.limit)
