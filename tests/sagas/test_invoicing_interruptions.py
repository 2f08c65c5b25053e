"""Postings that are terminated, and drafts whose history begins anew: one invoice, nothing lost.

What becomes of a posting whose worker is killed, or that never hears an answer, the fault matrix
and the crash tests show for every step.
"""

import asyncio
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from canonical.draft_acts import EditNarrative, Review
from canonical.drafts import Draft, DraftState
from canonical.ids import look_id
from canonical.lifecycle import InvoiceState
from canonical.saga import Outcome, SagaResult
from tests.sagas.matrix import correlation
from tests.sagas.scenes import sweep
from tests.sagas.test_interruptions import side_by_side
from tests.support.invoicing import (
    NO_CRM,
    assert_invoiced,
    assert_queued_again,
    drafted,
    handed_over,
    in_state,
    invoiced,
    look,
    looked,
    milestone_handed_over,
    pay,
    posting,
    queued,
    release,
    seen_as,
    tracked,
)
from tests.support.world import World
from workflows import draft_to_invoice
from workflows.post_invoice import PostInvoice
from workflows.registry import PIVOTS

pytestmark = [
    pytest.mark.fault_matrix,
    # The SDK interrupts a workflow task that takes over 2 s, wherever it is, and the server sends
    # it again; on a busy machine that place may be a finaliser of the interpreter.
    pytest.mark.filterwarnings(
        "ignore:(?s).*Potential deadlock:pytest.PytestUnraisableExceptionWarning"
    ),
]

Handle = WorkflowHandle[PostInvoice, SagaResult]

HELD = {
    "verify_draft": ("kantata", False),
    "check_terms": ("netsuite", False),
    "ready_charges": ("netsuite", True),
    "draft_invoice": ("netsuite", True),
    "post_invoice": ("netsuite", True),
    "issue_invoice": ("netsuite", True),
    "read_back": ("netsuite", False),
    "confirm_share": ("kantata", True),
}
"""Steps at which a posting is caught, the vendor that they ask, and whether they write there."""
PIVOT = PIVOTS["PostInvoice"]
BEFORE = ("verify_draft", "check_terms", "ready_charges", "draft_invoice")
PAST = ("read_back", "confirm_share")
ROUTED = {"draft_invoice", "post_invoice"}
"""Only an ERP whose invoices wait for approval there goes through these."""


IN_FLIGHT = 4
_slots = asyncio.Semaphore(IN_FLIGHT)


async def caught(world: World, step: str, effect: str) -> tuple[str, Draft, Handle]:
    """Release a draft and wait until a request of its posting stands still at its vendor."""
    async with _slots:
        return await _caught(world, step, effect)


async def _caught(world: World, step: str, effect: str) -> tuple[str, Draft, Handle]:
    routed = step in ROUTED
    begun = milestone_handed_over if routed else handed_over
    account = await begun(world, crm=NO_CRM, routed=routed)
    draft = await queued(world, account)
    vendor, write = HELD[step]
    match: dict[str, JsonValue] = {"correlation": correlation(step)}
    if write:
        match["write"] = True
    fault = await world.control.add_fault(vendor, account, match, "hold", effect=effect)
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await world.control.wait_for_fault(vendor, account, fault, timeout_seconds=45)
    return account, draft, posting(world, draft)


Case = tuple[str, str]


async def terminated(world: World, cases: list[Case]) -> dict[Case, tuple[str, Draft, Handle]]:
    """Catch one posting for each case, terminate all of them, and sweep."""
    found = await asyncio.gather(*(caught(world, *case) for case in cases))
    held = dict(zip(cases, found, strict=True))
    for (step, _), (account, _, handle) in held.items():
        await handle.terminate("a test")
        await world.control.release(HELD[step][0], account)
    swept = await sweep(world)
    assert {handle.id for _, _, handle in found} <= {*swept.forward, *swept.rolled_back}
    return held


def latest(world: World, handle: Handle) -> Handle:
    """Return a handle on the latest run of a posting."""
    return world.env.client.get_workflow_handle_for(PostInvoice.run, handle.id)


async def test_a_posting_terminated_before_its_pivot_is_undone_and_released_again(
    world: World,
) -> None:
    cases = [(step, effect) for step in BEFORE for effect in ("before", "after")]
    held = await terminated(world, cases)

    async def check(account: str, draft: Draft, handle: Handle) -> None:
        result = await world.result(latest(world, handle))
        assert result.outcome is Outcome.ROLLED_BACK, result
        await assert_queued_again(world, account, draft)
        answer = await release(world, draft)
        assert (answer.taken, answer.posting) == (True, 2), answer.reasons
        assert (await world.result(posting(world, draft, 2))).outcome is Outcome.COMPLETED
        await in_state(world, draft.id, DraftState.INVOICED)
        await assert_invoiced(world, account, draft)

    await side_by_side({f"{case}": check(*each) for case, each in held.items()})


