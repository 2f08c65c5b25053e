"""A milestone on the real server: provisioned, completed by its manager, reserved, drafted."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from canonical.client_pos import ClientPo
from canonical.draft_acts import Review
from canonical.drafts import Draft, DraftState, LineState
from canonical.ids import milestone_to_invoice_id
from canonical.invoicing import PsaMilestone
from canonical.milestone_to_invoice import NOT_APPROVED, MilestoneChanged, MilestoneInput
from canonical.money import Money
from canonical.saga import Outcome, SagaResult, Verb
from operations.sagas import SAGA_QUEUE
from tests.contract.psa_invoicing_role import Person
from tests.sagas.matrix import correlation
from tests.support.billing import amount
from tests.support.invoicing import drafted, in_state, invoices, release
from tests.support.world import World
from workflows.milestone_to_invoice import MilestoneToInvoice

Handle = WorkflowHandle[Any, SagaResult]

DEAL = "two-entity"
"""It has a fixed fee of 150,000 USD, delivered by the German company: two milestones of 75,000."""
FIRST, SECOND = "Build accepted", "Go-live"
MANAGER = "maya.chen@example.com"


@dataclass(frozen=True)
class Provisioned:
    """A deal that OpportunityToProject has provisioned, and who delivers it."""

    world: World
    account: str
    project_id: str

    @property
    def psa(self) -> str:
        """Name of the connection."""
        return f"kantata@{self.account}"

    @property
    def manager(self) -> Person:
        """The project manager, in the PSA's own screen."""
        return Person(self.world.control, self.account)

    async def milestones(self) -> tuple[PsaMilestone, ...]:
        """Return the project's milestones as they stand."""
        read = self.world.ports.psa(self.psa).read_milestones
        found: tuple[PsaMilestone, ...] = await read(self.project_id)
        return found

    async def ids(self) -> list[str]:
        """Return the milestones' ids, in their order."""
        return [each.record.id for each in await self.milestones()]

    async def start(self, milestone_id: str) -> Handle:
        """Start the saga of a milestone, as an event about it does."""
        return await self.world.env.client.start_workflow(
            MilestoneToInvoice.run,
            MilestoneInput(psa=self.psa, milestone_id=milestone_id),
            id=milestone_to_invoice_id(self.psa, milestone_id),
            task_queue=SAGA_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="changed",
            start_signal_args=[MilestoneChanged()],
        )

    async def billed(self, milestone_id: str) -> Outcome:
        """Complete a milestone's task and carry the milestone to drafting."""
        await self.manager.complete(milestone_id)
        return (await self.world.result(await self.start(milestone_id))).outcome

    async def draft(self) -> Draft:
        """Return the one draft that is made of what waits."""
        (made,) = await drafted(self.world, self.account, self.project_id)
        return made

    async def note(self, milestone_id: str) -> str:
        """Return what is noted on a milestone."""
        found = {each.record.id: each.eligible for each in await self.milestones()}
        return found[milestone_id]

    async def change(self, milestone_id: str, **fields: JsonValue) -> None:
        """Change a milestone in the PSA's own screen."""
        await self.world.control.patch_record(
            "kantata", self.account, "billing_milestones", milestone_id, fields
        )


async def provisioned(world: World) -> Provisioned:
    """Return a deal with milestones, open for time."""
    account = await world.account()
    result = await world.finished(await world.start(account, DEAL))
    assert result.outcome is Outcome.COMPLETED
    receipts = {step.step: step.receipt for step in result.steps}
    project = receipts["provision_psa_project"]
    assert project is not None
    return Provisioned(world, account, project.record.id)


async def queued(deal: Provisioned, draft: Draft) -> Draft:
    """Return a draft once it was reviewed, and its client PO is known.

    Clients and their POs are the same in every account, so this one is for all cases.
    """
    value = Money(amount=Decimal(10_000_000), currency=draft.currency)
    po = ClientPo(
        client_id=draft.client_id,
        number=draft.client_po,
        amount=value,
        valid_from=date(2026, 1, 1),
    )
    await deal.world.store.client_pos.put(po)
    answer = await deal.world.queue.act(draft.id, Review(by="olivia"))
    assert answer.taken, answer.reasons
    return await deal.world.store.drafts.get(draft.id)


async def test_a_provisioned_milestone_names_its_line_and_waits_for_its_task(world: World) -> None:
    deal = await provisioned(world)
    first, second = await deal.milestones()
    assert [each.approved for each in (first, second)] == [False, False]
    line, _, named = first.external_ref.partition("/")
    assert (line[:3], named[:3]) == ("00k", "00o")
    assert second.external_ref.startswith(f"{line}/")
    assert first.external_ref != second.external_ref
    stories = {await deal.manager.story_of(each) for each in await deal.ids()}
    assert len(stories) == 2


