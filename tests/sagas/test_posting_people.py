"""People in the vendors' own screens while a released draft is posted: one invoice, or none yet.

After each act ERP, subledger and PSA are compared to the cent, and no line is invoiced twice.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from pydantic import JsonValue
from temporalio.client import WorkflowHandle

from canonical.draft_acts import Reject, Review
from canonical.drafts import Draft, DraftState, LineState
from canonical.entries import EntryRef
from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState
from canonical.saga import Outcome, SagaResult, Verb, WorkItem
from tests.sagas.billing_scenes import People, settled
from tests.sagas.invoicing_scenes import refuse
from tests.sagas.matrix import correlation
from tests.sagas.test_billing_people import NOVEMBER, close
from tests.sagas.test_credits import (
    assert_equal_to_the_cent,
    credited,
    mirrors,
    rebilled,
    usd,
)
from tests.sagas.test_invoices import mirrored_payments
from tests.sagas.test_invoicing_interruptions import HELD, ROUTED
from tests.support.billing import (
    AT_PROJECT,
    CLIENT,
    JOB,
    amount,
    engagement,
    entries_of,
    live,
    start_run,
)
from tests.support.invoicing import (
    NO_CRM,
    assert_invoiced,
    assert_queued_again,
    contracted,
    drafted,
    handed_over,
    in_state,
    invoices,
    look,
    looked,
    milestone_handed_over,
    mirror,
    pay,
    posting,
    queued,
    release,
    seen_as,
    tracked,
)
from tests.support.world import World
from workflows.post_invoice import PostInvoice

pytestmark = pytest.mark.fault_matrix

Handle = WorkflowHandle[PostInvoice, SagaResult]
ON_THE_WAY = ("issue_invoice", "draft_invoice", "post_invoice")
"""Between the looks at period and client, and the ledger; the last two where the ERP approves."""


async def waiting(world: World, step: str) -> tuple[str, Draft]:
    """Return an account and its draft in the queue, of a kind whose posting has that step."""
    routed = step in ROUTED
    begun = milestone_handed_over if routed else handed_over
    account = await begun(world, crm=NO_CRM, routed=routed)
    return account, await queued(world, account)


async def released_to(world: World, account: str, draft: Draft, step: str) -> Handle:
    """Release a draft, and return its posting once a request of a step stands still."""
    vendor, write = HELD[step]
    match: dict[str, JsonValue] = {"correlation": correlation(step)}
    if write:
        match["write"] = True
    fault = await world.control.add_fault(vendor, account, match, "hold", effect="after")
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await world.control.wait_for_fault(vendor, account, fault, timeout_seconds=45)
    return posting(world, draft, answer.posting)


async def go_on(world: World, account: str, step: str) -> None:
    """Let the request that stands still have its effect."""
    await world.control.release(HELD[step][0], account)


async def posts_once(world: World, account: str, draft: Draft) -> None:
    """Release a draft, and assert that it becomes the one invoice that all sides agree on."""
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    result = await world.result(posting(world, draft, answer.posting))
    assert result.outcome is Outcome.COMPLETED, result
    await in_state(world, draft.id, DraftState.INVOICED)
    await assert_invoiced(world, account, draft)


async def comes_back(world: World, account: str, draft: Draft, handle: Handle, why: str) -> None:
    """Assert that a posting came to nothing, and that the draft waits with the reason."""
    result = await world.result(handle)
    assert result.outcome is Outcome.ROLLED_BACK, result
    await assert_queued_again(world, account, draft)
    back = await world.store.drafts.get(draft.id)
    assert why in back.returned.lower(), back.returned


# The books.


@pytest.mark.parametrize("step", ON_THE_WAY)
async def test_a_period_closed_on_the_way_brings_the_draft_back_until_it_is_open(
    world: World, step: str
) -> None:
    account, draft = await waiting(world, step)
    handle = await released_to(world, account, draft, step)
    await close(world, account, NOVEMBER)
    await go_on(world, account, step)
    await comes_back(world, account, draft, handle, "period")
    # Released while it is closed, it comes back before anything is written.
    answer = await release(world, draft)
    again = posting(world, draft, answer.posting)
    await comes_back(world, account, draft, again, "is closed: finance opens it")
    await close(world, account, NOVEMBER, closed=False)
    await posts_once(world, account, draft)


async def test_a_period_closed_while_charges_are_made_ready_waits_until_it_is_open(
    world: World,
) -> None:
    account, draft = await waiting(world, "ready_charges")
    handle = await released_to(world, account, draft, "ready_charges")
    await close(world, account, NOVEMBER)
    await go_on(world, account, "ready_charges")
    item = await world.parked(handle, "ready_charges")
    assert item.failure.reason == "closed_period"
    assert await invoices(world, account) == []
    await close(world, account, NOVEMBER, closed=False)
    await retried(world, account, draft, handle, item)


async def retried(world: World, account: str, draft: Draft, handle: Handle, item: WorkItem) -> None:
    """Retry a posting that waits, and assert that it ends with one invoice."""
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await in_state(world, draft.id, DraftState.INVOICED)
    await assert_invoiced(world, account, draft)


# The client.


async def inactive(world: World, account: str, *, is_: bool) -> None:
    """Make the client inactive in the ERP, or active again."""
    change: dict[str, JsonValue] = {"isInactive": is_}
    await world.control.patch_record("netsuite", account, "customer", CLIENT, change)


@pytest.mark.parametrize("step", ["ready_charges", "issue_invoice"])
async def test_a_client_made_inactive_on_the_way_brings_the_draft_back_until_it_is_active(
    world: World, step: str
) -> None:
    account, draft = await waiting(world, step)
    handle = await released_to(world, account, draft, step)
    await inactive(world, account, is_=True)
    await go_on(world, account, step)
    await comes_back(world, account, draft, handle, "")
    answer = await release(world, draft)
    again = posting(world, draft, answer.posting)
    await comes_back(world, account, draft, again, f"customer {CLIENT} is inactive in the erp")
    await inactive(world, account, is_=False)
    await posts_once(world, account, draft)


async def test_a_client_made_inactive_while_the_invoice_is_drafted_waits_until_it_is_active(
    world: World,
) -> None:
    account, draft = await waiting(world, "draft_invoice")
    handle = await released_to(world, account, draft, "draft_invoice")
    await inactive(world, account, is_=True)
    await go_on(world, account, "draft_invoice")
    item = await world.parked(handle, "draft_invoice")
    assert CLIENT in item.failure.message
    await world.decide(item, Verb.RETRY)
    item = await parked_again(world, handle, item)
    assert "is inactive. Change that in NetSuite, then retry" in item.failure.message
    assert await invoices(world, account) == []
    await inactive(world, account, is_=False)
    await retried(world, account, draft, handle, item)


async def merged(world: World, account: str) -> str:
    """Merge the client into another, as the ERP does: the project is the other's then."""
    clients = await world.control.records("netsuite", account, type="customer")
    (old,) = [each["fields"] for each in clients if each["id"] == CLIENT]
    kept = ("subsidiary", "currency", "currencyList", "terms", "isPerson")
    fields = {name: old[name] for name in kept if name in old}
    fields["companyName"] = f"Merged into {account}"
    other = await world.control.put_record("netsuite", account, "customer", fields)
    parent: dict[str, JsonValue] = {"parent": {"id": other["id"]}}
    await world.control.patch_record("netsuite", account, "job", JOB, parent)
    await world.control.delete_record("netsuite", account, "customer", CLIENT)
    return str(other["id"])


