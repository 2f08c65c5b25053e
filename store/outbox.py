"""The outbox: messages to people, written with what they tell of and sent afterwards.

A message is handed over once: then it has a delivery for each channel that takes it, or nobody
takes it. A channel that is down keeps its deliveries waiting, and no others. Delivery is at least
once: who takes deliveries has them for a while, and they are due again should it die.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select, text, update

from canonical.alerts import TellingKind
from canonical.model import CanonicalModel
from store.database import Database
from store.models import REASON_MAX, outbox

HAND_OVER_MAX: Final = 1_000
"""Messages that one round hands over."""
KEEP_DAYS: Final = 90
"""How long messages are kept that everybody was told of."""


class OutboxMessage(CanonicalModel):
    """Something that people are to be told."""

    id: int
    kind: str
    """As `TellingKind` names them."""
    subject: str
    """The id of the work item or alert."""
    payload_json: str
    """The work item or alert."""
    created_at: datetime


class Delivery(CanonicalModel):
    """A message on its way to one channel."""

    message: OutboxMessage
    attempts: int
    """Tries that failed."""
    owner: str = ""
    """Who sees to the work that it is about."""


class ChannelBacklog(CanonicalModel):
    """How one channel fares."""

    channel: str
    waiting: int
    oldest: datetime | None = None
    """Since when the oldest of them waits."""
    given_up: int
    """In the last week."""
    error: str = ""
    """Of the last try that failed, of what waits or was given up."""


_PUT = text("INSERT INTO outbox (kind, subject, payload_json) VALUES (:kind, :subject, :payload)")

_UNSENT = text("""
    SELECT id, kind, subject, payload_json, created_at FROM outbox
    WHERE sent_at IS NULL ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_DELIVER = text("""
    INSERT INTO alert_deliveries (message, channel)
    SELECT * FROM unnest(CAST(:messages AS bigint[]), CAST(:channels AS text[]))
    ON CONFLICT DO NOTHING
""")

_HANDED_OVER = text("UPDATE outbox SET sent_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))")

_MOOT = text("""
    UPDATE alert_deliveries AS delivery SET state = 'moot', ended_at = now()
    FROM outbox AS message JOIN work_items AS item ON item.id = message.subject
    WHERE delivery.state = 'waiting' AND message.id = delivery.message
        AND message.kind = ANY(CAST(:kinds AS text[])) AND item.state = 'closed'
""")

_GIVE_UP = text("""
    UPDATE alert_deliveries SET state = 'given_up', ended_at = now()
    WHERE state = 'waiting' AND made_at < now() - make_interval(secs => :after_seconds)
""")

_TAKE = text("""
    WITH due AS (
        SELECT message, channel FROM alert_deliveries
        WHERE channel = :channel AND state = 'waiting' AND due_at <= now()
        ORDER BY message LIMIT :limit FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE alert_deliveries AS delivery
        SET due_at = now() + make_interval(secs => :lease_seconds)
        FROM due WHERE delivery.message = due.message AND delivery.channel = due.channel
        RETURNING delivery.message, delivery.attempts
    )
    SELECT message.id, message.kind, message.subject, message.payload_json, message.created_at,
        taken.attempts, coalesce(assigned.owner, '') AS owner
    FROM taken JOIN outbox AS message ON message.id = taken.message
    LEFT JOIN work_owners AS assigned ON assigned.work_id = message.subject
    ORDER BY message.id
""")

_SENT = text("""
    UPDATE alert_deliveries
    SET state = 'sent', ended_at = now(), attempts = attempts + 1, error = ''
    WHERE channel = :channel AND message = ANY(CAST(:ids AS bigint[])) AND state = 'waiting'
""")

_FAILED = text("""
    UPDATE alert_deliveries
    SET attempts = attempts + 1, error = :error,
        due_at = now() + make_interval(secs => :delay_seconds)
    WHERE channel = :channel AND message = ANY(CAST(:ids AS bigint[])) AND state = 'waiting'
""")

_RELEASE = text("""
    UPDATE alert_deliveries SET due_at = now() + make_interval(secs => :delay_seconds)
    WHERE channel = :channel AND message = ANY(CAST(:ids AS bigint[])) AND state = 'waiting'
""")