async def test_a_completed_milestone_is_drafted_and_invoiced(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    assert await deal.note(first) == "eligible"
    draft = await deal.draft()
    (line,) = draft.lines
    assert (str(draft.net), line.narrative) == ("75,000.00 USD", FIRST)
    assert MANAGER in draft.preparers
    assert (await release(world, await queued(deal, draft))).taken
    await in_state(world, draft.id, DraftState.INVOICED)
    (invoice,) = await invoices(world, deal.account)
    assert Money(amount=amount(invoice["subtotal"]), currency="USD") == draft.net
    # The event again finds it billed, and makes nothing.
    assert (await world.result(await deal.start(first))).outcome is Outcome.COMPLETED
    assert await drafted(world, deal.account, deal.project_id) == []


async def test_one_that_is_not_approved_ends_and_a_later_event_begins_anew(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    ended = await world.result(await deal.start(first))
    assert (ended.outcome, ended.reason) == (Outcome.ROLLED_BACK, NOT_APPROVED)
    assert ended.generation == 1
    assert await deal.note(first) == ""
    assert await drafted(world, deal.account, deal.project_id) == []
    await deal.manager.complete(first)
    again = await world.result(await deal.start(first))
    assert (again.outcome, again.generation) == (Outcome.COMPLETED, ended.generation + 1)
    assert (await deal.draft()).net.amount == 75_000


async def test_an_approval_that_comes_while_it_is_read_is_not_lost(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    reading: dict[str, JsonValue] = {
        "correlation": correlation("plan_milestone"),
        "path": "/stories",
    }
    # What the PSA answers is from before the approval.
    held = await world.control.add_fault("kantata", deal.account, reading, "hold", effect="before")
    handle = await deal.start(first)
    await world.control.wait_for_fault("kantata", deal.account, held)
    await deal.manager.complete(first)
    assert (await deal.start(first)).id == handle.id
    await world.control.release("kantata", deal.account)
    ended = await world.result(handle)
    assert (ended.outcome, ended.generation) == (Outcome.COMPLETED, 2)
    assert (await deal.draft()).net.amount == 75_000


async def test_one_out_of_sequence_waits_for_its_predecessor(world: World) -> None:
    deal = await provisioned(world)
    first, second = await deal.ids()
    await deal.manager.complete(second)
    handle = await deal.start(second)
    item = await world.parked(handle, "plan_milestone")
    assert item.failure.reason == "out_of_sequence"
    assert f"{FIRST} comes before {SECOND}" in item.failure.message
    assert await deal.note(second) == ""
    assert await deal.billed(first) is Outcome.COMPLETED
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    assert (await deal.draft()).net.amount == 150_000


async def test_more_than_the_contract_is_worth_parks_until_it_is_corrected(world: World) -> None:
    deal = await provisioned(world)
    first, second = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    await deal.change(second, amount_in_cents=75_000_01)
    await deal.manager.complete(second)
    handle = await deal.start(second)
    item = await world.parked(handle, "plan_milestone")
    assert item.failure.reason == "over_contract"
    assert "75,000.00 USD is left" in item.failure.message
    await deal.change(second, amount_in_cents=75_000_00)
    await world.decide(item, Verb.RETRY)
    assert (await world.result(handle)).outcome is Outcome.COMPLETED
    assert (await deal.draft()).net.amount == 150_000


async def test_one_opened_again_after_the_release_comes_back_with_its_line_held(
    world: World,
) -> None:
    deal = await provisioned(world)
    first, second = await deal.ids()
    assert await deal.billed(first) is Outcome.COMPLETED
    assert await deal.billed(second) is Outcome.COMPLETED
    draft = await queued(deal, await deal.draft())
    look: dict[str, JsonValue] = {"correlation": correlation("verify_draft")}
    held = await world.control.add_fault("kantata", deal.account, look, "hold", effect="after")
    assert (await release(world, draft)).taken
    await world.control.wait_for_fault("kantata", deal.account, held)
    await deal.manager.reopen(second)
    await world.control.release("kantata", deal.account)
    back = await in_state(world, draft.id, DraftState.QUEUED)
    assert [(line.narrative, line.state) for line in back.lines] == [
        (FIRST, LineState.IN),
        (SECOND, LineState.HELD),
    ]
    assert f"milestone {second} is not approved any more" in back.lines[1].because
    assert await invoices(world, deal.account) == []
    assert (await release(world, back)).taken
    await in_state(world, draft.id, DraftState.INVOICED)
    (invoice,) = await invoices(world, deal.account)
    assert amount(invoice["subtotal"]) == 75_000


async def test_the_note_goes_with_a_rollback(world: World) -> None:
    deal = await provisioned(world)
    first, _ = await deal.ids()
    await deal.manager.complete(first)
    before = await world.live(deal.account)
    write: dict[str, JsonValue] = {"write": True, "correlation": correlation("mark_eligible")}
    await world.control.add_fault("kantata", deal.account, write, "fail_after")
    handle = await deal.start(first)
    item = await world.parked(handle, "mark_eligible")
    assert await deal.note(first) == "eligible"
    await world.decide(item, Verb.ROLL_BACK)
    assert (await world.result(handle)).outcome is Outcome.ROLLED_BACK
    assert await deal.note(first) == ""
    assert await world.live(deal.account) == before
    assert await drafted(world, deal.account, deal.project_id) == []
