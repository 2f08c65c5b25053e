"""Drafts of a project's billed work, carried to invoices by the people of the world."""

from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from canonical.draft_acts import DraftAnswer, Release, Review
from canonical.drafts import Draft, DraftState
from canonical.engagement import BillingMethod
from canonical.ids import (
    external_id,
    invoice_id,
    milestone_to_invoice_id,
    posting_id,
    step_key,
)
from canonical.invoice_lifecycle import InvoiceKey, LifecycleInput, LookAgain
from canonical.invoicing import ConfirmInvoice, PsaInvoice
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.milestone_to_invoice import MilestoneChanged, MilestoneInput
from canonical.money import Money
from canonical.records import RecordRef
from canonical.saga import SagaResult
from operations.sagas import SAGA_QUEUE
from tests.contract.psa_invoicing_role import Person
from tests.support.billing import (
    AT_PROJECT,
    CLIENT,
    NUMBER,
    amount,
    engagement,
    entries_of,
    live,
    start_run,
)
from tests.support.world import World
from workflows.invoice_lifecycle import InvoiceLifecycle
from workflows.milestone_to_invoice import MilestoneToInvoice
from workflows.post_invoice import PostInvoice

DEAL = "tm-us"
MILESTONE_CENTS = 150_000
GENERATIONS = range(1, 5)
SUBSIDIARY = "2"


NO_CRM = "imported"
"""Not a CRM: what an engagement begins with that was imported, so that no CRM hears of it."""


async def contracted(
    world: World,
    *,
    scenario: str = "time-small",
    crm: str = "salesforce",
    routed: bool = False,
    **line: Any,
) -> str:
    """Return an account with approved work on a project; its deal is in the CRM, if it has one.

    `routed`: the ERP's invoices wait for approval there.
    """
    account = await world.account(
        {
            "salesforce": "standard",
            "kantata": scenario,
            "netsuite": scenario,
            "workday": "standard",
            "stripe": "empty",
        },
        count=NUMBER + 1,
    )
    world.ports.settings[f"netsuite@{account}"] = {"approval_routing": routed}
    if crm == NO_CRM:
        # Nobody is shown the deal's money then, which the invoice's own looks write meanwhile.
        world.ports.settings[f"kantata@{account}"] = {"finance_field": ""}
    deal = await world.deal_id(account, DEAL)
    await world.store.engagements.put(engagement(account, crm=crm, deal=deal, **line))
    noted = await entries_of(world, account)
    await world.store.changes.note(f"kantata@{account}", AT_PROJECT, noted)
    return account


async def handed_over(world: World, **more: Any) -> str:
    """Return an account whose project was billed once: its lines wait to be drafted."""
    account = await contracted(world, **more)
    result = await world.result(await start_run(world, account))
    assert result.outcome == "completed", result
    return account


async def approved_milestone(world: World, **more: Any) -> tuple[str, str]:
    """Return an account with a milestone of 1,500.00 that its manager has approved; and its id."""
    account = await contracted(world, **{"billing_method": BillingMethod.ERP_LINES, **more})
    manager = Person(world.control, account)
    milestone = await manager.plan_milestone(AT_PROJECT, MILESTONE_CENTS)
    await manager.complete(milestone)
    return account, milestone


async def start_milestone(
    world: World, account: str, milestone: str
) -> WorkflowHandle[MilestoneToInvoice, SagaResult]:
    """Start the saga of a milestone, as the gateway does when something about it changed."""
    psa = f"kantata@{account}"
    return await world.env.client.start_workflow(
        MilestoneToInvoice.run,
        MilestoneInput(psa=psa, milestone_id=milestone),
        id=milestone_to_invoice_id(psa, milestone),
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="changed",
        start_signal_args=[MilestoneChanged()],
    )


async def milestone_handed_over(world: World, **more: Any) -> str:
    """Return an account whose approved milestone waits to be drafted."""
    account, milestone = await approved_milestone(world, **more)
    result = await world.result(await start_milestone(world, account, milestone))
    assert result.outcome == "completed", result
    return account


async def drafted(world: World, account: str, project_id: str = AT_PROJECT) -> list[Draft]:
    """Return the drafts that are made of what waits, in review."""
    made = await world.queue.assemble(psa=f"kantata@{account}", project_id=project_id)
    return [await world.store.drafts.get(draft) for draft in made.drafts]


async def queued(world: World, account: str) -> Draft:
    """Return the one draft of an account, reviewed and in the billing queue."""
    (draft,) = await drafted(world, account)
    answer = await world.queue.act(draft.id, Review(by="olivia"))
    assert answer.taken, answer.reasons
    return await world.store.drafts.get(draft.id)


async def release(world: World, draft: Draft, by: str = "cara") -> DraftAnswer:
    """Release a draft as it is, and return the answer."""
    current = await world.store.drafts.get(draft.id)
    return await world.queue.act(draft.id, Release(by=by, content_hash=current.content_hash))


def posting(world: World, draft: Draft, number: int = 1) -> WorkflowHandle[PostInvoice, SagaResult]:
    """Return the posting of one release of a draft."""
    return world.env.client.get_workflow_handle_for(PostInvoice.run, posting_id(draft.id, number))


async def invoiced(world: World, account: str) -> TrackedInvoice:
    """Return the invoice of an account's one draft, issued and confirmed everywhere."""
    draft = await queued(world, account)
    answer = await release(world, draft)
    assert answer.taken, answer.reasons
    await in_state(world, draft.id, DraftState.INVOICED)
    await world.result(posting(world, draft))
    return await tracked(world, draft)


