"""Paths of reconciliation, played for the record: what `record_histories` writes down."""

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import WorkflowHandle, WorkflowHistory

from canonical.ids import reconcile_id
from canonical.reconciliation import ListDue, ReconcileInput
from operations.sagas import SAGA_QUEUE
from tests.support.billing import PERIOD
from tests.support.breakage import Clerk
from tests.support.invoicing import handed_over, invoiced, looked
from tests.support.world import World
from workflows.reconcile import Reconcile, ReconcileNightly

Scene = Callable[[World], Awaitable[WorkflowHistory]]
RECONCILING: dict[str, Scene] = {}
US = "US"


def scene(play: Scene) -> Scene:
    """Register a path under its function's name."""
    RECONCILING[play.__name__] = play
    return play


async def reconciled(world: World, account: str, *, heal: bool = False) -> WorkflowHistory:
    """Reconcile an account's month, and return the run's history."""
    psa = f"kantata@{account}"
    handle: WorkflowHandle[Any, Any] = await world.env.client.start_workflow(
        Reconcile.run,
        ReconcileInput(psa=psa, legal_entity=US, period=PERIOD, heal=heal, tolerance_seconds=0),
        id=reconcile_id(psa, US, PERIOD),
        task_queue=SAGA_QUEUE,
    )
    await handle.result()
    return await handle.fetch_history()


@scene
async def compared(world: World) -> WorkflowHistory:
    return await reconciled(world, await handed_over(world))


@scene
async def compared_and_mended(world: World) -> WorkflowHistory:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await looked(world, invoice, 1)
    await Clerk(world.control, account).pay(invoice.record.id)
    return await reconciled(world, account, heal=True)


@scene
async def compared_without_one_system(world: World) -> WorkflowHistory:
    account = await handed_over(world)
    await world.control.add_fault("netsuite", account, {"path": "suiteql"}, "reject", times=50)
    return await reconciled(world, account)


@scene
async def compared_at_night(world: World) -> WorkflowHistory:
    account = await handed_over(world)
    psa = f"kantata@{account}"
    handle: WorkflowHandle[Any, Any] = await world.env.client.start_workflow(
        ReconcileNightly.run,
        ListDue(psa=psa, legal_entities=(US,)),
        id=f"reconcile-nightly/{account}",
        task_queue=SAGA_QUEUE,
    )
    await handle.result()
    return await handle.fetch_history()
