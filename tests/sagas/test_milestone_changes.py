"""A milestone that was handed over changes: un-approved, approved again, deleted, withdrawn."""

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from canonical.draft_acts import Release, Withdraw
from canonical.drafts import BillableKind, BillableRef, Draft, DraftState, LineState
from canonical.fees import FeeSource, FeeStanding, FeeState
from canonical.ids import milestone_to_invoice_id
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.saga import Outcome, SagaResult, Verb
from operations.people import Refused
from operations.sagas import SAGA_QUEUE
from policies.queue_case import ENGINE
from tests.sagas.matrix import correlation
from tests.sagas.test_milestones import FIRST, SECOND, Provisioned, provisioned, queued
from tests.support.billing import amount
from tests.support.invoicing import drafted, in_state, invoices, release
from tests.support.world import World
from workflows.draft_to_invoice import DraftToInvoice
from workflows.milestone_to_invoice import MilestoneToInvoice

Handle = WorkflowHandle[MilestoneToInvoice, SagaResult]


async def event(deal: Provisioned, milestone_id: str) -> Handle:
    """Tell a milestone's saga that something changed, as the drain does."""
    return await deal.world.env.client.start_workflow(
        MilestoneToInvoice.run,
        MilestoneInput(psa=deal.psa, milestone_id=milestone_id),
        id=milestone_to_invoice_id(deal.psa, milestone_id),
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="changed",
        start_signal_args=[MilestoneChanged()],
    )


async def told(deal: Provisioned, milestone_id: str) -> SagaResult:
    """Tell it, and return how it ended, with all that it began anew."""
    return await deal.world.result(await event(deal, milestone_id))


async def standing(deal: Provisioned, milestone_id: str) -> FeeStanding:
    found = await deal.world.store.fees.latest(FeeSource.MILESTONE, f"{deal.psa}/{milestone_id}")
    assert found is not None
    return found


async def both_queued(world: World) -> tuple[Provisioned, str, str, Draft]:
    """Return a deal whose two milestones are on one reviewed draft."""
    deal = await provisioned(world)
    first, second = await deal.ids()
    for each in (first, second):
        assert await deal.billed(each) is Outcome.COMPLETED
    return deal, first, second, await queued(deal, await deal.draft())


async def test_one_opened_again_leaves_its_draft_at_once_and_comes_back_once(world: World) -> None:
    deal, _, second, draft = await both_queued(world)
    await deal.manager.reopen(second)

    ended = await told(deal, second)

    assert (ended.outcome, ended.reason) == (Outcome.ROLLED_BACK, "it is not approved any more")
    now = await world.store.drafts.get(draft.id)
    assert now.state is DraftState.QUEUED
    assert [(line.narrative, line.state) for line in now.lines] == [
        (FIRST, LineState.IN),
        (SECOND, LineState.HELD),
    ]
    assert now.lines[1].because == "it is not approved any more"
    fee = await standing(deal, second)
    assert fee.state is FeeState.RETURNED
    contract = await world.store.fees.standing(fee.fee.engagement, fee.fee.line)
    assert contract.taken.amount == 75_000
    assert await deal.note(second) == ""
    stale = await world.queue.act(draft.id, Release(by="cara", content_hash=draft.content_hash))
    assert "it has changed since" in stale.reasons[0]
    assert not (await release(world, draft)).reasons, "what is left of it goes out alone"
    await in_state(world, draft.id, DraftState.INVOICED)

    await deal.manager.complete(second)
    again = await told(deal, second)

    assert (again.outcome, again.generation) == (Outcome.COMPLETED, ended.generation + 1)
    assert await deal.note(second) == "eligible"
    assert (await told(deal, second)).generation == again.generation
    made = await deal.draft()
    assert made.net.amount == 75_000
    assert (await release(world, await queued(deal, made))).taken
    await in_state(world, made.id, DraftState.INVOICED)
    totals = [amount(each["subtotal"]) for each in await invoices(world, deal.account)]
    assert totals == [75_000, 75_000]
    assert await drafted(world, deal.account, deal.project_id) == []


async def test_a_draft_that_is_left_empty_ends(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    draft = await deal.draft()
    await deal.manager.reopen(first)

    assert (await told(deal, first)).outcome is Outcome.ROLLED_BACK

    assert (await world.store.drafts.get(draft.id)).state is DraftState.EMPTY
    handle = world.env.client.get_workflow_handle_for(DraftToInvoice.run, draft.id)
    assert (await handle.result()).state is DraftState.EMPTY


async def test_an_amount_that_changed_is_drafted_anew(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    before = await deal.draft()
    await deal.change(first, amount_in_cents=70_000_00)

    ended = await told(deal, first)

    assert (ended.outcome, ended.generation) == (Outcome.COMPLETED, 2)
    assert (await world.store.drafts.get(before.id)).state is DraftState.EMPTY
    assert (await deal.draft()).net.amount == 70_000


async def test_opened_again_after_its_invoice_it_is_a_finding(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    draft = await queued(deal, await deal.draft())
    assert (await release(world, draft)).taken
    await in_state(world, draft.id, DraftState.INVOICED)
    await deal.manager.reopen(first)

    assert (await told(deal, first)).outcome is Outcome.COMPLETED

    fee = await standing(deal, first)
    assert (fee.state, fee.withdrawn) == (FeeState.INVOICED, "it is not approved any more")
    assert fee.id in {each.id for each in await world.store.fees.late()}
    await deal.manager.complete(first)
    await told(deal, first)
    assert (await standing(deal, first)).withdrawn == ""
    assert len(await invoices(world, deal.account)) == 1


async def test_withdrawn_by_a_person_it_waits_for_its_release(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    draft = await deal.draft()
    item = (FeeSource.MILESTONE, f"{deal.psa}/{first}")
    await world.store.fees.withdraw(*item, "billed by hand", by="olivia")

    assert (await told(deal, first)).outcome is Outcome.ROLLED_BACK
    assert (await world.store.drafts.get(draft.id)).state is DraftState.EMPTY
    waits = await told(deal, first)
    assert (waits.outcome, waits.reason) == (
        Outcome.ROLLED_BACK,
        "kept back by olivia: billed by hand",
    )
    assert await drafted(world, deal.account, deal.project_id) == []

    assert await world.store.fees.unhold(*item, by="fiona")
    assert (await told(deal, first)).outcome is Outcome.COMPLETED
    assert (await deal.draft()).net.amount == 75_000


async def test_a_look_that_is_refused_parks_and_is_tried_again(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    look: dict[str, JsonValue] = {"correlation": correlation("look_at_milestone")}
    await world.control.add_fault("kantata", deal.account, look, "reject")
    await deal.manager.reopen(first)
    handle = await event(deal, first)
    item = await world.parked(handle, "look_at_milestone")
    assert Verb.ROLL_BACK not in item.verbs
    assert (await standing(deal, first)).state is FeeState.HANDED_OVER
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    assert (await standing(deal, first)).state is FeeState.RETURNED


async def test_nobody_outside_takes_the_engine_s_act(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    draft = await deal.draft()
    fee = await standing(deal, first)
    bills = (BillableRef(kind=BillableKind.FEE, id=fee.id),)
    for who in (ENGINE, "fiona"):
        with pytest.raises(Refused, match="no person takes the act withdraw"):
            await world.queue.act(draft.id, Withdraw(by=who, because="x", bills=bills))
    assert await world.store.drafts.get(draft.id) == draft
