"""Backfills on the real server: plan, pace, steering, restarts, and what they leave behind."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from sqlalchemy import text
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from adapters.errors import Invalid
from canonical.backfill import WELL, BackfillInput, BackfillKind, BackfillState, RecordState
from canonical.entries import EntryKind
from canonical.ids import billing_run_id, opportunity_to_project_id
from canonical.saga import Outcome, SagaResult, Verb
from operations.people import Refused
from tests.sagas.backfill_scenes import (
    CLOSED,
    FAST,
    Scene,
    advance_once,
    desk_on,
    of_state,
    scene,
    start_short,
)
from tests.sagas.billing_scenes import People, runs_of, settled
from tests.sagas.matrix import effects
from tests.sagas.scenes import break_step, sweep
from tests.sagas.test_milestones import provisioned
from tests.support.billing import AT_PROJECT, PERIOD, assert_billed, billed_account
from tests.support.world import VENDORS, World
from workflows.backfill import Backfill
from workflows.opportunity_to_project import OpportunityToProject
from workflows.options import BACKFILL_PRIORITY, LIVE_PRIORITY

COUNTED = text("""
    SELECT (SELECT count(*) FROM backfills) AS backfills,
        (SELECT count(*) FROM backfill_records) AS records,
        (SELECT count(*) FROM saga_generations) AS sagas,
        (SELECT count(*) FROM engagements) AS engagements,
        (SELECT count(*) FROM audit_trail) AS audit
