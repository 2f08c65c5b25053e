"""Why an entry is not billed yet, and who must act: facts of the subledger as sentences."""

from collections.abc import Callable
from typing import Final

from pydantic import BaseModel

from canonical.entries import HoldReason
from canonical.rating import Disposition
from operations.billing import Waiting
from store.subledger import Hold, TracedPart, Why


class Reason(BaseModel):
    """One reason, and who can do something about it."""

    text: str
    who: str


WHO: Final = {
    HoldReason.BY_HAND: "who held it releases it: starter.py billing unhold",
    HoldReason.NO_CONTRACT_LINE: "the engagement's owner adds the line or the contract",
    HoldReason.NO_RATE: "the engagement's owner adds the rate",
    HoldReason.NO_COST_RATE: "HR adds the cost rate in the HCM",
    HoldReason.NO_EXCHANGE_RATE: "finance enters the exchange rate in the ERP",
    HoldReason.RATE_MISMATCH: "the project manager corrects one of the rates, or accepts ours",
    HoldReason.DUPLICATE_EXPENSE: "the project manager rejects one of the two, or accepts both",
    HoldReason.UNKNOWN_PERSON: "HR or the PSA's administrator corrects the e-mail address",
    HoldReason.BILLED_OUTSIDE: "finance takes it off the invoice that Dealthread did not make",
    HoldReason.PERIOD_CLOSED: "finance opens the period or decides for the next",
    HoldReason.BAD_QUANTITY: "the person corrects the entry in the PSA",
}

NEEDS_NO_RELEASE: Final = {
    HoldReason.BY_HAND,
    HoldReason.BILLED_OUTSIDE,
    HoldReason.BAD_QUANTITY,
}
"""Released by what its person does anyway: the hold falls with what it was about."""

DISPOSITIONS: Final = {
    Disposition.TO_BILL: "goes to drafting",
    Disposition.COVERED_BY_FIXED_FEE: "is covered by the fixed fee",
    Disposition.DRAWN_FROM_RETAINER: "was drawn from the retainer",
    Disposition.OVER_CAP: "is over the cap",
    Disposition.WRITTEN_OFF: "was written off",
    Disposition.NON_BILLABLE: "is not billable",
}

WITHDRAWN: Final = {
    "unapproved": "Its approval was withdrawn in the PSA.",
    "superseded": "It was changed in the PSA, and the change is not approved.",
    "vanished": "It was deleted in the PSA.",
}
HANDED_OVER: Final = "handed_over"
NOBODY: Final = "nobody: it goes on by itself"


def reasons(facts: Why, waiting: Waiting | None = None) -> list[Reason]:
    """Return every reason that stands between the entry and its invoice."""
    found = [_held(hold) for hold in facts.holds]
    found += [
        Reason(text=f"{each.finding}: {each.detail}", who="finance looks into it")
        for each in facts.findings
    ]
    if facts.changed:
        text = f"It was {facts.changed} in the PSA while {facts.run_key} holds it"
        found.append(Reason(text=f"{text}: the run lets it go.", who=NOBODY))
    if not found or facts.parts:
        found += _state(facts)
    if waiting is not None:
        found.append(_waits(waiting))
    return found


def _waits(waiting: Waiting) -> Reason:
    text = "The PSA said that it changed, or was approved; the next billing run reads it"
    if waiting.run_under_way:
        text = f"{text}, once the one under way has ended"
    elif waiting.next_run_at is not None:
        text = f"{text}, at {waiting.next_run_at:%Y-%m-%d %H:%M:%S %Z}"
    who = f"{NOBODY}; or now: starter.py billing run {waiting.project_id}"
    return Reason(text=f"{text}.", who=who)


def _held(hold: Hold) -> Reason:
    text = f"It is held since {hold.since:%Y-%m-%d} by {hold.owner} ({hold.reason}): {hold.because}"
    then = "" if hold.reason in NEEDS_NO_RELEASE else "; then starter.py billing unhold"
    return Reason(text=text, who=WHO[hold.reason] + then)


def _state(facts: Why) -> list[Reason]:
    if facts.state in BEFORE_ITS_RUN:
        return [BEFORE_ITS_RUN[facts.state](facts)]
    if facts.parts and facts.run_state == HANDED_OVER:
        return [_placed(part) for part in facts.parts]
    text = f"It is in {facts.run_key}, which is {facts.run_state}."
    return [Reason(text=text, who=f"starter.py status {facts.run_key} says where it stands")]


def _unknown(_facts: Why) -> Reason:
    text = "It was never approved in the PSA, as far as billing runs have read."
    return Reason(text=text, who="the approver in the PSA; the run that follows reads it")


def _withdrawn(facts: Why) -> Reason:
    text = WITHDRAWN.get(facts.because, f"It was withdrawn: {facts.because}.")
    return Reason(text=text, who="the approver in the PSA")


def _waiting(_facts: Why) -> Reason:
    text = "It changed in the PSA; an earlier version of it has yet to leave its run."
    return Reason(text=text, who=NOBODY)


def _approved(facts: Why) -> Reason:
    if facts.engagement is None:
        text = f"Nothing bills project {facts.project_id} on its day."
        return Reason(text=text, who="whoever owns the contract: starter.py engagement import")
    text = f"It was approved {facts.approved_at:%Y-%m-%d} and waits for the next billing run."
    return Reason(text=text, who=f"{NOBODY}; or now: starter.py billing run")


def _placed(part: TracedPart) -> Reason:
    who = "nobody: it has its place"
    if part.disposition is Disposition.TO_BILL:
        who = "finance releases the draft"
    return Reason(text=f"{part.amount} {DISPOSITIONS[part.disposition]} ({part.state}).", who=who)


BEFORE_ITS_RUN: Final[dict[str, Callable[[Why], Reason]]] = {
    "unknown": _unknown,
    "withdrawn": _withdrawn,
    "waiting": _waiting,
    "approved": _approved,
}
