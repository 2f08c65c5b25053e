"""Which workflow an event concerns: the types, and what `com.dealthread.entries.changed` says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from temporalio.common import SearchAttributePair

from canonical.entries import EntryKind, EntryRef
from canonical.model import CanonicalModel
from store.inbox import Taken

IDS_MAX: Final = 500
"""Ids in one signal (DESIGN 9)."""
ENTRIES_CHANGED: Final = "com.dealthread.entries.changed"
MILESTONES_CHANGED: Final = "com.dealthread.milestones.changed"
MILESTONES_MAX: Final = 100
"""Milestones of one event: each is a workflow of its own."""

Message = Callable[[Sequence[str], str], CanonicalModel]
"""Makes the signal's argument of the ids, in order of arrival, and a correlation id."""


@dataclass(frozen=True, slots=True)
class Target:
    """A workflow that gets signals, and how it is started where it does not run."""

    workflow: str
    """Its type."""
    workflow_id: str
    task_queue: str
    start: CanonicalModel = field(compare=False)
    """Its input, should it have to be started."""
    signal: str = ""
    """Empty: it is started, and one that runs is left alone."""
    message: Message | None = field(default=None, compare=False)
    summary: str = field(default="", compare=False)
    search_attributes: tuple[SearchAttributePair[str], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if (self.message is None) != (not self.signal):
            raise ValueError("a signal goes with its message")


@dataclass(frozen=True, slots=True)
class Routed:
    """An event goes to a workflow; one may go to several, each by a `Routed` of its own."""

    event: int
    """Its number in the inbox."""
    target: Target
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.ids) > IDS_MAX:
            raise ValueError(f"a signal has at most {IDS_MAX} ids")


class Verdict(StrEnum):
    """What becomes of an event that goes nowhere now."""

    DONE = "delivered"
    """It was seen to on the spot: no workflow has to hear of it."""
    IGNORED = "ignored"
    """Nobody wants to know."""
    DEAD = "dead"
    """A person has to see to it; another try would say the same."""
    RETRY = "retry"
    """Something was not there that may be there later."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An event goes nowhere, and why."""

    event: int
    verdict: Verdict
    reason: str
    """A code: `unknown_project`."""
    detail: str
    """A sentence for the person who sees the dead letter."""


class Router(Protocol):
    """Knows which workflow each event concerns."""

    async def route(self, events: Sequence[Taken]) -> Sequence[Routed | Refused]:
        """Return at least one answer for each event.

        Raises:
            StoreUnavailable: nothing can be told now; all events wait.
        """


# What the event says. Strict: this is the door.

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
EntryName = Annotated[
    str, StringConstraints(pattern=r"^((time|expense|adjustment):)?[A-Za-z0-9_.\-]{1,64}$")
]
"""`<kind>:<id in the PSA>`, as `canonical.entries.EntryRef` is written; a bare id is time."""
Period = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]


class EntriesChangedData(BaseModel):
    """Entries of one project changed. Says that they did, never how: they are read again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    project: Id
    """The PSA's id of it."""
    entries: Annotated[tuple[EntryName, ...], Field(min_length=1, max_length=IDS_MAX, strict=False)]
    period: Period | None = None
    """`YYYY-MM`; without it, the billing period that is open for the project."""


class MilestonesChangedData(BaseModel):
    """Milestones were, perhaps, approved. Says no more: each is read again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    milestones: Annotated[
        tuple[Id, ...], Field(min_length=1, max_length=MILESTONES_MAX, strict=False)
    ]
    """The PSA's ids of them."""


@dataclass(frozen=True, slots=True)
class ProjectEntries:
    """The entries of one project that events of a batch are about."""

    project: str
    period: str | None
    entries: tuple[str, ...]
    """In order of arrival, each once."""


def entries_data(data: JsonValue) -> EntriesChangedData:
    """Return the data of an event `com.dealthread.entries.changed`.

    Raises:
        ValidationError: an unknown field, an id that is none, more than 500 entries, …
    """
    return EntriesChangedData.model_validate(data)


def milestones_data(data: JsonValue) -> MilestonesChangedData:
    """Return the data of an event `com.dealthread.milestones.changed`.

    Raises:
        ValidationError: an unknown field, an id that is none, more than 100 milestones, …
    """
    return MilestonesChangedData.model_validate(data)


def entry_ref(name: str) -> EntryRef:
    """Return the entry of an `EntryName`."""
    kind, _, id_ = name.rpartition(":")
    return EntryRef(kind=EntryKind(kind or "time"), id=id_)


def entries_changed(changes: Sequence[EntriesChangedData]) -> tuple[ProjectEntries, ...]:
    """Return what changed by project and period, in order of arrival, each entry once."""
    found: dict[tuple[str, str | None], dict[str, None]] = {}
    for change in changes:
        entries = found.setdefault((change.project, change.period), {})
        entries.update(dict.fromkeys(change.entries))
    return tuple(
        ProjectEntries(project, period, tuple(entries))
        for (project, period), entries in found.items()
    )
