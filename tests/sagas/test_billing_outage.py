"""The ERP is down for six hours while approvals still arrive: nothing lost, nothing at once.

The hours are simulated: a real Temporal server skips them (DESIGN 11), and store and simulators go
by the same time. Intervals are those of production: a parked run tries again by itself every
quarter of an hour or a little later, and a period waits a minute for further approvals.
"""

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from pydantic import JsonValue
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from canonical.ids import billing_run_id
from canonical.saga import Outcome, Route, SagaResult
from simulators.kit.calls import CallView
from simulators.netsuite.state import GOVERNANCE
from tests.sagas.billing_scenes import People, assert_books, is_settled, period_of, runs_of
from tests.sagas.scenes import routes
from tests.support.billing import NUMBER, PERIOD, engagement, entries_of
from tests.support.postgres import PostgresForTests
from tests.support.skipping import SimulatedTime, skipping_world
from tests.support.world import World
from workflows.billing_run import BillingRun
from workflows.options import SLOW_RETRY_SPREAD

pytestmark = [pytest.mark.fault_matrix]

NUMBERS = (0, 4, 8, 12)
"""Seeded projects whose currency is USD."""
OUTAGE = timedelta(hours=6)
QUARTER = timedelta(minutes=15)
DRAIN_MAX = timedelta(hours=2)
"""A run comes back within 19 minutes, and the run after it follows at once."""
SLOW_RETRY_SECONDS = Route.model_fields["slow_retry_seconds"].default
TRIES_MIN = int(OUTAGE.total_seconds() / (SLOW_RETRY_SECONDS * (1 + SLOW_RETRY_SPREAD)))
TRIES_MAX = int(OUTAGE.total_seconds() / SLOW_RETRY_SECONDS) + 8
"""With the several calls of the write that met the outage."""
APART = timedelta(seconds=15)
"""So far apart come runs back at least that would all have come at once (one in 100,000 fails)."""
LIMIT = 2
"""Calls that the ERP takes from the integration at a time; it refuses more."""


def project(number: int) -> str:
    """Return the id of a seeded project in the PSA."""
    return str(5001 + number)


async def several_projects(world: World) -> str:
    """Return a fresh account with several projects, each with its contract."""
    account = await world.account(
        {"kantata": "time-small", "netsuite": "time-small", "workday": "standard"},
        count=max(NUMBERS) + 1,
    )
    world.ports.limits[f"netsuite@{account}"] = LIMIT
    limit: dict[str, JsonValue] = {"concurrencyLimit": LIMIT}
    await world.control.patch_record("netsuite", account, GOVERNANCE, "1", limit)
    known = engagement(account)
    for number in NUMBERS:
        shift = 10 * (number - NUMBER)
        lines = tuple(
            line.model_copy(
                update={
                    "task_ids": tuple(str(int(task) + shift) for task in line.task_ids),
                    "erp_project_id": str(7001 + number),
                    "erp_client_id": str(6001 + number),
                }
            )
            for line in known.lines
        )
        own = {"id": f"{known.id}-{number}", "project_id": project(number), "lines": lines}
        await world.store.engagements.put(known.model_copy(update=own))
    return account


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def skipping(postgres: PostgresForTests) -> AsyncIterator[World]:
    async with skipping_world(postgres) as opened:
        yield opened


async def test_six_hours_without_the_erp_lose_nothing_and_end_in_no_stampede(
    skipping: World,
) -> None:
    world, account = skipping, await several_projects(skipping)
    time = SimulatedTime(world, account)
    teams = {
        number: People(world, account, project(number), str(100_002 + 10 * number))
        for number in NUMBERS
    }
    with routes(world, slow_retry_seconds=SLOW_RETRY_SECONDS):
        # One run is half-way through its postings when the ERP goes down, the others begin then.
        match: dict[str, JsonValue] = {"write": True}
        first = await world.control.add_fault("netsuite", account, match, "hold")
        await told_of_all(world, account, teams[NUMBERS[0]])
        await world.control.wait_for_fault("netsuite", account, first)
        down = await world.control.add_fault("netsuite", account, {}, "drop_before", times=-1)
        await world.control.release("netsuite", account)
        for number in NUMBERS[1:]:
            await told_of_all(world, account, teams[number])
        await world.eventually(lambda: all_tried(world, account), "a try of every project")
        added = await approvals_go_on(time, teams)
        assert await numbers_of_runs(world, account) == dict.fromkeys(NUMBERS, 1)
        up_at, up = time.now(), len(await world.control.calls("netsuite", account))
        await world.control.clear_faults("netsuite", account, down)
        await drained_by(time, up_at + DRAIN_MAX)
    for number in NUMBERS:
        books = await assert_books(world, account, project(number), job=str(7001 + number))
        assert all(books.traces[ref].parts for ref in books.psa), "an entry was lost"
        assert set(added[number]) <= books.psa.keys()
    calls = await world.control.calls("netsuite", account)
    assert_in_order(calls, account)
    assert_patient(calls)
    drained = [
        call for call in calls if call["n"] > up and call["path"].startswith("/services/rest")
    ]
    assert 1 <= in_flight(drained) <= LIMIT
    assert not [call for call in drained if call["status"] == 429]
    back = [await back_at(run_of(world, account, number, 1), up_at) for number in NUMBERS]
    assert max(back) - min(back) > APART, f"a stampede: {back}"
    assert await all_completed(world, account)


