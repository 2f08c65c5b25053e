"""What the fault matrix runs: each saga over seeded situations that together go through every step.

A further saga joins the matrix with its subjects here.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, ClassVar

from temporalio.client import WorkflowHandle

from canonical.credit_invoice import CreditedAmount
from canonical.engagement import BillingMethod
from canonical.ids import look_id
from canonical.invoicing import CreditReason
from canonical.lifecycle import InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.saga import SagaResult
from tests.support.billing import (
    AT_PROJECT,
    assert_billed,
    assert_unbilled,
    billed_account,
    start_run,
)
from tests.support.invoicing import (
    MILESTONE_CENTS,
    NO_CRM,
    approved_milestone,
    assert_invoiced,
    assert_queued_again,
    handed_over,
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
from workflows.billing_run import BillingRun
from workflows.credit_invoice import CreditInvoice
from workflows.engine import Saga
from workflows.invoice_lifecycle import TellInvoice
from workflows.milestone_to_invoice import MilestoneToInvoice
from workflows.opportunity_to_project import OpportunityToProject
from workflows.post_invoice import PostInvoice

Handle = WorkflowHandle[Any, SagaResult]


class Subject(ABC):
    """One saga over one situation."""

    saga: ClassVar[type[Saga[Any]]]
    own_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of records that were there before and that the saga owns."""
    stop_at: ClassVar[str]
    """The last step with an undo: refused there, everything is there to be undone."""
    any_order: ClassVar[tuple[frozenset[str], ...]] = ()
    """Steps of one set do not depend on one another."""
    branches: ClassVar[tuple[frozenset[str], ...]] = ()
    """Steps of different branches do not depend on one another."""
    vendors: ClassVar[tuple[str, ...]]

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    async def account(self, world: World) -> str:
        """Return a fresh account in which the situation holds."""

    @abstractmethod
    async def start(self, world: World, account: str) -> Handle:
        """Start the saga there."""

    @abstractmethod
    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that Dealthread's own store agrees with the systems."""

    def independent(self, one: str, other: str) -> bool:
        """Return whether two steps may be undone in any order."""
        if any({one, other} <= steps for steps in self.any_order):
            return True
        place = {step: i for i, branch in enumerate(self.branches) for step in branch}
        return one in place and other in place and place[one] != place[other]


class OpportunitySubject(Subject):
    """OpportunityToProject over a seeded deal."""

    saga = OpportunityToProject
    own_fields = frozenset(
        {
            "ERP_Customer_Id__c",
            "ERP_Project_Id__c",
            "PSA_Project_Id__c",
            "Integration_Status__c",
        }
    )
    stop_at = "write_back"
    any_order = (frozenset({"link_psa_project", "link_erp_project"}),)
    branches = (
        frozenset({"provision_erp_project"}),
        frozenset(
            {
                "provision_psa_client",
                "provision_psa_project",
                "provision_tasks",
                "provision_milestones",
            }
        ),
    )
    vendors = ("salesforce", "kantata", "netsuite")

    async def account(self, world: World) -> str:
        """Seed the deals."""
        return await world.account()

    async def start(self, world: World, account: str) -> Handle:
        """Start the deal's saga."""
        return await world.start(account, self.name)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """No money is counted yet."""


class BillingSubject(Subject):
    """BillingRun over a project with approved time and expenses."""

    saga = BillingRun
    own_fields = frozenset({"invoice_id", "is_invoiced", "user_can_edit"})
    stop_at = "post_costs"
    any_order = (frozenset({"post_charges", "post_costs"}),)
    vendors = ("kantata", "netsuite", "workday")

    async def account(self, world: World) -> str:
        """Seed a project whose time and expenses are approved, and its contract."""
        return await billed_account(world)

    async def start(self, world: World, account: str) -> Handle:
        """Start the project's first billing run."""
        return await start_run(world, account, AT_PROJECT)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that PSA, subledger and ERP are equal to the cent, or nothing is there."""
        await (assert_billed if done else assert_unbilled)(world, account)


class MilestoneSubject(Subject):
    """MilestoneToInvoice over a milestone that its manager has approved."""

    saga = MilestoneToInvoice
    stop_at = "mark_eligible"
    vendors = ("kantata",)

    async def account(self, world: World) -> str:
        """Seed a project with an approved milestone."""
        account, _ = await approved_milestone(world, crm=NO_CRM)
        return account

    async def start(self, world: World, account: str) -> Handle:
        """Start the saga of the project's only milestone."""
        (milestone,) = await live_ids(world, account, "billing_milestones")
        return await start_milestone(world, account, milestone)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that the amount waits to be drafted, or that nothing of it is reserved."""
        waiting = await world.store.drafts.billables(psa=f"kantata@{account}")
        assert [each.amount.minor_units for each in waiting] == ([MILESTONE_CENTS] if done else [])


class PostingSubject(Subject):
    """PostInvoice over a released draft."""

    saga = PostInvoice
    vendors = ("kantata", "netsuite", "stripe")

    def __init__(self, name: str, stop_at: str, begin: Callable[[World], Awaitable[str]]) -> None:
        """Say where to stop, and how an account comes to lines that wait to be drafted."""
        super().__init__(name)
        self.stop_at = stop_at  # type: ignore[misc]  # of this subject, not of its class
        self._begin = begin

    async def account(self, world: World) -> str:
        """Bring a draft to the billing queue: of a milestone, or of hours with charges."""
        account = await self._begin(world)
        draft = await queued(world, account)
        world.notes[account] = draft.id
        return account

    async def start(self, world: World, account: str) -> Handle:
        """Release the draft, which starts its posting."""
        draft = await world.store.drafts.get(world.notes[account])
        answer = await release(world, draft)
        assert answer.taken, answer.reasons
        handle = posting(world, draft)
        await world.eventually(lambda: there(handle), "the posting")
        return handle

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that all sides have one invoice, or that the draft waits in the queue again."""
        draft = await world.store.drafts.get(world.notes[account])
        await (assert_invoiced if done else assert_queued_again)(world, account, draft)


