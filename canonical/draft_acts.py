"""What people do to drafts while they are reviewed and queued, and the answers they get.

Each act says who; the answer says whether it was taken, and why not.
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from canonical.drafts import BillableRef, DraftState
from canonical.model import CanonicalModel
from canonical.money import Money


class DraftAct(CanonicalModel):
    """What every act says."""

    by: str
    because: str = ""


class Review(DraftAct):
    """The project's manager is done: the draft goes to the billing queue."""

    act: Literal["review"] = "review"


class EditNarrative(DraftAct):
    """Word a line anew; the original is kept."""

    act: Literal["edit"] = "edit"
    line: int
    narrative: Annotated[str, Field(min_length=1, max_length=2_000)]


class HoldLines(DraftAct):
    """Take lines off the draft until somebody releases them."""

    act: Literal["hold"] = "hold"
    lines: tuple[int, ...]


class DeferLines(DraftAct):
    """Take lines off the draft until a day."""

    act: Literal["defer"] = "defer"
    lines: tuple[int, ...]
    until: date


class ProposeWriteDown(DraftAct):
    """The project's manager proposes to bill a line at less; finance decides."""

    act: Literal["propose_write_down"] = "propose_write_down"
    line: int
    amount: Money
    """How much less, net, positive."""


class WriteDown(DraftAct):
    """Bill a line at less than its parts; the difference is written off with the reason."""

    act: Literal["write_down"] = "write_down"
    line: int
    amount: Money
    """How much less, net, positive; the whole line: it is written off."""


class Split(DraftAct):
    """Move lines to a draft of their own, which limits count together with this one."""

    act: Literal["split"] = "split"
    lines: tuple[int, ...]


class Merge(DraftAct):
    """Take another draft of the same client, entity, currency and PO into this one."""

    act: Literal["merge"] = "merge"
    other: str


class Reject(DraftAct):
    """Give the draft up; its lines are free to be drafted again, or held."""

    act: Literal["reject"] = "reject"
    hold: bool = True


class Release(DraftAct):
    """Let the draft become an invoice, exactly as its content hash says."""

    act: Literal["release"] = "release"
    content_hash: str


class Delegate(DraftAct):
    """Let somebody else review."""

    act: Literal["delegate"] = "delegate"
    to: str


class Returned(DraftAct):
    """The issuing system refused, proven by read-back: back to the queue. An act of the engine."""

    act: Literal["returned"] = "returned"
    posting: int
    withdrawn: tuple[BillableRef, ...] = ()
    """What may not be billed any more: those lines are held."""


class Withdraw(DraftAct):
    """What lines bill may not be billed any more: off the draft at once. An act of the engine."""

    act: Literal["withdraw"] = "withdraw"
    bills: tuple[BillableRef, ...]


class Recheck(DraftAct):
    """Look again at POs, holds and periods. An act of the engine, or of a person."""

    act: Literal["recheck"] = "recheck"


AnyAct = Annotated[
    Review
    | EditNarrative
    | HoldLines
    | DeferLines
    | ProposeWriteDown
    | WriteDown
    | Split
    | Merge
    | Reject
    | Release
    | Delegate
    | Returned
    | Withdraw
    | Recheck,
    Field(discriminator="act"),
]

ENGINE_ACTS: Final = frozenset({"returned", "withdraw"})
"""Acts that no person takes: nothing from outside may ask for one."""


class ActOnDraft(CanonicalModel):
    """An act on a draft, as the workflow is sent it; `id` makes it repeatable."""

    id: str
    draft: str
    act: AnyAct


class DraftAnswer(CanonicalModel):
    """Whether an act was taken, and why not; both are in the audit trail."""

    taken: bool
    reasons: tuple[str, ...] = ()
    """Why not: each names what to change or who may."""
    state: DraftState
    content_hash: str
    posting: int = 0
    made: tuple[str, ...] = ()
    """Drafts that the act made: each needs its own workflow."""
    ended: tuple[str, ...] = ()
    """Other drafts that the act ended."""
