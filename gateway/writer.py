"""Puts what arrives together into the inbox by one insert, and only then lets each be answered."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway import spans
from gateway.metrics import GatewayMetrics
from store.errors import Conflict, StoreError, StoreUnavailable
from store.inbox import Inbox, NewEvent

LINGER_SECONDS: Final = 0.01
"""How long the first of a batch waits for others; while an insert runs, the next one gathers."""
BATCH_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 8 * 1024 * 1024
WAITING_MAX: Final = 10_000
"""Events that wait for an insert; beyond it senders are asked to come back."""
ANSWER_SECONDS: Final = 10
"""How long a sender waits for the insert: all of them give up soon after."""

_log = structlog.get_logger("dealthread.gateway")

Waiting = tuple[Sequence[NewEvent], "asyncio.Future[None]"]


class InboxWriter:
    """A group commit: one round trip and one flush to disk for everything of some milliseconds."""

    def __init__(self, inbox: Inbox, metrics: GatewayMetrics) -> None:
        self._inbox = inbox
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._count = 0
        self._arrived = asyncio.Event()
        self._stopping = False

    async def put(self, events: Sequence[NewEvent]) -> None:
        """Return once the events are in the inbox, be it from an earlier delivery.

        Raises:
            StoreUnavailable: they may not be; the sender has to come again.
            Conflict: the database refuses a value of them.
        """
        if self._count + len(events) > WAITING_MAX:
            raise StoreUnavailable("too many events wait for the inbox")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        self._count += len(events)
        self._arrived.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await done
        except TimeoutError:
            raise StoreUnavailable("the inbox takes too long") from None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write until the block ends; what waits then is still written."""
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            self._stopping = True
            self._arrived.set()
            await writing

    async def _write(self) -> None:
        while self._waiting or not self._stopping:
            await self._arrived.wait()
            await asyncio.sleep(LINGER_SECONDS)
            self._arrived.clear()
            while self._waiting:
                batch = self._next()
                await self._flush(batch)
                self._count -= sum(len(events) for events, _ in batch)

    def _next(self) -> list[Waiting]:
        """Take deliveries, each whole, as many as one insert should have."""
        batch: list[Waiting] = []
        count = size = 0
        while self._waiting:
            events = self._waiting[0][0]
            count += len(events)
            size += sum(len(event.body) for event in events)
            if batch and (count > BATCH_MAX or size > BATCH_BYTES_MAX):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _flush(self, batch: Sequence[Waiting]) -> None:
        try:
            await self._insert([event for events, _ in batch for event in events])
        except Conflict as error:
            if len(batch) == 1:
                _answer(batch[0], error)
                return
            # One delivery has a value that the database refuses; its neighbours have none.
            for delivery in batch:
                await self._flush([delivery])
        except StoreError as error:
            for delivery in batch:
                _answer(delivery, error)
        except Exception:
            _log.exception("inbox_write_failed")
            for delivery in batch:
                _answer(delivery, StoreUnavailable("the inbox failed"))
        else:
            for delivery in batch:
                _answer(delivery)

    async def _insert(self, events: Sequence[NewEvent]) -> None:
        started = time.perf_counter()
        fresh = await self._inbox.put(events)
        seconds = time.perf_counter() - started
        self._metrics.inserts.observe(seconds)
        new = [event for event in events if (event.connection, event.event_id) in fresh]
        spans.received(new, seconds)
        for event in events:
            is_new = (event.connection, event.event_id) in fresh
            fresh.discard((event.connection, event.event_id))
            self._metrics.received.labels(event.connection, "yes" if is_new else "no").inc()


def _answer(delivery: Waiting, error: Exception | None = None) -> None:
    _, done = delivery
    if done.done():  # the sender gave up
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
