"""Paths from billed work to money, played for the record: what `record_histories` writes down.

A scene makes its own account, plays one path on the real server, and returns one history.
CreditInvoice has its own section at the end.
"""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle, WorkflowHistory

from canonical.bill_schedules import BilledSchedules, BillSchedulesInput
from canonical.credit_invoice import CreditAnswer, CreditedAmount, CreditVerb
from canonical.draft_acts import DraftAnswer, Reject, Review, Split
from canonical.draft_to_invoice import AssembleDrafts
from canonical.drafts import Draft, DraftState
from canonical.engagement import BillingMethod, Engagement
from canonical.ids import invoice_id, look_id
from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.saga import Outcome, SagaResult, Verb
from canonical.schedules import MonthlyFeeTerms
from operations.sagas import SAGA_QUEUE
from store.draft_change import Change, LockedDrafts
from tests.contract.psa_invoicing_role import Person
from tests.sagas.matrix import correlation
from tests.sagas.test_credits import credit_natively
from tests.sagas.test_milestones import provisioned
from tests.sagas.test_tax_differences import taxed
from tests.support.billing import AT_PROJECT, engagement
from tests.support.invoicing import (
    MILESTONE_CENTS,
    NO_CRM,
    approved_milestone,
    contracted,
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
    start_milestone,
    there,
)
from tests.support.world import World
from workflows.assemble_drafts import AssembleInvoiceDrafts
from workflows.bill_schedules import BillSchedules
from workflows.credit_invoice import CreditInvoice
from workflows.invoice_lifecycle import TellInvoice

Handle = WorkflowHandle[Any, Any]
Scene = Callable[[World], Awaitable[WorkflowHistory]]
INVOICING: dict[str, Scene] = {}
LATE = timedelta(seconds=1)


def scene(play: Scene) -> Scene:
    """Register a path under its function's name."""
    INVOICING[play.__name__] = play
    return play


async def refuse(world: World, account: str, vendor: str, step: str, kind: str = "reject") -> None:
    """Arm a fault at the first write of a step."""
    match: dict[str, JsonValue] = {"correlation": correlation(step), "write": True}
    await world.control.add_fault(vendor, account, match, kind)


async def ended(world: World, handle: Handle, outcome: Outcome) -> WorkflowHistory:
    """Wait for the end of a saga, and return its history."""
    result: SagaResult = await world.result(handle)
    assert result.outcome is outcome, result
    return await handle.fetch_history()


# MilestoneToInvoice.


@scene
async def milestone_for_drafting(world: World) -> WorkflowHistory:
    account, milestone = await approved_milestone(world)
    return await ended(world, await start_milestone(world, account, milestone), Outcome.COMPLETED)


@scene
async def milestone_not_approved(world: World) -> WorkflowHistory:
    account = await contracted(world, billing_method=BillingMethod.ERP_LINES)
    planned = await Person(world.control, account).plan_milestone(AT_PROJECT, MILESTONE_CENTS)
    return await ended(world, await start_milestone(world, account, planned), Outcome.ROLLED_BACK)


@scene
async def milestone_out_of_sequence(world: World) -> WorkflowHistory:
    deal = await provisioned(world)
    first, second = await deal.ids()
    await deal.manager.complete(second)
    handle = await deal.start(second)
    item = await world.parked(handle, "plan_milestone")
    assert await deal.billed(first) is Outcome.COMPLETED
    await world.decide(item, Verb.RETRY)
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def milestone_rolled_back(world: World) -> WorkflowHistory:
    account, milestone = await approved_milestone(world)
    await refuse(world, account, "kantata", "mark_eligible", "fail_after")
    handle = await start_milestone(world, account, milestone)
    await world.decide(await world.parked(handle, "mark_eligible"), Verb.ROLL_BACK)
    return await ended(world, handle, Outcome.ROLLED_BACK)