async def told_of_all(world: World, account: str, team: People) -> None:
    """Tell of all that is approved on a project, and ask for its run."""
    await team.tell(await entries_of(world, account, team.project))
    await team.ask_for_a_run()


async def all_tried(world: World, account: str) -> bool:
    """Return whether every project's run has met the outage."""
    calls = await world.control.calls("netsuite", account)
    return len({run_in(call)[0] for call in calls if call["fault"] == "drop_before"}) == len(
        NUMBERS
    )


async def approvals_go_on(time: SimulatedTime, teams: dict[int, People]) -> dict[int, list[Any]]:
    """Let the hours of the outage pass, and approve an entry of every project in each."""
    added: dict[int, list[Any]] = defaultdict(list)
    for quarter in range(OUTAGE // QUARTER):
        if quarter % 4 == 0:
            for number, team in teams.items():
                entry = await team.work(quarter // 4)
                added[number].append(entry.ref)
                await team.tell([entry.ref])
        runs = [run_of(time.world, time.account, number, 1) for number in teams]
        await time.skip(QUARTER, moving=runs)
    return added


async def drained_by(time: SimulatedTime, latest: datetime) -> None:
    """Let time pass until nothing waits on any project; `latest` is in simulated time."""
    world, account = time.world, time.account
    periods = [period_of(world, account, project(number)) for number in NUMBERS]
    while not all([await is_settled(period) for period in periods]):
        assert time.now() < latest, "not drained in time"
        numbers = await numbers_of_runs(world, account)
        runs = [run_of(world, account, number, last) for number, last in numbers.items()]
        await time.skip(QUARTER / 3, moving=runs, waiting=periods)
    await time.aclose()


async def numbers_of_runs(world: World, account: str) -> dict[int, int]:
    """Return the number of the last run of every project."""
    return {number: await runs_of(world, account, project(number)) for number in NUMBERS}


async def all_completed(world: World, account: str) -> bool:
    """Return whether every run of every project completed."""
    for number in NUMBERS:
        for run in range(1, await runs_of(world, account, project(number)) + 1):
            result = await world.result(run_of(world, account, number, run))
            if result.outcome is not Outcome.COMPLETED:
                return False
    return True


def run_of(world: World, account: str, number: int, run: int) -> WorkflowHandle[Any, SagaResult]:
    """Return a handle on a billing run of a project."""
    id_ = billing_run_id(f"kantata@{account}", project(number), PERIOD, run)
    return world.env.client.get_workflow_handle_for(BillingRun.run, id_)


async def back_at(run: WorkflowHandle[Any, SagaResult], since: datetime) -> datetime:
    """Return when, in its own time, a run first got an answer again."""
    async for event in run.fetch_history_events():
        at = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED and at > since:
            return at
    raise AssertionError(f"{run.id} never came back")


def run_in(call: CallView) -> tuple[str, int]:
    """Return project and number of the billing run that sent a call."""
    found = re.search(rf"/(\d+)/{PERIOD}/(\d+)/\d+:", call["correlation_id"] or "")
    return (found[1], int(found[2])) if found else ("", 0)


def assert_in_order(calls: list[CallView], account: str) -> None:
    """Assert that a project's runs came one after another: no call of one within another."""
    by_project: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        name, run = run_in(call)
        if name:
            by_project[name].append(run)
    assert len(by_project) == len(NUMBERS), account
    for name, runs in by_project.items():
        assert runs == sorted(runs), f"runs of {name} overlap: {runs}"
        assert max(runs) > 1, f"what arrived meanwhile was not billed by a run of its own: {name}"


def assert_patient(calls: list[CallView]) -> None:
    """Assert that every parked step tried all through the outage, and none of them in haste."""
    in_vain = [call for call in calls if call["fault"] == "drop_before"]
    assert len({run_in(call)[0] for call in in_vain}) == len(NUMBERS)
    tries = Counter(call["correlation_id"] for call in in_vain)
    assert min(tries.values()) >= TRIES_MIN, tries
    assert max(tries.values()) <= TRIES_MAX, tries


def in_flight(calls: list[CallView]) -> int:
    """Return how many calls were under way at once at most."""
    moments: list[tuple[datetime, int]] = []
    for call in calls:
        began = datetime.fromisoformat(call["at"])
        moments += [(began, 1), (began + timedelta(seconds=call["seconds"]), -1)]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most
