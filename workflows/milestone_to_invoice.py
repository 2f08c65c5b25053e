"""MilestoneToInvoice: an approved milestone becomes an amount that drafting may take, once.

Trigger: something about the milestone changed in the PSA.
Workflow id: `milestone-to-invoice/<psa>/<milestone id>`.

    read and judge (evidence, sequence, duplicates, earlier invoices)
        not approved: end, a later event begins anew
    ── reserve the amount against the contract's value ── note it in the PSA
    ══ pivot: hand over to drafting

The amount is reserved before the PSA is told: what the contract's value refuses leaves no trace.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from canonical import activities as ref
    from canonical.ids import Role
    from canonical.milestone_to_invoice import (
        HandOverFee,
        MarkEligible,
        MilestoneInput,
        MilestonePlan,
        PlanMilestone,
        ReserveFee,
    )
    from canonical.saga import Begin, SagaResult

from typing import ClassVar

from workflows.desk import RollBack
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

NOT_APPROVED = "the milestone is not approved"


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

    @workflow.run
    async def run(self, milestone: MilestoneInput) -> SagaResult:
        """Take the milestone to drafting, and return what was done."""
        info = workflow.info()
        return await self.run_saga(
            Begin(
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                saga=info.workflow_type,
                business_key=milestone.milestone_id,
                correlation_id=milestone.correlation_id or info.workflow_id,
                connection=milestone.psa,
                input_json=milestone.model_copy(update={"sweep": None}).model_dump_json(),
                sweep=milestone.sweep,
            )
        )

    def plan_request(self, corrections: dict[str, str]) -> PlanMilestone:
        """Return what reads the milestone; one that breaks a rule parks there."""
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
        if not self.plan.approved:
            raise RollBack(NOT_APPROVED)  # nothing was asked for, so nothing is undone
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