async def reopened(world: World) -> Handle:
    """Draft a milestone, open its task again, and tell its saga; return it when it is all over."""
    account, milestone = await approved_milestone(world)
    await ended(world, await start_milestone(world, account, milestone), Outcome.COMPLETED)
    assert len(await drafted(world, account)) == 1
    await Person(world.control, account).reopen(milestone)
    handle = await start_milestone(world, account, milestone)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    return handle


@scene
async def milestone_taken_off_its_draft(world: World) -> WorkflowHistory:
    handle = await reopened(world)
    first = world.env.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    return await first.fetch_history()


@scene
async def milestone_taken_back(world: World) -> WorkflowHistory:
    handle = await reopened(world)
    return await world.env.client.get_workflow_handle(handle.id).fetch_history()


@scene
async def milestone_approved_while_it_is_read(world: World) -> WorkflowHistory:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    read: dict[str, JsonValue] = {"correlation": correlation("plan_milestone"), "path": "/stories"}
    fault = await world.control.add_fault("kantata", deal.account, read, "hold", effect="before")
    handle = await deal.start(first)
    await world.control.wait_for_fault("kantata", deal.account, fault)
    await deal.manager.complete(first)
    await deal.start(first)
    await world.control.release("kantata", deal.account)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    begun = world.env.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    return await begun.fetch_history()


# BillSchedules and AssembleInvoiceDrafts.


async def with_monthly_fee(world: World) -> Engagement:
    """Return a contract whose fixed scope is billed by the month."""
    account = await contracted(world)
    contract = engagement(account, deal="by-the-month")
    line = contract.lines[1]
    terms = MonthlyFeeTerms(
        currency="USD", start=date(2026, 9, 1), end=date(2026, 10, 31), fee=Decimal(1_000)
    )
    lines = (contract.lines[0], line.model_copy(update={"schedule": terms}))
    contract = contract.model_copy(update={"lines": lines, "project_id": "by-the-month"})
    await world.store.engagements.put(contract)
    return contract


@scene
async def schedule_billed(world: World) -> WorkflowHistory:
    contract = await with_monthly_fee(world)
    handle: Handle = await world.env.client.start_workflow(
        BillSchedules.run,
        BillSchedulesInput(engagement=contract.id),
        id=f"bill-schedules/{contract.id}",
        task_queue=SAGA_QUEUE,
    )
    billed: BilledSchedules = await handle.result()
    assert (billed.fees, billed.refused) == (2, ())
    return await handle.fetch_history()


async def assemble(world: World, account: str) -> tuple[Handle, tuple[str, ...]]:
    """Assemble drafts under an id that is known, and return which were made."""
    handle = await world.env.client.start_workflow(
        AssembleInvoiceDrafts.run,
        AssembleDrafts(psa=f"kantata@{account}", everything=True),
        id=f"assemble-drafts/{account}",
        task_queue=SAGA_QUEUE,
    )
    return handle, (await handle.result()).drafts


@scene
async def drafts_assembled(world: World) -> WorkflowHistory:
    handle, drafts = await assemble(world, await handed_over(world))
    assert len(drafts) == 1
    return await handle.fetch_history()


@scene
async def nothing_to_draft(world: World) -> WorkflowHistory:
    handle, drafts = await assemble(world, await contracted(world))
    assert drafts == ()
    return await handle.fetch_history()


# DraftToInvoice.


async def draft_ended(world: World, draft: str, state: DraftState) -> WorkflowHistory:
    """Wait for the end of a draft's workflow, and return its history."""
    handle = world.env.client.get_workflow_handle(draft)
    await in_state(world, draft, state)
    await world.result(handle)
    return await handle.fetch_history()


async def rejected(world: World, draft: str) -> WorkflowHistory:
    """Reject a draft, and return the history of its workflow."""
    assert (await world.queue.act(draft, Reject(by="fiona", because="not yet"))).taken
    return await draft_ended(world, draft, DraftState.REJECTED)


@scene
async def draft_reviewed_released_invoiced(world: World) -> WorkflowHistory:
    draft = await queued(world, await handed_over(world))
    assert (await release(world, draft)).taken
    return await draft_ended(world, draft.id, DraftState.INVOICED)


