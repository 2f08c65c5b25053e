"""Drafts on the real server: made once, reviewed, released by somebody else, posted, confirmed."""

import asyncio

import pytest

from canonical.draft_acts import EditNarrative, HoldLines, Reject, Release, Review
from canonical.drafts import DraftState
from canonical.engagement import BillingMethod
from tests.support.billing import amount, live
from tests.support.invoicing import (
    NO_CRM,
    assert_invoiced,
    drafted,
    handed_over,
    in_state,
    invoices,
    posting,
    queued,
    release,
)
from tests.support.world import World


async def test_what_was_billed_is_drafted_once(world: World) -> None:
    account = await handed_over(world)
    drafts = await drafted(world, account)
    assert len(drafts) == 1
    charges = await live(world, "netsuite", account, "charge")
    assert drafts[0].net.amount == sum(amount(each["amount"]) for each in charges)
    assert await drafted(world, account) == []


async def test_a_released_draft_is_an_invoice_that_all_sides_agree_on(world: World) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    assert (await release(world, draft)).taken
    assert (await world.result(posting(world, draft))).outcome == "completed"
    await assert_invoiced(world, account, draft)
    charges = await live(world, "netsuite", account, "charge")
    assert all(each["invoice"] for each in charges)


async def test_more_lines_than_the_engine_takes_become_as_many_invoices_as_needed(
    world: World,
) -> None:
    account = await handed_over(world, crm=NO_CRM, billing_method=BillingMethod.BILLING_ENGINE)
    most = world.ports.lines[f"stripe@{account}"] = 2
    drafts = await drafted(world, account)
    assert len(drafts) > 1
    for draft in drafts:
        assert 0 < len(draft.lines) <= most
        assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
        answer = await release(world, draft)
        assert answer.taken, answer.reasons
    for draft in drafts:
        assert (await world.result(posting(world, draft))).outcome == "completed"
        await assert_invoiced(world, account, draft)
    billed = [bills for draft in drafts for line in draft.lines for bills in line.bills]
    assert len(billed) == len(set(billed))
    assert await drafted(world, account) == []


async def test_two_releases_at_once_make_one_invoice(world: World) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    answers = await asyncio.gather(*(release(world, draft) for _ in range(5)))
    assert sum(answer.taken for answer in answers) == 1
    await in_state(world, draft.id, DraftState.INVOICED)
    assert len(await invoices(world, account)) == 1


async def test_of_release_and_rejection_one_wins(world: World) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    released, rejected = await asyncio.gather(
        release(world, draft), world.queue.act(draft.id, Reject(by="fiona", because="no"))
    )
    assert released.taken != rejected.taken
    ended = await in_state(world, draft.id, DraftState.INVOICED, DraftState.REJECTED)
    assert len(await invoices(world, account)) == (1 if released.taken else 0)
    assert (ended.state is DraftState.INVOICED) == released.taken


@pytest.mark.parametrize("by", ["olivia", "nobody-known"])
async def test_who_may_not_release_is_refused_and_in_the_trail(world: World, by: str) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    answer = await release(world, draft, by=by)
    assert not answer.taken
    trail = await world.store.audit.trail(draft.id)
    assert [(each.actor, each.act) for each in trail][-1] == (by, "release_refused")


async def test_who_changed_a_draft_does_not_release_it(world: World) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    act = EditNarrative(by="cara", line=1, narrative="Advice")
    assert (await world.queue.act(draft.id, act)).taken
    answer = await release(world, draft, by="cara")
    assert any("prepared it" in reason for reason in answer.reasons)
    trail = await world.store.audit.trail(draft.id)
    assert trail[-1].act == "release_refused"


async def test_a_hash_that_was_looked_at_before_a_change_releases_nothing(world: World) -> None:
    account = await handed_over(world)
    draft = await queued(world, account)
    hold = HoldLines(by="olivia", lines=(1,), because="the client asks")
    assert (await world.queue.act(draft.id, hold)).taken
    answer = await world.queue.act(draft.id, Release(by="cara", content_hash=draft.content_hash))
    assert any("changed since" in reason for reason in answer.reasons)
    assert await invoices(world, account) == []


async def test_an_act_again_is_answered_the_same(world: World) -> None:
    account = await handed_over(world)
    (draft,) = await drafted(world, account)
    first = await world.queue.act(draft.id, Review(by="olivia"), act_id=f"{draft.id}#once")
    again = await world.queue.act(draft.id, Review(by="olivia"), act_id=f"{draft.id}#once")
    assert first == again
    assert first.taken