async def tracked(world: World, draft: Draft) -> TrackedInvoice:
    """Return the invoice that a draft became."""
    key = await world.store.draft_sources.invoice_of(draft.id)
    assert key is not None
    return await world.store.invoices.get(key.connection, key.invoice_id)


async def in_state(world: World, draft: str, *states: DraftState) -> Draft:
    """Wait until a draft is in one of these states, and return it."""

    async def there() -> Draft | None:
        found = await world.store.drafts.get(draft)
        return found if found.state in states else None

    found: Draft = await world.eventually(there, f"{draft} in {', '.join(states)}")
    return found


async def look(world: World, invoice: TrackedInvoice) -> None:
    """Signal that something about an invoice may have changed, as poll and webhooks do."""
    key = InvoiceKey(connection=invoice.record.system, invoice_id=invoice.record.id)
    await world.env.client.start_workflow(
        InvoiceLifecycle.run,
        LifecycleInput(of=key),
        id=invoice_id(key.connection, key.invoice_id),
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="look",
        start_signal_args=[LookAgain()],
    )


async def looked(world: World, invoice: TrackedInvoice, number: int) -> None:
    """Wait until a look at an invoice has ended."""
    handle = world.env.client.get_workflow_handle_for(
        InvoiceLifecycle.run, invoice_id(invoice.record.system, invoice.record.id)
    )

    async def ended() -> bool:
        if not await there(handle):
            return False
        last = await handle.query(InvoiceLifecycle.view)
        return last is not None and last.number >= number

    await world.eventually(ended, f"the end of look {number}")


async def there(handle: WorkflowHandle[Any, Any]) -> bool:
    """Return whether a workflow was started already."""
    try:
        await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def seen_as(
    world: World, invoice: TrackedInvoice, *states: InvoiceState, change: int = 0
) -> TrackedInvoice:
    """Wait until an invoice is seen in one of these states, at least at that change."""

    async def there() -> TrackedInvoice | None:
        found = await world.store.invoices.get(invoice.record.system, invoice.record.id)
        return found if found.state in states and found.change >= change else None

    found: TrackedInvoice = await world.eventually(there, f"invoice {', '.join(states)}")
    return found


async def pay(world: World, account: str, invoice: TrackedInvoice, paid: Decimal) -> str:
    """Let the client pay, as a clerk enters it in the ERP's screen; return the payment."""
    left = min(paid, invoice.remaining.amount)
    line: dict[str, JsonValue] = {"doc": invoice.record.id, "apply": True, "amount": float(left)}
    made = await world.control.put_record(
        "netsuite",
        account,
        "customerPayment",
        {
            "customer": CLIENT,
            "subsidiary": SUBSIDIARY,
            "currency": "1",
            "tranDate": "2026-11-28",
            "payment": float(paid),
            "apply": {"items": [line]},
        },
    )
    return str(made["id"])


async def invoices(world: World, account: str) -> list[dict[str, Any]]:
    """Return the ERP's invoices of an account."""
    return await live(world, "netsuite", account, "invoice")


async def mirror(world: World, account: str, draft: Draft, number: int = 1) -> PsaInvoice | None:
    """Return the PSA's mirror of a posting's share of the project, if there is one."""
    psa = world.ports.psa(f"kantata@{account}")
    nothing = ConfirmInvoice(
        connection=f"kantata@{account}",
        project=RecordRef(system=f"kantata@{account}", type="project", id=AT_PROJECT),
        number="",
        on=draft.on,
        net=draft.net,
    )
    for generation in GENERATIONS:
        key = step_key(posting_id(draft.id, number), generation, "confirm_share", AT_PROJECT)
        found: PsaInvoice | None = await psa.find_confirmation(external_id(key), nothing)
        if found is not None:
            return found
    return None


async def assert_invoiced(world: World, account: str, draft: Draft) -> None:
    """Assert that ERP, subledger and PSA have one invoice of the draft, equal to the cent, net."""
    current = await world.store.drafts.get(draft.id)
    assert current.state is DraftState.INVOICED
    known = await tracked(world, current)
    issued = await world.ports.issuer(current.connection).read_invoice(known.record)
    assert issued.net == current.net
    assert issued.issued
    if current.method is not BillingMethod.BILLING_ENGINE:
        (invoice,) = await invoices(world, account)
        assert amount(invoice["subtotal"]) == current.net.amount
    assert known.net == current.net
    assert sum(line.issued.amount.amount for line in known.lines) == current.net.amount
    mirrored = await mirror(world, account, current, current.posting)
    assert mirrored is not None
    assert mirrored.net == current.net
    assert not mirrored.draft


async def assert_queued_again(world: World, account: str, draft: Draft) -> None:
    """Assert that a posting that came to nothing left nothing, and the draft waits in the queue."""
    current = await in_state(world, draft.id, DraftState.QUEUED)
    assert current.returned
    assert await invoices(world, account) == []
    assert await mirror(world, account, current, current.posting) is None
    charges = await live(world, "netsuite", account, "charge")
    assert {each["stage"]["id"] for each in charges} <= {"HOLD_FOR_BILLING"}


def total(values: list[dict[str, Any]], field: str, currency: str) -> Money:
    """Return the sum of an amount over records."""
    return Money(
        amount=sum((amount(each[field]) for each in values), Decimal(0)), currency=currency
    )
