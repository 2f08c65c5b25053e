"""What waits for people as one list, whatever its source, and the watch over stuck runs."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from canonical.failures import Candidate, FailureKind
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.saga import Verb, WorkItemKind

COMMENT_MAX = 2_000
"""Characters of one comment."""
COMMENTS_MAX = 200
"""Comments on one work item."""
STUCK_ID = "WI-stuck-"
HELD_ID = "WI-held-"
RESIDUE_ID = "WI-residue-"


class WorkSort(StrEnum):
    """What comes first in the list."""

    URGENCY = "urgency"
    """The earliest deadline."""
    MONEY = "money"
    """The largest amount of each currency, then the second largest of each; unknown ones last."""


class WorkFilter(CanonicalModel):
    """Which work is meant; what is left empty lets everything through."""

    kinds: tuple[WorkItemKind, ...] = ()
    reason: str = ""
    """A code, such as `missing_mapping`."""
    connection: str = ""
    client_id: str = ""
    project_code: str = ""
    legal_entity: str = ""
    owner: str = ""
    """A person's name in `dealthread.toml`."""
    unowned: bool = False
    overdue: bool = False


class Work(CanonicalModel):
    """One thing that waits for a person: a parked step, a group of held entries, a finding."""

    id: str
    kind: WorkItemKind
    reason: str
    """A code."""
    message: str
    """The reason in plain words."""
    title: str = ""
    workflow_id: str = ""
    """The saga that it is about; empty where there is none."""
    generation: int = 0
    park: int = 0
    step: str = ""
    key: str = ""
    connection: str = ""
    client_id: str = ""
    project_code: str = ""
    legal_entities: tuple[str, ...] = ()
    amount: Money | None = None
    """At stake; None where nobody can say."""
    count: int = 1
    """How many entries wait, of those that are held; else 1."""
    candidates: tuple[Candidate, ...] = ()
    field: str = ""
    """What to correct, and in which system."""
    field_owner: str = ""
    failure: FailureKind | None = None
    verbs: tuple[Verb, ...] = ()
    """What the saga takes as an answer."""
    owner: str = ""
    """The person who sees to it."""
    comments: int = 0
    opened_at: datetime
    respond_by: datetime
    escalated: bool = False

    def is_overdue(self, now: datetime) -> bool:
        """Return whether its deadline has passed."""
        return self.respond_by < now


class Comment(CanonicalModel):
    """What somebody wrote about a work item; it never changes."""

    by: str
    at: datetime
    text: str


class Cluster(CanonicalModel):
    """Work with one cause: mend that, and all of it goes on."""

    kind: WorkItemKind
    reason: str
    connection: str
    count: int
    entries: int
    """As `count`, with every held entry counted by itself."""
    oldest: datetime
    overdue: int
    money: tuple[Money, ...]
    """At risk, a sum for each currency."""
    example: str
    """Id of one of them."""


# The watch over runs.


class StuckCause(StrEnum):
    """Why a run that waits for nobody makes no progress; the reason of its work item."""

    ACTIVITY_RETRYING = "activity_retrying"
    NOT_PICKED_UP = "not_picked_up"
    WORKFLOW_TASK_FAILING = "workflow_task_failing"
    STORE_RETRYING = "store_retrying"
    QUIET = "quiet"
    ENDED_WITHOUT_OUTCOME = "ended_without_outcome"
    UNDO_UNFINISHED = "undo_unfinished"
    HOLD_AGED = "hold_aged"


class Watch(CanonicalModel):
    """Asks for one round of the watch."""


class Watched(CanonicalModel):
    """What one round came to."""

    running: int = 0
    """Runs that are old enough to be looked at."""
    looked: int = 0
    """Runs that were asked how they are: the rest comes in the next rounds."""
    opened: tuple[str, ...] = ()
    """Work items."""
    closed: tuple[str, ...] = ()
    unlisted: bool = False
    """There are more runs than a round lists."""


class PendingActivity(CanonicalModel):
    """An activity that a run waits for, as Temporal tells."""

    name: str
    attempt: int
    scheduled_at: datetime | None = None
    """When it, or its present attempt, was put on its queue."""
    started: bool = False
    """An attempt is running, or has run."""
    queue: str = ""
    failure: str = ""
    """Of the last attempt."""
    first_scheduled_at: datetime | None = None


class PendingTask(CanonicalModel):
    """A workflow task that a run waits for."""

    attempt: int
    scheduled_at: datetime | None = None
    started: bool = False
    first_scheduled_at: datetime | None = None
    """Before it was extended for local activities."""


class RunSeen(CanonicalModel):
    """One run as the watch saw it: what is judged."""

    workflow_id: str
    run_id: str
    saga: str
    """Workflow type."""
    status: str
    """`running`, `completed`, `terminated`, …; `gone` beyond Temporal's retention."""
    closed_at: datetime | None = None
    queue: str = ""
    history_length: int = 0
    unchanged_since: datetime
    """Since when the history has this length, as far as the watch knows."""
    activities: tuple[PendingActivity, ...] = ()
    task: PendingTask | None = None
    children: int = 0
    is_saga: bool = False
    unfinished: bool = False
    """The store knows a generation of it that did not end."""
    undoing_since: datetime | None = None
    """When its generation was closed, if it is undoing."""
    waits_for_person: bool = False
    """It has an open work item of its own."""


class Stuck(CanonicalModel):
    """A cause found at a run, in words for its work item."""

    cause: StuckCause
    where: str
    """Activity or step."""
    message: str
    since: datetime


def money_of(text: str) -> Money | None:
    """Return the amount that a plan or work item shows (`str(Money)`), None where it is none."""
    number, _, currency = text.strip().rpartition(" ")
    try:
        return Money(amount=Decimal(number.replace(",", "")), currency=currency)
    except (ArithmeticError, ValueError):
        return None
