"""What a step is: its `do` and `undo`, the role it talks to, and what a person may decide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from canonical.activities import ActivityRef
from canonical.ids import Role
from canonical.model import CanonicalModel
from canonical.provisioning import StepRequest
from canonical.records import Receipt, RecordRef, UndoReceipt, WriteOutcome
from canonical.saga import StepCall, UndoCall

R = TypeVar("R", bound=StepRequest)
T = TypeVar("T", bound=CanonicalModel)


@dataclass(frozen=True)
class Step(Generic[R, T]):
    """One step of a saga. Its name is the name of its `do` activity and never changes."""

    do: ActivityRef[StepCall[R], T]
    act: str
    """What it does, in business words, for summaries: `Create the client`."""
    role: Role
    undo: ActivityRef[UndoCall[R], UndoReceipt] | None = None
    irreversible: str = ""
    """Why there is no undo, and what repairs forward; empty for reads and undoable steps."""
    pivot: bool = False
    """From here on, once done or unknown, the saga only goes forward."""
    adoptable: bool = False
    """A person may name an existing record to use instead."""
    own: bool = False
    """It works in Dealthread's own store and calls no connected system."""
    refusal_stops: bool = False
    """Refused, and proven to be without effect, it stops the saga instead of waiting for a person:
    whoever released it decides anew."""
    on_skip: Callable[[R], T] | None = None
    """What a skipped step stands for; None: it cannot be skipped."""

    @property
    def name(self) -> str:
        """The step's name, the same in code, ledger, search attributes and CLI."""
        return self.do.name

    @property
    def reads_only(self) -> bool:
        """Whether the step changes nothing anywhere."""
        return self.undo is None and not self.irreversible


def skipped(request: StepRequest) -> Receipt:
    """Return the receipt of a step that a person decided to skip."""
    nothing = RecordRef(system=request.connection, type="nothing", id="")
    return Receipt(record=nothing, outcome=WriteOutcome.SKIPPED)
