"""Alerts: what service-level rules measure, what people are told, what the Schedule asks for."""

from datetime import datetime
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money

ALERT_ID = "alert/"
"""Alerts begin with it where work items and audit entries name their subject."""


class Severity(StrEnum):
    """How much a message matters; a channel takes those from a minimum on."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    def reaches(self, minimum: "Severity") -> bool:
        """Return whether it matters as much as `minimum`, or more."""
        order = list(Severity)
        return order.index(self) >= order.index(minimum)


class TellingKind(StrEnum):
    """What a message in the outbox tells of."""

    WORK_ITEM_OPENED = "work_item_opened"
    WORK_ITEM_ESCALATED = "work_item_escalated"
    ALERT_RAISED = "alert_raised"
    ALERT_CLEARED = "alert_cleared"


class Measure(StrEnum):
    """What a service-level rule looks at: things that wait, and since when each does."""

    TIME_TO_PROJECT = "time_to_project"
    """Deals whose project is not open yet, since they were won and started."""
    APPROVED_TIME_UNBILLED = "approved_time_unbilled"
    """Approved billable time by project that is on no invoice, since its approval."""
    DRAFT_IN_REVIEW = "draft_in_review"
    """Drafts that a project manager looks at, since the deadline of the review."""
    WORK_OVERDUE = "work_overdue"
    """Open work items, since their deadline."""
    INBOX_WAITING = "inbox_waiting"
    """Events by connection that were received and not handed on, since they came."""
    DEAD_LETTER = "dead_letter"
    """Events that could not be handled, since they were given up."""
    STUCK_RUN = "stuck_run"
    """Runs that make no progress and wait for nobody, since the watch found them."""
    CONSERVATION_BREAK = "conservation_break"
    """Sums of the subledger that do not hold, since the check saw it."""


class Waiting(CanonicalModel):
    """One thing that waits, as a measure found it."""

    subject: str
    """A workflow, a work item, a project or a connection."""
    entity: str = ""
    """Code of the legal entity; empty where there is none."""
    title: str = ""
    workflow_id: str = ""
    """The saga that it is about; empty where there is none."""
    since: datetime
    amount: Money | None = None


class Alert(CanonicalModel):
    """A rule that is broken, at one legal entity: raised once, cleared by itself."""

    rule: str
    entity: str
    title: str
    command: str
    """What shows more, or helps."""
    severity: Severity
    channels: tuple[str, ...] = ()
    """Who is told, by the channel's name; empty: whoever takes such messages."""
    count: int = 0
    """How many things break the rule."""
    since: datetime | None = None
    """Since when the oldest of them waits."""
    money: tuple[Money, ...] = ()
    """At stake, a sum for each currency."""
    examples: tuple[Waiting, ...] = ()
    """The oldest of them, with their sagas."""
    at: datetime
    """When it was raised or cleared."""

    @property
    def id(self) -> str:
        """What the audit trail and the outbox call it."""
        return alert_id(self.rule, self.entity)


def alert_id(rule: str, entity: str) -> str:
    """Return the id of a rule's alert at a legal entity."""
    return f"{ALERT_ID}{rule}/{entity}" if entity else f"{ALERT_ID}{rule}"


class Telling(CanonicalModel):
    """A message for people as it is sent."""

    title: str
    body: str


# What the Schedule asks for.


class JudgeRules(CanonicalModel):
    """Asks to measure what is due, and to raise and clear alerts."""


class RulesJudged(CanonicalModel):
    """What one round came to."""

    judged: tuple[str, ...] = ()
    """Rules that were due."""
    failed: tuple[str, ...] = ()
    """Rules that could not be measured; the others were."""
    raised: tuple[str, ...] = ()
    """Ids of alerts."""
    cleared: tuple[str, ...] = ()


class SendAlerts(CanonicalModel):
    """Asks to hand the outbox to the channels."""


class AlertsSent(CanonicalModel):
    """What one round came to."""

    sent: int = 0
    failed: int = 0
    """Tries that failed: tried again later."""
    given_up: int = 0
    moot: int = 0
    """About work that was closed before anybody could be told."""
