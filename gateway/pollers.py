"""Reads the feeds of systems that do not push, from a mark that outlives the process.

Feeds come unordered, late and twice: each read begins an overlap before the mark, and the inbox
knows what it had. An outage longer than the feed's memory is a gap: then everything is compared.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway import spans
from gateway.metrics import GatewayMetrics
from store.inbox import Inbox, NewEvent, PollMarks

FEED: Final = "feed"
"""The protocol of what a poller puts into the inbox."""
BATCH_MAX: Final = 500
READ_SECONDS: Final = 600
"""One read of a feed, all pages; what it brought is kept when it takes longer."""
PAUSE_MAX: Final = timedelta(minutes=5)
"""Between two tries at a feed that fails."""

_log = structlog.get_logger("dealthread.pollers")


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of a feed. The adapter checks its texts and drops the echoes of our own writes."""

    id: str
    kind: str
    subject: str
    """Id of the record that changed."""
    body: bytes = b"{}"
    """JSON object: what the router needs, or the feed's own row."""
    correlation_id: str = ""


class Feed(Protocol):
    """What one connection tells when it is asked."""

    def read(self, since: datetime, until: datetime) -> AsyncIterator[FeedEvent]:
        """Return what happened in a span, in any order, page by page.

        Raises:
            Exception: it can't be read; the whole span is read again later.
        """


Gap = Callable[[str, datetime | None, datetime], Awaitable[None]]
"""Compares everything of a connection, from a moment (None: never read before) to another."""


@dataclass(frozen=True)
class Polled:
    """A feed and how it is read."""

    connection: str
    feed: Feed
    gap: Gap
    every: timedelta = timedelta(seconds=15)
    overlap: timedelta = timedelta(minutes=5)
    """How late an event may come into the feed."""
    memory: timedelta = timedelta(days=9)
    """How long the feed keeps an event (Kantata: vendor page kantata, 14)."""
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


class Poller:
    """Reads one feed, again and again."""

    def __init__(
        self, polled: Polled, inbox: Inbox, marks: PollMarks, metrics: GatewayMetrics
    ) -> None:
        self._polled = polled
        self._inbox = inbox
        self._marks = marks
        self._metrics = metrics

    async def run(self) -> None:
        """Poll until cancelled; what fails is tried again, later each time."""
        polled, failures = self._polled, 0
        while True:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self.poll()
                failures = 0
            except Exception as error:
                failures += 1
                self._count("failed")
                _log.warning(
                    "feed_not_read",
                    connection=polled.connection,
                    error=type(error).__name__,
                    said=str(error)[:500],
                    failures=failures,
                )
            pause = min(polled.every * 2 ** min(failures, 10), max(PAUSE_MAX, polled.every))
            # Spread, so that several gateways do not ask together.
            await asyncio.sleep(pause.total_seconds() * random.uniform(0.9, 1.1))  # noqa: S311

    async def poll(self) -> int:
        """Read what is new, put it into the inbox and move the mark; return how many were new.

        Raises:
            StoreError: the inbox does not answer.
            Exception: whatever the feed raises, or the comparison after a gap.
        """
        polled = self._polled
        until = polled.clock()
        mark = await self._marks.get(polled.connection)
        oldest = until - polled.memory
        since = max(mark - polled.overlap, oldest) if mark is not None else until - polled.overlap
        # Some of what the feed forgot may not have been read yet: late arrivals count from there.
        is_gap = mark is None or mark - polled.overlap < oldest
        new = await self._read(since, until)
        if is_gap:
            self._count("gap")
            _log.warning("feed_gap", connection=polled.connection, since=str(mark))
            await polled.gap(polled.connection, mark, until)
        await self._marks.move(polled.connection, until)
        self._count("read")
        return new

    async def _read(self, since: datetime, until: datetime) -> int:
        new, batch = 0, list[NewEvent]()
        async for event in self._polled.feed.read(since, until):
            batch.append(self._event(event))
            if len(batch) >= BATCH_MAX:
                new += await self._put(batch)
                batch = []
        return new + await self._put(batch)

    async def _put(self, batch: Sequence[NewEvent]) -> int:
        if not batch:
            return 0
        started = time.perf_counter()
        fresh = await self._inbox.put(batch)
        new = [each for each in batch if (each.connection, each.event_id) in fresh]
        spans.received(new, time.perf_counter() - started)
        received = self._metrics.received
        received.labels(self._polled.connection, "yes").inc(len(fresh))
        received.labels(self._polled.connection, "no").inc(len(batch) - len(fresh))
        return len(fresh)

    def _event(self, event: FeedEvent) -> NewEvent:
        return NewEvent(
            connection=self._polled.connection,
            event_id=event.id,
            protocol=FEED,
            kind=event.kind,
            subject=event.subject,
            body=event.body,
            correlation_id=event.correlation_id or event.id,
        )

    def _count(self, result: str) -> None:
        self._metrics.polls.labels(self._polled.connection, result).inc()