@pytest.mark.parametrize("step", ["check_terms", "issue_invoice"])
async def test_a_client_merged_on_the_way_is_billed_once_the_contract_names_the_other(
    world: World, step: str
) -> None:
    account = await milestone_handed_over(world, crm=NO_CRM)
    draft = await queued(world, account)
    handle = await released_to(world, account, draft, step)
    other = await merged(world, account)
    await go_on(world, account, step)
    await comes_back(world, account, draft, handle, "")
    answer = await release(world, draft)
    again = posting(world, draft, answer.posting)
    await comes_back(world, account, draft, again, "perhaps merged into another: import")
    whole = engagement(
        account,
        crm=NO_CRM,
        deal=draft.lines[0].engagement.partition("/")[2],
        billing_method=draft.method,
        erp_client_id=other,
    )
    await world.store.engagements.put(whole)
    assert (await world.queue.act(draft.id, Reject(by="fiona", because="merged", hold=False))).taken
    anew = await queued(world, account)
    assert anew.bill_to == other
    await posts_once(world, account, anew)


# The reservation in the PSA.


async def free_entries(world: World, account: str) -> None:
    """Delete the reservation in the PSA's own screen: its entries can be invoiced by hand."""
    (reservation,) = [
        record
        for record in await world.control.records("kantata", account, type="invoices")
        if record["live"]
    ]
    await world.control.delete_record("kantata", account, "invoices", reservation["id"])


