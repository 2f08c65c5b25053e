"""Time that a test moves: workflows, store and simulators go on together (DESIGN 11).

Temporal skips the time of one workflow at a time, and only while nothing of it is under way; a
workflow that waits for its child therefore stays behind until that has ended. `SimulatedTime` keeps
the common time and brings each workflow up to it as soon as it lets itself be brought.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from store import Store
from store.database import Database
from tests.support.postgres import PostgresForTests, new_name
from tests.support.temporal import server_arguments, temporal_binary
from tests.support.world import World, open_world
from workflows.board import SEARCH_ATTRIBUTES

SKIPS_MAX = 1_000
"""Of one workflow at one time; Temporal's own limit of 100 is for loops that never end."""
CLOSE_ENOUGH = timedelta(seconds=1)

_SHADOWS = (
    # What stands before `pg_catalog` on the path is what `now()` means to every statement.
    "CREATE SCHEMA simulated",
    "CREATE TABLE simulated.shift AS SELECT interval '0' AS ahead",
    """CREATE FUNCTION simulated.now() RETURNS timestamptz LANGUAGE sql STABLE
       AS 'SELECT pg_catalog.now() + ahead FROM simulated.shift'""",
    """CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
       AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM simulated.shift'""",
    # A column's default was bound to the real function when the table was made.
    """DO $$ DECLARE made record; BEGIN
       FOR made IN SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND column_default = 'now()'
       LOOP EXECUTE format('ALTER TABLE public.%I ALTER %I SET DEFAULT simulated.now()',
                           made.table_name, made.column_name);
       END LOOP; END $$""",
    """DO $$ BEGIN EXECUTE format(
       'ALTER DATABASE %I SET search_path = simulated, pg_catalog, public', current_database());
       END $$""",
)


@dataclass
class SimulatedTime:
    """The time of one account, ahead of the real one by as much as was skipped."""

    world: World
    account: str
    ahead: timedelta = timedelta(0)
    _behind: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the common time."""
        return datetime.now(UTC) + self.ahead

    async def skip(
        self,
        by: timedelta,
        *,
        moving: Iterable[WorkflowHandle[Any, Any]],
        waiting: Iterable[WorkflowHandle[Any, Any]] = (),
    ) -> None:
        """Let time pass for all, and wait until all of `moving` lived through it.

        What is in `waiting` has a child under way: it follows once that has ended.
        """
        self.ahead += by
        await self.world.control.clock(self.account, advance_seconds=by.total_seconds())
        shift = text("UPDATE simulated.shift SET ahead = :ahead")
        await self.world.store.database.run(shift, {"ahead": self.ahead})
        for handle in waiting:
            before = self._behind.get(handle.id)
            if before is None or before.done():
                self._behind[handle.id] = asyncio.create_task(self._bring(handle))
        await asyncio.gather(*(self._bring(handle) for handle in moving))

    async def _bring(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Skip a workflow's time until it is as late for it as for all; none is left to one ended.

        Common time may have moved on meanwhile: then it goes on.
        """
        with contextlib.suppress(asyncio.CancelledError):
            while (late := self.now() - await self.of(handle)) > CLOSE_ENOUGH:
                try:
                    if not await self.world.env.fast_forward(handle, late):
                        return
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    return

    async def of(self, handle: WorkflowHandle[Any, Any]) -> datetime:
        """Return what time it is for a workflow."""
        return await self.world.env.get_current_time(handle)

    async def aclose(self) -> None:
        """Leave the workflows that are still behind where they are."""
        for task in self._behind.values():
            task.cancel()
        await asyncio.gather(*self._behind.values())


@asynccontextmanager
async def skipping_world(postgres: PostgresForTests) -> AsyncIterator[World]:
    """Run a world whose time can be skipped: a Temporal server and a database of its own.

    No time is skipped unless a test says so, and a child does not skip because its parent does.
    """
    async with await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(
            enabled=False, disable_propagation=True, max_session_skip_count=SKIPS_MAX
        ),
        data_converter=pydantic_data_converter,
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=server_arguments(),
        dev_server_log_level="error",
    ) as env:
        name = new_name()
        url = await postgres.create(name)
        database = Database(url, pool_size=1)
        for statement in _SHADOWS:
            await database.run(text(statement))
        await database.aclose()
        store = Store(Database(url, pool_size=20))
        # The debounce of the policies: nobody waits for it when time can be skipped.
        async with open_world(env, store, debounce=lambda bundle: bundle) as opened:
            yield opened
        await store.aclose()
        await postgres.drop(name)
