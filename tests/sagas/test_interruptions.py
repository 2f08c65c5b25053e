"""Sagas that are reset, terminated, started again, cancelled: all there once, or nothing there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from canonical.saga import Outcome, SagaResult, SagaState, StepState, Verb, WorkItem, WorkItemKind
from tests.sagas.matrix import (
    Answer,
    Case,
    FaultClass,
    Snapshot,
    assert_untouched,
    created,
    effects,
    observe,
)
from tests.sagas.scenes import (
    LAST_UNDOABLE,
    STEPS,
    Handle,
    break_step,
    latest,
    parked_at,
    retried,
    roll_back,
    sweep,
    vendor_of_step,
)
from tests.sagas.test_fault_matrix import (
    OWN_FIELDS,
    answer,
    assert_all_or_none,
    clean_run_with,
)
from tests.support.world import VENDORS, World
from workflows.registry import PIVOTS

pytestmark = [pytest.mark.fault_matrix]

IN_FLIGHT = 12
PAST_PIVOT = {*PIVOTS["OpportunityToProject"], "confirm_in_crm"}
READS = {name for name, step in STEPS.items() if step.reads_only}

_slots = asyncio.Semaphore(IN_FLIGHT)


async def side_by_side(cases: Mapping[str, Awaitable[None]]) -> None:
    """Run cases, a dozen at a time, and report every one that failed."""

    async def one(case: Awaitable[None]) -> None:
        async with _slots:
            await case

    ended = await asyncio.gather(*map(one, cases.values()), return_exceptions=True)
    failed = [
        f"{name}: {type(end).__name__}: {end}"
        for name, end in zip(cases, ended, strict=True)
        if end is not None
    ]
    assert not failed, f"{len(failed)} of {len(cases)} cases:\n" + "\n".join(failed)


# Reset.


async def reset_after(world: World, handle: Handle, step: str, run_id: str = "") -> Handle:
    """Reset a saga to its first workflow task after `step` was scheduled; return the new run.

    `run_id` names an earlier run whose history is meant, else it is the latest.
    """
    run = world.env.client.get_workflow_handle(handle.id, run_id=run_id or None)

    async def look() -> int | None:
        events = (await run.fetch_history()).events
        scheduled = next(event.event_id for event in events if schedules(event, step))
        completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        later = (event for event in events if event.event_id > scheduled)
        return next((event.event_id for event in later if event.event_type == completed), None)

    task = await world.eventually(look, f"a workflow task after {step}")
    client = world.env.client
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=run_id),
            workflow_task_finish_event_id=task,
            reason="a test",
            request_id=f"{handle.id}:{step}:{run_id}",
        )
    )
    return latest(world, handle)


def schedules(event: HistoryEvent, step: str) -> bool:
    """Return whether an event schedules a step."""
    return event.activity_task_scheduled_event_attributes.activity_type.name == step


async def reset_everywhere(world: World, slug: str, steps: list[str]) -> None:
    """Complete one saga, then reset its first run at each of its steps in turn."""
    clean = await clean_run_with(world, steps[0])
    account = await world.account()
    before = await world.live(account)
    handle = await world.start(account, slug)
    await world.finished(handle)
    first = (await handle.describe()).run_id
    log = await effects(world, account)
    for step in steps:
        result = await world.finished(await reset_after(world, handle, step, first))
        assert result.outcome is Outcome.COMPLETED
        assert await effects(world, account) == log, f"a reset at {step} wrote something again"
    await assert_all_or_none(world, account, clean, before, result)
    assert await world.store.work_items.list(workflow_id=handle.id) == ()


async def reset_a_saga_in_doubt(world: World, step: str) -> None:
    clean = await clean_run_with(world, step)
    account = await world.account()
    before = await world.live(account)
    await break_step(world, account, step, "drop_after")
    handle = await world.start(account, clean.slug)
    old = await world.parked(handle, step)
    again = await reset_after(world, handle, step)
    await parked_anew(world, again, old)
    case = Case("", step, FaultClass.UNKNOWN_WITH_EFFECT, Answer.RETRY)
    result = await answer(world, again, case)
    assert result.outcome is Outcome.COMPLETED
    await assert_all_or_none(world, account, clean, before, result)
    assert await world.store.work_items.list(workflow_id=handle.id) == ()


async def test_a_reset_at_any_step_of_a_completed_saga_writes_nothing(world: World) -> None:
    by_slug: dict[str, list[str]] = {}
    for step in STEPS:
        by_slug.setdefault((await clean_run_with(world, step)).slug, []).append(step)
    await side_by_side({slug: reset_everywhere(world, slug, by_slug[slug]) for slug in by_slug})


async def test_a_reset_at_any_step_in_doubt_ends_with_all_there_once(world: World) -> None:
    await clean_run_with(world, "add_client_currency")
    await side_by_side({step: reset_a_saga_in_doubt(world, step) for step in STEPS})


async def test_a_reset_before_a_park_leaves_one_open_work_item(world: World) -> None:
    account = await world.account()
    await break_step(world, account, "provision_tasks", times=2)
    handle = await world.start(account, "tm-us")
    old = await world.parked(handle, "provision_tasks")
    again = await reset_after(world, handle, "provision_psa_project")
    item = await parked_anew(world, again, old)
    assert item is not None
    (stored,) = await world.store.work_items.list(workflow_id=handle.id)
    assert stored.item == item
    assert (await retried(world, again, item)).outcome is Outcome.COMPLETED


async def parked_anew(world: World, handle: Handle, old: WorkItem) -> WorkItem | None:
    """Wait until a reset saga has parked again, and return the new work item.

    None: it ended instead. A step that was in flight at the point of the reset is tried again, and
    finds what it wrote.
    """

    async def look() -> tuple[WorkItem | None] | None:
        items = await world.store.work_items.list(workflow_id=handle.id)
        new = next((stored.item for stored in items if stored.item.id != old.id), None)
        if new is None and (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            return None
        return (new,)

    found: tuple[WorkItem | None] = await world.eventually(look, f"a further park of {handle.id}")
    return found[0]


# Terminate and sweep.


async def test_a_batch_of_terminated_sagas_is_swept_to_all_or_nothing(world: World) -> None:
    for step in STEPS:
        await clean_run_with(world, step)
    cases = [(step, effect) for step in STEPS for effect in ("before", "after")]
    held = await asyncio.gather(*(held_at(world, step, effect) for step, effect in cases))
    for handle, *_ in held:
        await handle.terminate("a test")
    for account in {account for _, account, _ in held}:
        for vendor in VENDORS:
            await world.control.release(vendor, account)
    swept = await sweep(world)
    ids = {handle.id: step for (handle, *_), (step, _) in zip(held, cases, strict=True)}
    forward = {ids[id_] for id_ in swept.forward if id_ in ids}
    back = {ids[id_] for id_ in swept.rolled_back if id_ in ids}
    assert forward == PAST_PIVOT
    assert back | READS == STEPS.keys() - PAST_PIVOT
    checks = {
        f"{step} held, effect {effect}": all_or_none_after_sweep(world, step, *each)
        for (step, effect), each in zip(cases, held, strict=True)
    }
    await side_by_side(checks)
    assert await sweep(world) == type(swept)(), "a second sweep found something to do"


async def held_at(world: World, step: str, effect: str) -> tuple[Handle, str, Snapshot]:
    """Start a saga and wait until a request of one step stands still at its vendor."""
    async with _slots:
        clean = await clean_run_with(world, step)
        account = await world.account()
        before = await world.live(account)
        fault = await break_step(world, account, step, "hold", effect=effect)
        handle = await world.start(account, clean.slug)
        waiting = asyncio.create_task(approve_gates(world, handle))
        await world.control.wait_for_fault(vendor_of_step(step), account, fault, timeout_seconds=45)
        waiting.cancel()
        return handle, account, before


async def approve_gates(world: World, handle: Handle) -> None:
    while True:
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            if stored.item.kind is WorkItemKind.GATE:
                await world.decide(stored.item, Verb.APPROVE, by="fiona")
        await asyncio.sleep(0.1)


async def all_or_none_after_sweep(
    world: World, step: str, handle: Handle, account: str, before: Snapshot
) -> None:
    clean = await clean_run_with(world, step)
    if step in READS:  # nothing was written yet: whether it is swept depends on the read's end
        assert await world.live(account) == before
        return
    result = await world.result(latest(world, handle))
    wanted = Outcome.COMPLETED if step in PAST_PIVOT else Outcome.ROLLED_BACK
    assert result.outcome is wanted, result
    await assert_all_or_none(world, account, clean, before, result)
    assert await world.store.work_items.list(workflow_id=handle.id) == ()


async def test_the_work_item_of_a_terminated_saga_does_not_stay_on_the_list(world: World) -> None:
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    await handle.terminate("a test")
    assert handle.id in (await sweep(world)).rolled_back
    result = await world.result(latest(world, handle))
    assert result.outcome is Outcome.ROLLED_BACK
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert not stored.open


async def test_past_the_pivot_a_swept_saga_asks_for_no_second_approval(world: World) -> None:
    account = await world.account()
    handle, _ = await parked_past_the_gate(world, account)
    await handle.terminate("a test")
    assert handle.id in (await sweep(world)).forward
    again = latest(world, handle)
    await again.cancel()
    result = await world.result(again)
    assert result.outcome is Outcome.COMPLETED
    gates = [
        stored
        for stored in await world.store.work_items.list(open_only=False, workflow_id=handle.id)
        if stored.item.kind is WorkItemKind.GATE
    ]
    assert len(gates) == 1


async def parked_past_the_gate(world: World, account: str) -> tuple[Handle, str]:
    """Carry a deal through its gate and the pivot, and have the step after it refused."""
    await break_step(world, account, "confirm_in_crm")
    handle = await world.start(account, "high-value")
    gate = await world.parked(handle, "finance_gate")
    await world.decide(gate, Verb.APPROVE, by="fiona")
    item = await world.parked(handle, "confirm_in_crm")
    return handle, item.id


async def test_a_plain_start_carries_a_terminated_saga_on(world: World) -> None:
    clean = await clean_run_with(world, "provision_milestones")
    account = await world.account()
    before = await world.live(account)
    handle, _ = await parked_at(world, account, clean.slug, "provision_milestones")
    await handle.terminate("a test")
    result = await world.result(await world.start(account, clean.slug))
    assert (result.outcome, result.generation) == (Outcome.COMPLETED, 1)
    await assert_all_or_none(world, account, clean, before, result)


async def test_a_sweep_leaves_running_and_completed_sagas_alone(world: World) -> None:
    account = await world.account()
    running, item = await parked_at(world, account, "tm-us", "provision_tasks")
    done = await world.start(account, "retainer-gb")
    await world.finished(done)
    swept = await sweep(world)
    assert not {running.id, done.id} & {*swept.rolled_back, *swept.forward}
    assert (await retried(world, running, item)).outcome is Outcome.COMPLETED


# Starting.


async def calls_of(world: World, account: str) -> int:
    return sum([len(await world.control.calls(vendor, account)) for vendor in VENDORS])


async def test_two_starts_at_once_are_one_saga(world: World) -> None:
    clean = await clean_run_with(world, "provision_client")
    account = await world.account()
    before = await world.live(account)
    one, other = await asyncio.gather(
        world.start(account, clean.slug), world.start(account, clean.slug)
    )
    assert one.result_run_id == other.result_run_id
    result = await world.finished(one)
    assert await world.result(other) == result
    await assert_all_or_none(world, account, clean, before, result)


async def test_a_start_after_completion_returns_the_same_result_and_sends_nothing(
    world: World,
) -> None:
    account = await world.account()
    result = await world.finished(await world.start(account, "tm-us"))
    sent = await calls_of(world, account)
    trail = await world.store.sagas.trace(result.workflow_id)
    again = await world.start(account, "tm-us")
    assert await world.result(again) == result
    assert await calls_of(world, account) == sent
    assert await world.store.sagas.trace(result.workflow_id) == trail


async def test_a_start_after_a_rollback_is_the_next_generation(world: World) -> None:
    clean = await observe(world, "tm-us")
    account = await world.account()
    before = await world.live(account)
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    assert (await roll_back(world, handle, item)).generation == 1
    result = await world.finished(await world.start(account, "tm-us"))
    assert (result.outcome, result.generation) == (Outcome.COMPLETED, 2)
    assert all(f"{handle.id}/2:" in step.key for step in result.steps)
    await assert_all_or_none(world, account, clean, before, result)


# Two deals of one client.

PAIR = ("tm-us", "second-deal")
Pair = tuple[Handle, Handle]


async def pair_parked(world: World, account: str) -> dict[str, Callable[[], Awaitable[SagaResult]]]:
    """Park both deals where all that can be undone is there; return how to roll each back."""
    found: dict[str, Callable[[], Awaitable[SagaResult]]] = {}
    for slug in PAIR:
        handle, item = await parked_at(world, account, slug, LAST_UNDOABLE)
        found[slug] = lambda handle=handle, item=item: roll_back(world, handle, item)  # type: ignore[misc]
    return found


@pytest.mark.parametrize("order", [PAIR, PAIR[::-1]], ids=["creator first", "creator last"])
async def test_two_deals_of_a_client_that_both_roll_back_leave_nothing(
    world: World, order: tuple[str, str]
) -> None:
    account = await world.account()
    before = await world.live(account)
    rolled_back = await pair_parked(world, account)
    for slug in order:
        assert (await rolled_back[slug]()).outcome is Outcome.ROLLED_BACK
    after = await world.live(account)
    assert created(before, after) == {}
    assert_untouched(before, after, but=set())


@pytest.mark.parametrize("gone", PAIR)
@pytest.mark.parametrize("first", PAIR)
async def test_of_two_deals_of_a_client_one_rolls_back_and_the_other_keeps_it(
    world: World, gone: str, first: str
) -> None:
    (kept,) = {*PAIR} - {gone}
    (second,) = {*PAIR} - {first}
    clean = await observe(world, kept)
    account = await world.account()
    before = await world.live(account)
    ends = {}
    for slug in (first, second):
        if slug == gone:
            handle, item = await parked_at(world, account, slug, LAST_UNDOABLE)
        else:
            ends[slug] = (await world.finished(await world.start(account, slug))).outcome
    ends[gone] = (await roll_back(world, handle, item)).outcome
    assert ends == {kept: Outcome.COMPLETED, gone: Outcome.ROLLED_BACK}
    after = await world.live(account)
    assert created(before, after) == clean.created
    opportunity = ("salesforce", "Opportunity", await world.deal_id(account, kept))
    others = {key: fields for key, fields in before.items() if key != opportunity}
    assert_untouched(others, after, but=clean.changed - OWN_FIELDS)


# Cancel.


async def test_a_cancel_at_the_gate_rolls_everything_back(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    handle = await world.start(account, "high-value")
    gate = await world.parked(handle, "finance_gate")
    assert (await world.desk.view(handle.id)).state == SagaState.WAITING
    await handle.cancel()
    result = await world.result(handle)
    assert (result.outcome, result.reason) == (Outcome.ROLLED_BACK, "cancelled")
    after = await world.live(account)
    assert created(before, after) == {}
    assert_untouched(before, after, but=set())
    stored = await world.store.work_items.get(gate.id)
    assert stored is not None
    assert (stored.open, stored.how) == (False, "cancelled")
    described = await handle.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED


async def test_a_cancel_past_the_pivot_is_noted_and_ignored(world: World) -> None:
    clean = await observe(world, "tm-us")
    account = await world.account()
    before = await world.live(account)
    handle, item = await parked_at(world, account, "tm-us", "confirm_in_crm")
    assert Verb.ROLL_BACK not in item.verbs
    await handle.cancel()
    result = await retried(world, handle, item)
    assert result.outcome is Outcome.COMPLETED
    assert result.reason == "cancelled: too late, ignored"
    await assert_all_or_none(world, account, clean, before, result)


async def test_a_cancel_in_mid_flight_awaits_the_write_and_undoes_it(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    fault = await break_step(world, account, "provision_erp_project", "hold", effect="after")
    handle = await world.start(account, "tm-us")
    await world.control.wait_for_fault("netsuite", account, fault)
    await handle.cancel()
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await world.control.release("netsuite", account)
    result = await world.result(handle)
    assert result.outcome is Outcome.ROLLED_BACK
    undone = {step.step: step.state for step in result.steps}
    assert undone["provision_erp_project"] is StepState.UNDONE
    assert await world.live(account) == before


async def test_a_terminated_saga_is_seen_as_terminated(world: World) -> None:
    account = await world.account()
    handle, _ = await parked_at(world, account, "tm-us", "provision_tasks")
    await handle.terminate("a test")
    with pytest.raises(WorkflowFailureError):
        await world.result(handle)
    assert handle.id in (await sweep(world)).rolled_back
    assert (await world.result(latest(world, handle))).outcome is Outcome.ROLLED_BACK
