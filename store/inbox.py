"""The inbox: every event that arrived, once, from its receipt to its end (DESIGN 9).

An event is in here before its sender gets an answer, and stays the truth for what arrived twice.
The drain takes a batch under row locks that last until it says what became of each: a drain that
is killed leaves all of its batch as it was.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.model import CanonicalModel
from canonical.saga import OpenWorkItem
from store.audit import audit_data
from store.database import AnyRow, Database
from store.evidence import Cipher
from store.models import NAME_MAX, REASON_MAX, event_inbox, poll_marks
from store.work_items import WorkItemStore

_WORK_ITEM: Final = "WI-event-"
REPLAY_MAX: Final = 1_000
"""Events that one replay takes."""


class EventState(StrEnum):
    """What became of an event."""

    RECEIVED = "received"
    """It waits for the drain, perhaps for another try."""
    DELIVERED = "delivered"
    IGNORED = "ignored"
    """Nobody is interested in its kind."""
    DEAD = "dead"
    """It can't be handled; a work item says why."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that arrived. Texts are bounded and free of NUL before they get here."""

    connection: str
    event_id: str
    protocol: str
    kind: str
    """What it tells of, in the sender's words: `invoice.paid`, `Opportunity`."""
    subject: str
    """Id of the record that it tells of, where there is one."""
    body: bytes
    """As it came over the wire; of a batch, this event's part of it."""
    headers_json: str = ""
    """What the body alone does not say, and the proof that it was signed."""
    correlation_id: str = ""


class InboxEvent(CanonicalModel):
    """An event as it lies in the inbox, without its body."""

    id: int
    connection: str
    event_id: str
    protocol: str
    kind: str
    subject: str
    correlation_id: str
    state: EventState
    attempts: int
    replays: int
    reason: str
    """Why the last try failed, or why it was not wanted."""
    workflow_id: str
    """Who got it."""
    received_at: AwareDatetime
    next_attempt_at: AwareDatetime
    ended_at: AwareDatetime | None


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that the drain works on."""

    event: InboxEvent
    body: bytes
    headers_json: str = ""
    unreadable: str = ""
    """Why the body can't be read; it is empty then."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a taken event."""

    id: int
    state: EventState
    workflow_id: str = ""
    reason: str = ""
    tried: bool = True
    """Whether it counts as an attempt."""
    delay_seconds: float = 0.0
    """Of one that stays `received`: when to try again."""


_PUT = text("""
    INSERT INTO event_inbox (connection, event_id, protocol, kind, subject, body, encrypted,
        headers_json, correlation_id)
    SELECT * FROM unnest(CAST(:connection AS text[]), CAST(:event_id AS text[]),
        CAST(:protocol AS text[]), CAST(:kind AS text[]), CAST(:subject AS text[]),
        CAST(:body AS bytea[]), CAST(:encrypted AS boolean[]), CAST(:headers_json AS text[]),
        CAST(:correlation_id AS text[]))
    ON CONFLICT (connection, event_id) DO NOTHING
    RETURNING connection, event_id
""")

# The times are those of the statement: the transaction began before the events were sent on.
_SETTLE = text("""
    UPDATE event_inbox AS event
    SET state = settled.state, reason = settled.reason, workflow_id = settled.workflow_id,
        attempts = event.attempts + settled.tried,
        next_attempt_at = clock_timestamp() + make_interval(secs => settled.delay),
        ended_at = CASE WHEN settled.state = 'received' THEN NULL ELSE clock_timestamp() END
    FROM unnest(CAST(:id AS bigint[]), CAST(:state AS text[]), CAST(:reason AS text[]),
        CAST(:workflow_id AS text[]), CAST(:tried AS integer[]), CAST(:delay AS float8[]))
        AS settled (id, state, reason, workflow_id, tried, delay)
    WHERE event.id = settled.id
""")

_REPLAY = text("""
    WITH chosen AS (
        SELECT id, connection, event_id, replays FROM event_inbox
        WHERE id = ANY (CAST(:ids AS bigint[])) AND state <> 'received'
        ORDER BY id FOR UPDATE
    ), replayed AS (
        UPDATE event_inbox SET state = 'received', attempts = 0, replays = event_inbox.replays + 1,
            reason = '', ended_at = NULL, next_attempt_at = now()
        FROM chosen WHERE event_inbox.id = chosen.id
    ), closed AS (
        UPDATE work_items SET state = 'closed', closed_at = now(), how = 'replayed'
        FROM chosen WHERE state = 'open' AND work_items.id = 'WI-event-' || chosen.id
            || '-' || chosen.replays
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT 'events/' || connection, :actor, 'event_replayed',
            CAST(:audit AS jsonb) || jsonb_build_object('event', event_id)
        FROM chosen
    )
    SELECT id FROM chosen
""")

_FORGET = text("""
    DELETE FROM event_inbox WHERE id IN (
        SELECT id FROM event_inbox
        WHERE state IN ('delivered', 'ignored') AND ended_at < :before
        ORDER BY id LIMIT :limit
    )
""")


def work_item_id(event: InboxEvent) -> str:
    """Return the id of the work item about a dead event; a replay that fails has another one."""
    return f"{_WORK_ITEM}{event.id}-{event.replays}"


def event_of(work_item: str) -> str:
    """Return the number of the event that a work item of `work_item_id` is about."""
    return work_item.removeprefix(_WORK_ITEM).partition("-")[0]


