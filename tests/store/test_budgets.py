"""Concurrency budgets: fair shares, never more than the connection bears."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from store import Store

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ERP = "netsuite"


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def acquire(
    store: Store, worker: str, ceiling: int, at: datetime = NOON, most: int | None = None
) -> int:
    return await store.budgets.acquire(ERP, worker, ceiling, seconds=30, at=at, most=most)


async def granted(store: Store) -> int:
    rows = await store.database.rows(text("SELECT slots FROM budget_leases"))
    return sum(int(row.slots) for row in rows)


class TestAcquire:
    async def test_single_worker_gets_all(self, store: Store) -> None:
        assert await acquire(store, "w1", 5) == 5

    async def test_newcomers_get_their_share_as_the_others_renew(self, store: Store) -> None:
        await acquire(store, "w1", 7)

        assert await acquire(store, "w2", 7) == 0
        assert await acquire(store, "w1", 7) == 4
        assert await acquire(store, "w2", 7) == 3

    async def test_who_wants_one_leaves_the_rest_to_the_others(self, store: Store) -> None:
        assert await acquire(store, "poller", 5, most=1) == 1
        assert await acquire(store, "w1", 5) == 4
        assert await acquire(store, "poller", 5, most=1) == 1

    @pytest.mark.parametrize("ceiling", [2, 3, 7, 15])
    async def test_three_workers_at_once_never_exceed_the_budget(
        self, store: Store, ceiling: int
    ) -> None:
        for _ in range(4):
            await asyncio.gather(*(acquire(store, f"w{n}", ceiling) for n in range(3)))
            assert await granted(store) <= ceiling

        shares = sorted([await acquire(store, f"w{n}", ceiling) for n in range(3)])
        assert sum(shares) == ceiling
        assert shares[-1] - shares[0] <= 1

    async def test_slots_of_a_worker_that_died_are_shared_out_again(self, store: Store) -> None:
        await acquire(store, "w1", 6)
        await acquire(store, "w2", 6)

        assert await acquire(store, "w2", 6, later(31)) == 6

    async def test_slots_of_a_worker_that_stopped_are_free_at_once(self, store: Store) -> None:
        await acquire(store, "w1", 6)
        await store.budgets.release("w1")

        assert await acquire(store, "w2", 6) == 6

    async def test_raised_ceiling_counts_unless_the_budget_was_cut(self, store: Store) -> None:
        await acquire(store, "w1", 4)
        assert await acquire(store, "w1", 8) == 8

        await store.budgets.throttled(ERP, NOON)

        assert await acquire(store, "w1", 10) == 4

    async def test_lowered_ceiling_counts_at_once(self, store: Store) -> None:
        await acquire(store, "w1", 8)

        assert await acquire(store, "w1", 3) == 3


class TestThrottle:
    async def test_burst_of_refusals_halves_once(self, store: Store) -> None:
        await acquire(store, "w1", 16)

        now = await asyncio.gather(*(store.budgets.throttled(ERP, NOON) for _ in range(6)))

        assert set(now) == {8}
        assert await store.budgets.throttled(ERP, later(1.9)) == 8
        assert await store.budgets.throttled(ERP, later(2)) == 4

    async def test_at_least_one_slot_is_left(self, store: Store) -> None:
        await acquire(store, "w1", 2)

        cuts = [await store.budgets.throttled(ERP, later(10 * n)) for n in range(3)]

        assert cuts == [1, 1, 1]

    async def test_workers_come_down_as_they_renew_and_no_grant_exceeds_it(
        self, store: Store
    ) -> None:
        for _ in range(2):
            for n in range(3):
                await acquire(store, f"w{n}", 15)
        await store.budgets.throttled(ERP, NOON)

        for _ in range(2):
            for n in range(3):
                await acquire(store, f"w{n}", 15)

        assert await granted(store) == 7


class TestRestore:
    async def test_one_slot_at_a_time_up_to_the_ceiling(self, store: Store) -> None:
        await acquire(store, "w1", 4)
        await store.budgets.throttled(ERP, NOON)

        steps = [await store.budgets.restore(ERP, later(s)) for s in (9, 10, 15, 20, 30, 40)]

        assert steps == [2, 3, 3, 4, 4, 4]

    async def test_unknown_connection_has_no_slots(self, store: Store) -> None:
        assert await store.budgets.restore("nowhere") == 0