async def bill_by_hand(world: World, account: str, entry: str) -> str:
    """Invoice a time entry in the PSA's own screen."""
    fields: dict[str, JsonValue] = {
        "workspace_id": AT_PROJECT,
        "payment_schedule": 30,
        "time_entry_ids": [entry],
        "draft": False,
    }
    made = await world.control.put_record("kantata", account, "invoices", fields)
    return str(made["id"])


async def cancel(world: World, account: str, invoice: str) -> None:
    """Cancel an invoice in the PSA's own screen, which frees what is on it."""
    change: dict[str, JsonValue] = {"status": "cancelled"}
    await world.control.patch_record("kantata", account, "invoices", invoice, change)


async def let_go(world: World, account: str, refs: tuple[EntryRef, ...]) -> None:
    """Release held entries, as somebody does who has looked at them."""
    psa = f"kantata@{account}"
    assert await world.billing.unhold(AT_PROJECT, refs, by="fiona", psa=psa)
    await settled(world, account)


async def a_time_entry(world: World, account: str) -> str:
    """Return a time entry that is billed."""
    charges = await world.control.records("netsuite", account, type="charge")
    charged = {str(charge["key"]) for charge in charges if charge["live"]}
    assert charged
    psa = f"kantata@{account}"
    for ref in await entries_of(world, account):
        trace = await world.store.subledger.trace(psa, ref)
        if ref.kind.value == "time" and any(part.charge in charged for part in trace.parts):
            return ref.id
    raise AssertionError("no time is billed")


async def assert_each_entry_once(world: World, account: str) -> None:
    """Assert that no entry is on two live invoices of the PSA, nor a charge on two of the ERP."""
    on: Counter[str] = Counter()
    for record in await world.control.records("kantata", account, type="invoices"):
        fields: dict[str, Any] = dict(record["fields"])
        if record["live"] and fields["status"] != "cancelled":
            lists = ("time_entry_ids", "expense_ids", "time_adjustment_ids")
            on.update(f"{name} {id_}" for name in lists for id_ in fields[name])
    assert on
    assert set(on.values()) == {1}, on
    charges = await live(world, "netsuite", account, "charge")
    billed = [each for each in charges if each.get("invoice")]
    total = sum(amount(each["subtotal"]) for each in await invoices(world, account))
    assert total == sum(amount(each["amount"]) for each in billed)


