"""Credits of issued invoices on the real server: by two people, once, and never too much."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from canonical.credit_invoice import CreditAnswer, CreditedAmount, CreditVerb
from canonical.draft_acts import Review, Split
from canonical.drafts import BillableRef, Draft, DraftState
from canonical.ids import external_id, posting_id, step_key
from canonical.invoicing import ConfirmInvoice, CreditReason, RecordPayment
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.records import RecordRef
from canonical.saga import SagaResult, StepState, Sweep, Verb, WorkItem, WorkItemKind
from operations.people import Refused
from tests.sagas.matrix import correlation
from tests.support.billing import AT_PROJECT, CLIENT, amount, live
from tests.support.invoicing import (
    SUBSIDIARY,
    drafted,
    handed_over,
    in_state,
    invoiced,
    look,
    mirror,
    pay,
    posting,
    release,
    seen_as,
    tracked,
)
from tests.support.world import World
from workflows.credit_invoice import CreditInvoice


def usd(value: str | int | Decimal) -> Money:
    return Money(amount=Decimal(value), currency="USD")


async def ask(
    world: World,
    invoice: TrackedInvoice,
    *lines: tuple[int, str],
    reason: CreditReason = CreditReason.CONCESSION,
    by: str = "olivia",
) -> CreditAnswer:
    """Ask for a credit of some of each line; of everything, where none is named."""
    wanted = [CreditedAmount(line=line, amount=usd(value)) for line, value in lines]
    return await world.invoices.credit(invoice, wanted, reason, because="late delivery", by=by)


async def approve(world: World, credit: str, by: str = "cara") -> CreditAnswer:
    standing = await world.invoices.find_credit(credit)
    return await world.invoices.decide(standing, CreditVerb.APPROVE, by=by)


def saga(world: World, credit: str) -> WorkflowHandle[CreditInvoice, SagaResult]:
    return world.env.client.get_workflow_handle_for(CreditInvoice.run, credit)


async def credited(
    world: World,
    invoice: TrackedInvoice,
    *lines: tuple[int, str],
    reason: CreditReason = CreditReason.CONCESSION,
) -> str:
    """Carry a credit through, and return its id."""
    asked = await ask(world, invoice, *lines, reason=reason)
    assert asked.taken, asked.reasons
    answer = await approve(world, asked.credit)
    assert answer.taken, answer.reasons
    result = await world.result(saga(world, asked.credit))
    assert result.outcome == "completed", result
    return asked.credit


async def memos(world: World, account: str) -> list[dict[str, Any]]:
    return await live(world, "netsuite", account, "creditMemo")


async def billed_again(world: World, account: str) -> tuple[BillableRef, ...]:
    free = await world.store.drafts.billables(psa=f"kantata@{account}")
    return tuple(each.ref for each in free)


async def mirrors(world: World, account: str) -> list[dict[str, Any]]:
    """Return the PSA's issued invoices that were not cancelled."""
    found = await live(world, "kantata", account, "invoices")
    return [each for each in found if not each["draft"] and each["status"] != "cancelled"]


