"""Inputs and plan of MilestoneToInvoice."""

from canonical.fees import Fee
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode

NOT_APPROVED = "the milestone is not approved"
"""Why a saga ends that had nothing to do: a later approval begins anew."""


class MilestoneInput(CanonicalModel):
    """Which milestone was, perhaps, approved."""

    psa: str
    milestone_id: str
    correlation_id: str = ""
    sweep: SweepMode | None = None
    taken_back: bool = False
    """What an earlier run had handed over was given back: this one undoes what is left of it."""
    bill_again: bool = False
    """With `taken_back`: it is approved, so that a further generation begins after that."""


class MilestoneChanged(CanonicalModel):
    """Something about the milestone changed: what was read of it may not be true any more."""

    correlation_id: str = ""


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
    kept_back: str = ""
    """Why it is not billed although it is approved: somebody withdrew it or holds it."""


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


class LookAtMilestone(StepRequest):
    """Look again at a milestone that was handed over: is it still to be billed, as it was?"""

    milestone_id: str
    run: str
    """Workflow id of its saga."""


class MilestoneLooked(CanonicalModel):
    """What a second look at a milestone came to; nothing in the usual case."""

    fee: int = 0
    draft: str = ""
    """The draft that its amount has to be taken off; empty: none."""
    because: str = ""
    taken_back: bool = False
    """Its amount was given back: the generation that handed it over has to be undone."""
    bill_again: bool = False
    """It is approved, and nothing bills it any more."""
