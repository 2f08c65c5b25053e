"""What people decide about parked sagas, what is refused, and what they do at the vendors."""

from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from canonical.records import UndoResult
from canonical.saga import Outcome, Resolve, Resolved, SagaState, StepState, Verb, WorkItem
from operations.sagas import Refused
from tests.sagas.matrix import assert_untouched, created
from tests.sagas.scenes import (
    LAST_UNDOABLE,
    Handle,
    blocked,
    break_step,
    log_time,
    parked_at,
    retried,
    roll_back,
    routes,
)
from tests.support.world import World
from workflows.opportunity_to_project import OpportunityToProject

pytestmark = [pytest.mark.fault_matrix]


async def update(handle: Handle, resolve: Resolve, id_: str = "") -> Resolved:
    """Send an update past the desk, as someone with the Temporal CLI could."""
    return await handle.execute_update(
        OpportunityToProject.resolve, resolve, id=id_ or resolve.decision_id
    )


async def refusal(handle: Handle, resolve: Resolve, id_: str = "") -> str:
    """Return why an update was refused."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await update(handle, resolve, id_)
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause.message


def resolve_of(item: WorkItem, verb: Verb, **changes: Any) -> Resolve:
    resolve = Resolve(decision_id="D-nobody", work_item_id=item.id, park=item.park, verb=verb)
    return resolve.model_copy(update=changes)


# Refusals.


async def test_what_makes_no_sense_is_refused_with_the_reason(world: World) -> None:
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    retry = resolve_of(item, Verb.RETRY)
    stale = retry.model_copy(update={"park": item.park + 1})
    other = retry.model_copy(update={"work_item_id": "WI-other"})
    assert "now at park 1" in await refusal(handle, stale, "u1")
    assert "is not open" in await refusal(handle, other, "u2")
    assert "there is no decision D-nobody" in await refusal(handle, retry, "u3")
    for number, verb in enumerate((Verb.ACCEPT_RESIDUE, Verb.APPROVE, Verb.FINISH_FORWARD)):
        reason = await refusal(handle, resolve_of(item, verb), f"v{number}")
        assert "makes no sense at provision_tasks" in reason
        with pytest.raises(Refused, match="makes no sense"):
            await world.decide(item, verb, because="no reason")
    assert (await retried(world, handle, item)).outcome is Outcome.COMPLETED


async def test_an_answer_to_an_earlier_park_is_refused(world: World) -> None:
    account = await world.account()
    await break_step(world, account, "provision_tasks", times=2)
    handle = await world.start(account, "tm-us")
    first = await world.parked(handle, "provision_tasks")
    await world.decide(first, Verb.RETRY)

    async def look() -> WorkItem | None:
        items = await world.store.work_items.list(workflow_id=handle.id)
        return next((each.item for each in items if each.item.id != first.id), None)

    second: WorkItem = await world.eventually(look, "a second park")
    assert second.park > first.park
    assert "is not open" in await refusal(handle, resolve_of(first, Verb.RETRY), "u1")
    stale = resolve_of(second, Verb.RETRY, park=first.park)
    assert f"it is now at park {second.park}" in await refusal(handle, stale, "u2")
    assert (await retried(world, handle, second)).outcome is Outcome.COMPLETED


async def test_an_update_with_the_same_decision_is_taken_once(world: World) -> None:
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    proposal = await world.desk.resolve(item, Verb.RETRY, by="olivia", corrections={})
    resolve = resolve_of(item, Verb.RETRY, decision_id=proposal.decision.id)
    assert await update(handle, resolve) == proposal.taken
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED
    (refused,) = await world.control.faults("kantata", account)
    assert refused["seen"] == 2, "the refused write and one more"


async def test_a_decision_for_another_saga_decides_nothing(world: World) -> None:
    account = await world.account()
    one, item = await parked_at(world, account, "tm-us", "provision_tasks")
    other, others = await parked_at(world, account, "retainer-gb", "provision_tasks")
    proposal = await world.desk.resolve(item, Verb.RETRY, by="olivia", corrections={})
    borrowed = resolve_of(others, Verb.RETRY, decision_id=proposal.decision.id)
    assert "is for workflow" in await refusal(other, borrowed)
    assert (await world.finished(one)).outcome is Outcome.COMPLETED
    assert (await roll_back(world, other, others)).outcome is Outcome.ROLLED_BACK


async def test_a_correction_of_what_is_done_is_refused(world: World) -> None:
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "provision_tasks")
    with pytest.raises(Refused, match="would change what is already done: provision_psa_project"):
        await world.decide(
            item, Verb.RETRY, corrections={"project_manager_email": "luca.rossi@example.com"}
        )
    assert (await retried(world, handle, item)).outcome is Outcome.COMPLETED


# Four eyes.


async def test_who_proposes_cannot_approve(world: World) -> None:
    account = await world.account()
    handle = await world.start(account, "ambiguous-client")
    item = await world.parked(handle, "match_client")
    chosen = item.failure.candidates[0].record.id
    with pytest.raises(Refused, match="olivia has not the role"):
        await world.desk.resolve(item, Verb.ADOPT, by="olivia", corrections={}, record_id=chosen)
    proposal = await world.desk.resolve(
        item, Verb.ADOPT, by="fiona", corrections={}, record_id=chosen
    )
    assert proposal.taken is None
    with pytest.raises(Refused, match="cannot approve it too"):
        await world.desk.approve(proposal.decision.id, by="fiona")
    with pytest.raises(Refused, match="olivia has not the role"):
        await world.desk.approve(proposal.decision.id, by="olivia")
    raw = resolve_of(item, Verb.ADOPT, decision_id=proposal.decision.id)
    assert "needs a second person" in await refusal(handle, raw, "u1")
    approved = await world.desk.approve(proposal.decision.id, by="ada")
    assert approved.taken is not None
    assert (await world.finished(handle)).outcome is Outcome.COMPLETED


async def test_an_adopted_client_is_used_and_none_is_made(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    handle = await world.start(account, "ambiguous-client")
    item = await world.parked(handle, "match_client")
    assert len(item.failure.candidates) > 1
    chosen = item.failure.candidates[-1].record.id
    await world.decide(item, Verb.ADOPT, record_id=chosen)
    result = await world.finished(handle)
    client = next(step for step in result.steps if step.step == "provision_client")
    assert client.receipt is not None
    assert (client.receipt.record.id, client.receipt.outcome) == (chosen, "existing")
    made = created(before, await world.live(account))
    assert made["netsuite", "customer"] == 0
    assert made["netsuite", "job"] == 1


async def test_skipping_the_match_makes_a_new_client_behind_a_gate(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    handle = await world.start(account, "ambiguous-client")
    item = await world.parked(handle, "match_client")
    with pytest.raises(Refused, match="needs the evidence"):
        await world.decide(item, Verb.SKIP)
    await world.decide(item, Verb.SKIP, because="a third company of that name")
    gate = await world.parked(handle, "finance_gate")
    assert "a person decided" in gate.failure.message
    await world.decide(gate, Verb.APPROVE, by="fiona")
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    assert created(before, await world.live(account))["netsuite", "customer"] == 1


# Time.


async def test_a_transient_park_is_tried_again_by_itself(world: World) -> None:
    account = await world.account()
    await break_step(world, account, "provision_psa_project", "fail_before")
    with routes(world, slow_retry_seconds=0.5):
        handle = await world.start(account, "tm-us")
        result = await world.result(handle)
    assert result.outcome is Outcome.COMPLETED
    (stored,) = await world.store.work_items.list(open_only=False, workflow_id=handle.id)
    assert (stored.item.step, stored.how, stored.decision_id) == (
        "provision_psa_project",
        "retry",
        "",
    )


async def test_what_is_held_is_not_tried_again_by_itself(world: World) -> None:
    account = await world.account()
    fault = await break_step(world, account, "provision_psa_project", "fail_before")
    with routes(world, slow_retry_seconds=1.5, respond_seconds=1.5):
        handle = await world.start(account, "tm-us")
        item = await world.parked(handle, "provision_psa_project")
        await world.decide(item, Verb.HOLD)
        # A second saga's own retry shows that the time of the first one has come, and passed.
        other = await world.account()
        await break_step(world, other, "provision_psa_project", "fail_before")
        assert (await world.result(await world.start(other, "tm-us"))).outcome is Outcome.COMPLETED
    (stored,) = await world.store.work_items.list(workflow_id=handle.id)
    assert (stored.item, stored.escalated_at) == (item, None)
    (met,) = await world.control.faults("kantata", account)
    assert (met["id"], met["hits"], met["seen"]) == (fault, 1, 1)
    assert (await roll_back(world, handle, item)).outcome is Outcome.ROLLED_BACK


async def test_an_overdue_park_escalates_and_goes_on_waiting(world: World) -> None:
    account = await world.account()
    with routes(world, respond_seconds=0.5):
        handle, item = await parked_at(world, account, "tm-us", "provision_psa_project")

        async def escalated() -> bool:
            stored = await world.store.work_items.get(item.id)
            return stored is not None and stored.escalated_at is not None

        await world.eventually(escalated, "an escalation")
    assert (await world.desk.view(handle.id)).state == SagaState.NEEDS_ATTENTION
    assert (await retried(world, handle, item)).outcome is Outcome.COMPLETED


async def test_an_overdue_park_rolls_back_where_the_policy_says_so(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    with routes(world, respond_seconds=0.5, roll_back_when_overdue=True):
        handle, item = await parked_at(world, account, "tm-us", "provision_psa_project")
        result = await world.result(handle)
    assert result.outcome is Outcome.ROLLED_BACK
    assert "the policy rolls back" in result.reason
    assert await world.live(account) == before
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert stored.escalated_at is not None
    assert not stored.open


# People in the vendors' own screens.


async def test_time_logged_meanwhile_blocks_the_rollback_until_residue_is_accepted(
    world: World,
) -> None:
    account = await world.account()
    before = await world.live(account)
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    workspace, _ = await log_time(world, account)
    await world.decide(item, Verb.ROLL_BACK)
    refused = await blocked(world, handle)
    assert refused.step == "provision_psa_project"
    assert (await world.desk.view(handle.id)).state == SagaState.ROLLBACK_BLOCKED
    assert Verb.ROLL_BACK not in refused.verbs
    with pytest.raises(Refused, match="needs the evidence"):
        await world.decide(refused, Verb.ACCEPT_RESIDUE)
    await world.decide(refused, Verb.ACCEPT_RESIDUE, because="an hour is logged on it")
    result = await world.result(handle)
    assert result.outcome is Outcome.ROLLED_BACK_WITH_RESIDUE
    left = {step.step: step.undo for step in result.steps if step.state is StepState.RESIDUE}
    assert left.keys() == {"provision_psa_project"}
    project = left["provision_psa_project"]
    assert project is not None
    assert (project.result, project.residue) == (UndoResult.KEPT, "an hour is logged on it")
    after = await world.live(account)
    assert ("kantata", "workspaces", workspace) in after
    assert created(before, after)["netsuite", "job"] == 0
    assert_untouched(before, after, but=set())


async def test_a_blocked_rollback_goes_on_once_the_cause_is_gone(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    _, entry = await log_time(world, account)
    await world.decide(item, Verb.ROLL_BACK)
    refused = await blocked(world, handle)
    await world.control.delete_record("kantata", account, "time_entries", entry)
    await world.decide(refused, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    assert created(before, await world.live(account)) == {}


async def test_a_crm_field_that_a_person_changed_since_is_kept_and_said(world: World) -> None:
    account = await world.account()
    handle, item = await parked_at(world, account, "tm-us", "open_for_time")
    deal = await world.deal_id(account, "tm-us")
    by_hand: dict[str, JsonValue] = {"Integration_Status__c": "On hold"}
    await world.control.patch_record("salesforce", account, "Opportunity", deal, by_hand)
    result = await roll_back(world, handle, item)
    assert result.outcome is Outcome.ROLLED_BACK_WITH_RESIDUE
    (left,) = [step for step in result.steps if step.state is StepState.RESIDUE]
    assert left.step == "write_back"
    assert left.undo is not None
    assert "someone else changed it" in left.undo.residue
    live = await world.live(account)
    fields = live["salesforce", "Opportunity", deal]
    assert isinstance(fields, dict)
    assert fields["Integration_Status__c"] == "On hold"


async def test_a_client_that_an_invoice_uses_is_deactivated_and_said(world: World) -> None:
    account = await world.account()
    before = await world.live(account)
    handle, item = await parked_at(world, account, "tm-us", LAST_UNDOABLE)
    (customer,) = [
        id_
        for vendor, type_, id_ in (await world.live(account)).keys() - before.keys()
        if (vendor, type_) == ("netsuite", "customer")
    ]
    invoice: dict[str, JsonValue] = {
        "entity": {"id": customer},
        "item": {"items": [{"amount": 100.0}]},
    }
    await world.control.put_record("netsuite", account, "invoice", invoice)
    result = await roll_back(world, handle, item)
    assert result.outcome is Outcome.ROLLED_BACK_WITH_RESIDUE
    (left,) = [step for step in result.steps if step.state is StepState.RESIDUE]
    assert left.step == "provision_client"
    assert left.undo is not None
    assert left.undo.result is UndoResult.DEACTIVATED
    after = await world.live(account)
    fields = after["netsuite", "customer", customer]
    assert isinstance(fields, dict)
    assert fields["isInactive"] is True
    assert created(before, after)["netsuite", "job"] == 0
