"""Billing runs that are terminated, reset or started twice: all there once, or nothing there."""

import asyncio

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from canonical.ids import billing_run_id
from canonical.saga import Outcome, SagaResult
from tests.sagas.billing_scenes import People, assert_books, runs_of, settled
from tests.sagas.matrix import correlation, effects
from tests.sagas.scenes import sweep
from tests.sagas.test_interruptions import reset_after, side_by_side
from tests.support.billing import (
    AT_PROJECT,
    PERIOD,
    assert_billed,
    assert_unbilled,
    billed_account,
    period_of,
    start_run,
)
from tests.support.world import World
from workflows.billing_run import BillingRun
from workflows.registry import PIVOTS

pytestmark = [pytest.mark.fault_matrix]

Handle = WorkflowHandle[BillingRun, SagaResult]

HELD = {
    "read_people": ("workday", False),
    "read_erp_terms": ("netsuite", False),
    "reserve_entries": ("kantata", True),
    "verify_entries": ("kantata", False),
    "post_charges": ("netsuite", True),
    "post_costs": ("netsuite", True),
    "check_reservation": ("kantata", False),
}
"""Steps at which a run is caught, the vendor that they ask, and whether they write there."""


def latest(world: World, handle: Handle) -> Handle:
    """Return a handle on the latest run of a workflow id."""
    return world.env.client.get_workflow_handle_for(BillingRun.run, handle.id)


async def caught(world: World, step: str, effect: str) -> tuple[Handle, str]:
    """Start a run and wait until a request of a step stands still at its vendor."""
    account = await billed_account(world)
    vendor, write = HELD[step]
    match: dict[str, JsonValue] = {"correlation": correlation(step)}
    if write:
        match["write"] = True
    fault = await world.control.add_fault(vendor, account, match, "hold", effect=effect)
    handle = await start_run(world, account)
    await world.control.wait_for_fault(vendor, account, fault, timeout_seconds=45)
    return handle, account


async def test_terminated_runs_are_swept_to_nothing_and_the_next_run_bills(world: World) -> None:
    cases = [(step, effect) for step in HELD for effect in ("before", "after")]
    held = await asyncio.gather(*(caught(world, *case) for case in cases))
    for handle, _ in held:
        await handle.terminate("a test")
    for (step, _), (_, account) in zip(cases, held, strict=True):
        await world.control.release(HELD[step][0], account)
    swept = await sweep(world)
    assert {handle.id for handle, _ in held} <= {*swept.rolled_back}

    async def check(handle: Handle, account: str) -> None:
        result = await world.result(latest(world, handle))
        assert result.outcome is Outcome.ROLLED_BACK, result
        await assert_unbilled(world, account)
        await People(world, account).ask_for_a_run()
        await settled(world, account)
        await assert_books(world, account)
        assert await runs_of(world, account) == 2, "the run that was swept was used again"

    await side_by_side({f"{case}": check(*each) for case, each in zip(cases, held, strict=True)})


