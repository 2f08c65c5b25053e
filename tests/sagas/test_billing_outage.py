"""The ERP is down for six hours while approvals still arrive: nothing lost, nothing at once.

A parked run tries again by itself every quarter of an hour, so six hours are 24 tries; here a
quarter of an hour takes `QUARTER_SECONDS`.
"""

import asyncio
import re
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import JsonValue

from canonical.ids import billing_run_id
from canonical.saga import Outcome
from simulators.kit.calls import CallView
from tests.sagas.billing_scenes import People, assert_books, runs_of, settled
from tests.sagas.scenes import routes
from tests.support.billing import NUMBER, PERIOD, engagement, entries_of
from tests.support.world import World
from workflows.billing_run import BillingRun

pytestmark = [pytest.mark.fault_matrix]

NUMBERS = (0, 4, 8)
"""Seeded projects whose currency is USD."""
QUARTER_SECONDS = 0.25
TRIES = 24
LIMIT = 2
"""Calls that the connection's share of the ERP's limit allows at a time."""


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


async def test_six_hours_without_the_erp_lose_nothing_and_end_in_no_stampede(
    world: World,
) -> None:
    account = await several_projects(world)
    teams = {
        number: People(world, account, project(number), str(100_002 + 10 * number))
        for number in NUMBERS
    }
    with routes(world, slow_retry_seconds=QUARTER_SECONDS):
        # One run is half-way through its postings when the ERP goes down, the others begin then.
        match: dict[str, JsonValue] = {"write": True}
        first = await world.control.add_fault("netsuite", account, match, "hold")
        await told_of_all(world, account, teams[NUMBERS[0]])
        await world.control.wait_for_fault("netsuite", account, first)
        down = await world.control.add_fault("netsuite", account, {}, "drop_before", times=-1)
        await world.control.release("netsuite", account)
        for number in NUMBERS[1:]:
            await told_of_all(world, account, teams[number])
        added = await approvals_go_on(world, account, teams)
        assert await numbers_of_runs(world, account) == dict.fromkeys(NUMBERS, 1)
        up = len(await world.control.calls("netsuite", account))
        await world.control.clear_faults("netsuite", account, down)
        await asyncio.gather(*(settled(world, account, project(number)) for number in NUMBERS))
    for number in NUMBERS:
        books = await assert_books(world, account, project(number), job=str(7001 + number))
        assert all(books.traces[ref].parts for ref in books.psa), "an entry was lost"
        assert set(added[number]) <= books.psa.keys()
    calls = await world.control.calls("netsuite", account)
    assert_in_order(calls, account)
    drained = [
        call for call in calls if call["n"] > up and call["path"].startswith("/services/rest")
    ]
    assert 1 <= in_flight(drained) <= LIMIT
    assert not [call for call in drained if call["status"] == 429]
    assert await all_completed(world, account)


async def told_of_all(world: World, account: str, team: People) -> None:
    """Tell of all that is approved on a project, and ask for its run."""
    await team.tell(await entries_of(world, account, team.project))
    await team.ask_for_a_run()


async def approvals_go_on(
    world: World, account: str, teams: dict[int, People]
) -> dict[int, list[Any]]:
    """Approve entries on every project until each has tried so often in vain."""
    added: dict[int, list[Any]] = defaultdict(list)
    for place in range(8):
        for number, team in teams.items():
            entry = await team.work(place)
            added[number].append(entry.ref)
            await team.tell([entry.ref])

    async def tried_enough() -> bool:
        tries: dict[str, int] = defaultdict(int)
        for call in await world.control.calls("netsuite", account):
            if call["fault"] == "drop_before":
                tries[run_in(call)[0]] += 1
        return len(tries) == len(NUMBERS) and min(tries.values()) >= TRIES

    await world.eventually(tried_enough, f"{TRIES} tries of every project")
    return added


async def numbers_of_runs(world: World, account: str) -> dict[int, int]:
    """Return the number of the last run of every project."""
    return {number: await runs_of(world, account, project(number)) for number in NUMBERS}


async def all_completed(world: World, account: str) -> bool:
    """Return whether every run of every project completed."""
    for number in NUMBERS:
        for run in range(1, await runs_of(world, account, project(number)) + 1):
            id_ = billing_run_id(f"kantata@{account}", project(number), PERIOD, run)
            handle = world.env.client.get_workflow_handle_for(BillingRun.run, id_)
            if (await world.result(handle)).outcome is not Outcome.COMPLETED:
                return False
    return True


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