async def test_a_posting_terminated_at_or_past_its_pivot_ends_with_one_invoice(
    world: World,
) -> None:
    cases = [(step, effect) for step in (*sorted(PIVOT), *PAST) for effect in ("before", "after")]
    held = await terminated(world, cases)

    async def check(account: str, draft: Draft, handle: Handle) -> None:
        result = await world.result(latest(world, handle))
        assert result.outcome is Outcome.COMPLETED, result
        current = await in_state(world, draft.id, DraftState.INVOICED)
        assert current.posting == 1
        await assert_invoiced(world, account, draft)
        await world.result(looked_after(world, draft))

    await side_by_side({f"{case}": check(*each) for case, each in held.items()})


def looked_after(world: World, draft: Draft) -> WorkflowHandle[Any, Any]:
    """Return the latest run of a draft's workflow."""
    return world.env.client.get_workflow_handle(draft.id)


async def test_a_draft_terminated_while_it_is_posted_is_invoiced_all_the_same(
    world: World,
) -> None:
    """The posting finds nobody to tell; whoever acts on the draft begins its workflow anew."""
    account, draft, handle = await caught(world, "issue_invoice", "after")
    await looked_after(world, draft).terminate("a test")
    await world.control.release("netsuite", account)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await assert_invoiced(world, account, draft)
    assert not (await world.queue.act(draft.id, Review(by="olivia"))).taken
    await world.result(looked_after(world, draft))
    await looked(world, await tracked(world, draft), 1)


async def test_a_look_that_is_terminated_while_it_reads_does_not_end_the_looks(
    world: World,
) -> None:
    account = await milestone_handed_over(world, crm=NO_CRM)
    invoice = await invoiced(world, account)
    await looked(world, invoice, 1)
    reading: dict[str, JsonValue] = {"correlation": correlation("look_at_invoice")}
    fault = await world.control.add_fault("netsuite", account, reading, "hold")
    await look(world, invoice)
    await world.control.wait_for_fault("netsuite", account, fault)
    id_ = look_id(invoice.record.system, invoice.record.id, 2)
    await world.env.client.get_workflow_handle(id_).terminate("a test")
    await world.control.release("netsuite", account)
    assert id_ in (await sweep(world)).rolled_back
    await looked(world, invoice, 2)
    await pay(world, account, invoice, invoice.gross.amount)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.SETTLED)


# A history that begins anew.

ACTS_MAX = 3
ACTS = 20


async def test_no_act_is_lost_while_a_drafts_history_begins_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_to_invoice, "ACTS_MAX", ACTS_MAX)
    account = await handed_over(world, crm=NO_CRM)
    (draft,) = await drafted(world, account)
    first = (await looked_after(world, draft).describe()).run_id
    acts = [
        EditNarrative(by="olivia", line=1, narrative=f"Advice, wording {number}")
        for number in range(ACTS)
    ]
    answers = await asyncio.gather(*(world.queue.act(draft.id, act) for act in acts))
    assert all(answer.taken for answer in answers)
    again = await world.queue.act(draft.id, acts[0], act_id=f"{draft.id}#again")
    assert await world.queue.act(draft.id, acts[0], act_id=f"{draft.id}#again") == again
    told = [
        each.data_json for each in await world.store.audit.trail(draft.id) if each.act == "edit"
    ]
    assert all(act.narrative in f"{told}" for act in acts)
    assert len(told) == ACTS + 1
    ended = await world.env.client.get_workflow_handle(draft.id, run_id=first).describe()
    assert ended.status is WorkflowExecutionStatus.CONTINUED_AS_NEW
    queued_one = await queued_now(world, draft)
    assert (await release(world, queued_one)).taken
    await in_state(world, draft.id, DraftState.INVOICED)
    await world.result(looked_after(world, draft))
    await assert_invoiced(world, account, draft)


async def queued_now(world: World, draft: Draft) -> Draft:
    """Review a draft, and return it as it waits in the queue."""
    answer = await world.queue.act(draft.id, Review(by="olivia"))
    assert answer.taken, answer.reasons
    return await world.store.drafts.get(draft.id)


async def test_a_returned_draft_begins_anew_and_is_released_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of postings is not carried over: it is read, so the second is not taken for it."""
    monkeypatch.setattr(draft_to_invoice, "ACTS_MAX", 1)
    account = await handed_over(world, crm=NO_CRM)
    draft = await queued(world, account)
    refused: dict[str, JsonValue] = {"correlation": correlation("issue_invoice"), "write": True}
    await world.control.add_fault("netsuite", account, refused, "reject")
    assert (await release(world, draft)).taken
    await assert_queued_again(world, account, draft)
    answer = await release(world, draft)
    assert (answer.taken, answer.posting) == (True, 2), answer.reasons
    await in_state(world, draft.id, DraftState.INVOICED)
    await world.result(looked_after(world, draft))
    await assert_invoiced(world, account, draft)