async def test_a_reservation_deleted_before_the_posting_holds_all_until_somebody_has_looked(
    world: World,
) -> None:
    account, draft = await waiting(world, "issue_invoice")
    await free_entries(world, account)
    answer = await release(world, draft)
    result = await world.result(posting(world, draft, answer.posting))
    assert result.outcome is Outcome.ROLLED_BACK
    assert "is not reserved for its billing run any more" in result.reason
    ended = await in_state(world, draft.id, DraftState.EMPTY)
    assert {line.state for line in ended.lines} == {LineState.HELD}
    assert await invoices(world, account) == []
    assert await drafted(world, account) == []
    await let_go(world, account, await entries_of(world, account))
    await posts_once(world, account, await queued(world, account))
    await assert_each_entry_once(world, account)


async def test_a_reservation_deleted_after_the_look_at_it_changes_nothing(world: World) -> None:
    account, draft = await waiting(world, "issue_invoice")
    handle = await released_to(world, account, draft, "issue_invoice")
    await free_entries(world, account)
    await go_on(world, account, "issue_invoice")
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await assert_invoiced(world, account, draft)
    await assert_each_entry_once(world, account)


async def test_an_entry_freed_and_invoiced_by_hand_on_the_way_waits_for_whoever_did_it(
    world: World,
) -> None:
    account, draft = await waiting(world, "issue_invoice")
    entry = await a_time_entry(world, account)
    handle = await released_to(world, account, draft, "issue_invoice")
    await free_entries(world, account)
    by_hand = await bill_by_hand(world, account, entry)
    await go_on(world, account, "issue_invoice")
    item = await world.parked(handle, "confirm_share")
    assert f"is on invoice {by_hand} of Kantata already" in item.failure.message
    assert {Verb.ABANDON, Verb.ROLL_BACK}.isdisjoint(item.verbs)
    await cancel(world, account, by_hand)
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await assert_invoiced(world, account, draft)
    await assert_each_entry_once(world, account)


async def test_an_entry_freed_and_invoiced_by_hand_before_the_posting_is_left_out_of_it(
    world: World,
) -> None:
    account, draft = await waiting(world, "issue_invoice")
    entry = await a_time_entry(world, account)
    await free_entries(world, account)
    by_hand = await bill_by_hand(world, account, entry)
    assert (await release(world, draft)).taken
    await in_state(world, draft.id, DraftState.EMPTY)
    refs = await entries_of(world, account)
    await let_go(world, account, refs)
    rest = await queued(world, account)
    await posts_once(world, account, rest)
    assert rest.net.amount < draft.net.amount
    await assert_each_entry_once(world, account)
    await cancel(world, account, by_hand)
    mine = tuple(ref for ref in refs if ref.id == entry)
    await People(world, account).tell(mine)
    await settled(world, account)
    last = await queued(world, account)
    assert rest.net + last.net == draft.net
    assert (await release(world, last)).taken
    await in_state(world, last.id, DraftState.INVOICED)
    assert (await world.result(posting(world, last))).outcome is Outcome.COMPLETED
    await assert_each_entry_once(world, account)
    total = sum(amount(each["subtotal"]) for each in await invoices(world, account))
    assert total == draft.net.amount


async def test_time_rejected_while_its_draft_is_released_is_left_out_until_it_is_approved(
    world: World,
) -> None:
    account = await contracted(world, crm=NO_CRM)
    people = People(world, account)
    entry = await people.work(0)
    psa = f"kantata@{account}"
    await world.store.changes.note(psa, AT_PROJECT, [entry.ref])
    assert (await world.result(await start_run(world, account))).outcome is Outcome.COMPLETED
    draft = await queued(world, account)
    handle = await released_to(world, account, draft, "verify_draft")
    await off_the_reservation(world, account, entry.id)
    await people.resolve(entry, "rejected")
    await go_on(world, account, "verify_draft")
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    back = await in_state(world, draft.id, DraftState.QUEUED)
    (held,) = [line for line in back.lines if line.state is LineState.HELD]
    assert "is not approved any more" in held.because
    await posts_once(world, account, draft)
    await people.approve(entry)
    await let_go(world, account, (entry.ref,))
    last = await queued(world, account)
    assert last.net == held.amount
    assert (await release(world, last)).taken
    await in_state(world, last.id, DraftState.INVOICED)
    assert (await world.result(posting(world, last))).outcome is Outcome.COMPLETED
    await assert_each_entry_once(world, account)
    total = sum(amount(each["subtotal"]) for each in await invoices(world, account))
    assert total == draft.net.amount


