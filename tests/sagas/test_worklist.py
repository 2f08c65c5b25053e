"""Many parked deals with one cause: mended once, retried by one command, each answered for."""

from collections import Counter

import pytest

from canonical.saga import OpenWorkItem, Outcome, Verb, WorkItem, WorkItemKind
from canonical.worklist import WorkFilter
from operations.sagas import Refused
from operations.worklist import Bulk, Worklist, bulk
from operations.worklist.bulk import BulkState
from policies.stuck import StuckRules
from tests.sagas.scenes import break_step
from tests.store.build import work_item
from tests.support.world import PEOPLE, World
from workflows.opportunity_to_project import OpportunityToProject

pytestmark = [pytest.mark.fault_matrix]

DEALS = 49


def worklist(world: World) -> Worklist:
    return Worklist(world.store, PEOPLE, world.desk.deep_link, StuckRules)


async def parked_deals(world: World, account: str) -> list[WorkItem]:
    """Start every seeded deal; the ERP refuses all their clients."""
    netsuite = f"netsuite@{account}"
    await break_step(world, account, "provision_client", times=10_000)
    for record in await world.control.records("salesforce", account, type="Opportunity"):
        await world.desk.start_opportunity(record["id"], crm=f"salesforce@{account}")

    async def all_parked() -> list[WorkItem]:
        items = await world.store.work_items.list(limit=10_000)
        here = [each.item for each in items if each.item.connection == netsuite]
        return here if len(here) == DEALS else []

    found: list[WorkItem] = await world.eventually(all_parked, f"{DEALS} parked deals")
    return found


async def test_fifty_parked_deals_of_which_two_cannot_be_decided_on(world: World) -> None:
    account = await world.account(
        {
            "salesforce": "bulk",
            "kantata": "standard",
            "netsuite": "standard",
            "workday": "standard",
        },
        count=DEALS,
    )
    items = await parked_deals(world, account)
    netsuite, reason = f"netsuite@{account}", items[0].failure.reason
    # One was terminated behind our back, and one is an event that no saga waits for.
    gone = items[0]
    await world.env.client.get_workflow_handle(gone.workflow_id).terminate()
    dead = work_item(f"WI-event-{account}-0", workflow_id=f"events/{account}")
    changes = {"kind": WorkItemKind.DEAD_LETTER, "connection": netsuite, "verbs": ()}
    dead = dead.model_copy(
        update={**changes, "failure": dead.failure.model_copy(update={"reason": reason})}
    )
    await world.store.work_items.open(OpenWorkItem(item=dead))
    wanted = WorkFilter(reason=reason, connection=netsuite)
    list_ = worklist(world)

    (cluster,) = [each for each in await list_.clusters(wanted) if each.kind is WorkItemKind.STEP]
    assert cluster.count == DEALS
    assert cluster.money
    asked = Bulk(wanted=wanted, dry_run=True, limit=1_000)
    would = await bulk(list_, world.desk, asked, by="olivia")
    assert Counter(each.state for each in would)[BulkState.REFUSED] >= 1
    assert len(await list_.list(wanted, limit=1_000)) == DEALS + 1, "a dry run decided something"

    await world.control.clear_faults("netsuite", account)
    asked = asked.model_copy(update={"dry_run": False, "because": "the mapping is there"})
    results = await bulk(list_, world.desk, asked, by="olivia")

    states = Counter(each.state for each in results)
    assert states == {BulkState.TAKEN: DEALS - 1, BulkState.REFUSED: 2}
    refused = {each.id: each.message for each in results if each.state is BulkState.REFUSED}
    assert set(refused) == {gone.id, dead.id}
    assert "runs no more" in refused[gone.id]
    assert "waits for no decision" in refused[dead.id]

    async def left() -> bool:
        return len(await list_.list(wanted, limit=1_000)) == 2

    await world.eventually(left, "a list with only the two that could not")
    client = world.env.client
    handle = client.get_workflow_handle_for(OpportunityToProject.run, items[1].workflow_id)
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED


async def test_who_may_not_decide_decides_on_none_and_not_everything_is_for_many(
    world: World,
) -> None:
    wanted = WorkFilter(connection="nowhere")
    with pytest.raises(Refused, match="is not in dealthread"):
        await bulk(worklist(world), world.desk, Bulk(wanted=wanted), by="nobody")
    with pytest.raises(Refused, match="is decided one by one"):
        asked = Bulk(wanted=wanted, verb=Verb.ADOPT)
        await bulk(worklist(world), world.desk, asked, by="ada")