@scene
async def draft_rejected(world: World) -> WorkflowHistory:
    draft = await queued(world, await handed_over(world))
    assert not (await release(world, draft, by="olivia")).taken
    return await rejected(world, draft.id)


@scene
async def draft_split(world: World) -> WorkflowHistory:
    (draft,) = await drafted(world, await handed_over(world))
    split = await world.queue.act(draft.id, Split(by="olivia", lines=(1,)))
    assert split.taken, split.reasons
    (other,) = split.made
    await rejected(world, other)
    return await rejected(world, draft.id)


@scene
async def draft_returned_and_released_again(world: World) -> WorkflowHistory:
    account = await handed_over(world)
    draft = await queued(world, account)
    await refuse(world, account, "netsuite", "issue_invoice")
    assert (await release(world, draft)).taken
    await in_state(world, draft.id, DraftState.QUEUED)
    assert (await release(world, draft)).taken
    return await draft_ended(world, draft.id, DraftState.INVOICED)


@scene
async def draft_escalated(world: World) -> WorkflowHistory:
    (draft,) = await drafted(world, await handed_over(world))
    await late_review(world, draft)

    async def escalated() -> bool:
        return (await world.store.drafts.get(draft.id)).escalated

    await world.eventually(escalated, "an escalated review")
    assert (await world.queue.act(draft.id, Review(by="fiona"))).taken
    return await rejected(world, draft.id)


async def late_review(world: World, draft: Draft) -> None:
    """Let the review of a draft be due in a moment, and have its workflow read that."""
    due = datetime.now(draft.review_until.tzinfo if draft.review_until else None) + LATE

    def decide(locked: LockedDrafts) -> Change:
        (current,) = locked.drafts
        changed = current.model_copy(update={"review_until": due})
        answer = DraftAnswer(taken=True, state=changed.state, content_hash=changed.content_hash)
        return Change(answer=answer, act="edit", by="a test", drafts=(changed,))

    await world.store.drafts.change((draft.id,), decide, act_id=f"{draft.id}#late")
    await world.env.client.get_workflow_handle(draft.id).signal("look")


# PostInvoice.


async def post(world: World, account: str) -> tuple[Draft, Handle]:
    """Release the one draft of an account, and return it and its posting."""
    draft = await queued(world, account)
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    handle = posting(world, draft)
    await world.eventually(lambda: there(handle), "the posting")
    return draft, handle


@scene
async def charges_invoiced(world: World) -> WorkflowHistory:
    _, handle = await post(world, await handed_over(world, crm=NO_CRM))
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def approved_in_the_erp(world: World) -> WorkflowHistory:
    account = await milestone_handed_over(world, crm=NO_CRM, routed=True)
    _, handle = await post(world, account)
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def charges_refused(world: World) -> WorkflowHistory:
    account = await handed_over(world, crm=NO_CRM)
    await refuse(world, account, "netsuite", "issue_invoice")
    _, handle = await post(world, account)
    return await ended(world, handle, Outcome.ROLLED_BACK)


@scene
async def posting_refused(world: World) -> WorkflowHistory:
    account = await milestone_handed_over(world, crm=NO_CRM, routed=True)
    await refuse(world, account, "netsuite", "post_invoice")
    _, handle = await post(world, account)
    return await ended(world, handle, Outcome.ROLLED_BACK)


@scene
async def drafting_given_up(world: World) -> WorkflowHistory:
    account = await handed_over(world, crm=NO_CRM, routed=True)
    await refuse(world, account, "netsuite", "draft_invoice", "fail_after")
    _, handle = await post(world, account)
    await world.decide(await world.parked(handle, "draft_invoice"), Verb.ROLL_BACK)
    return await ended(world, handle, Outcome.ROLLED_BACK)


