"""Records the histories that `test_replay.py` replays, all anew from a real server.

    python -m tests.sagas.record_histories

Do this for a path that is new. A change that breaks the replay of what is committed needs a patch
marker first (see `test_fingerprints.py`): recording anew would only hide what it does to sagas in
flight.
"""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHistory

from canonical.saga import Outcome, Verb, WorkItem
from tests.sagas.backfill_scenes import BACKFILLS
from tests.sagas.invoicing_scenes import INVOICING
from tests.sagas.matrix import correlation
from tests.sagas.reconciling_scenes import RECONCILING
from tests.sagas.scenes import (
    LAST_UNDOABLE,
    Handle,
    blocked,
    break_step,
    latest,
    log_time,
    parked_at,
    retried,
    roll_back,
    sweep,
)
from tests.support.billing import billed_account, entries_of, run_ended, start_run, tell
from tests.support.world import World
from workflows.opportunity_to_project import OpportunityToProject

FOLDER = Path(__file__).parents[1] / "histories"
HISTORIES = FOLDER / OpportunityToProject.__name__
SIZE_MAX = 150_000

Scene = Callable[[World, str], Awaitable[WorkflowHistory]]
SCENES: dict[str, Scene] = {}
BILLING: dict[str, Scene] = {}
"""Scenes over approved time; the account is one with a project to bill."""
KEPT = {"two_entities_without_milestone_tasks"}
"""Recorded of plans as they are no longer made, which sagas in flight may still have."""


def scene(play: Scene) -> Scene:
    """Register a path under its function's name."""
    SCENES[play.__name__] = play
    return play


def billing(play: Scene) -> Scene:
    """Register a path of billing under its function's name."""
    BILLING[play.__name__] = play
    return play


async def history(world: World, handle: Handle) -> WorkflowHistory:
    """Return the history of a saga's latest run."""
    return await latest(world, handle).fetch_history()


@scene
async def clean(world: World, account: str) -> WorkflowHistory:
    handle = await world.start(account, "tm-us")
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def two_entities(world: World, account: str) -> WorkflowHistory:
    handle = await world.start(account, "two-entity")
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def client_extended(world: World, account: str) -> WorkflowHistory:
    handle = await world.start(account, "other-subsidiary")
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def client_extended_and_rolled_back(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "other-subsidiary", LAST_UNDOABLE)
    assert (await roll_back(world, handle, item)).outcome is Outcome.ROLLED_BACK
    return await history(world, handle)


