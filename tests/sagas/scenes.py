"""What happens to sagas, as small acts: a step refused, held, a saga stopped, ended, started again.

The interruptions' tests and the recorded histories are told in them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from canonical.ids import Role
from canonical.saga import SagaResult, Sweep, Swept, Verb, WorkItem, WorkItemKind
from tests.sagas.matrix import correlation
from tests.support.world import World
from workflows.opportunity_to_project import OpportunityToProject

Handle = WorkflowHandle[Any, SagaResult]

VENDOR_OF_ROLE = {Role.CRM: "salesforce", Role.PSA: "kantata", Role.ERP: "netsuite"}
STEPS = {step.name: step for step in OpportunityToProject.STEPS}
LAST_UNDOABLE = "write_back"
"""Refused, all that can be undone is there already."""


def vendor_of_step(step: str) -> str:
    """Return the simulated vendor that a step talks to."""
    return VENDOR_OF_ROLE[STEPS[step].role]


async def break_step(
    world: World,
    account: str,
    step: str,
    kind: str = "reject",
    *,
    undo: bool = False,
    deal: str = "",
    **how: Any,
) -> str:
    """Arm a fault at the step's request (a write, unless it only reads); return its id.

    `deal` is the id of the opportunity that is meant where several run in one account.
    """
    match: dict[str, JsonValue] = {"correlation": deal + correlation(step, undo=undo)}
    if not STEPS[step].reads_only:
        match["write"] = True
    return await world.control.add_fault(vendor_of_step(step), account, match, kind, **how)


async def parked_at(world: World, account: str, slug: str, step: str) -> tuple[Handle, WorkItem]:
    """Start a deal whose step is refused once, and wait until it has parked."""
    await break_step(world, account, step, deal=await world.deal_id(account, slug))
    handle = await world.start(account, slug)
    return handle, await world.parked(handle, step)


async def roll_back(world: World, handle: Handle, item: WorkItem) -> SagaResult:
    """Decide to roll back, and return the saga's result."""
    await world.decide(item, Verb.ROLL_BACK)
    return await world.result(handle)


async def retried(world: World, handle: Handle, item: WorkItem) -> SagaResult:
    """Decide to try again, and return the saga's result; gates are approved."""
    await world.decide(item, Verb.RETRY)
    return await world.finished(handle)


async def blocked(world: World, handle: Handle, after: WorkItem | None = None) -> WorkItem:
    """Wait until an undo has parked, after the park of another item, and return its work item."""
    park = after.park if after else 0

    async def look() -> WorkItem | None:
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            if stored.item.kind is WorkItemKind.UNDO and stored.item.park > park:
                return stored.item
        return None

    found: WorkItem = await world.eventually(look, f"a blocked rollback of {handle.id}")
    return found


async def sweep(world: World) -> Swept:
    """Run one sweep over everything that was terminated."""
    return await world.sweeper.sweep(Sweep())


def latest(world: World, handle: Handle) -> Handle:
    """Return a handle on the latest run of a saga: sweeps and resets start further ones."""
    return world.env.client.get_workflow_handle_for(OpportunityToProject.run, handle.id)


@contextmanager
def routes(world: World, **overrides: float | bool) -> Iterator[None]:
    """Plan sagas with other budgets or deadlines as long as the block lasts."""
    before = dict(world.route)
    world.route.update(overrides)
    try:
        yield
    finally:
        world.route.clear()
        world.route.update(before)


async def log_time(world: World, account: str) -> tuple[str, str]:
    """Open the project in the PSA and log an hour, as a person would; return ids of both."""
    records = await world.control.records("kantata", account, type="workspaces")
    (workspace,) = [each["id"] for each in records if each["live"]]
    opened: dict[str, JsonValue] = {"time_trackable": True}
    await world.control.patch_record("kantata", account, "workspaces", workspace, opened)
    entry: dict[str, JsonValue] = {
        "workspace_id": workspace,
        "user_id": "3",
        "date_performed": "2026-11-20",
        "time_in_minutes": 60,
    }
    made = await world.control.put_record("kantata", account, "time_entries", entry)
    return workspace, made["id"]