@scene
async def confirmation_retried(world: World) -> WorkflowHistory:
    account = await handed_over(world, crm=NO_CRM)
    await refuse(world, account, "kantata", "confirm_share")
    _, handle = await post(world, account)
    await world.decide(await world.parked(handle, "confirm_share"), Verb.RETRY)
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def tax_beyond_tolerance(world: World) -> WorkflowHistory:
    account = await milestone_handed_over(world, crm=NO_CRM)
    await taxed(world, account)
    _, handle = await post(world, account)
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def invoice_deleted_and_queued_again(world: World) -> WorkflowHistory:
    account = await handed_over(world, crm=NO_CRM)
    read: dict[str, JsonValue] = {"correlation": correlation("read_back")}
    fault = await world.control.add_fault("netsuite", account, read, "hold", effect="after")
    _, handle = await post(world, account)
    await world.control.wait_for_fault("netsuite", account, fault)
    (invoice,) = await world.control.records("netsuite", account, type="invoice")
    await world.control.delete_record("netsuite", account, "invoice", invoice["id"])
    await world.control.release("netsuite", account)
    await world.decide(await world.parked(handle, "read_back"), Verb.ROLL_BACK)
    return await ended(world, handle, Outcome.ROLLED_BACK)


# TellInvoice and InvoiceLifecycle.


async def looked_at_once(world: World) -> tuple[str, TrackedInvoice]:
    """Return an account and its invoice, which was looked at since it was issued."""
    account = await milestone_handed_over(world)
    invoice = await invoiced(world, account)
    await looked(world, invoice, 1)
    return account, invoice


def second_look(world: World, invoice: TrackedInvoice) -> Handle:
    """Return the second look at an invoice."""
    id_ = look_id(invoice.record.system, invoice.record.id, 2)
    return world.env.client.get_workflow_handle_for(TellInvoice.run, id_)


async def look_again(world: World, invoice: TrackedInvoice) -> Handle:
    """Look a second time, and return that look."""
    await look(world, invoice)
    handle = second_look(world, invoice)
    await world.eventually(lambda: there(handle), "the look")
    return handle


@scene
async def payment_told(world: World) -> WorkflowHistory:
    account, invoice = await looked_at_once(world)
    await pay(world, account, invoice, invoice.gross.amount)
    return await ended(world, await look_again(world, invoice), Outcome.COMPLETED)


@scene
async def money_told(world: World) -> WorkflowHistory:
    account = await milestone_handed_over(world)
    invoice = await invoiced(world, account)
    await pay(world, account, invoice, Decimal(500))
    await look(world, invoice)
    handle = second_look(world, invoice)
    await world.eventually(lambda: there(handle), "the look")
    return await ended(world, handle, Outcome.COMPLETED)


@scene
async def nothing_new(world: World) -> WorkflowHistory:
    _, invoice = await looked_at_once(world)
    return await ended(world, await look_again(world, invoice), Outcome.COMPLETED)


@scene
async def payment_not_told(world: World) -> WorkflowHistory:
    account, invoice = await looked_at_once(world)
    await pay(world, account, invoice, invoice.gross.amount)
    await refuse(world, account, "kantata", "tell_payment")
    handle = await look_again(world, invoice)
    item = await world.parked(handle, "tell_payment")
    await world.decide(item, Verb.SKIP, because="the PSA is told by hand")
    result: SagaResult = await world.result(handle)
    assert result.outcome in {Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE}, result
    return await handle.fetch_history()


@scene
async def paid_in_two_parts(world: World) -> WorkflowHistory:
    account, invoice = await looked_at_once(world)
    await pay(world, account, invoice, Decimal(500))
    await look(world, invoice)
    part = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    await pay(world, account, part, part.remaining.amount)
    await look(world, invoice)
    handle = life(world, invoice)
    await world.result(handle)
    return await handle.fetch_history()


@scene
async def opened_again(world: World) -> WorkflowHistory:
    account, invoice = await looked_at_once(world)
    payment = await pay(world, account, invoice, invoice.gross.amount)
    await look(world, invoice)
    await world.result(life(world, invoice))
    undo: dict[str, JsonValue] = {"apply": {"items": [{"doc": invoice.record.id, "apply": False}]}}
    await world.control.patch_record("netsuite", account, "customerPayment", payment, undo)
    await look(world, invoice)
    await looked(world, invoice, 3)
    running: WorkflowHistory = await life(world, invoice).fetch_history()
    await life(world, invoice).terminate("recorded")
    return running