class Batch:
    """Events under lock, and the one statement that says what became of them."""

    def __init__(
        self, connection: AsyncConnection, taken: Sequence[Taken], work_items: WorkItemStore
    ) -> None:
        self.taken = taken
        self._connection = connection
        self._work_items = work_items

    async def settle(self, settled: Sequence[Settled], dead: Iterable[OpenWorkItem] = ()) -> None:
        """Write what became of events, with a work item for each dead one; all or nothing."""
        if not settled:
            return
        values = {
            "id": [each.id for each in settled],
            "state": [each.state.value for each in settled],
            "reason": [each.reason[:REASON_MAX] for each in settled],
            "workflow_id": [each.workflow_id[:NAME_MAX] for each in settled],
            "tried": [int(each.tried) for each in settled],
            "delay": [each.delay_seconds for each in settled],
        }
        await self._connection.execute(_SETTLE, values)
        for item in dead:
            await self._work_items.open_within(self._connection, item)


class Inbox:
    """Puts events in, hands them to the drain, lists and replays them."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._cipher = cipher
        self._work_items = WorkItemStore(database)

    async def put(self, events: Sequence[NewEvent]) -> set[tuple[str, str]]:
        """Keep events; return connection and event id of those that were not there before.

        Raises:
            Conflict: the database refuses a value; nothing was kept.
            StoreUnavailable: nothing is known: put them again.
        """
        values = {
            "connection": [event.connection for event in events],
            "event_id": [event.event_id for event in events],
            "protocol": [event.protocol for event in events],
            "kind": [event.kind[:NAME_MAX] for event in events],
            "subject": [event.subject for event in events],
            "body": [self._sealed(event.body) for event in events],
            "encrypted": [self._cipher is not None] * len(events),
            "headers_json": [event.headers_json for event in events],
            "correlation_id": [event.correlation_id for event in events],
        }
        rows = await self._database.rows(_PUT, values)
        return {(str(row.connection), str(row.event_id)) for row in rows}

    @asynccontextmanager
    async def batch(self, limit: int) -> AsyncIterator[Batch]:
        """Give the oldest events that are due and that no other drain holds.

        What is not settled when the block ends, or fails, is as if it had not been taken.
        """
        due = (
            select(event_inbox)
            .where(
                event_inbox.c.state == "received",
                event_inbox.c.next_attempt_at <= func.now(),
            )
            .order_by(event_inbox.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            rows = (await connection.execute(due)).all()
            taken = [self._taken(row) for row in rows]
            yield Batch(connection, taken, self._work_items)

    async def get(self, event: int) -> Taken | None:
        """Return one event with its body."""
        row = await self._database.first(select(event_inbox).where(event_inbox.c.id == event))
        return None if row is None else self._taken(row)

    async def list(
        self,
        *,
        state: EventState | None = None,
        connection: str | None = None,
        limit: int = 100,
    ) -> tuple[InboxEvent, ...]:
        """Return events, the youngest first."""
        columns = [column for column in event_inbox.c if column.name != "body"]
        query = select(*columns).order_by(event_inbox.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(event_inbox.c.state == state.value)
        if connection is not None:
            query = query.where(event_inbox.c.connection == connection)
        return tuple(_event(row) for row in await self._database.rows(query))

    async def replay(self, events: Sequence[int], *, actor: str, because: str = "") -> set[int]:
        """Let events that ended try again, close their work items, and note who wanted it.

        Returns:
            Those that there are; one that waits anyway is left alone.
        """
        values = {"ids": list(events), "actor": actor, "audit": audit_data(because=because)}
        return {int(str(row.id)) for row in await self._database.rows(_REPLAY, values)}

    async def waiting(self) -> tuple[int, datetime | None]:
        """Return how many events wait, and since when the oldest does."""
        counts = select(func.count(), func.min(event_inbox.c.received_at)).where(
            event_inbox.c.state == "received"
        )
        row = await self._database.first(counts)
        if row is None:
            return 0, None
        count, oldest = row
        return int(str(count)), oldest if isinstance(oldest, datetime) else None

    async def dead(self) -> int:
        """Return how many events are dead."""
        row = await self._database.first(
            select(func.count().label("dead")).where(event_inbox.c.state == "dead")
        )
        return 0 if row is None else int(str(row.dead))

    async def forget(self, before: datetime, limit: int = 10_000) -> int:
        """Delete events that ended well before a moment, at most `limit`; return how many."""
        return await self._database.run(_FORGET, {"before": before, "limit": limit})

    def _sealed(self, body: bytes) -> bytes:
        return body if self._cipher is None else self._cipher.encrypt(body)

    def _taken(self, row: AnyRow) -> Taken:
        body, unreadable = bytes(row.body), ""
        if row.encrypted:
            body, unreadable = self._opened(body)
        return Taken(_event(row), body, str(row.headers_json), unreadable)

    def _opened(self, body: bytes) -> tuple[bytes, str]:
        if self._cipher is None:
            return b"", "it is encrypted, and no key is configured"
        try:
            return self._cipher.decrypt(body), ""
        except ValueError:
            return b"", "it was encrypted with another key"


class PollMarks:
    """How far each feed has been read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, connection: str) -> datetime | None:
        """Return the moment before which all is in the inbox, None for a feed never read."""
        row = await self._database.first(
            select(poll_marks.c.mark).where(poll_marks.c.connection == connection)
        )
        return row.mark if row is not None and isinstance(row.mark, datetime) else None

    async def move(self, connection: str, mark: datetime) -> None:
        """Move the mark forward; it never goes back, whoever of two pollers comes last."""
        put = insert(poll_marks).values(connection=connection, mark=mark)
        await self._database.run(
            put.on_conflict_do_update(
                index_elements=[poll_marks.c.connection],
                set_={"mark": put.excluded.mark, "moved_at": func.now()},
                where=poll_marks.c.mark < put.excluded.mark,
            )
        )


def _event(row: AnyRow) -> InboxEvent:
    return InboxEvent.model_validate(row._mapping)