@scene
async def parked_then_retried(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    assert (await retried(world, handle, item)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def corrected(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", "provision_psa_project")
    manager = {"project_manager_email": "luca.rossi@example.com"}
    await world.decide(item, Verb.RETRY, corrections=manager)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def candidate_adopted(world: World, account: str) -> WorkflowHistory:
    handle = await world.start(account, "ambiguous-client")
    item = await world.parked(handle, "match_client")
    await world.decide(item, Verb.ADOPT, record_id=item.failure.candidates[0].record.id)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def gate_approved(world: World, account: str) -> WorkflowHistory:
    handle = await world.start(account, "high-value")
    await world.decide(await world.parked(handle, "finance_gate"), Verb.APPROVE, by="fiona")
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def cancelled_in_flight(world: World, account: str) -> WorkflowHistory:
    held = await break_step(world, account, "provision_erp_project", "hold", effect="after")
    handle = await world.start(account, "tm-us")
    await world.control.wait_for_fault("netsuite", account, held)
    await handle.cancel()
    await world.control.release("netsuite", account)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return await history(world, handle)


@scene
async def rolled_back_with_undo_faults(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    undos = ("provision_tasks", "provision_client")
    for step in undos:
        await break_step(world, account, step, "drop_after", undo=True)
    await world.decide(item, Verb.ROLL_BACK)
    for _ in undos:
        item = await blocked(world, handle, after=item)
        await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return await history(world, handle)


@scene
async def residue_accepted(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    await log_time(world, account)
    await world.decide(item, Verb.ROLL_BACK)
    refused = await blocked(world, handle)
    await world.decide(refused, Verb.ACCEPT_RESIDUE, because="an hour is logged on it")
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK_WITH_RESIDUE
    return await history(world, handle)


async def terminated(world: World, handle: Handle) -> None:
    """Terminate a saga and sweep."""
    await latest(world, handle).terminate("recorded")
    await sweep(world)


@scene
async def swept_back(world: World, account: str) -> WorkflowHistory:
    handle, _ = await parked_at(world, account, "fixed-de", LAST_UNDOABLE)
    await terminated(world, handle)
    assert (await world.result(latest(world, handle))).outcome is Outcome.ROLLED_BACK
    return await history(world, handle)


@scene
async def swept_forward(world: World, account: str) -> WorkflowHistory:
    handle, _ = await parked_at(world, account, "tm-us", "confirm_in_crm")
    await terminated(world, handle)
    assert (await world.result(latest(world, handle))).outcome is Outcome.COMPLETED
    return await history(world, handle)


@scene
async def undoing(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    held = await break_step(world, account, "provision_tasks", "hold", undo=True)
    await world.decide(item, Verb.ROLL_BACK)
    await world.control.wait_for_fault("kantata", account, held)
    running = await history(world, handle)
    await world.control.release("kantata", account)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return running


@scene
async def parked(world: World, account: str) -> WorkflowHistory:
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    running = await history_with_timer(world, handle)
    await finish_parked(world, handle, item)
    return running


async def history_with_timer(world: World, handle: Handle) -> WorkflowHistory:
    """Return the history once the workflow task that parked is over: the deadline's timer runs."""

    async def look() -> WorkflowHistory | None:
        found = await history(world, handle)
        timers = [e for e in found.events if e.HasField("timer_started_event_attributes")]
        return found if timers else None

    found: WorkflowHistory = await world.eventually(look, "a timer for the deadline")
    return found


async def finish_parked(world: World, handle: Handle, item: WorkItem) -> None:
    """Leave nothing running behind."""
    assert (await roll_back(world, handle, item)).outcome is Outcome.ROLLED_BACK


@billing
async def billed(world: World, account: str) -> WorkflowHistory:
    handle = await start_run(world, account)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await handle.fetch_history()


@billing
async def nothing_to_bill(world: World, account: str) -> WorkflowHistory:
    assert (await world.finished(await start_run(world, account))).outcome is Outcome.COMPLETED
    handle = await start_run(world, account, number=2)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await handle.fetch_history()


@billing
async def charges_refused_and_retried(world: World, account: str) -> WorkflowHistory:
    await break_billing(world, account, "netsuite", "post_charges")
    handle = await start_run(world, account)
    await world.decide(await world.parked(handle, "post_charges"), Verb.RETRY)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    return await handle.fetch_history()


@billing
async def costs_refused_and_rolled_back(world: World, account: str) -> WorkflowHistory:
    await break_billing(world, account, "netsuite", "post_costs")
    handle = await start_run(world, account)
    await world.decide(await world.parked(handle, "post_costs"), Verb.ROLL_BACK)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return await handle.fetch_history()


@billing
async def held_while_reserved(world: World, account: str) -> WorkflowHistory:
    held = await break_billing(world, account, "kantata", "reserve_entries", "hold")
    handle = await start_run(world, account)
    await world.control.wait_for_fault("kantata", account, held)
    entry, *_ = await entries_of(world, account)
    await world.store.subledger.hold(
        f"kantata@{account}", [entry], owner="olivia", because="disputed"
    )
    await world.control.release("kantata", account)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return await handle.fetch_history()


@billing
async def gathered(world: World, account: str) -> WorkflowHistory:
    handle = await tell(world, account, await entries_of(world, account))
    await run_ended(world, account)
    await tell(world, account, (await entries_of(world, account))[:3])
    await run_ended(world, account, number=2)
    recorded: WorkflowHistory = await handle.fetch_history()
    await handle.terminate("recorded")
    return recorded


async def break_billing(
    world: World, account: str, vendor: str, step: str, kind: str = "reject"
) -> str:
    """Arm a fault at the first write of a billing step; return its id."""
    match: dict[str, JsonValue] = {"correlation": correlation(step), "write": True}
    return await world.control.add_fault(vendor, account, match, kind)


def scrubbed(value: JsonValue) -> JsonValue:
    """Return a history without what tells of the machine that recorded it: no replay reads it."""
    if isinstance(value, dict):
        return {
            name: "recorded" if name in {"identity", "stackTrace"} else scrubbed(each)
            for name, each in value.items()
        }
    return [scrubbed(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", SCENES)
async def test_record(world: World, name: str) -> None:
    keep(HISTORIES, name, await SCENES[name](world, await world.account()))


@pytest.mark.parametrize("name", BILLING)
async def test_record_billing(world: World, name: str) -> None:
    recorded = await BILLING[name](world, await billed_account(world))
    keep(folder_of(recorded), name, recorded)


@pytest.mark.parametrize("name", INVOICING)
async def test_record_invoicing(world: World, name: str) -> None:
    recorded = await INVOICING[name](world)
    keep(folder_of(recorded), name, recorded)


@pytest.mark.parametrize("name", BACKFILLS)
async def test_record_backfills(world: World, name: str) -> None:
    recorded = await BACKFILLS[name](world)
    keep(folder_of(recorded), name, recorded)


@pytest.mark.parametrize("name", RECONCILING)
async def test_record_reconciling(world: World, name: str) -> None:
    recorded = await RECONCILING[name](world)
    keep(folder_of(recorded), name, recorded)


def folder_of(recorded: WorkflowHistory) -> Path:
    """Return where histories of a workflow type are kept."""
    begun = recorded.events[0].workflow_execution_started_event_attributes
    return FOLDER / begun.workflow_type.name


def keep(folder: Path, name: str, recorded: WorkflowHistory) -> None:
    """Write a history down."""
    document = {"workflow_id": recorded.workflow_id, **recorded.to_json_dict()}
    text = json.dumps(scrubbed(document), ensure_ascii=False, separators=(",", ":")) + "\n"
    assert len(text) < SIZE_MAX
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    # A process of its own: pytest has to import its plugins, and this module, before anyone else.
    sys.exit(subprocess.call([sys.executable, "-m", "pytest", "-q", "--tb=short", __file__]))
