"""What becomes of a milestone that is being billed when the PSA, or a person, changes its mind."""

from enum import StrEnum

from canonical.fees import FeeStanding, FeeState
from canonical.invoicing import PsaMilestone
from policies.queue_case import ENGINE

UNBILLED = frozenset({FeeState.RESERVED, FeeState.HANDED_OVER, FeeState.DRAFTED})
"""Nothing of it has reached the issuing system."""


class Consequence(StrEnum):
    """What is to be done about an amount that was reserved for a milestone."""

    NOTHING = "nothing"
    WITHDRAW = "withdraw"
    """Give it back; where it is too late for that, say so."""
    HOLD = "hold"
    """Keep it off invoices for now: a rebill replaces a credited amount, and stays."""
    RESTORE = "restore"
    """Let it be billed as before."""
    TAKE_BACK = "take_back"
    """It was given back: undo what is left of how it was handed over."""


def consequence_of(fee: FeeStanding, milestone: PsaMilestone | None) -> Consequence:
    """Return what follows for an amount from the milestone as it is now; None: it is gone."""
    if fee.state is FeeState.RETURNED:
        return Consequence.TAKE_BACK
    if fee.state is FeeState.CREDITED:
        return Consequence.NOTHING
    if fee.withdrawn and kept_back(fee):
        return Consequence.WITHDRAW
    if not why_not(fee, milestone):
        changed = fee.withdrawn or fee.held_by == ENGINE
        return Consequence.RESTORE if changed else Consequence.NOTHING
    if fee.fee.cycle == 1:
        return Consequence.WITHDRAW
    waits = fee.state in UNBILLED and not fee.held
    return Consequence.HOLD if waits else Consequence.NOTHING


def why_not(fee: FeeStanding, milestone: PsaMilestone | None) -> str:
    """Return why a milestone may not be billed as it was reserved; empty: it may."""
    if milestone is None:
        return "it is gone from the PSA"
    if not milestone.approved:
        return "it is not approved any more"
    # A rebill may be of a part of the milestone.
    if milestone.amount != fee.fee.amount and fee.fee.cycle == 1:
        return f"it is {milestone.amount} now"
    return ""


def kept_back(fee: FeeStanding) -> str:
    """Return why a person keeps an amount from being billed; empty: nobody does."""
    if fee.held_by in {"", ENGINE}:
        return ""
    return f"kept back by {fee.held_by}: {fee.held}"
