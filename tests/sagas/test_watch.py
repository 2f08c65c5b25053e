"""The watch finds every planted cause and nothing else, and lets go of it once it is gone.

It runs on a server and a database of its own, with its clock ahead: hours pass without waiting.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from temporalio import activity, workflow
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.registration import implementations
from activities.watching import WatchActivities
from canonical.saga import Begin, SagaPlan, Verb, WorkItemKind
from canonical.worklist import StuckCause, Watch, Watched, WorkFilter
from policies.bundle import load_bundle
from policies.stuck import StuckRules
from store import Store
from store.database import Database
from tests.sagas.scenes import break_step, parked_at, retried, routes, sweep
from tests.store import billing
from tests.support.postgres import PostgresForTests, new_name
from tests.support.temporal import server_arguments, temporal_binary
from tests.support.world import World, open_world
from workflows.board import SEARCH_ATTRIBUTES
from workflows.registry import PIVOTS, WATCHED
from workflows.watch import WatchRuns

pytestmark = [pytest.mark.fault_matrix]

HOURS = timedelta(hours=2)
PLANTED = "planted"
UNSERVED = "vendor.unserved"
ROUND = "watch"


@activity.defn(name="serve")
async def serve() -> None:
    """Does nothing, where somebody serves its queue."""


@workflow.defn
class Planted:
    """Waits for an activity, or fails in its own code, until it is told otherwise."""

    broken = True

    @workflow.run
    async def run(self, fails: bool) -> None:
        """Fail a workflow task as long as the code is broken, or wait for an activity."""
        if fails and Planted.broken:
            raise RuntimeError("a defect")
        if not fails:
            await workflow.execute_activity(
                serve,
                task_queue=UNSERVED,
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=timedelta(days=7),
            )


@workflow.defn
class Idle:
    """Waits for nothing that anybody would send."""

    @workflow.run
    async def run(self) -> None:
        """Wait for a signal."""
        self.released = False
        await workflow.wait_condition(lambda: self.released)

    @workflow.signal
    async def release(self) -> None:
        """Go on."""
        self.released = True


@dataclass
class Scene:
    """A world and its watch, with a clock that may be ahead."""

    world: World
    ahead: timedelta = timedelta()
    rules: StuckRules = field(default_factory=StuckRules)

    @property
    def watch(self) -> WatchActivities:
        bundle = load_bundle()
        policies = bundle.policies.model_copy(update={"stuck": self.rules})
        return WatchActivities(
            self.world.store,
            self.world.env.client,
            lambda _name: replace(bundle, policies=policies),
            (*WATCHED, "Planted", "Idle"),
            {*PIVOTS, "Idle"},
            lambda: datetime.now(UTC) + self.ahead,
        )

    async def round(self) -> Watched:
        return await self.watch.watch_runs(Watch())

    async def found(self, workflow_id: str) -> list[str]:
        """Return the open causes of a workflow."""
        items = await self.world.store.work_items.list(workflow_id=workflow_id)
        return [each.item.failure.reason for each in items if each.item.kind is WorkItemKind.STUCK]

    async def all(self) -> set[tuple[str, str]]:
        items = await self.world.store.work_items.list(limit=10_000)
        return {
            (each.item.workflow_id, each.item.failure.reason)
            for each in items
            if each.item.kind is WorkItemKind.STUCK
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(postgres: PostgresForTests) -> AsyncIterator[World]:
    """A world on a server of its own: others' runs would be found too."""
    async with await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=server_arguments(),
        dev_server_log_level="error",
    ) as env:
        name = new_name()
        store = Store(Database(await postgres.create(name), pool_size=10))
        async with open_world(env, store) as world:
            yield world
        await store.aclose()
        await postgres.drop(name)


@pytest.fixture
def scene(watched: World) -> Scene:
    return Scene(watched)