""")


async def projects_by_key(world: World, account: str) -> Counter[str]:
    """Return the live projects in the ERP, by our key."""
    records = await world.control.records("netsuite", account, type="job")
    return Counter(str(each["key"]) for each in records if each["live"] and each["key"])


def saga_of(found: Scene, deal: str) -> WorkflowHandle[OpportunityToProject, SagaResult]:
    """Return the saga of a deal."""
    id_ = opportunity_to_project_id(f"salesforce@{found.account}", deal)
    return found.world.env.client.get_workflow_handle_for(OpportunityToProject.run, id_)


async def priority(world: World, id_: str) -> int:
    """Return the priority that Temporal has for a workflow."""
    described = await world.env.client.get_workflow_handle(id_).describe()
    return described.raw_info.priority.priority_key


async def test_a_dry_run_says_what_is_then_done_and_writes_nowhere(world: World) -> None:
    found = await scene(world, "standard", 1)
    before, store = await world.live(found.account), await world.store.database.rows(COUNTED)
    window = found.deals()
    planned = await found.planned(window)
    assert await world.live(found.account) == before
    assert await world.store.database.rows(COUNTED) == store
    assert len(planned) > 15
    report = await found.report(await found.carried(window))
    assert {id_: each.planned for id_, each in report.items()} == {
        id_: each.state for id_, each in planned.items()
    }
    outcomes = Counter(each.state for each in report.values())
    assert outcomes[RecordState.COMPLETED] >= 8
    assert outcomes[RecordState.PARKED] >= 5
    assert set(outcomes) <= {RecordState.COMPLETED, RecordState.PARKED}
    parked = [each for each in report.values() if each.state is RecordState.PARKED]
    open_items = await world.store.work_items.list()
    waiting = {stored.item.workflow_id: stored.item for stored in open_items}
    for each in parked:
        assert each.why.startswith(waiting[each.workflow_id].step)
    not_won = await world.deal_id(found.account, "not-won")
    assert not_won not in report


async def test_a_second_run_starts_nothing_and_names_what_is_done(world: World) -> None:
    found = await scene(world, "standard", 1)
    first = await found.states(await found.carried(found.deals()))
    log, projects = await effects(world, found.account), await projects_by_key(world, found.account)
    second = await found.states(await found.carried(found.deals()))
    assert await effects(world, found.account) == log
    assert await projects_by_key(world, found.account) == projects
    done = {RecordState.COMPLETED: RecordState.ALREADY_DONE}
    assert second == {id_: done.get(state, state) for id_, state in first.items()}


async def test_a_parked_deal_that_is_repaired_shows_as_completed(world: World) -> None:
    found = await scene(world, count=4)
    await break_step(world, found.account, "provision_tasks", times=1)
    id_ = await found.carried(found.deals())
    (parked,) = of_state(await found.states(id_), RecordState.PARKED)
    handle = saga_of(found, parked)
    await world.decide(await world.parked(handle), Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    assert set((await found.states(id_)).values()) == {RecordState.COMPLETED}


async def test_a_rolled_back_deal_is_rejected_and_stays_so(world: World) -> None:
    found = await scene(world, count=2)
    await break_step(world, found.account, "provision_tasks", times=1)
    id_ = await found.carried(found.deals())
    (parked,) = of_state(await found.states(id_), RecordState.PARKED)
    handle = saga_of(found, parked)
    await world.decide(await world.parked(handle), Verb.ROLL_BACK)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    assert (await found.states(id_))[parked] is RecordState.REJECTED
    log = await effects(world, found.account)
    again = await found.report(await found.carried(found.deals()))
    assert (again[parked].state, again[parked].planned) == (RecordState.REJECTED,) * 2
    assert "by hand" in again[parked].why
    assert await effects(world, found.account) == log


async def test_a_deal_that_somebody_else_started_is_adopted(world: World) -> None:
    found = await scene(world, count=2)
    held = await break_step(world, found.account, "provision_erp_project", "hold", effect="after")
    handle = await world.start(found.account, "bulk-0001")
    await world.control.wait_for_fault("netsuite", found.account, held)
    live = await world.deal_id(found.account, "bulk-0001")
    window = found.deals()
    assert (await found.planned(window))[live].state is RecordState.UNDER_WAY
    id_ = await found.desk.start(window, rate=FAST, name=found.name("adopting"))
    await found.when(id_, RecordState.COMPLETED, 1)
    await world.control.release("netsuite", found.account)
    await world.result(handle)
    view = await found.ended(id_)
    assert view.state is BackfillState.FINISHED
    states = await found.states(id_)
    assert states.pop(live) is RecordState.ADOPTED
    assert set(states.values()) == {RecordState.COMPLETED}


async def test_a_deal_that_the_crm_links_elsewhere_is_a_conflict(world: World) -> None:
    found = await scene(world, count=2)
    deal = await world.deal_id(found.account, "bulk-0002")
    await world.control.patch_record(
        "salesforce", found.account, "Opportunity", deal, {"PSA_Project_Id__c": "4711"}
    )
    id_ = await found.carried(found.deals())
    report = await found.report(id_)
    assert report[deal].state is RecordState.REJECTED
    assert "4711" in report[deal].why
    assert (await found.desk.find(id_)).view.standing.count(RecordState.COMPLETED) == 1


async def test_a_swept_saga_keeps_the_priority_of_who_asked_for_it(world: World) -> None:
    found = await scene(world, count=2)
    await break_step(world, found.account, "provision_tasks", times=2)
    live = await world.start(found.account, "bulk-0001")
    await world.parked(live)
    id_ = await found.carried(found.deals())
    deal = await world.deal_id(found.account, "bulk-0002")
    assert (await found.states(id_))[deal] is RecordState.PARKED
    for handle, wanted in ((saga_of(found, deal), BACKFILL_PRIORITY), (live, LIVE_PRIORITY)):
        await world.env.client.get_workflow_handle(handle.id).terminate("a test")
        assert handle.id in (await sweep(world)).rolled_back
        assert await priority(world, handle.id) == wanted.priority_key


# Steering.


async def test_pause_resume_and_rate_are_obeyed(world: World) -> None:
    found = await scene(world, count=8)
    id_ = await found.desk.start(found.deals(), in_flight_max=1, name=found.name("steered"))
    await found.when(id_, RecordState.COMPLETED, 1)
    paused = await found.desk.pause(id_, by="olivia")
    assert paused.state is BackfillState.PAUSED
    with pytest.raises(Refused, match="paused already"):
        await found.desk.pause(id_)
    await found.ticks(id_, 1)
    before = (await found.desk.find(id_)).view
    await found.ticks(id_, 2)
    after = (await found.desk.find(id_)).view
    planned = RecordState.PLANNED
    assert 0 < before.standing.count(planned) == after.standing.count(planned)
    assert after.state is BackfillState.PAUSED
    faster = await found.desk.change_rate(id_, rate=FAST, in_flight_max=20, by="olivia")
    assert (faster.rate, faster.in_flight_max) == (FAST, 20)
    with pytest.raises(Refused, match="nothing is said"):
        await found.desk.change_rate(id_)
    await found.desk.resume(id_, by="olivia")
    with pytest.raises(Refused, match="not paused"):
        await found.desk.resume(id_)
    assert (await found.ended(id_)).standing.count(RecordState.COMPLETED) == 8
    with pytest.raises(Refused):
        await found.desk.pause(id_)
    entries = await world.store.audit.trail(id_)
    acts = [(entry.act, entry.actor) for entry in entries]
    assert acts[1:] == [
        ("backfill_paused", "olivia"),
        ("backfill_rate_changed", "olivia"),
        ("backfill_resumed", "olivia"),
    ]


async def test_a_cancel_starts_nothing_more_and_lets_what_runs_go_on(world: World) -> None:
    found = await scene(world, count=6)
    held = await break_step(world, found.account, "provision_erp_project", "hold", effect="after")
    id_ = await found.desk.start(found.deals(), in_flight_max=1, name=found.name("cancelled"))
    await world.control.wait_for_fault("netsuite", found.account, held)
    assert (await found.desk.cancel(id_)).state is BackfillState.CANCELLING
    await found.when(id_, RecordState.NOT_STARTED, 5)
    await world.control.release("netsuite", found.account)
    assert (await found.ended(id_)).state is BackfillState.CANCELLED
    assert Counter((await found.states(id_)).values()) == {
        RecordState.COMPLETED: 1,
        RecordState.NOT_STARTED: 5,
    }
    assert len(await projects_by_key(world, found.account)) == 1


async def test_no_more_are_in_flight_than_allowed(world: World) -> None:
    found = await scene(world, count=6)
    held = await break_step(
        world, found.account, "provision_erp_project", "hold", effect="after", times=2
    )
    id_ = await found.desk.start(
        found.deals(), rate=FAST, in_flight_max=2, name=found.name("narrow")
    )
    await world.control.wait_for_fault("netsuite", found.account, held, hits=2)
    await found.ticks(id_, 2)
    standing = (await found.desk.find(id_)).view.standing
    assert (standing.in_flight, standing.count(RecordState.PLANNED)) == (2, 4)
    await world.control.release("netsuite", found.account)
    assert (await found.ended(id_)).standing.count(RecordState.COMPLETED) == 6


# Restarts.


async def test_it_continues_as_new_and_loses_nothing(world: World) -> None:
    found = await scene(world, count=7)
    id_ = await start_short(found, found.deals(), records_per_run=3)
    handle = world.env.client.get_workflow_handle(id_)
    first = (await handle.describe()).run_id
    view = await found.ended(id_)
    assert (await handle.describe()).run_id != first
    run = await world.env.client.get_workflow_handle(id_, run_id=first).describe()
    assert run.status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    assert view.standing.count(RecordState.COMPLETED) == 7
    assert set((await projects_by_key(world, found.account)).values()) == {1}


async def test_a_tick_that_was_killed_after_marking_is_made_good(world: World) -> None:
    found = await scene(world, count=4)
    id_ = await found.desk.start(found.deals(), in_flight_max=1, name=found.name("killed"))
    await found.when(id_, RecordState.UNDER_WAY, 1)
    await found.desk.pause(id_)
    await advance_once(found, id_, found.deals(), 2)
    await found.desk.resume(id_)
    assert (await found.ended(id_)).standing.count(RecordState.COMPLETED) == 4
    assert set((await projects_by_key(world, found.account)).values()) == {1}


# Refusals.


@pytest.mark.parametrize("where", ["Name = 'a') OR (Name != 'b'", "Id IN (SELECT Id FROM User)"])
async def test_a_condition_that_is_none_never_reaches_the_crm(world: World, where: str) -> None:
    found = await scene(world, count=1)
    with pytest.raises(Invalid, match="at character"):
        await found.desk.start(found.deals(where))
    with pytest.raises(Invalid, match="at character"):
        await found.planned(found.deals(where))
    assert await world.control.calls("salesforce", found.account) == []


async def test_a_condition_narrows_the_window(world: World) -> None:
    found = await scene(world, count=6)
    german = await found.planned(found.deals("Legal_Entity__c = 'DE'"))
    assert 0 < len(german) < 6
    none = await found.planned(
        found.desk.window(
            BackfillKind.OPPORTUNITIES, CLOSED.replace(day=21), CLOSED.replace(day=22)
        )
    )
    assert none == {}


async def test_a_source_that_refuses_ends_the_backfill_with_why(world: World) -> None:
    found = await scene(world, count=1)
    window = found.deals("No_Such_Field__c = 'x'")
    with pytest.raises(Invalid, match="No such column 'No_Such_Field__c'"):
        await found.desk.start(window)
    id_ = f"backfill/opportunities/{found.name('failing')}"
    given = BackfillInput(window=window)
    await world.env.client.start_workflow(Backfill.run, given, id=id_, task_queue="sagas")
    view = await found.ended(id_)
    assert view.state is BackfillState.FAILED
    assert "No_Such_Field__c" in view.why
    assert (await found.desk.find(id_)).view.state is BackfillState.FAILED


async def test_a_name_is_used_once_and_numbers_count_on(world: World) -> None:
    found = await scene(world, count=1)
    name = found.name("twice")
    await found.ended(await found.desk.start(found.deals(), name=name))
    with pytest.raises(Refused, match="already"):
        await found.desk.start(found.deals(), name=name)
    with pytest.raises(Refused, match="no name"):
        await found.desk.start(found.deals(), name="a b")
    first = await found.desk.start(found.deals())
    second = await found.desk.start(found.deals())
    assert int(second.rpartition("/")[2]) > int(first.rpartition("/")[2])
    await asyncio.gather(found.ended(first), found.ended(second))


# Live work.


@contextmanager
def narrow(found: Scene) -> Iterator[None]:
    """Let one call at a time into each vendor, so that there is a queue to overtake."""
    for vendor in VENDORS:
        found.world.ports.limits[f"{vendor}@{found.account}"] = 1
    yield


async def test_a_live_deal_overtakes_the_backfill(world: World) -> None:
    account = await world.account("bulk", 16)
    found = desk_on(world, account)
    with narrow(found):
        live = await world.deal_id(account, "bulk-0016")
        window = found.deals(f"Id != '{live}'")
        plan = OpportunityToProject.PLAN.name
        await break_step(world, account, plan, "hold", times=100)
        id_ = await found.desk.start(window, rate=FAST, in_flight_max=15, name=found.name("queue"))
        await found.when(id_, RecordState.UNDER_WAY, 15)
        handle = await world.start(account, "bulk-0016")

        async def waits() -> bool:
            pending = (await handle.describe()).raw_description.pending_activities
            started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            return any(e.activity_type.name == plan and e.state == started for e in pending)

        await world.eventually(waits, "the live deal in the queue")
        await world.control.clear_faults("salesforce", account)
        await world.result(handle)
        done = (await found.desk.find(id_)).view.standing.count(*WELL)
        assert done < 8, f"{done} of 15 backfilled deals were done before the live one"
        assert (await found.ended(id_)).standing.count(RecordState.COMPLETED) == 15
    info = await handle.describe()
    assert info.status is WorkflowExecutionStatus.COMPLETED


# Time.


async def test_approved_time_is_carried_over_once(world: World) -> None:
    account = await billed_account(world)
    found = desk_on(world, account)
    window = found.desk.window(
        BackfillKind.TIME,
        CLOSED.replace(month=11, day=1),
        CLOSED.replace(month=11, day=30),
        "project=5005",
    )
    planned = await found.planned(window)
    assert {id_.partition(":")[0] for id_ in planned} == {EntryKind.TIME, EntryKind.EXPENSE}
    assert {each.state for each in planned.values()} == {RecordState.PLANNED}
    id_ = await found.carried(window)
    report = await found.report(id_)
    assert Counter(each.state for each in report.values()) == {RecordState.COMPLETED: len(planned)}
    await assert_billed(world, account)
    again = await found.states(await found.carried(window))
    assert set(again.values()) == {RecordState.ALREADY_DONE}
    await assert_billed(world, account)


async def test_lists_of_several_pages_are_read_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = desk_on(world, await billed_account(world))
    days = CLOSED.replace(month=11, day=1), CLOSED.replace(month=11, day=30)
    window = found.desk.window(BackfillKind.TIME, *days, "project=5005")
    whole = await found.planned(window)
    for module in ("records", "sources"):
        monkeypatch.setattr(f"adapters.kantata.{module}.PAGE", 2)
    pages = [page async for page in found.desk.dry_run(window)]
    assert Counter(len(page) for page in pages)[2] > 1
    assert {each.record.id: each for page in pages for each in page} == whole


async def test_a_period_that_a_backfill_began_bills_what_is_live_first(world: World) -> None:
    account = await billed_account(world)
    found = desk_on(world, account)
    people = People(world, account)
    window = found.desk.window(
        BackfillKind.TIME,
        CLOSED.replace(month=11, day=1),
        CLOSED.replace(month=11, day=30),
        "project=5005",
    )
    await found.carried(window)
    late = await people.work(0)
    await people.tell([late.ref])
    await settled(world, account)

    def run(number: int) -> str:
        return billing_run_id(f"kantata@{account}", AT_PROJECT, PERIOD, number)

    last = await runs_of(world, account)
    assert await priority(world, run(1)) == BACKFILL_PRIORITY.priority_key
    assert await priority(world, run(last)) == LIVE_PRIORITY.priority_key


async def test_time_that_no_contract_bills_is_rejected(world: World) -> None:
    account = await billed_account(world)
    found = desk_on(world, account)
    window = found.desk.window(
        BackfillKind.TIME,
        CLOSED.replace(month=11, day=1),
        CLOSED.replace(month=11, day=30),
        "project=5001",
    )
    states = await found.report(await found.carried(window))
    assert states
    assert {each.state for each in states.values()} == {RecordState.REJECTED}
    assert all("no contract bills project 5001" in each.why for each in states.values())


# Milestones.


async def test_an_approved_milestone_is_carried_over_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    await deal.manager.complete(first)
    found = desk_on(world, deal.account)
    window = found.desk.window(BackfillKind.MILESTONES, date(2020, 1, 1), date(2035, 12, 31))
    planned = await found.planned(window)
    assert {id_: each.state for id_, each in planned.items()} == {first: RecordState.PLANNED}
    assert str(planned[first].record.amount) == "75,000.00 USD"
    for module in ("records", "sources"):
        monkeypatch.setattr(f"adapters.kantata.{module}.PAGE", 1)
    assert await found.planned(window) == planned, "a page for each of the two milestones"
    monkeypatch.undo()
    assert await found.states(await found.carried(window)) == {first: RecordState.COMPLETED}
    assert await deal.note(first) == "eligible"
    again = await found.states(await found.carried(window))
    assert again == {first: RecordState.ALREADY_DONE}