async def off_the_reservation(world: World, account: str, entry: str) -> None:
    """Take a time entry off the reservation in the PSA's own screen."""
    (reservation,) = await world.control.records("kantata", account, type="invoices")
    fields: dict[str, Any] = dict(reservation["fields"])
    rest: list[JsonValue] = [id_ for id_ in fields["time_entry_ids"] if id_ != entry]
    change: dict[str, JsonValue] = {"time_entry_ids": rest}
    await world.control.patch_record("kantata", account, "invoices", reservation["id"], change)


# Accountants that are faster than we are.


@pytest.mark.parametrize("reason", [CreditReason.CONCESSION, CreditReason.REBILL])
async def test_a_credit_before_the_psa_has_its_mirror_lowers_the_mirror(
    world: World, reason: CreditReason
) -> None:
    account = await handed_over(world, crm=NO_CRM)
    (draft,) = await drafted(world, account)
    assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
    await refuse(world, account, "kantata", "confirm_share")
    assert (await release(world, draft)).taken
    handle = posting(world, draft)
    item = await world.parked(handle, "confirm_share")
    invoice = await tracked(world, draft)
    await credited(world, invoice, (1, "50.00"), reason=reason)
    await world.decide(item, Verb.RETRY)
    await carried_on(world, handle)
    rest = usd(invoice.net.amount - 50)
    mirrored = await mirror(world, account, draft)
    assert mirrored is not None
    assert mirrored.net == rest
    if reason is CreditReason.CONCESSION:
        await assert_equal_to_the_cent(world, account, rest)


async def test_a_whole_credit_before_the_psa_has_its_mirror_leaves_none(world: World) -> None:
    account = await handed_over(world, crm=NO_CRM)
    (draft,) = await drafted(world, account)
    assert (await world.queue.act(draft.id, Review(by="olivia"))).taken
    await refuse(world, account, "kantata", "confirm_share")
    assert (await release(world, draft)).taken
    handle = posting(world, draft)
    item = await world.parked(handle, "confirm_share")
    invoice = await tracked(world, draft)
    await credited(world, invoice, reason=CreditReason.REBILL)
    await world.decide(item, Verb.RETRY)
    await carried_on(world, handle)
    assert await mirrors(world, account) == []
    await rebilled(world, account, invoice.net)
    await assert_equal_to_the_cent(world, account, invoice.net)


@pytest.mark.parametrize("part", [Decimal(1), Decimal("0.5")])
async def test_a_payment_before_the_psa_has_its_mirror_is_told_there_once(
    world: World, part: Decimal
) -> None:
    account, draft = await waiting(world, "issue_invoice")
    handle = await released_to(world, account, draft, "confirm_share")
    invoice = await tracked(world, draft)
    paid = (invoice.gross.amount * part).quantize(Decimal("0.01"))
    await pay(world, account, invoice, paid)
    await look(world, invoice)
    state = InvoiceState.SETTLED if part == 1 else InvoiceState.PART_SETTLED
    await seen_as(world, invoice, state)
    await looked(world, invoice, 1)
    assert await mirrored_payments(world, account) == []
    await go_on(world, account, "confirm_share")
    await carried_on(world, handle)
    await assert_invoiced(world, account, draft)

    async def told() -> bool:
        return sum(await mirrored_payments(world, account)) == paid

    await world.eventually(told, "the payment in the PSA")
    await looked(world, invoice, 2)
    assert await mirrored_payments(world, account) == [paid]


