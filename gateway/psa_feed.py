"""A PSA's changes as events: which entries of which billed project changed, which milestones.

The feed names timesheets, reports and entries; a project's workflow wants entries. So each change
is looked up in the PSA before it goes into the inbox, and the inbox has what the router needs.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from adapters.errors import ContractBroken, NotFound, Unsupported
from adapters.psa_port import Psa
from canonical.billing import PsaChange
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.fees import FeeSource, FeeState
from gateway.pollers import FEED, FeedEvent
from gateway.routing import ENTRIES_CHANGED, IDS_MAX, MILESTONES_CHANGED
from store import Store
from store.inbox import NewEvent

KINDS: Final = {
    "time_entry": EntryKind.TIME,
    "expense": EntryKind.EXPENSE,
    "adjustment": EntryKind.ADJUSTMENT,
}
MILESTONE: Final = "milestone"
SUBMISSIONS: Final = frozenset({"timesheet", "expense_report"})
SEEN_MAX: Final = 50_000
"""Event ids remembered: each read overlaps the one before, and needs no second look-up."""
READ_MAX: Final = 200

T = TypeVar("T")
Bills = Callable[[str], Awaitable[bool]]
"""Whether Dealthread bills a project."""


class PsaFeed:
    """What changed in one PSA, for the poller; see `gateway.pollers.Feed`."""

    def __init__(self, connection: str, psa: Psa, store: Store, bills: Bills) -> None:
        """Read from `psa`; projects that nothing bills are left out."""
        self._connection = connection
        self._psa = psa
        self._store = store
        self._bills = bills
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._members: dict[tuple[str, str], tuple[EntryRef, ...]] = {}

    async def read(self, since: datetime, until: datetime) -> AsyncIterator[FeedEvent]:
        """Yield the changed entries of billed projects; an account without a feed is listed.

        Raises:
            AdapterError: the PSA can't be read; the whole span is read again later.
        """
        changes: list[PsaChange] = []
        try:
            async for change in self._psa.read_changes(since, until):
                if not change.own and change.event_id not in self._seen:
                    changes.append(change)
        except Unsupported:
            async for event in self._listed(since):
                yield event
            return
        for batch in _batches(changes):
            for event in await self._told(batch):
                yield event
            for event in await self._milestones(batch):
                yield event
            self._remember(change.event_id for change in batch)

    async def compare(self, _connection: str, since: datetime | None, until: datetime) -> None:
        """Put every entry of every billed project into the inbox: the feed forgot too much."""
        del since
        async for event in self._listed(None, stamp=until.isoformat()):
            await self._store.inbox.put(
                [
                    NewEvent(
                        connection=self._connection,
                        event_id=event.id,
                        protocol=FEED,
                        kind=event.kind,
                        subject=event.subject,
                        body=event.body,
                        correlation_id=event.id,
                    )
                ]
            )

    async def _listed(self, since: datetime | None, stamp: str = "") -> AsyncIterator[FeedEvent]:
        for project in await self._store.engagements.projects(self._connection):
            async for page in self._psa.list_entries(project, since):
                for part in _parts([entry.ref for entry in page]):
                    last = max((str(entry.updated_at) for entry in page), default="")
                    yield _event(f"list/{project}/{part[0]}/{stamp or last}", project, part)

    async def _told(self, changes: Sequence[PsaChange]) -> list[FeedEvent]:
        """Look the changes up and return one event per change and project."""
        entries = await self._entries(changes)
        gone = [ref for ref in _refs(changes) if ref not in entries]
        projects = {ref: entry.project_id for ref, entry in entries.items()}
        projects |= await self._store.changes.known_projects(self._connection, gone)
        billed = {project: await self._bills(project) for project in set(projects.values())}
        events = []
        for change in changes:
            by_project: dict[str, list[EntryRef]] = {}
            for ref in self._named(change):
                project = projects.get(ref, "")
                if billed.get(project):
                    by_project.setdefault(project, []).append(ref)
            for project, refs in by_project.items():
                for place, part in enumerate(_parts(refs)):
                    events.append(_event(f"{change.event_id}/{project}/{place}", project, part))
        return events

    async def _milestones(self, changes: Sequence[PsaChange]) -> list[FeedEvent]:
        """Return one event per change of a milestone of a project that is billed."""
        ours = [change for change in changes if change.subject_type == MILESTONE]
        billed: dict[str, bool] = {}
        for id_ in dict.fromkeys(change.subject_id for change in ours):
            try:
                found = await self._psa.read_milestone(id_)
            except NotFound:  # deleted since: of interest where something of it is being billed
                item = f"{self._connection}/{id_}"
                known = await self._store.fees.latest(FeeSource.MILESTONE, item)
                billed[id_] = known is not None and known.state is not FeeState.RETURNED
            except ContractBroken:  # its saga parks with it, and holds up none of the others
                billed[id_] = True
            else:
                billed[id_] = await self._bills(found.project_id)
        return [_milestone(change) for change in ours if billed[change.subject_id]]

    async def _entries(self, changes: Sequence[PsaChange]) -> dict[EntryRef, Entry]:
        """Return the entries that the changes are about, as the PSA has them now."""
        found: dict[EntryRef, Entry] = {}
        self._members.clear()
        for subject in {(c.subject_type, c.subject_id) for c in changes}:
            if subject[0] in SUBMISSIONS:
                members = await self._psa.entries_of_submission(*subject)
                self._members[subject] = tuple(entry.ref for entry in members)
                found |= {entry.ref: entry for entry in members}
        single = [ref for ref in _refs(changes) if ref not in found]
        if single:
            found |= {entry.ref: entry for entry in await self._psa.read_entries(tuple(single))}
        return found

    def _named(self, change: PsaChange) -> tuple[EntryRef, ...]:
        if change.subject_type in SUBMISSIONS:
            return self._members[change.subject_type, change.subject_id]
        return tuple(_refs([change]))

    def _remember(self, ids: Iterable[str]) -> None:
        self._seen.update(dict.fromkeys(ids))
        while len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)


def _refs(changes: Iterable[PsaChange]) -> list[EntryRef]:
    return list(
        dict.fromkeys(
            EntryRef(kind=KINDS[change.subject_type], id=change.subject_id)
            for change in changes
            if change.subject_type in KINDS
        )
    )


def _batches(changes: Sequence[PsaChange]) -> Iterable[Sequence[PsaChange]]:
    wanted = {*KINDS, *SUBMISSIONS, MILESTONE}
    ours = [change for change in changes if change.subject_type in wanted]
    return _chunks(ours, READ_MAX)


def _parts(refs: Sequence[EntryRef]) -> Iterable[Sequence[EntryRef]]:
    return _chunks(refs, IDS_MAX)


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _milestone(change: PsaChange) -> FeedEvent:
    return FeedEvent(
        id=change.event_id,
        kind=MILESTONES_CHANGED,
        subject=change.subject_id,
        body=json.dumps({"milestones": [change.subject_id]}).encode(),
    )


def _event(id_: str, project: str, refs: Sequence[EntryRef]) -> FeedEvent:
    body = {"project": project, "entries": [str(ref) for ref in refs]}
    return FeedEvent(id=id_, kind=ENTRIES_CHANGED, subject=project, body=json.dumps(body).encode())
