"""Inputs, plan and messages of ApprovedTimeToBilling and of its BillingRun.

Entries, rated amounts and postings are bulk: they stay in the store, and requests name the run that
they belong to.
"""

from datetime import date, datetime

from canonical.entries import EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode


class ProjectPeriod(CanonicalModel):
    """A project's billing period: what one ApprovedTimeToBilling looks after."""

    psa: str
    project_id: str
    period: str
    """`YYYY-MM`: the billing period that is open for the entity when an approval arrives."""


# Messages. Each says that something changed; what is true is read from its owner.


class EntriesChanged(CanonicalModel):
    """The PSA says that these entries or submissions changed: approved, un-approved, adjusted."""

    entries: tuple[EntryRef, ...] = ()
    """At most 500."""
    correlation_id: str = ""


class RunNow(CanonicalModel):
    """Somebody asks for a billing run without waiting for debounce or cutoff."""

    asked_by: str


class RunEnded(CanonicalModel):
    """A billing run tells its project's period how it ended."""

    number: int
    outcome: str
    again: bool = False
    """Entries changed under it: another run has to begin with what is true now."""


class Calendar(CanonicalModel):
    """When a project's period is billed."""

    debounce_seconds: float
    """Quiet time after the last message before a run begins."""
    longest_wait_seconds: float
    """A run begins this long after the first message, however many follow."""
    cutoff_at: datetime
    """The end of the period's intake, in the entity's own zone."""


class TimeToBillingInput(CanonicalModel):
    """What a run of the workflow begins with; all but `of` is carried over continue-as-new."""

    of: ProjectPeriod
    correlation_id: str = ""
    waiting: tuple[EntryRef, ...] = ()
    waiting_since: datetime | None = None
    last_message_at: datetime | None = None
    run_asked: bool = False
    backfilled: bool = False
    """Nobody but backfills told of what waits."""
    open_run: int = 0
    """Number of the run under way; 0 when there is none."""
    last_run: int = 0
    """Number of the last run begun."""
    calendar: Calendar | None = None
    messages_before: int = 0


class TimeToBillingView(CanonicalModel):
    """What the workflow answers to the query `view`."""

    of: ProjectPeriod
    waiting: int
    open_run: int
    next_run_at: datetime | None = None
    cutoff_at: datetime | None = None
    entries: tuple[EntryRef, ...] = ()
    """What waits in the workflow alone; what is on the store's list is not among it."""


class TimeToBillingResult(CanonicalModel):
    """The period is over: nothing waits, and the last run has ended."""

    of: ProjectPeriod
    runs: int


class NoteChanges(CanonicalModel):
    """Puts changed entries on the list of what the next run reads; in order, twice counts once."""

    of: ProjectPeriod
    entries: tuple[EntryRef, ...]
    correlation_id: str = ""


class OpenRun(CanonicalModel):
    """Asks for the number of the next billing run: greater than any that the store knows."""

    of: ProjectPeriod
    after: int
    """Number of the last run that this period knows of."""


class OpenedRun(CanonicalModel):
    """The run to start."""

    number: int


# The billing run.


class BillingRunInput(CanonicalModel):
    """Which project to bill, as which run of its period."""

    of: ProjectPeriod
    number: int
    correlation_id: str = ""
    sweep: SweepMode | None = None


class RunRequest(StepRequest):
    """A request about one billing run: its workflow id is its key in the store."""

    run: str
    of: ProjectPeriod


class PlanBillingRun(RunRequest):
    """Find the engagement of the project, and who keeps its books and its people."""

    corrections: dict[str, str] = {}


class TakeIn(RunRequest):
    """Read what changed in the PSA since the last run and put it into the subledger."""


class TakenIn(CanonicalModel):
    """What reading the changed entries came to, as counts."""

    read: int = 0
    approved: int = 0
    withdrawn: int = 0
    superseded: int = 0
    unchanged: int = 0
    findings: int = 0


class ClaimEntries(RunRequest):
    """Take every approved entry of the project that nothing holds into this run."""


class ReadPeople(RunRequest):
    """Read the people of the run's entries from the HCM."""


class ReadErpTerms(RunRequest):
    """Read exchange rates and posting periods for the run's entries from an ERP."""

    subsidiaries: tuple[str, ...] = ()


class Counted(CanonicalModel):
    """How many records a read brought."""

    count: int = 0


class RateEntries(RunRequest):
    """Rate the run's entries: billing amount, cost, holds."""


class RatedRun(CanonicalModel):
    """What rating came to. Held entries have left the run."""

    rated: int = 0
    held: int = 0
    amounts: tuple[Money, ...] = ()
    """Rated amount by currency."""
    left: int = 0
    """Entries beyond what one run takes, for the next."""


class ReserveRun(RunRequest):
    """Say in the PSA that the run's entries are being billed."""

    project: RecordRef
    on: date
    title: str = ""


class VerifyEntries(RunRequest):
    """Read the reserved entries again and compare their versions."""


class Verified(CanonicalModel):
    """Which entries are not what was claimed; none in the usual case."""

    changed: tuple[EntryRef, ...] = ()


class PlaceParts(RunRequest):
    """Give every part its disposition, under the locks of caps and retainers."""

    on: date
    """The day of the run: the contract in force on it decides."""


class PreparePostings(RunRequest):
    """Make the run's charges and cost postings, by accounting policy."""


class PostingBatch(CanonicalModel):
    """A batch of charges or costs for one ERP project, kept in the store."""

    kind: str
    """`charges` or `costs`."""
    number: int
    connection: str
    count: int
    amount: Money


class Postings(CanonicalModel):
    """The batches to post."""

    batches: tuple[PostingBatch, ...] = ()


class PostBatch(RunRequest):
    """Post one batch in the ERP."""

    number: int


class CheckPostings(RunRequest):
    """Read back what was posted in an ERP: nobody has deleted or changed it since."""

    batches: tuple[PostingBatch, ...] = ()


class CheckReservation(RunRequest):
    """Look at the PSA's reservation again: it still has every entry of the run."""


class HandOver(RunRequest):
    """Hand the run's `to_bill` lines over to drafting."""


class BillingRunPlan(SagaPlan):
    """Everything that a run knows before it claims."""

    of: ProjectPeriod
    engagement: str
    project: RecordRef
    hcm: str = ""
    """Connection that keeps the people; empty: only the store's own list of them."""
    erps: dict[str, tuple[str, ...]] = {}
    """By ERP connection: the subsidiaries that bill or employ."""
    on: date
    """The day of the run in the entity's zone: the reservation is dated with it."""
    contract_on: date
    """The day whose contract decides on caps: that of the run, or the contract's first."""