_BACKLOG = text("""
    SELECT channel, count(*) FILTER (WHERE state = 'waiting') AS waiting,
        min(made_at) FILTER (WHERE state = 'waiting') AS oldest,
        count(*) FILTER (WHERE state = 'given_up') AS given_up,
        coalesce((array_agg(error ORDER BY message DESC) FILTER (WHERE error <> ''))[1], '')
            AS error
    FROM alert_deliveries
    WHERE state = 'waiting' OR state = 'given_up' AND ended_at > now() - interval '7 days'
    GROUP BY channel ORDER BY channel
""")

_FORGET = text("""
    DELETE FROM outbox WHERE sent_at < now() - make_interval(days => :days)
        AND NOT EXISTS (SELECT FROM alert_deliveries AS delivery
            WHERE delivery.message = outbox.id AND delivery.state = 'waiting')
""")


class Outbox:
    """Takes messages, hands them over to channels, and keeps what became of each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, kind: TellingKind, subject: str, payload: CanonicalModel) -> None:
        """Write a message that no other statement writes along with its cause."""
        values = {"kind": kind, "subject": subject, "payload": payload.model_dump_json()}
        await self._database.run(_PUT, values)

    async def unsent(self, limit: int = 100) -> tuple[OutboxMessage, ...]:
        """Return messages that were not handed over yet, oldest first."""
        query = select(outbox).where(outbox.c.sent_at.is_(None)).order_by(outbox.c.id).limit(limit)
        rows = await self._database.rows(query)
        return tuple(OutboxMessage.model_validate(row._mapping) for row in rows)

    async def mark_sent(self, message_id: int) -> None:
        """Put down that nobody needs to be told of a message; the same twice changes nothing."""
        await self._database.run(
            update(outbox)
            .where(outbox.c.id == message_id, outbox.c.sent_at.is_(None))
            .values(sent_at=func.now())
        )

    async def hand_over(self, route: Callable[[OutboxMessage], Sequence[str]]) -> int:
        """Give each new message to the channels that `route` names; return how many there were.

        Two at once never hand over the same message.
        """
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_UNSENT, {"limit": HAND_OVER_MAX})).all()
            messages = [OutboxMessage.model_validate(row._mapping) for row in rows]
            wanted = [(message.id, name) for message in messages for name in route(message)]
            if wanted:
                ids, channels = zip(*wanted, strict=True)
                values = {"messages": list(ids), "channels": list(channels)}
                await connection.execute(_DELIVER, values)
            await connection.execute(_HANDED_OVER, {"ids": [each.id for each in messages]})
        return len(messages)

    async def drop_moot(self) -> int:
        """End deliveries about work that was closed meanwhile; return how many."""
        kinds = [TellingKind.WORK_ITEM_OPENED.value, TellingKind.WORK_ITEM_ESCALATED.value]
        return await self._database.run(_MOOT, {"kinds": kinds})

    async def give_up(self, *, after_seconds: float) -> int:
        """End deliveries that have waited for too long, and forget old messages."""
        await self._database.run(_FORGET, {"days": KEEP_DAYS})
        return await self._database.run(_GIVE_UP, {"after_seconds": after_seconds})

    async def take(self, channel: str, *, limit: int, lease_seconds: float) -> tuple[Delivery, ...]:
        """Take deliveries that are due, oldest first: nobody else gets them for a while."""
        values = {"channel": channel, "limit": limit, "lease_seconds": lease_seconds}
        rows = await self._database.rows(_TAKE, values)
        return tuple(
            Delivery(
                message=OutboxMessage.model_validate(row._mapping),
                attempts=row._mapping["attempts"],
                owner=row._mapping["owner"],
            )
            for row in rows
        )

    async def sent(self, channel: str, ids: Sequence[int]) -> None:
        """Put down that people were told."""
        await self._database.run(_SENT, {"channel": channel, "ids": list(ids)})

    async def failed(
        self, channel: str, ids: Sequence[int], *, error: str, delay_seconds: float
    ) -> None:
        """Put down a try that failed, and when the next one is due."""
        values = {"error": error[:REASON_MAX], "delay_seconds": delay_seconds}
        await self._database.run(_FAILED, {"channel": channel, "ids": list(ids), **values})

    async def release(
        self, channel: str, ids: Sequence[int], *, delay_seconds: float = 0.0
    ) -> None:
        """Give back what was taken and not tried."""
        values = {"channel": channel, "ids": list(ids), "delay_seconds": delay_seconds}
        await self._database.run(_RELEASE, values)

    async def backlog(self) -> tuple[ChannelBacklog, ...]:
        """Return the channels that have something waiting, or gave something up lately."""
        rows = await self._database.rows(_BACKLOG)
        return tuple(ChannelBacklog.model_validate(row._mapping) for row in rows)
