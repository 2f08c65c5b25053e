"""Inputs and plan of MilestoneToInvoice."""

from canonical.fees import Fee
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode


class MilestoneInput(CanonicalModel):
    """Which milestone was, perhaps, approved."""

    psa: str
    milestone_id: str
    correlation_id: str = ""
    sweep: SweepMode | None = None


class PlanMilestone(StepRequest):
    """Read the milestone with its project's others, and judge it by the contract."""

    milestone_id: str
    corrections: dict[str, str] = {}


class MilestonePlan(SagaPlan):
    """What is to be billed, or why nothing is."""

    approved: bool
    """By the evidence rule of the connection; nothing happens without it."""
    fee: Fee | None = None
    limit: Money | None = None
    """The contract line's value; None: it has none."""
    milestone: RecordRef
    warnings: tuple[str, ...] = ()
    note: str = ""
    """What is written back to the PSA."""


class ReserveFee(StepRequest):
    """Reserve the amount against the contract's value, under lock."""

    run: str
    fee: Fee
    limit: Money | None = None


class MarkEligible(StepRequest):
    """Note in the PSA that the milestone is being billed."""

    milestone: RecordRef
    note: str


class HandOverFee(StepRequest):
    """Let drafting take the amount."""

    run: str
    milestone: RecordRef
    psa: str
