"""Backfills in a case's account: the desk on it, the seeded window, waiting for what happens."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from temporalio.client import WorkflowHistory

from activities.backfilling import source_of
from canonical.backfill import (
    AdvanceBackfill,
    BackfillInput,
    BackfillKind,
    BackfillView,
    Judged,
    RecordState,
    SourceWindow,
)
from operations.backfill import BackfillDesk
from operations.sagas import SAGA_QUEUE
from store.backfills import ReportedRecord, StoredBackfill
from tests.support.world import World, result_of
from workflows.backfill import Backfill

CLOSED = date(2026, 10, 20)
"""When all seeded deals were won."""
FAST = Decimal(200)


@dataclass(frozen=True)
class Scene:
    """One account and the backfills over it."""

    world: World
    account: str
    desk: BackfillDesk

    def deals(self, where: str = "") -> SourceWindow:
        """Return the window of all seeded deals."""
        return self.desk.window(BackfillKind.OPPORTUNITIES, CLOSED, CLOSED, where)

    async def planned(self, window: SourceWindow) -> dict[str, Judged]:
        """Return what a dry run says, by record."""
        return {e.record.id: e async for page in self.desk.dry_run(window) for e in page}

    async def ended(self, id_: str) -> BackfillView:
        """Return what a backfill came to."""
        return await result_of(
            self.world.env.client.get_workflow_handle(id_, result_type=BackfillView)
        )

    async def carried(self, window: SourceWindow) -> str:
        """Run a backfill to its end and return its id."""
        id_ = await self.desk.start(window, rate=FAST, in_flight_max=50)
        await self.ended(id_)
        return id_

    def name(self, what: str) -> str:
        """Return a name that no other case has."""
        return f"{what}-{self.account}"

    async def report(self, id_: str) -> dict[str, ReportedRecord]:
        """Return what became of each record as it stands now."""
        await self.desk.find(id_)
        return {each.record: each async for each in self.desk.report(id_)}

    async def states(self, id_: str) -> dict[str, RecordState]:
        """Return the state of each record as it stands now."""
        return {id_: each.state for id_, each in (await self.report(id_)).items()}

    async def when(self, id_: str, state: RecordState, at_least: int) -> StoredBackfill:
        """Wait until so many records are in a state."""

        async def look() -> StoredBackfill | None:
            found = await self.desk.find(id_)
            return found if found.view.standing.count(state) >= at_least else None

        found: StoredBackfill = await self.world.eventually(look, f"{at_least} {state}")
        return found

    async def ticks(self, id_: str, more: int) -> None:
        """Wait until the workflow has looked so many times more."""
        handle = self.world.env.client.get_workflow_handle(id_)

        async def count() -> int:
            events = (await handle.fetch_history()).events
            wanted = "advance_backfill"
            return sum(
                each.activity_task_scheduled_event_attributes.activity_type.name == wanted
                for each in events
            )

        before = await count()

        async def look() -> bool:
            return await count() >= before + more

        await self.world.eventually(look, f"{more} more looks of {id_}")


async def scene(world: World, scenario: str = "bulk", count: int = 6) -> Scene:
    """Return a fresh account with deals, and the desk on it."""
    return desk_on(world, await world.account(scenario, count))


def desk_on(world: World, account: str) -> Scene:
    """Return the desk on an account."""
    desk = BackfillDesk(
        world.env.client,
        world.store,
        lambda window: source_of(world.ports, window),
        crm=f"salesforce@{account}",
        psa=f"kantata@{account}",
    )
    return Scene(world, account, desk)


async def start_short(found: Scene, window: SourceWindow, records_per_run: int) -> str:
    """Start a backfill that continues as new after a few records."""
    id_ = f"backfill/opportunities/{found.name('short')}"
    given = BackfillInput(
        window=window, rate=FAST, in_flight_max=2, records_per_run=records_per_run
    )
    await found.world.env.client.start_workflow(Backfill.run, given, id=id_, task_queue=SAGA_QUEUE)
    return id_


async def advance_once(found: Scene, id_: str, window: SourceWindow, start_max: int) -> None:
    """Mark targets as starting and stop there, as an attempt that is killed then."""
    wanted = AdvanceBackfill(backfill=id_, window=window, start_max=start_max, in_flight_max=99)
    await found.world.store.backfills.take(id_, wanted.start_max, wanted.in_flight_max)


def of_state(states: dict[str, RecordState], *wanted: RecordState) -> Sequence[str]:
    """Return the records in these states."""
    return [id_ for id_, state in states.items() if state in wanted]


# Histories.

Played = Callable[[World], Awaitable[WorkflowHistory]]
BACKFILLS: dict[str, Played] = {}
"""Paths of a backfill, recorded for the replay."""


def path(play: Played) -> Played:
    """Register a path under its function's name."""
    BACKFILLS[play.__name__] = play
    return play


async def recorded(found: Scene, id_: str, run_id: str | None = None) -> WorkflowHistory:
    """Return the history of a backfill, or of one of its runs."""
    handle = found.world.env.client.get_workflow_handle(id_, run_id=run_id)
    history: WorkflowHistory = await handle.fetch_history()
    return history


@path
async def backfill_finished(world: World) -> WorkflowHistory:
    found = await scene(world, count=3)
    return await recorded(found, await found.carried(found.deals()))


@path
async def backfill_steered(world: World) -> WorkflowHistory:
    found = await scene(world, count=4)
    id_ = await found.desk.start(found.deals(), in_flight_max=1)
    await found.when(id_, RecordState.UNDER_WAY, 1)
    await found.desk.pause(id_, by="olivia")
    await found.ticks(id_, 2)
    await found.desk.change_rate(id_, rate=FAST, in_flight_max=3, by="olivia")
    await found.desk.resume(id_, by="olivia")
    await found.ended(id_)
    return await recorded(found, id_)


@path
async def backfill_cancelled(world: World) -> WorkflowHistory:
    found = await scene(world, count=5)
    id_ = await found.desk.start(found.deals(), in_flight_max=1)
    await found.when(id_, RecordState.UNDER_WAY, 1)
    await found.desk.cancel(id_, by="olivia")
    await found.ended(id_)
    return await recorded(found, id_)


@path
async def backfill_continued(world: World) -> WorkflowHistory:
    found = await scene(world, count=4)
    id_ = await start_short(found, found.deals(), records_per_run=3)
    first = (await world.env.client.get_workflow_handle(id_).describe()).run_id
    await found.ended(id_)
    return await recorded(found, id_, first)


@path
async def backfill_refused_by_the_source(world: World) -> WorkflowHistory:
    found = await scene(world, count=1)
    id_ = await start_short(found, found.deals("No_Such_Field__c = 'x'"), records_per_run=3)
    await found.ended(id_)
    return await recorded(found, id_)