async def carried_on(world: World, handle: Handle) -> None:
    """Wait for the end of a posting; where a vendor was slow to answer, try again."""

    async def ended() -> bool:
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            await world.decide(stored.item, Verb.RETRY)
        known = await world.store.sagas.state(handle.id)
        return known is not None and known.outcome is not None

    await world.eventually(ended, f"the end of {handle.id}")
    assert (await world.result(handle)).outcome is Outcome.COMPLETED


# The invoice in the ERP.


async def edit(world: World, account: str, change: dict[str, JsonValue]) -> None:
    """Change the one invoice in the ERP's own screen."""
    (invoice,) = await world.control.records("netsuite", account, type="invoice")
    await world.control.patch_record("netsuite", account, "invoice", invoice["id"], change)


async def edit_line(world: World, account: str, to: Decimal) -> None:
    """Change the amount of the invoice's first line."""
    (invoice,) = await live(world, "netsuite", account, "invoice")
    (first, *rest) = invoice["item"]["items"]
    changed = {**first, "rate": float(to), "quantity": 1, "amount": float(to)}
    await edit(world, account, {"item": {"items": [changed, *rest]}})


async def parked_again(world: World, handle: Handle, before: WorkItem) -> WorkItem:
    """Wait for a later work item of a saga."""

    async def later() -> WorkItem | None:
        for stored in await world.store.work_items.list(workflow_id=handle.id):
            if stored.item.park > before.park:
                return stored.item
        return None

    found: WorkItem = await world.eventually(later, f"a later work item of {handle.id}")
    return found


async def test_a_line_edited_before_the_read_back_waits_until_it_is_right(world: World) -> None:
    account = await milestone_handed_over(world, crm=NO_CRM)
    draft = await queued(world, account)
    handle = await released_to(world, account, draft, "read_back")
    await edit_line(world, account, Decimal(1400))
    await go_on(world, account, "read_back")
    item = await world.parked(handle, "read_back")
    assert item.failure.reason == "invoice_differs"
    assert "line 1 is 1,400.00 USD, released was 1,500.00 USD" in item.failure.message
    # It is issued: neither given up nor taken back, or its line would be billed once more.
    assert {Verb.ABANDON, Verb.ROLL_BACK}.isdisjoint(item.verbs)
    assert not (await world.queue.act(draft.id, Reject(by="fiona", because="no"))).taken
    await world.decide(item, Verb.RETRY)
    item = await parked_again(world, handle, item)
    await edit_line(world, account, Decimal(1500))
    await retried(world, account, draft, handle, item)


async def test_a_memo_edited_before_the_read_back_holds_nothing_up(world: World) -> None:
    account, draft = await waiting(world, "read_back")
    handle = await released_to(world, account, draft, "read_back")
    await edit(world, account, {"memo": "Thank you for your business"})
    await go_on(world, account, "read_back")
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    await assert_invoiced(world, account, draft)


@pytest.mark.parametrize("charged", [True, False])
async def test_an_invoice_deleted_before_the_read_back_is_issued_again_by_a_release_alone(
    world: World, charged: bool
) -> None:
    begun = handed_over if charged else milestone_handed_over
    account = await begun(world, crm=NO_CRM)
    draft = await queued(world, account)
    handle = await released_to(world, account, draft, "read_back")
    (invoice,) = await world.control.records("netsuite", account, type="invoice")
    await world.control.delete_record("netsuite", account, "invoice", invoice["id"])
    await go_on(world, account, "read_back")
    item = await world.parked(handle, "read_back")
    assert item.failure.reason == "invoice_gone"
    await world.decide(item, Verb.RETRY)
    item = await parked_again(world, handle, item)
    assert await invoices(world, account) == []
    await world.decide(item, Verb.ROLL_BACK)
    await comes_back(world, account, draft, handle, "rolled back by")
    await posts_once(world, account, draft)