@asynccontextmanager
async def planted_worker(world: World) -> AsyncIterator[None]:
    worker = Worker(
        world.env.client,
        task_queue=PLANTED,
        workflows=[Planted, Idle],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        yield


async def begun(world: World, workflow_id: str) -> None:
    """Let the store know of a saga, with money at stake."""
    await world.store.sagas.begin(
        Begin(workflow_id=workflow_id, run_id="r", saga="Idle", business_key="k", input_json="{}")
    )
    plan = SagaPlan(bundle="b", title="Northwind", client_id="001", amount="900.00 USD")
    await world.store.sagas.save_plan(workflow_id, 1, plan.model_dump_json(), "b")


async def listed(world: World, workflow_id: str) -> None:
    """Wait until visibility knows of a run."""

    async def known() -> bool:
        query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'"
        return (await world.env.client.count_workflows(query)).count == 1

    await world.eventually(known, f"{workflow_id} in visibility")


async def test_a_healthy_set_is_left_alone(scene: Scene) -> None:
    world = scene.world
    account = await world.account()
    done = await world.start(account, "tm-us")
    await world.finished(done)
    parked, _ = await parked_at(world, account, "waiver", "provision_tasks")
    await listed(world, parked.id)
    for ahead in (timedelta(), HOURS, 20 * HOURS):
        scene.ahead = ahead
        seen = await scene.round()
        assert seen.looked >= (1 if ahead else 0)
    assert await scene.found(done.id) == []
    assert await scene.found(parked.id) == []


async def test_a_vendor_that_keeps_refusing_by_rate_is_found_and_closes_when_it_answers(
    scene: Scene,
) -> None:
    world = scene.world
    account = await world.account()
    deal = await world.deal_id(account, "tm-us")
    await break_step(
        world, account, "provision_tasks", "rate_limit", deal=deal, times=10_000, retry_after=1
    )
    with routes(world, budget_seconds=86_400.0):
        handle = await world.start(account, "tm-us")
        await begins_to_fail(world, account)

    async def retrying() -> bool:
        described = await handle.describe()
        return any(each.attempt > 1 for each in described.raw_description.pending_activities)

    await world.eventually(retrying, "an activity at its second attempt")
    await listed(world, handle.id)
    await scene.round()
    assert await scene.found(handle.id) == [], "it failed for a moment only"

    scene.ahead = HOURS
    await scene.round()
    await scene.round()
    assert await scene.found(handle.id) == [StuckCause.ACTIVITY_RETRYING]
    (stored,) = await world.store.work_items.list(workflow_id=handle.id)
    assert stored.item.step == "provision_tasks"
    assert "at attempt" in stored.item.failure.message
    assert stored.item.amount
    assert stored.item.client_id

    await world.control.clear_faults("kantata", account)
    await _ended(scene, handle)
    await scene.round()
    assert await scene.found(handle.id) == []


async def begins_to_fail(world: World, account: str) -> None:
    """Wait until the PSA has refused once."""

    async def met() -> bool:
        return any(each["hits"] for each in await world.control.faults("kantata", account))

    await world.eventually(met, "a request that was refused")


async def _ended(scene: Scene, handle: WorkflowHandle[Any, Any]) -> None:
    """Approve the gates of a saga until it ends; what the watch found is not to be decided."""
    world = scene.world

    async def over() -> bool:
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            if stored.item.kind is WorkItemKind.GATE:
                await world.desk.approve(stored.item.id, by="fiona")
        return (await world.desk.view(handle.id)).state == "completed"

    await world.eventually(over, f"the end of {handle.id}")


async def test_a_queue_that_nobody_serves_is_found_until_somebody_does(scene: Scene) -> None:
    world = scene.world
    async with planted_worker(world):
        handle = await world.env.client.start_workflow(
            Planted.run, False, id="unserved", task_queue=PLANTED
        )

        async def waits() -> bool:
            return bool((await handle.describe()).raw_description.pending_activities)

        await world.eventually(waits, "an activity that nobody takes")
        await listed(world, handle.id)
        scene.ahead = HOURS
        await scene.round()
        assert await scene.found(handle.id) == [StuckCause.NOT_PICKED_UP]
        (stored,) = await world.store.work_items.list(workflow_id=handle.id)
        assert UNSERVED in stored.item.failure.message

        async with Worker(world.env.client, task_queue=UNSERVED, activities=[serve]):
            await handle.result()
    await scene.round()
    assert await scene.found(handle.id) == []


async def test_a_workflow_task_that_fails_is_found_until_the_code_is_mended(scene: Scene) -> None:
    world = scene.world
    Planted.broken = True
    async with planted_worker(world):
        handle = await world.env.client.start_workflow(
            Planted.run, True, id="defect", task_queue=PLANTED
        )

        async def failing() -> bool:
            described = (await handle.describe()).raw_description
            return described.pending_workflow_task.attempt > scene.rules.task_attempts

        scene.rules = scene.rules.model_copy(update={"task_attempts": 1})
        await world.eventually(failing, "a workflow task at its second attempt")
        await listed(world, handle.id)
        scene.ahead = HOURS
        await scene.round()
        assert StuckCause.WORKFLOW_TASK_FAILING in await scene.found(handle.id)

        Planted.broken = False
        await handle.result()
    await scene.round()
    assert await scene.found(handle.id) == []


async def test_a_saga_that_is_quiet_is_found_with_its_money_and_closes_when_it_goes_on(
    scene: Scene,
) -> None:
    world = scene.world
    async with planted_worker(world):
        handle = await world.env.client.start_workflow(Idle.run, id="idle", task_queue=PLANTED)
        await begun(world, handle.id)
        await listed(world, handle.id)
        scene.ahead = timedelta(minutes=10)
        await scene.round()
        assert await scene.found(handle.id) == []
        scene.ahead = HOURS
        await scene.round()
        assert await scene.found(handle.id) == [StuckCause.QUIET]
        (work,) = await world.store.worklist.list(
            WorkFilter(reason=StuckCause.QUIET), hold_seconds=1, respond_seconds=1
        )
        assert str(work.amount) == "900.00 USD"
        assert (work.title, work.client_id) == ("Northwind", "001")

        # Its rollback begins, and does not come on either.
        await world.store.sagas.close_generation(handle.id, 1, "a person")
        scene.ahead = timedelta(minutes=20)
        await scene.round()
        assert StuckCause.UNDO_UNFINISHED not in await scene.found(handle.id)
        scene.ahead = 2 * HOURS
        await scene.round()
        assert sorted(await scene.found(handle.id)) == ["quiet", "undo_unfinished"]
        await handle.signal(Idle.release)
        await handle.result()
    await scene.round()
    assert await scene.found(handle.id) == []


async def test_a_terminated_saga_that_no_sweep_takes_up_is_found_until_one_does(
    scene: Scene,
) -> None:
    world = scene.world
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    await handle.terminate()
    await scene.round()
    assert await scene.found(handle.id) == [], "the next sweep takes it up"

    scene.ahead = HOURS
    await scene.round()
    assert await scene.found(handle.id) == [StuckCause.ENDED_WITHOUT_OUTCOME]
    assert (await world.desk.work_item(handle.id)).id == item.id, "it is the one to decide on"

    scene.ahead = timedelta()
    await sweep(world)
    await world.result(world.env.client.get_workflow_handle(handle.id))
    await scene.round()
    assert await scene.found(handle.id) == []


async def test_holds_that_aged_are_found_until_they_are_released(scene: Scene) -> None:
    world = scene.world
    store = world.store
    await store.engagements.put(billing.contract())
    await store.entries.take_in([billing.time_entry("1")], billing.SEEN)
    await store.subledger.hold(billing.PSA, [billing.ref("1")], owner="maya")
    await scene.round()
    assert StuckCause.HOLD_AGED not in {cause for _, cause in await scene.all()}

    scene.ahead = timedelta(days=15)
    opened = (await scene.round()).opened
    aged = {of for of, cause in await scene.all() if cause == StuckCause.HOLD_AGED}
    (group,) = await store.worklist.list(
        WorkFilter(kinds=(WorkItemKind.HELD,)), hold_seconds=1, respond_seconds=1
    )
    assert aged == {group.id}
    assert opened
    assert (await scene.round()).opened == (), "once is enough"

    await store.subledger.unhold(billing.PSA, [billing.ref("1")], by="maya")
    await scene.round()
    assert StuckCause.HOLD_AGED not in {cause for _, cause in await scene.all()}


async def test_a_round_asks_a_bounded_number_and_comes_round_to_all(scene: Scene) -> None:
    world = scene.world
    async with planted_worker(world):
        handles = [
            await world.env.client.start_workflow(Idle.run, id=f"many-{n}", task_queue=PLANTED)
            for n in range(7)
        ]
        for handle in handles:
            await listed(world, handle.id)
        scene.ahead = HOURS
        scene.rules = scene.rules.model_copy(update={"looks": 3})
        rounds = [await scene.round() for _ in range(12)]
        assert {each.looked for each in rounds} <= {1, 2, 3}
        remembered = await world.store.database.rows(
            text("SELECT workflow_id FROM watched_runs WHERE starts_with(workflow_id, 'many-')")
        )
        assert len(remembered) == 7
        for handle in handles:
            await handle.signal(Idle.release)


async def test_the_round_runs_as_a_workflow(scene: Scene) -> None:
    world = scene.world
    async with Worker(
        world.env.client,
        task_queue=ROUND,
        workflows=[WatchRuns],
        activities=list(implementations([scene.watch]).values()),
    ):
        seen = await world.env.client.execute_workflow(
            WatchRuns.run, Watch(), id="watch-now", task_queue=ROUND
        )
    assert not seen.unlisted


async def test_a_park_can_still_be_answered_while_the_watch_has_found_something(
    scene: Scene,
) -> None:
    world = scene.world
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    scene.ahead = HOURS
    await scene.round()
    effects = await world.desk.effects(item, Verb.RETRY)
    assert effects
    await retried(world, handle, item)
