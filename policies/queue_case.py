"""Who acts on a draft, what the act is judged by, and what it came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from canonical.drafts import Draft, DraftLine, DraftState
from policies.invoicing_schema import Invoicing
from policies.preflight import Standing

OPEN: Final = frozenset({DraftState.IN_REVIEW, DraftState.QUEUED})
"""States in which people change a draft."""
ENGINE: Final = "dealthread"
"""Who acts where no person does; a name that no person can have."""


@dataclass(frozen=True)
class Actor:
    """Somebody who acts, as the configuration knows them."""

    name: str
    roles: frozenset[str] = frozenset()
    email: str = ""

    def is_among(self, people: Sequence[str]) -> bool:
        """Whether one of these names or e-mail addresses is theirs."""
        own = {self.name.casefold(), self.email.casefold()} - {""}
        return any(each.casefold() in own for each in people)


@dataclass(frozen=True)
class Judged:
    """What an act came to; nothing changes where it is refused."""

    refused: tuple[str, ...] = ()
    draft: Draft | None = None
    other: Draft | None = None
    """Of a merge: the draft that ended."""
    made: Draft | None = None
    """Of a split: the new draft, its number still to be counted."""
    freed: tuple[DraftLine, ...] = ()
    """Lines whose amounts are free to be drafted again."""
    held: tuple[DraftLine, ...] = ()
    """Lines whose amounts are held until somebody releases them."""
    written_off: tuple[DraftLine, ...] = ()


@dataclass(frozen=True)
class Case:
    """Everything beside draft and act that a decision depends on."""

    actor: Actor
    standing: Standing
    invoicing: Invoicing
    other: Draft | None = None
    """The second draft of a merge."""
