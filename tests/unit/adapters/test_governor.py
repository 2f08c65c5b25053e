import asyncio
from contextlib import AsyncExitStack

import pytest

from adapters.governor import (
    PRIORITY_BACKFILL,
    PRIORITY_LIVE,
    PRIORITY_UNDO,
    LocalGovernor,
    call_priority,
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def turns(count: int = 20) -> None:
    """Let tasks that can run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_calls_are_live_unless_said() -> None:
    assert call_priority.get() == PRIORITY_LIVE


async def test_never_more_in_flight_than_the_limit_and_all_get_through() -> None:
    governor = LocalGovernor(3)
    peak = 0

    async def call() -> None:
        nonlocal peak
        async with governor.slot(PRIORITY_LIVE):
            peak = max(peak, governor.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(call() for _ in range(20)))

    assert peak == 3
    assert governor.in_flight == 0


async def test_undo_goes_before_live_before_backfill_and_equals_in_order() -> None:
    governor = LocalGovernor(1)
    order: list[str] = []

    async def call(name: str, priority: int) -> None:
        async with governor.slot(priority):
            order.append(name)

    async with governor.slot(PRIORITY_LIVE):
        waiting = []
        for name, priority in (
            ("backfill", PRIORITY_BACKFILL),
            ("live 1", PRIORITY_LIVE),
            ("undo", PRIORITY_UNDO),
            ("live 2", PRIORITY_LIVE),
        ):
            waiting.append(asyncio.create_task(call(name, priority)))
            await turns()
        assert order == []
    await asyncio.gather(*waiting)

    assert order == ["undo", "live 1", "live 2", "backfill"]


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_waiter_leaves_no_slot_behind(granted: bool) -> None:
    governor = LocalGovernor(1)
    entered = asyncio.Event()

    async def call() -> None:
        async with governor.slot(PRIORITY_LIVE):
            entered.set()

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(governor.slot(PRIORITY_LIVE))
        cancelled = asyncio.create_task(call())
        await turns()
        if granted:  # the slot is given and the waiter cancelled before it runs
            await stack.aclose()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled

    assert governor.in_flight == 0
    assert not entered.is_set()
    await asyncio.wait_for(call(), 1)


async def test_newcomers_pass_when_the_only_waiter_was_cancelled_below_the_limit() -> None:
    governor = LocalGovernor(2)
    async with governor.slot(1), governor.slot(1):
        waiter = asyncio.create_task(governor.slot(1).__aenter__())
        await turns()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with governor.slot(1), asyncio.timeout(1), governor.slot(1):
        assert governor.in_flight == 2


def test_throttling_halves_once_per_burst_and_never_below_one() -> None:
    clock = Clock()
    governor = LocalGovernor(8, burst_seconds=1, clock=clock)
    limits = []
    for seconds in (0, 0.5, 1, 1, 1, 1):
        clock.seconds += seconds
        governor.throttled(None)
        limits.append(governor.limit)

    assert limits == [4, 4, 2, 1, 1, 1]


def test_one_slot_comes_back_per_interval_after_the_vendors_delay() -> None:
    clock = Clock()
    governor = LocalGovernor(4, restore_seconds=10, clock=clock)
    governor.throttled(30)
    limits = []
    for seconds in (29, 1, 1, 9, 100, 100):
        clock.seconds += seconds
        governor.succeeded()
        limits.append(governor.limit)

    assert limits == [2, 3, 3, 4, 4, 4]


async def test_a_lower_limit_holds_for_those_already_in_flight() -> None:
    governor = LocalGovernor(2)
    late = asyncio.Event()

    async def call() -> None:
        async with governor.slot(PRIORITY_LIVE):
            late.set()

    async with governor.slot(PRIORITY_LIVE):
        async with governor.slot(PRIORITY_LIVE):
            governor.throttled(None)
            task = asyncio.create_task(call())
        await turns()
        assert not late.is_set()
    await task


async def test_a_raised_ceiling_wakes_waiters_and_a_lowered_one_counts_at_once() -> None:
    governor = LocalGovernor(1)
    async with governor.slot(PRIORITY_LIVE):
        second = governor.slot(PRIORITY_LIVE)
        waiter = asyncio.create_task(second.__aenter__())
        await turns()
        governor.set_ceiling(2)
        await asyncio.wait_for(waiter, 1)
        await second.__aexit__(None, None, None)

    governor.set_ceiling(0)
    assert governor.limit == 1


def test_a_raised_ceiling_does_not_end_throttling() -> None:
    governor = LocalGovernor(8)
    governor.throttled(None)
    governor.set_ceiling(16)

    assert governor.limit == 4
