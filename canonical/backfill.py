"""What a backfill, its source, its records and the people who steer it say to one another.

A record is what the source has: an opportunity, a milestone, an entry. Its target is what is
started for it: the same opportunity or milestone; of time, the project, once for all its entries.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.saga import Outcome, Route

NEVER_CARRIED = 0
"""Generation of a saga that never began."""


class BackfillKind(StrEnum):
    """What is carried over."""

    OPPORTUNITIES = "opportunities"
    TIME = "time"
    MILESTONES = "milestones"


class BackfillState(StrEnum):
    """Where a backfill stands."""

    READING = "reading"
    """Pages of the source become records, each judged."""
    APPLYING = "applying"
    """Sagas are started or adopted, and followed to their ends."""
    PAUSED = "paused"
    CANCELLING = "cancelling"
    """Nothing more is started; what was started goes on."""
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The source refused to be read; nothing was started."""


ENDED = frozenset({BackfillState.FINISHED, BackfillState.CANCELLED, BackfillState.FAILED})


class RecordState(StrEnum):
    """What became of a record, or will."""

    PLANNED = "planned"
    STARTING = "starting"
    """About to be started; not yet known to run."""
    UNDER_WAY = "under_way"
    COMPLETED = "completed"
    ADOPTED = "adopted"
    """Completed by a saga that somebody else had started."""
    ALREADY_DONE = "already_done"
    PARKED = "parked"
    """Its saga waits for a person."""
    REJECTED = "rejected"
    """It conflicts with what is there, or its saga ended without carrying it."""
    NOT_STARTED = "not_started"
    """The backfill was cancelled before its turn."""


WAITING = (RecordState.PLANNED, RecordState.STARTING, RecordState.UNDER_WAY)
"""States that a backfill waits for the end of."""
WELL = frozenset({RecordState.COMPLETED, RecordState.ADOPTED, RecordState.ALREADY_DONE})


# The source.


class SourceWindow(CanonicalModel):
    """Which records a backfill is about."""

    kind: BackfillKind
    connection: str
    """The CRM of opportunities, else the PSA."""
    since: date
    """First day: of the close date, the service date or the approval."""
    until: date
    """Last day, included."""
    where: str = ""
    """A further condition in the source's words, checked before it is sent anywhere."""


class SourceRecord(CanonicalModel):
    """One record as the source lists it."""

    id: str
    """An opportunity's or milestone's id; an entry as `time:4711` or `expense:12`."""
    target: str
    on: date
    amount: Money | None = None
    """What the source says that it is worth; None where it does not say."""
    version: str = ""
    """Of entries: by it a change is told from what is billed."""
    linked: str = ""
    """What the source says of a counterpart that it has already, in words; empty: none."""


class SourcePage(CanonicalModel):
    """Records in the source's order, and where to go on."""

    records: tuple[SourceRecord, ...]
    next: str = ""
    """Give it back for the page after this one; empty: this is the last."""


# What is said about records.


class KnownSaga(CanonicalModel):
    """The latest life of a record's saga."""

    generation: int
    outcome: Outcome | None = None
    """None: it has not ended."""
    reason: str = ""
    parked: str = ""
    """Where it waits for a person, in words; empty: it does not."""


class KnownEntry(CanonicalModel):
    """What the subledger has of an entry."""

    same: bool
    """The very version that the source has now."""
    handed_over: bool
    in_run: bool
    held: str = ""
    """Why it waits for a person; empty: it does not."""


class Judged(CanonicalModel):
    """A record with what a backfill would do about it."""

    record: SourceRecord
    state: RecordState
    why: str = ""
    workflow_id: str = ""
    """Of time known only once its billing period is."""
    generation: int = NEVER_CARRIED
    """The last life of its saga that is over; what comes after it is this backfill's."""


class Amount(CanonicalModel):
    """What records of one state come to in one currency."""

    state: RecordState
    records: int
    money: Money | None = None
    """None: of records without an amount."""


class Standing(CanonicalModel):
    """How far a backfill has come."""

    amounts: tuple[Amount, ...] = ()
    in_flight: int = 0
    """Targets that this backfill started and that have not ended."""
    started: int = 0
    """Targets started in the step that answers."""
    changed: int = 0
    """Records whose state changed in it."""

    def count(self, *states: RecordState) -> int:
        """Return how many records are in one of the states; of none given, in any."""
        wanted = states or tuple(RecordState)
        return sum(each.records for each in self.amounts if each.state in wanted)

    @property
    def over(self) -> bool:
        """Whether nothing is waited for any more."""
        return not self.count(*WAITING)


# The workflow.


Rate = Annotated[Decimal, Field(gt=0, le=1_000)]
InFlight = Annotated[int, Field(gt=0, le=10_000)]
RATE_USUAL = Decimal(5)
IN_FLIGHT_USUAL: Final[Mapping[BackfillKind, int]] = {
    BackfillKind.OPPORTUNITIES: 5,
    BackfillKind.MILESTONES: 5,
    BackfillKind.TIME: 20,
}
"""More carry hardly more over, and live work waits for them: figures in docs/howto/backfill.md.

A project is in flight while its billing period waits for more entries, which takes nothing.
"""


class BackfillInput(CanonicalModel):
    """What a backfill is to do; the rest is carried over continue-as-new."""

    window: SourceWindow
    rate: Rate = RATE_USUAL
    """Targets started per second, at most."""
    in_flight_max: InFlight = 20
    by: str = ""
    records_per_run: int = 2_000
    """After so many records read or started the history is begun anew."""
    route: Route | None = None
    state: BackfillState = BackfillState.READING
    paused: bool = False
    cancelled: bool = False
    after: str = ""
    """How far the source is read."""
    standing: Standing = Standing()


class BackfillView(CanonicalModel):
    """What a backfill answers to the query `progress` and to every update."""

    id: str
    window: SourceWindow
    state: BackfillState
    rate: Rate
    in_flight_max: int
    standing: Standing = Standing()
    why: str = ""
    """Why it failed."""


class Steer(CanonicalModel):
    """Somebody pauses, resumes or cancels."""

    by: str = ""


class ChangeRate(CanonicalModel):
    """Somebody makes it faster or slower; what is None stays."""

    by: str = ""
    rate: Rate | None = None
    in_flight_max: InFlight | None = None


class SteeringAct(CanonicalModel):
    """An act for the audit trail."""

    act: str
    by: str
    detail: str = ""


# Activities.


class ReadSource(CanonicalModel):
    """Read one page of the source, judge its records and keep them; again changes nothing."""

    backfill: str
    window: SourceWindow
    after: str = ""


class SourceRead(CanonicalModel):
    """How far the source is read."""

    records: int
    next: str = ""
    standing: Standing = Standing()


class OpenBackfill(CanonicalModel):
    """Keep a backfill; again changes nothing."""

    backfill: str
    given: BackfillInput


class BackfillOpened(CanonicalModel):
    """How its source is read."""

    route: Route


class NoteBackfill(CanonicalModel):
    """Keep how a backfill stands, and put what people did into the audit trail."""

    view: BackfillView
    acts: tuple[SteeringAct, ...] = ()


class AdvanceBackfill(CanonicalModel):
    """See what became of what was started, and start more where there is room."""

    backfill: str
    window: SourceWindow
    start_max: int
    in_flight_max: int
    give_up: bool = False
    """What is planned is not started any more."""