class LookSubject(Subject):
    """TellInvoice over an invoice that was paid since the last look."""

    saga = TellInvoice
    stop_at = ""
    vendors = ("netsuite", "kantata", "salesforce")

    async def account(self, world: World) -> str:
        """Let an invoice be issued, looked at once, and paid."""
        account = await milestone_handed_over(world)
        invoice = await invoiced(world, account)
        await looked(world, invoice, 1)
        await pay(world, account, invoice, invoice.gross.amount)
        world.notes[account] = invoice.record.id
        return account

    async def start(self, world: World, account: str) -> Handle:
        """Signal that something may have changed."""
        invoice = await self._invoice(world, account)
        await look(world, invoice)
        handle = world.env.client.get_workflow_handle_for(
            TellInvoice.run, look_id(invoice.record.system, invoice.record.id, 2)
        )
        await world.eventually(lambda: there(handle), "the look")
        return handle

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that the invoice is known to be settled, or as it was."""
        invoice = await self._invoice(world, account)
        assert (invoice.state is InvoiceState.SETTLED) == done

    async def _invoice(self, world: World, account: str) -> TrackedInvoice:
        return await world.store.invoices.get(f"netsuite@{account}", world.notes[account])


class CreditSubject(Subject):
    """CreditInvoice over an invoice that is billed again, as a whole or in part."""

    saga = CreditInvoice
    stop_at = ""
    vendors = ("netsuite", "kantata")

    def __init__(self, name: str, part: Decimal | None = None) -> None:
        """Say how much of the first line is billed again; None: all of it."""
        super().__init__(name)
        self._part = part

    async def account(self, world: World) -> str:
        """Let an invoice be issued and looked at once."""
        account = await milestone_handed_over(world, crm=NO_CRM)
        invoice = await invoiced(world, account)
        await looked(world, invoice, 1)
        world.notes[account] = invoice.record.id
        return account

    async def start(self, world: World, account: str) -> Handle:
        """Ask for the credit; whoever answers the gate approves it."""
        invoice = await self._invoice(world, account)
        part = self._part and Money(amount=self._part, currency=invoice.currency)
        lines = [CreditedAmount(line=1, amount=part)] if part else []
        asked = await world.invoices.credit(
            invoice, lines, CreditReason.REBILL, because="wrong period", by="olivia"
        )
        assert asked.taken, asked.reasons
        return world.env.client.get_workflow_handle_for(CreditInvoice.run, asked.credit)

    async def assert_books(self, world: World, account: str, *, done: bool) -> None:
        """Assert that the amount is billed again, once, or stays invoiced."""
        invoice = await self._invoice(world, account)
        waiting = await world.store.drafts.billables(psa=f"kantata@{account}")
        assert len(waiting) == (1 if done else 0)
        if done:
            partly = InvoiceState.PART_SETTLED if self._part else InvoiceState.CREDITED
            await seen_as(world, invoice, partly)

    async def _invoice(self, world: World, account: str) -> TrackedInvoice:
        return await world.store.invoices.get(f"netsuite@{account}", world.notes[account])


async def live_ids(world: World, account: str, type_: str) -> list[str]:
    """Return the ids of the PSA's live records of one type."""
    records = await world.control.records("kantata", account, type=type_)
    return [record["id"] for record in records if record["live"]]


async def _routed_milestone(world: World) -> str:
    return await milestone_handed_over(world, crm=NO_CRM, routed=True)


async def _charged_hours(world: World) -> str:
    return await handed_over(world, crm=NO_CRM)


async def _engine_milestone(world: World) -> str:
    method = BillingMethod.BILLING_ENGINE
    return await milestone_handed_over(world, crm=NO_CRM, billing_method=method)


BY_STRIPE = "a milestone, billed by Stripe"
SUBJECTS: tuple[Subject, ...] = (
    OpportunitySubject("fixed-de"),
    OpportunitySubject("other-subsidiary"),
    BillingSubject("a month of a team"),
    MilestoneSubject("an approved milestone"),
    PostingSubject("a milestone, approved in the ERP", "draft_invoice", _routed_milestone),
    PostingSubject("hours with charges", "ready_charges", _charged_hours),
    PostingSubject(BY_STRIPE, "draft_invoice", _engine_milestone),
    LookSubject("a paid invoice"),
    CreditSubject("an invoice billed again"),
    CreditSubject("an invoice billed again in part", Decimal(40)),
)
"""For a step, the first of them whose clean run has it is used."""