async def test_a_run_terminated_past_the_pivot_is_swept_forward(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its period never hears of the end from the first run; it does from the swept one."""
    account = await billed_account(world)
    sagas = type(world.store.sagas)
    handed, real = asyncio.Event(), sagas.finish

    async def never(self: object, result: SagaResult) -> None:
        if f"kantata@{account}/" in result.workflow_id:
            handed.set()
            await asyncio.Event().wait()
        await real(self, result)  # type: ignore[arg-type]

    monkeypatch.setattr(sagas, "finish", never)
    await People(world, account).ask_for_a_run()
    async with asyncio.timeout(30):
        await handed.wait()
    id_ = billing_run_id(f"kantata@{account}", AT_PROJECT, PERIOD, 1)
    handle = world.env.client.get_workflow_handle(id_)
    await handle.terminate("a test")
    monkeypatch.undo()
    log = await effects(world, account)
    assert id_ in (await sweep(world)).forward
    assert (await world.result(latest(world, handle))).outcome is Outcome.COMPLETED
    await settled(world, account)
    assert await effects(world, account) == log, "a sweep past the pivot wrote something again"
    await assert_billed(world, account)
    assert PIVOTS["BillingRun"] == {"hand_over"}


async def test_a_reset_at_any_step_of_a_completed_run_writes_nothing(world: World) -> None:
    account = await billed_account(world)
    handle = await start_run(world, account)
    await world.result(handle)
    first = (await handle.describe()).run_id
    log = await effects(world, account)
    for step in HELD:
        again = await reset_after(world, handle, step, first)
        assert (await world.result(again)).outcome is Outcome.COMPLETED
        assert await effects(world, account) == log, f"a reset at {step} wrote something again"
    await assert_billed(world, account)


async def reset_while_caught(world: World, step: str) -> None:
    handle, account = await caught(world, step, "before")
    again = await reset_after(world, handle, "take_in")
    await world.control.release(HELD[step][0], account)
    assert (await world.result(again)).outcome is Outcome.COMPLETED
    await assert_billed(world, account)


async def test_a_reset_under_a_write_ends_with_all_there_once(world: World) -> None:
    writes = [step for step, (_, write) in HELD.items() if write]
    assert writes
    await side_by_side({step: reset_while_caught(world, step) for step in writes})


async def test_two_starts_of_one_run_are_one_run(world: World) -> None:
    account = await billed_account(world)
    one, other = await asyncio.gather(start_run(world, account), start_run(world, account))
    assert one.result_run_id == other.result_run_id
    result = await world.result(one)
    assert await world.result(other) == result
    log = await effects(world, account)
    assert await world.result(await start_run(world, account)) == result
    assert await effects(world, account) == log
    await assert_billed(world, account)


async def test_a_run_that_the_sweep_started_is_adopted_by_its_period(world: World) -> None:
    """The number was opened, but the period's child start finds the id in use."""
    account = await billed_account(world)
    of = period_of(account)
    number = await world.store.runs.open(of.psa, of.project_id, of.period)
    match: dict[str, JsonValue] = {"correlation": correlation("take_in")}
    fault = await world.control.add_fault("kantata", account, match, "hold")
    handle = await start_run(world, account, number=number)
    await world.control.wait_for_fault("kantata", account, fault)
    await People(world, account).ask_for_a_run()

    async def adopted() -> bool:
        view = await world.billing.view(AT_PROJECT, psa=of.psa)
        return view is not None and view.open_run == number

    await world.eventually(adopted, "an adopted run")
    await world.control.release("kantata", account)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await settled(world, account)
    assert await runs_of(world, account) == number
    await assert_billed(world, account)


async def test_a_period_that_is_terminated_leaves_its_run_alone(world: World) -> None:
    account = await billed_account(world)
    people = People(world, account)
    match: dict[str, JsonValue] = {"correlation": correlation("post_charges"), "write": True}
    fault = await world.control.add_fault("netsuite", account, match, "hold")
    await people.ask_for_a_run()
    await world.control.wait_for_fault("netsuite", account, fault)
    of = period_of(account)
    name = f"time-to-billing/{of.psa}/{of.project_id}/{of.period}"
    await world.env.client.get_workflow_handle(name).terminate("a test")
    await world.control.release("netsuite", account)
    id_ = billing_run_id(of.psa, of.project_id, of.period, 1)
    run: Handle = world.env.client.get_workflow_handle(id_, result_type=SagaResult)
    assert (await world.result(run)).outcome is Outcome.COMPLETED
    assert (await run.describe()).status is WorkflowExecutionStatus.COMPLETED
    await assert_billed(world, account)
    entry = await people.work(0)
    await people.tell([entry.ref])
    await settled(world, account)
    books = await assert_books(world, account)
    assert books.traces[entry.ref].parts


async def test_a_run_of_five_hundred_entries_takes_few_events(world: World) -> None:
    """DESIGN and issue 3: at most 200 history events per billing run of up to 1,000 entries."""
    account = await billed_account(world, scenario="time")
    handle = await start_run(world, account)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    events = len((await handle.fetch_history()).events)
    print(f"history events of a billing run of 500 entries: {events}")  # noqa: T201
    assert events <= 200
    await assert_billed(world, account)