def life(world: World, invoice: TrackedInvoice) -> Handle:
    """Return the latest workflow that looks after an invoice."""
    record = invoice.record
    return world.env.client.get_workflow_handle(invoice_id(record.system, record.id))


# CreditInvoice.


async def asked(world: World) -> tuple[str, CreditAnswer]:
    """Issue an invoice, and ask for a credit of all of it, to be billed again."""
    account = await handed_over(world)
    invoice = await invoiced(world, account)
    answer = await world.invoices.credit(
        invoice, (), CreditReason.REBILL, because="other hours were agreed", by="olivia"
    )
    assert answer.taken, answer.reasons
    return account, answer


async def decided(world: World, credit: str, verb: CreditVerb, by: str = "cara") -> CreditAnswer:
    """Decide about a credit, and return the answer."""
    standing = await world.invoices.find_credit(credit)
    return await world.invoices.decide(standing, verb, by=by, because="as was agreed")


def credit_saga(world: World, credit: str) -> Handle:
    """Return the saga of a credit."""
    return world.env.client.get_workflow_handle_for(CreditInvoice.run, credit)


@scene
async def credited_to_be_billed_again(world: World) -> WorkflowHistory:
    _, answer = await asked(world)
    assert not (await decided(world, answer.credit, CreditVerb.APPROVE, by="olivia")).taken
    assert (await decided(world, answer.credit, CreditVerb.APPROVE)).taken
    return await ended(world, credit_saga(world, answer.credit), Outcome.COMPLETED)


@scene
async def native_credit_billed_again(world: World) -> WorkflowHistory:
    account = await handed_over(world, crm=NO_CRM)
    invoice = await invoiced(world, account)
    memo = await credit_natively(world, account, invoice, Decimal(40))
    await look(world, invoice)
    seen = await seen_as(world, invoice, InvoiceState.PART_SETTLED)
    part = CreditedAmount(line=1, amount=Money(amount=Decimal(40), currency="USD"))
    told = await world.invoices.explain(seen, memo, [part], CreditReason.REBILL, by="fiona")
    return await ended(world, credit_saga(world, told.credit.id), Outcome.COMPLETED)


@scene
async def voided_to_be_billed_again(world: World) -> WorkflowHistory:
    method = BillingMethod.BILLING_ENGINE
    account = await milestone_handed_over(world, crm=NO_CRM, billing_method=method)
    world.voiding.add(account)
    invoice = await invoiced(world, account)
    answer = await world.invoices.credit(
        invoice, (), CreditReason.REBILL, because="wrong client", by="olivia", void=True
    )
    assert answer.taken, answer.reasons
    assert (await decided(world, answer.credit, CreditVerb.APPROVE)).taken
    return await ended(world, credit_saga(world, answer.credit), Outcome.COMPLETED)


@scene
async def credit_refused_by_a_person(world: World) -> WorkflowHistory:
    _, answer = await asked(world)
    assert (await decided(world, answer.credit, CreditVerb.REFUSE)).taken
    return await ended(world, credit_saga(world, answer.credit), Outcome.ROLLED_BACK)


@scene
async def credit_refused_by_the_erp(world: World) -> WorkflowHistory:
    account, answer = await asked(world)
    await refuse(world, account, "netsuite", "issue_credit")
    assert (await decided(world, answer.credit, CreditVerb.APPROVE)).taken
    return await ended(world, credit_saga(world, answer.credit), Outcome.ROLLED_BACK)


@scene
async def credit_unanswered_and_retried(world: World) -> WorkflowHistory:
    account, answer = await asked(world)
    await refuse(world, account, "netsuite", "issue_credit", "drop_after")
    assert (await decided(world, answer.credit, CreditVerb.APPROVE)).taken
    handle = credit_saga(world, answer.credit)
    await world.decide(await world.parked(handle, "issue_credit"), Verb.RETRY)
    return await ended(world, handle, Outcome.COMPLETED)
