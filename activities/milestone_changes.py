"""What is done about an amount that was handed over when its milestone is looked at again."""

from canonical.fees import FeeSource, FeeStanding, FeeState
from canonical.invoicing import PsaMilestone
from canonical.milestone_to_invoice import MilestoneLooked
from policies.milestone_changes import Consequence, consequence_of, kept_back, why_not
from policies.queue_case import ENGINE
from store import Store

SOURCE = FeeSource.MILESTONE


async def reconsider(
    store: Store, run: str, item: str, milestone: PsaMilestone | None
) -> MilestoneLooked:
    """Bring what is billed of a milestone in line with the milestone as it is; None: it is gone.

    Done again it changes nothing: every look begins with how the amount stands.

    Args:
        store: where the amount stands.
        run: workflow id of the saga that handed it over.
        item: `<psa>/<milestone id>`.
        milestone: as the PSA has it now.
    """
    fee = await store.fees.latest(SOURCE, item)
    if fee is None:
        return MilestoneLooked()
    match consequence_of(fee, milestone):
        case Consequence.NOTHING:
            return MilestoneLooked()
        case Consequence.RESTORE:
            await store.fees.restore(SOURCE, item)
            return MilestoneLooked()
        case Consequence.HOLD:
            await store.fees.hold(SOURCE, item, by=ENGINE, because=why_not(fee, milestone))
            return MilestoneLooked()
        case Consequence.WITHDRAW:
            fee = await store.fees.withdraw(SOURCE, item, why_not(fee, milestone))
        case Consequence.TAKE_BACK:
            pass
    if fee.state is FeeState.DRAFTED:
        return MilestoneLooked(fee=fee.id, draft=fee.draft, because=fee.withdrawn)
    if fee.state is not FeeState.RETURNED:
        return MilestoneLooked()
    return MilestoneLooked(
        fee=fee.id,
        because=fee.withdrawn,
        taken_back=await store.sagas.take_back(run, fee.withdrawn or "its amount was given back"),
        bill_again=_bills_again(fee, milestone),
    )


def _bills_again(fee: FeeStanding, milestone: PsaMilestone | None) -> bool:
    return milestone is not None and milestone.approved and not kept_back(fee)