async def test_a_part_of_a_line_is_conceded_and_nothing_is_billed_again(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    (before,) = await mirrors(world, account)
    asked = await ask(world, invoice, (1, "50.00"))
    assert (asked.taken, asked.net) == (True, usd("50.00"))
    assert "asked by olivia: late delivery" in asked.reasons[0]
    assert await memos(world, account) == []

    assert (await approve(world, asked.credit)).state == "approved"
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"

    (memo,) = await memos(world, account)
    assert amount(memo["subtotal"]) == Decimal(50)
    standing = await world.store.credits.get_credit(asked.credit)
    assert (standing.state, standing.credit.approved_by) == ("credited", "cara")
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    assert seen.remaining.amount == invoice.gross.amount - amount(memo["total"])
    assert {line.number: line.credited for line in seen.lines}[1] == usd("50.00")
    assert await billed_again(world, account) == ()
    assert await world.store.work_items.list(workflow_id=asked.credit) == ()
    (after,) = await mirrors(world, account)
    assert after["time_entry_ids"] == before["time_entry_ids"]
    assert after["expense_ids"] == before["expense_ids"]
    await assert_equal_to_the_cent(world, account, usd(invoice.net.amount - 50))


async def test_what_is_conceded_as_a_whole_stays_in_the_psa_at_nothing(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    (before,) = await mirrors(world, account)
    await credited(world, invoice)
    await seen_as(world, invoice, InvoiceState.CREDITED)
    (after,) = await mirrors(world, account)
    assert after["time_entry_ids"] == before["time_entry_ids"]
    assert await billed_again(world, account) == ()
    await assert_equal_to_the_cent(world, account, usd(0))


async def test_what_is_paid_after_a_concession_pays_the_mirror_to_the_cent(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    paid = Decimal("333.33")
    await pay(world, account, invoice, paid)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    await credited(world, invoice, (1, "50.00"))
    (memo,) = await memos(world, account)
    rest, payable = invoice.net.amount - 50, invoice.gross.amount - amount(memo["total"])
    share = (paid * rest / payable).quantize(Decimal("0.01"))
    await paid_in_the_psa(world, account, invoice, share)
    await pay(world, account, invoice, payable - paid)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.SETTLED)
    await paid_in_the_psa(world, account, invoice, rest)
    (anew,) = await mirrors(world, account)
    assert (anew["status"], Decimal(anew["total"]) / 100) == ("accepted payment", rest)


async def test_a_rebill_is_reviewed_invoiced_and_mirrored_again(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    first = await world.store.drafts.get(invoice.draft)
    (before,) = await mirrors(world, account)

    await credited(world, invoice, reason=CreditReason.REBILL)

    assert await mirrors(world, account) == []
    await seen_as(world, invoice, InvoiceState.CREDITED)
    (draft,) = await drafted(world, account)
    assert (draft.state, draft.net) == (DraftState.IN_REVIEW, first.net)
    refs = {ref for line in draft.lines for ref in line.bills}
    assert refs.isdisjoint(ref for line in first.lines for ref in line.bills)
    assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await in_state(world, draft.id, DraftState.INVOICED)
    result = await world.result(posting(world, draft))
    assert result.outcome == "completed", result
    again = await tracked(world, draft)
    assert again.net == invoice.net
    (after,) = await mirrors(world, account)
    assert set(after["time_entry_ids"]) == set(before["time_entry_ids"])
    assert set(after["expense_ids"]) == set(before["expense_ids"])
    mirrored = await mirror(world, account, draft)
    assert mirrored is not None
    assert mirrored.net == invoice.net


async def test_a_rebill_of_a_part_leaves_its_entries_and_makes_the_mirror_anew(
    world: World,
) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    (before,) = await mirrors(world, account)
    await credited(world, invoice, (1, "40.00"), reason=CreditReason.REBILL)
    (after,) = await mirrors(world, account)
    assert after["time_entry_ids"] == before["time_entry_ids"]
    await rebilled(world, account, usd("40.00"))
    await assert_equal_to_the_cent(world, account, invoice.net)


async def test_what_was_paid_in_part_is_told_to_the_mirror_that_is_made_anew(
    world: World,
) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    line = invoice.lines[0]
    paid = Decimal("333.33")
    await pay(world, account, invoice, paid)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    share = (paid * invoice.net.amount / invoice.gross.amount).quantize(Decimal("0.01"))
    await paid_in_the_psa(world, account, invoice, share)

    whole = str(line.expected.amount)
    await credited(world, invoice, (line.number, whole), reason=CreditReason.REBILL)
    (memo,) = await memos(world, account)
    rest = invoice.net.amount - line.expected.amount
    payable = invoice.gross.amount - amount(memo["total"])
    share = (paid * rest / payable).quantize(Decimal("0.01"))
    await paid_in_the_psa(world, account, invoice, share)

    left = await world.store.invoices.get(invoice.record.system, invoice.record.id)
    assert left.remaining.amount == payable - paid
    await pay(world, account, left, left.remaining.amount)
    await look(world, invoice)
    await seen_as(world, invoice, InvoiceState.SETTLED)
    await paid_in_the_psa(world, account, invoice, rest)
    (anew,) = await mirrors(world, account)
    assert (anew["status"], Decimal(anew["total"]) / 100) == ("accepted payment", rest)


async def paid_in_the_psa(
    world: World, account: str, invoice: TrackedInvoice, net: Decimal
) -> None:
    """Wait until the PSA has exactly so much as paid, all of it on the mirror that stands."""

    async def told() -> bool:
        standing = await world.store.draft_sources.mirrors(invoice.record)
        found = await live(world, "kantata", account, "external_payments")
        named = {each["message"].splitlines()[0] for each in found}
        return named == {f"invoice: {each.record.id}" for each in standing} and net == sum(
            Decimal(each["amount_in_cents"]) / 100 for each in found
        )

    await world.eventually(told, f"{net} as paid on the mirror")


async def rebilled(world: World, account: str, net: Money) -> Draft:
    """Review, release and issue what a rebill opened."""
    (draft,) = await drafted(world, account)
    assert draft.net == net
    assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await in_state(world, draft.id, DraftState.INVOICED)
    result = await world.result(posting(world, draft))
    assert result.outcome == "completed", result
    return draft


async def assert_equal_to_the_cent(world: World, account: str, net: Money) -> None:
    """Assert that ERP, subledger and PSA have the same net billed, credits taken off."""
    issued = await live(world, "netsuite", account, "invoice")
    erp = sum((amount(each["subtotal"]) for each in issued), Decimal(0))
    erp -= sum((amount(each["subtotal"]) for each in await memos(world, account)), Decimal(0))
    tracked_ = await world.store.invoices.list(client_id=f"client-{account}")
    of_case = [each for each in tracked_ if each.record.system == f"netsuite@{account}"]
    subledger = sum(
        (line.expected.amount - line.credited.amount for each in of_case for line in each.lines),
        Decimal(0),
    )
    psa = sum(Decimal(each["total"]) for each in await mirrors(world, account)) / 100
    assert (erp, subledger, psa) == (net.amount, net.amount, net.amount)


async def test_of_two_credits_at_once_no_more_is_taken_than_was_invoiced(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    whole = [ask(world, invoice, by=by) for by in ("olivia", "fiona", "ada")]
    answers = await asyncio.gather(*whole)
    assert sum(answer.taken for answer in answers) == 1
    for refused in (answer for answer in answers if not answer.taken):
        assert any(word in refused.reasons[0] for word in ("left", "can be credited"))
    taken = next(answer for answer in answers if answer.taken)
    assert (await approve(world, taken.credit)).taken
    await world.result(saga(world, taken.credit))
    (memo,) = await memos(world, account)
    assert amount(memo["total"]) == invoice.gross.amount


async def test_more_than_is_left_is_refused_with_the_figures(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    line = invoice.lines[0]
    more = line.expected.amount + Decimal("0.01")
    answer = await ask(world, invoice, (line.number, str(more)))
    assert not answer.taken
    assert f"{line.expected} of it is left to credit, not {usd(more)}" in answer.reasons[0]
    assert await world.store.credits.of_invoice(invoice.record.system, invoice.record.id) == ()
    assert (await ask(world, invoice)).taken


async def test_who_asked_does_not_approve_nor_does_who_may_not(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, (1, "10.00"), by="cara")
    own = await approve(world, asked.credit, by="cara")
    assert not own.taken
    assert "cara asked for it" in own.reasons[0]
    role = await approve(world, asked.credit, by="olivia")
    assert "olivia has not the role" in role.reasons[0]
    assert "not in dealthread.toml" in (await approve(world, asked.credit, by="x")).reasons[0]
    assert await memos(world, account) == []
    assert (await approve(world, asked.credit, by="fiona")).taken
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"


async def test_the_gate_itself_lets_nobody_through_who_may_not(world: World) -> None:
    """Whoever approves the work item instead is judged the same, and it waits on."""
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, (1, "10.00"), by="fiona")
    first = await world.parked(saga(world, asked.credit))
    assert (first.kind, first.step) == (WorkItemKind.GATE, "credit_approval")
    await world.desk.approve(first.id, by="fiona")

    async def anew() -> WorkItem | None:
        items = await world.store.work_items.list(workflow_id=asked.credit)
        return next((each.item for each in items if each.item.id != first.id), None)

    second = await world.eventually(anew, "another work item")
    assert "fiona asked for it" in second.failure.message
    assert (await approve(world, asked.credit)).taken
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"


async def test_a_refused_credit_leaves_nothing(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice)
    standing = await world.invoices.find_credit(asked.credit)
    answer = await world.invoices.decide(
        standing, CreditVerb.REFUSE, by="fiona", because="not agreed"
    )
    assert (answer.taken, answer.state) == (True, "refused")
    assert (await world.result(saga(world, asked.credit))).outcome == "rolled_back"
    after = await world.store.credits.get_credit(asked.credit)
    assert (after.state, after.because) == ("refused", "not agreed")
    assert await memos(world, account) == []
    assert not (await world.invoices.decide(after, CreditVerb.APPROVE, by="cara")).taken
    assert (await ask(world, invoice)).taken


async def test_in_a_closed_period_nothing_is_credited(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, (1, "10.00"))
    month = invoice.on.replace(day=30)
    period = await world.ports.erp(f"netsuite@{account}").read_period(SUBSIDIARY, month)
    await world.control.patch_record(
        "netsuite", account, "accountingPeriod", period.id, {"closed": True}
    )
    late = await ask(world, invoice, (1, "20.00"))
    assert not late.taken
    assert f"accounting period {period.name} is closed" in late.reasons[0]
    # It was closed between the ask and the approval: the same.
    assert (await approve(world, asked.credit)).taken
    assert (await world.result(saga(world, asked.credit))).outcome == "rolled_back"
    assert (await world.store.credits.get_credit(asked.credit)).state == "refused"
    assert await memos(world, account) == []
    assert all(line.taken.amount == 0 for line in await left(world, invoice))


async def left(world: World, invoice: TrackedInvoice) -> Any:
    return await world.store.credits.left(invoice.record.system, invoice.record.id)


@pytest.mark.parametrize("kind", ["fail_after", "drop_after", "fail_before", "drop_before"])
async def test_an_unanswered_credit_note_is_issued_once(world: World, kind: str) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, (1, "10.00"))
    match: dict[str, JsonValue] = {"correlation": correlation("issue_credit"), "write": True}
    fault = await world.control.add_fault("netsuite", account, match, kind)
    assert (await approve(world, asked.credit)).taken
    handle = saga(world, asked.credit)
    item = await world.parked(handle)
    assert item.step == "issue_credit"
    (hit,) = await world.control.faults("netsuite", account)
    assert (hit["id"], hit["hits"]) == (fault, 1)
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome == "completed"
    assert len(await memos(world, account)) == 1
    assert (await world.store.credits.get_credit(asked.credit)).state == "credited"


async def test_a_terminated_credit_goes_on_where_its_note_may_be(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, reason=CreditReason.REBILL)
    match: dict[str, JsonValue] = {"correlation": correlation("issue_credit"), "write": True}
    await world.control.add_fault("netsuite", account, match, "drop_after")
    assert (await approve(world, asked.credit)).taken
    handle = saga(world, asked.credit)
    await world.parked(handle)
    await handle.terminate("the test pulls the plug")
    swept = await world.sweeper.sweep(Sweep())
    assert asked.credit in swept.forward
    assert (await world.result(saga(world, asked.credit))).outcome == "completed"
    assert len(await memos(world, account)) == 1
    assert await mirrors(world, account) == []
    assert (await world.store.credits.get_credit(asked.credit)).state == "credited"


async def test_a_terminated_credit_that_waited_is_given_up(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice)
    await saga(world, asked.credit).terminate("the test pulls the plug")
    swept = await world.sweeper.sweep(Sweep())
    assert asked.credit in swept.rolled_back
    assert (await world.result(saga(world, asked.credit))).outcome == "rolled_back"
    assert (await world.store.credits.get_credit(asked.credit)).state == "refused"
    assert (await ask(world, invoice)).taken


async def test_a_refusal_of_the_issuing_system_gives_the_credit_up(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    asked = await ask(world, invoice, (1, "10.00"))
    match: dict[str, JsonValue] = {"correlation": correlation("issue_credit"), "write": True}
    await world.control.add_fault("netsuite", account, match, "reject")
    assert (await approve(world, asked.credit)).taken
    result = await world.result(saga(world, asked.credit))
    assert result.outcome == "rolled_back"
    assert result.reason
    assert (await world.store.credits.get_credit(asked.credit)).state == "refused"
    assert all(line.taken.amount == 0 for line in await left(world, invoice))


async def test_a_mirror_that_is_paid_stays_and_a_person_goes_on(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    draft = await world.store.drafts.get(invoice.draft)
    await paid_in_psa(world, account, draft)
    asked = await ask(world, invoice, reason=CreditReason.REBILL)
    assert (await approve(world, asked.credit)).taken
    handle = saga(world, asked.credit)
    item = await world.parked(handle, "cancel_mirror")
    assert "paid" in item.failure.message
    await world.decide(item, Verb.SKIP, because="corrected in the PSA")
    result = await world.result(handle)
    assert result.outcome == "completed"
    assert result.steps[-1].state is StepState.SKIPPED
    assert len(await memos(world, account)) == 1


async def paid_in_psa(world: World, account: str, draft: Draft) -> None:
    """Record a payment on the mirror, as the PSA's own screen does."""
    psa = world.ports.psa(f"kantata@{account}")
    key = step_key(posting_id(draft.id, 1), 1, "confirm_share", AT_PROJECT)
    nothing = ConfirmInvoice(
        connection=f"kantata@{account}",
        project=RecordRef(system=f"kantata@{account}", type="project", id=AT_PROJECT),
        number="",
        on=draft.on,
        net=draft.net,
    )
    found = await psa.find_confirmation(external_id(key), nothing)
    await psa.record_payment(
        RecordPayment(
            connection=f"kantata@{account}",
            invoice=found.record,
            amount=found.net,
            reference="PAY-1",
        )
    )


# Credits that somebody made in the ERP.


async def credit_natively(world: World, account: str, invoice: TrackedInvoice, net: Decimal) -> str:
    """Let a clerk credit the invoice in the ERP's screen; return the memo."""
    made = await world.control.put_record(
        "netsuite",
        account,
        "creditMemo",
        {
            "entity": CLIENT,
            "subsidiary": SUBSIDIARY,
            "currency": "1",
            "tranDate": "2026-11-28",
            "item": {"items": [{"item": "301", "quantity": 1, "rate": float(net)}]},
            "apply": {"items": [{"doc": invoice.record.id, "apply": True}]},
        },
    )
    return str(made["id"])


async def unexplained(world: World, invoice: TrackedInvoice) -> WorkItem:
    found: WorkItem = await world.eventually(
        lambda: native_item(world, invoice), "a work item about the credit"
    )
    return found


async def native_item(world: World, invoice: TrackedInvoice) -> WorkItem | None:
    of = f"invoice/{invoice.record.system}/{invoice.record.id}"
    items = await world.store.work_items.list(workflow_id=of)
    kind = WorkItemKind.NATIVE_CREDIT
    return next((each.item for each in items if each.item.kind is kind), None)


async def test_a_credit_of_the_erp_waits_for_its_reason_and_is_explained(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    memo = await credit_natively(world, account, invoice, Decimal(30))
    await look(world, invoice)
    item = await unexplained(world, invoice)
    assert invoice.number in item.failure.message
    assert "30.00 USD" in item.amount
    # It holds nothing up: a payment is seen all the same, and it stays one work item.
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    await pay(world, account, seen, Decimal(5))
    await look(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED, change=seen.change + 1)
    again = await native_item(world, invoice)
    assert again is not None
    assert again.id == item.id
    with pytest.raises(Refused, match="invoice explain"):
        await world.desk.resolve(item, Verb.RETRY, by="fiona", corrections={})

    concession = CreditReason.CONCESSION
    with pytest.raises(Refused, match="olivia has not the role"):
        await world.invoices.explain(seen, memo, [], concession, by="olivia")
    with pytest.raises(Refused, match="--line"):
        await world.invoices.explain(seen, memo, [], concession, by="fiona")
    line = [CreditedAmount(line=1, amount=usd("29.00"))]
    with pytest.raises(Refused, match=r"come to 29\.00 USD"):
        await world.invoices.explain(seen, memo, line, concession, by="fiona")
    line = [CreditedAmount(line=1, amount=usd("30.00"))]
    for _ in range(2):
        told = await world.invoices.explain(seen, memo, line, concession, by="fiona")
        assert (told.state, told.credit.approved_by) == ("credited", "fiona")
    after = await world.store.invoices.get(invoice.record.system, invoice.record.id)
    assert {each.number: each.credited for each in after.lines}[1] == usd("30.00")
    stored = await world.store.work_items.get(item.id)
    assert stored is not None
    assert (stored.open, stored.how) == (False, "explained by fiona: concession")
    assert await native_item(world, invoice) is None
    assert (await world.result(saga(world, told.credit.id))).outcome == "completed"
    await assert_equal_to_the_cent(world, account, usd(invoice.net.amount - 30))


async def test_a_credit_of_the_erp_that_is_billed_again_changes_the_mirror(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    (before,) = await mirrors(world, account)
    number, own = await whole_part(world, invoice)
    memo = await credit_natively(world, account, invoice, own.amount)
    await look(world, invoice)
    await unexplained(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    line = [CreditedAmount(line=number, amount=own)]

    told = await world.invoices.explain(seen, memo, line, CreditReason.REBILL, by="fiona")
    assert told.state == "credited"
    result = await world.result(saga(world, told.credit.id))
    assert result.outcome == "completed", result

    (after,) = await mirrors(world, account)
    freed = set(before["time_entry_ids"]) - set(after["time_entry_ids"])
    assert len(freed) == 1
    assert Decimal(after["total"]) / 100 == invoice.net.amount - own.amount
    await rebilled(world, account, own)
    on_mirrors = [id_ for each in await mirrors(world, account) for id_ in each["time_entry_ids"]]
    assert sorted(on_mirrors) == sorted(before["time_entry_ids"])
    await assert_equal_to_the_cent(world, account, invoice.net)
    # The same again, by whoever does not know of it, changes nothing.
    await world.invoices.explain(seen, memo, line, CreditReason.REBILL, by="fiona")
    assert (await world.result(saga(world, told.credit.id))).outcome == "completed"
    assert len(await mirrors(world, account)) == 2


async def test_a_credit_of_the_erp_over_all_of_it_is_billed_again_as_a_whole(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    memo = await credit_natively(world, account, invoice, invoice.net.amount)
    await look(world, invoice)
    await unexplained(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.CREDITED)
    told = await world.invoices.explain(seen, memo, [], CreditReason.REBILL, by="fiona")
    await world.result(saga(world, told.credit.id))
    assert await mirrors(world, account) == []
    await rebilled(world, account, invoice.net)
    await assert_equal_to_the_cent(world, account, invoice.net)


async def test_a_paid_mirror_of_a_credit_of_the_erp_waits_for_a_person(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await paid_in_psa(world, account, await world.store.drafts.get(invoice.draft))
    memo = await credit_natively(world, account, invoice, Decimal(30))
    await look(world, invoice)
    await unexplained(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    line = [CreditedAmount(line=1, amount=usd("30.00"))]
    told = await world.invoices.explain(seen, memo, line, CreditReason.REBILL, by="fiona")
    item = await world.parked(saga(world, told.credit.id), "cancel_mirror")
    await world.decide(item, Verb.SKIP, because="corrected in the PSA")
    result = await world.result(saga(world, told.credit.id))
    assert result.outcome == "completed"
    assert len(await mirrors(world, account)) == 1
    await rebilled(world, account, usd("30.00"))


async def whole_part(world: World, invoice: TrackedInvoice) -> tuple[int, Money]:
    """Return the first line, and the amount of the first entry that it bills."""
    first, *_ = await left(world, invoice)
    return first.line, first.billed


async def test_a_credit_of_the_erp_that_is_taken_back_waits_no_more(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    memo = await credit_natively(world, account, invoice, Decimal(30))
    await look(world, invoice)
    await unexplained(world, invoice)
    await world.control.delete_record("netsuite", account, "creditMemo", memo)
    await look(world, invoice)

    async def closed() -> bool:
        return await native_item(world, invoice) is None

    await world.eventually(closed, "the end of the work item")


async def test_what_the_erp_credited_counts_when_more_is_asked_for(world: World) -> None:
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    await credit_natively(world, account, invoice, Decimal(30))
    answer = await ask(world, invoice)
    assert not answer.taken
    rest = Money(amount=invoice.net.amount - 30, currency="USD")
    assert f"{rest} net of invoice {invoice.number} is left in" in answer.reasons[0]


# Disputes.


async def test_a_dispute_keeps_the_clients_other_drafts_from_release(world: World) -> None:
    account = await handed_over(world)
    (whole,) = await drafted(world, account)
    parted = await world.queue.act(whole.id, Split(by="olivia", lines=(1,)))
    assert parted.taken, parted.reasons
    other = await world.store.drafts.get(parted.made[0])
    for each in (whole, other):
        assert (await world.queue.act(each.id, Review(by="olivia"))).taken
    assert (await release(world, whole)).taken
    await in_state(world, whole.id, DraftState.INVOICED)
    await world.result(posting(world, whole))
    invoice = await tracked(world, whole)
    with pytest.raises(Refused, match="say why"):
        await world.invoices.dispute(invoice, because=" ", by="olivia")
    await world.invoices.dispute(invoice, because="hours of October", by="olivia")
    await seen_as(world, invoice, InvoiceState.DISPUTED)
    answer = await release(world, other)
    assert not answer.taken
    assert any("hours of October" in reason for reason in answer.reasons)
    disputed = await world.store.invoices.get(invoice.record.system, invoice.record.id)
    await world.invoices.undispute(disputed, by="olivia")
    await seen_as(world, invoice, InvoiceState.ISSUED)
    assert (await release(world, other)).taken
    await in_state(world, other.id, DraftState.INVOICED)
    with pytest.raises(Refused, match="Nobody disputes"):
        await world.invoices.undispute(invoice, by="olivia")
