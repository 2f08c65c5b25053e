"""How many calls may be in flight to one vendor account, and who goes first (DESIGN 3.13).

`LocalGovernor` keeps the share of this process. What the share is, over all workers, is decided
by a lease in PostgreSQL, which only calls `set_ceiling`.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Final, Protocol

PRIORITY_UNDO: Final = 1
PRIORITY_LIVE: Final = 2
PRIORITY_BACKFILL: Final = 5

call_priority: ContextVar[int] = ContextVar("call_priority", default=PRIORITY_LIVE)
"""Priority of the calls of the current task; lower goes first. Set by the activity layer."""


class Governor(Protocol):
    """The budget of one vendor account, injected into its HTTP layer."""

    def slot(self, priority: int) -> AbstractAsyncContextManager[None]:
        """Wait for the right to have one call in flight; lower priorities go first."""
        ...

    def throttled(self, retry_after_seconds: float | None) -> None:
        """Note that the vendor asked to slow down."""
        ...

    def succeeded(self) -> None:
        """Note that the vendor took a call."""
        ...


class LocalGovernor:
    """A semaphore with priorities that halves when throttled and recovers one slot at a time.

    Within a priority, first come, first served. `clock` is monotonic, in seconds. Never below one
    slot, so that waiting calls always have a release to wake them.
    """

    def __init__(
        self,
        limit: int,
        *,
        restore_seconds: float = 10.0,
        burst_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ceiling = max(1, limit)
        self._limit = self._ceiling
        self._restore_seconds = restore_seconds
        # One overload refuses many calls at once: it halves the limit once, not once per call.
        self._burst_seconds = burst_seconds
        self._clock = clock
        self._halved_at = float("-inf")
        self._restore_at = float("-inf")
        self._in_flight = 0
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self.halvings = 0
        """How often the limit was halved; other workers are told of it."""

    @property
    def limit(self) -> int:
        """How many calls may be in flight now."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """How many calls hold a slot."""
        return self._in_flight

    @asynccontextmanager
    async def slot(self, priority: int) -> AsyncIterator[None]:
        """Hold one slot; a cancelled waiter leaves no trace."""
        await self._acquire(priority)
        try:
            yield
        finally:
            self._release()

    def throttled(self, retry_after_seconds: float | None) -> None:
        """Halve the limit, once per burst; restore nothing before the vendor's delay is over."""
        now = self._clock()
        if now - self._halved_at >= self._burst_seconds:
            self._halved_at = now
            self._limit = max(1, self._limit // 2)
            self.halvings += 1
        pause = max(self._restore_seconds, retry_after_seconds or 0.0)
        self._restore_at = max(self._restore_at, now + pause)

    def succeeded(self) -> None:
        """Give one slot back per interval, as long as the vendor takes calls."""
        now = self._clock()
        if self._limit < self._ceiling and now >= self._restore_at:
            self._limit += 1
            self._restore_at = now + self._restore_seconds
            self._wake()

    def set_ceiling(self, ceiling: int) -> None:
        """Set this process's share; a throttled limit stays where it is until it recovers."""
        throttled = self._limit < self._ceiling
        self._ceiling = max(1, ceiling)
        self._limit = min(self._limit, self._ceiling) if throttled else self._ceiling
        self._wake()

    async def _acquire(self, priority: int) -> None:
        if self._in_flight < self._limit and not self._waiting:
            self._in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # it was our turn already: pass it on
            else:
                # A dead entry would turn newcomers away while slots are free.
                self._waiting = [entry for entry in self._waiting if entry[2] is not turn]
                heapq.heapify(self._waiting)
            raise

    def _release(self) -> None:
        self._in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._in_flight < self._limit:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
