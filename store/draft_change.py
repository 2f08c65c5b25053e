"""What a decision on drafts is given, under lock, and what it may answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from canonical.alerts import Alert
from canonical.client_pos import PoStanding
from canonical.draft_acts import DraftAnswer
from canonical.drafts import BillableRef, Draft
from canonical.model import CanonicalModel


class ClosedPeriod(CanonicalModel):
    """A posting period that the ERP said is closed, when a billing run asked it last."""

    subsidiary: str
    name: str
    read_at: datetime


@dataclass(frozen=True)
class LockedDrafts:
    """Drafts and what they are judged by, as it stands while nobody else can change it."""

    drafts: tuple[Draft, ...]
    """Those that were asked for, in the order asked for."""
    family: tuple[Draft, ...] = ()
    """Every draft of their families that is live or invoiced, themselves too, by id."""
    pos: Mapping[str, PoStanding] = field(default_factory=dict)
    """Client POs that they name, by number; unknown ones are missing."""
    client_holds: tuple[str, ...] = ()
    """Why their client is not billed for now."""
    held: Mapping[BillableRef, str] = field(default_factory=dict)
    """Of what they bill: what is held or withdrawn since, with the reason."""
    kin: tuple[Draft, ...] = ()
    """Every draft that ever held an amount which was once on a draft together with one of theirs,
    themselves too, whatever became of it."""
    siblings: tuple[Draft, ...] = ()
    """Those of the kin that bill such an amount now and are live or invoiced: limits count them."""
    vouchers: tuple[str, ...] = ()
    """Who let differing rates pass, or recorded what a schedule bills by: preparers too."""
    warnings: tuple[str, ...] = ()
    """What their fees were handed over with: nothing that blocks."""
    closed: tuple[ClosedPeriod, ...] = ()
    """Periods of the first draft's date that are known to be closed, by subsidiary."""


@dataclass(frozen=True)
class Change:
    """What an act makes of the drafts. Where lines go, their states say.

    A line that leaves `in` gives back what it bills: `held` holds it until somebody releases it,
    `deferred` keeps it off drafts until its day (without one it is free at once), `written_off`
    for good. `moved` goes to a draft that has the same amounts `in`, here or in `made`.
    """

    answer: DraftAnswer
    act: str
    """Name of the act, for the trail."""
    by: str
    drafts: tuple[Draft, ...] = ()
    """Drafts as they are afterwards, changed ones at least; of a refused act: none."""
    made: tuple[Draft, ...] = ()
    """New drafts; one without an id gets the next number after the first draft's prefix, and is
    then named by the answer."""
    data: Mapping[str, object] = field(default_factory=dict)
    """More for the trail: what changed, for what reason."""
    tells: tuple[Alert, ...] = ()
    """What people are told of it, by the outbox."""


Decide = Callable[[LockedDrafts], Change]
"""A pure decision, called once under lock: it must be quick."""
