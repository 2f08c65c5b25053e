"""Concurrency budgets: how many requests a vendor account bears at once, over all workers.

DESIGN 3.13. `current` slots of a connection are shared out among the workers that live, as leases;
a vendor's 429 halves `current`, time restores it. A lease is not taken back before it ends or is
renewed: after a cut the sum falls to `current` as the workers renew, and no grant exceeds it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import text

from store.database import Database

THROTTLE_PAUSE_SECONDS: Final = 2.0
"""Refusals of one burst count once: `current` is halved at most this often."""
RESTORE_PAUSE_SECONDS: Final = 10.0
"""How long after a cut or a step up the next step up may come."""

_NOW = "coalesce(CAST(:at AS timestamptz), clock_timestamp())"

# A ceiling that is raised by configuration raises what was not cut; the row stays locked.
_BUDGET = text("""
    INSERT INTO connection_budgets AS budget (connection, ceiling, current)
    VALUES (:connection, :ceiling, :ceiling)
    ON CONFLICT (connection) DO UPDATE SET
        ceiling = excluded.ceiling,
        current = CASE budget.current WHEN budget.ceiling THEN excluded.ceiling
            ELSE least(budget.current, excluded.ceiling) END
    RETURNING current
""")
_EXPIRE = text(
    f"DELETE FROM budget_leases WHERE connection = :connection AND expires_at <= {_NOW}"  # noqa: S608 - a constant
)
_LEASES = text("SELECT worker, slots, most FROM budget_leases WHERE connection = :connection")
_GRANT = text(f"""
    INSERT INTO budget_leases AS lease (connection, worker, slots, most, expires_at)
    VALUES (:connection, :worker, :slots, :most, {_NOW} + make_interval(secs => :seconds))
    ON CONFLICT (connection, worker) DO UPDATE
    SET slots = excluded.slots, most = excluded.most, expires_at = excluded.expires_at
""")  # noqa: S608 - a constant
_THROTTLED = text(f"""
    UPDATE connection_budgets SET current = greatest(1, current / 2), throttled_at = {_NOW}
    WHERE connection = :connection AND (throttled_at IS NULL
        OR throttled_at <= {_NOW} - make_interval(secs => :pause))
""")  # noqa: S608 - a constant
_RESTORE = text(f"""
    UPDATE connection_budgets SET current = current + 1, restored_at = {_NOW}
    WHERE connection = :connection AND current < ceiling
        AND coalesce(greatest(throttled_at, restored_at), '-infinity')
            <= {_NOW} - make_interval(secs => :pause)
""")  # noqa: S608 - a constant
_CURRENT = text("SELECT current FROM connection_budgets WHERE connection = :connection")
_RELEASE = text("DELETE FROM budget_leases WHERE worker = :worker")


class ConnectionBudgets:
    """Shares out the slots of each connection. `at` stands for the database's clock in tests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def acquire(
        self,
        connection: str,
        worker: str,
        ceiling: int,
        seconds: float,
        at: datetime | None = None,
        *,
        most: int | None = None,
    ) -> int:
        """Take or renew a worker's lease and return its slots: a fair share of what is free.

        Every worker gets one at least, as long as there are as many slots as workers and the others
        have come down to their share. `ceiling` is the connection's configured limit; `seconds`
        how long the lease holds, several times the interval at which it is renewed. Who never
        has more than `most` calls under way leaves the rest of its share to the others.
        """
        values = {"connection": connection, "worker": worker, "at": at, "most": most}
        async with self._database.transaction() as session:
            budget = await session.execute(_BUDGET, {"connection": connection, "ceiling": ceiling})
            current = int(budget.scalar_one())
            await session.execute(_EXPIRE, {"connection": connection, "at": at})
            leases = (await session.execute(_LEASES, {"connection": connection})).all()
            others = {row.worker: row for row in leases if row.worker != worker}
            wanted: dict[str, int | None] = {name: each.most for name, each in others.items()}
            wanted[worker] = most
            free = current - sum(int(lease.slots) for lease in others.values())
            slots = max(0, min(_dealt(wanted, current)[worker], free))
            await session.execute(_GRANT, values | {"slots": slots, "seconds": seconds})
        return slots

    async def throttled(self, connection: str, at: datetime | None = None) -> int:
        """Halve what the connection bears, at most once in two seconds; returns what it is now."""
        values = {"connection": connection, "at": at, "pause": THROTTLE_PAUSE_SECONDS}
        await self._database.run(_THROTTLED, values)
        return await self._current(connection)

    async def restore(self, connection: str, at: datetime | None = None) -> int:
        """Give one slot back, at most once in ten seconds; returns what it is now."""
        values = {"connection": connection, "at": at, "pause": RESTORE_PAUSE_SECONDS}
        await self._database.run(_RESTORE, values)
        return await self._current(connection)

    async def _current(self, connection: str) -> int:
        row = await self._database.first(_CURRENT, {"connection": connection})
        return 0 if row is None else int(row.current)

    async def release(self, worker: str) -> None:
        """Give back all slots of a worker that stops."""
        await self._database.run(_RELEASE, {"worker": worker})


def _dealt(wanted: Mapping[str, int | None], slots: int) -> dict[str, int]:
    """Deal slots out one by one, in the order of names, to those who want more (None: any)."""
    dealt = dict.fromkeys(sorted(wanted), 0)
    while slots:
        wanting = [
            name for name, has in dealt.items() if (most := wanted[name]) is None or has < most
        ]
        if not wanting:
            break
        for name in wanting[:slots]:
            dealt[name] += 1
        slots -= min(slots, len(wanting))
    return dealt
