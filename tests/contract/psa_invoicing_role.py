"""What the suites of a PSA's milestones and invoices share: facts, people's acts, requests.

The acts of people take the control client and an account, so that other suites can use them too.
"""

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import JsonValue

from adapters.psa_port import Psa
from canonical.billing import Reservation, ReserveEntries
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.ids import external_id
from canonical.invoicing import ConfirmedEntries, ConfirmInvoice, PsaInvoice, RecordPayment
from canonical.money import Money
from canonical.records import RecordRef
from simulators.kit.control import Control
from simulators.kit.records import RecordState
from tests.contract.suite import Scene

Fields = dict[str, JsonValue]
PERSON: Final = "maya.chen@example.com"
"""Who acts in the PSA's own screen where nobody else is named."""
KEY: Final = external_id("invoice-draft/US/c/USD/g/2026-11/1/1:confirm/psa/5001")
RUN_KEY: Final = external_id("billing-run/psa/5001/2026-11/1/1:reserve_entries")
MILESTONES_KEY: Final = external_id("opportunity-to-project/crm/006/1:provision_milestones")
DAY: Final = date(2026, 11, 30)


@dataclass(frozen=True)
class InvoicingFacts:
    """What the suites must know of a vendor to look behind its API."""

    project: str
    """Record type of projects; likewise the others."""
    lead: str
    """Field of a project that names who leads it, by user id."""
    story: str
    milestone: str
    invoice: str
    payment: str
    item: str
    post: str
    file: str
    projects: tuple[str, ...]
    """Of the scenario, in its order: USD, EUR, GBP, JPY."""
    dinar_project: Fields
    """A project in a currency of three decimals."""
    cancelled: str
    paid: str
    cancel: Fields
    absent_id: str
    bad_ids: tuple[str, ...]


PSAS: Final = {
    "kantata": InvoicingFacts(
        project="workspaces",
        lead="primary_maven_id",
        story="stories",
        milestone="billing_milestones",
        invoice="invoices",
        payment="external_payments",
        item="additional_items",
        post="posts",
        file="attachments",
        projects=("5001", "5002", "5003", "5004"),
        dinar_project={"title": "Kuwait", "currency": "KWD", "rate_card_id": "9"},
        cancelled="cancelled",
        paid="accepted payment",
        cancel={"status": "cancelled"},
        absent_id="999999",
        bad_ids=("", "12a", "1,2", "../users/2"),
    )
}


def facts(scene: Scene[Psa]) -> InvoicingFacts:
    return PSAS[scene.vendor]


def money(amount: str | Decimal, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def record(scene: Scene[Psa], type_: str, id_: str) -> RecordRef:
    return RecordRef(system=scene.connection, type=type_, id=id_)


def project(scene: Scene[Psa], number: int = 0) -> RecordRef:
    return record(scene, "project", facts(scene).projects[number])


# What people do in the PSA's own screen.


@dataclass(frozen=True)
class Person:
    """Somebody who works in one account's own screen."""

    control: Control
    account: str
    vendor: str = "kantata"

    async def plan_milestone(
        self,
        project_id: str,
        cents: int,
        title: str = "Go-live",
        due: str = "2027-05-31",
        *,
        tied: bool = True,
    ) -> str:
        """Plan a billing milestone, tied to a task of its own unless said; return its id."""
        known = PSAS[self.vendor]
        fields: Fields = {
            "workspace_id": project_id,
            "title": title,
            "amount_in_cents": cents,
            "date_to_invoice": due,
        }
        if tied:
            story = await self._put(known.story, await self._task(project_id, title))
            fields |= {"billing_type": "upon_completion", "story_id": story}
        return await self._put(known.milestone, fields)

    async def tie(self, milestone_id: str) -> str:
        """Tie a billing milestone that has only a date to a task of its own; return the task."""
        known = PSAS[self.vendor]
        fields = (await self.milestone(milestone_id))["fields"]
        task = await self._task(str(fields["workspace_id"]), str(fields["title"]))
        story = await self._put(known.story, task)
        tied: Fields = {"story_id": story, "billing_type": "upon_completion"}
        await self._patch(known.milestone, milestone_id, tied)
        return story

    async def complete(self, milestone_id: str, by: str = "3") -> str:
        """Complete the task of a billing milestone, which approves it; return the task."""
        story = await self.story_of(milestone_id) or await self.tie(milestone_id)
        await self._patch(
            PSAS[self.vendor].story, story, {"state": "completed", "acting_user_id": by}
        )
        return story

    async def reopen(self, milestone_id: str) -> None:
        """Open the task of a billing milestone again, which takes the approval back."""
        story = await self.story_of(milestone_id)
        await self._patch(PSAS[self.vendor].story, story, {"state": "started"})

    async def invoice_milestone(self, milestone_id: str) -> str:
        """Put a billing milestone on an invoice by hand and issue it; return the invoice."""
        fields = (await self.milestone(milestone_id))["fields"]
        invoice: Fields = {
            "workspace_id": fields["workspace_id"],
            "payment_schedule": 30,
            "billing_milestone_ids": [milestone_id],
        }
        return await self._put(PSAS[self.vendor].invoice, invoice)

    async def accept_with_file(self, milestone_id: str, filename: str) -> None:
        """Post the client's acceptance on the milestone's task."""
        known = PSAS[self.vendor]
        fields = (await self.milestone(milestone_id))["fields"]
        file = await self._put(known.file, {"filename": filename, "type": "post_attachment"})
        post: Fields = {
            "message": "Accepted",
            "workspace_id": fields["workspace_id"],
            "story_id": fields["story_id"],
            "attachment_ids": [file],
        }
        await self._put(known.post, post)

    async def milestone(self, milestone_id: str) -> RecordState:
        """Return a billing milestone as it stands."""
        found = await self.control.records(
            self.vendor, self.account, type=PSAS[self.vendor].milestone
        )
        return next(each for each in found if each["id"] == milestone_id)

    async def story_of(self, milestone_id: str) -> str:
        """Return the task that a billing milestone is tied to, or an empty string."""
        return str((await self.milestone(milestone_id))["fields"].get("story_id") or "")

    async def _task(self, project_id: str, title: str) -> Fields:
        return {"workspace_id": project_id, "title": title, "story_type": "milestone"}

    async def _put(self, type_: str, fields: Fields) -> str:
        return (await self.control.put_record(self.vendor, self.account, type_, fields))["id"]

    async def _patch(self, type_: str, id_: str, fields: Fields) -> None:
        await self.control.patch_record(self.vendor, self.account, type_, id_, fields)


def person(scene: Scene[Psa]) -> Person:
    return Person(scene.control, scene.name, scene.vendor)


# What stands before an invoice is confirmed.


async def entries(scene: Scene[Psa], number: int = 0) -> tuple[Entry, ...]:
    pages = scene.adapter.list_entries(facts(scene).projects[number])
    return tuple([entry async for page in pages for entry in page])


async def reserve(scene: Scene[Psa], chosen: tuple[EntryRef, ...], number: int = 0) -> Reservation:
    request = ReserveEntries(
        connection="psa", project=project(scene, number), entries=chosen, on=DAY, title="Run 1"
    )
    return await scene.adapter.reserve_entries(RUN_KEY, request)


@dataclass(frozen=True)
class Billed:
    """A billing run's reservation, and what an invoice is to confirm of it."""

    reserved: Reservation
    request: ConfirmInvoice

    def at(self, net: str | Decimal) -> "Billed":
        """Return the same at another net."""
        amount = money(net, self.request.net.currency)
        return replace(self, request=self.request.model_copy(update={"net": amount}))


def own_worth(entry: Entry) -> Decimal:
    """Return what an entry comes to by the PSA's rate, each line rounded to cents by itself."""
    if not entry.billable:
        return Decimal(0)
    if entry.amount is not None:
        return entry.amount.amount
    assert entry.minutes is not None
    assert entry.psa_rate is not None
    return Money.rounded(entry.minutes * entry.psa_rate / 60, entry.currency).amount


async def billed(
    scene: Scene[Psa],
    *,
    number: int = 0,
    whole: bool = False,
    milestones: tuple[str, ...] = (),
    extra: str = "0",
) -> Billed:
    """Reserve a project's entries, and ask to confirm them all or only those that are billable.

    The net is the PSA's own valuation and `extra`.
    """
    found = await entries(scene, number)
    reserved = await reserve(scene, tuple(entry.ref for entry in found), number)
    chosen = found if whole else tuple(entry for entry in found if entry.billable)
    value = sum((own_worth(entry) for entry in chosen), Decimal(0))
    for id_ in milestones:
        value += (await scene.adapter.read_milestone(id_)).amount.amount

    def ids(kind: EntryKind) -> tuple[str, ...]:
        return tuple(entry.id for entry in chosen if entry.kind is kind)

    request = ConfirmInvoice(
        connection="psa",
        project=project(scene, number),
        number="INV-1042/B",
        on=DAY,
        payment_days=45,
        net=money(value + Decimal(extra), found[0].currency),
        entries=(
            ConfirmedEntries(
                reservation=reserved.record,
                entry_ids=ids(EntryKind.TIME),
                expense_ids=ids(EntryKind.EXPENSE),
                adjustment_ids=ids(EntryKind.ADJUSTMENT),
            ),
        ),
        milestone_ids=milestones,
    )
    return Billed(reserved, request)


async def confirm(scene: Scene[Psa], given: Billed) -> PsaInvoice:
    return await scene.adapter.confirm_invoice(KEY, given.request)


async def live_invoices(scene: Scene[Psa]) -> list[RecordState]:
    """Return the invoices that are neither deleted nor cancelled."""
    known = facts(scene)
    found = await scene.records(known.invoice)
    return [each for each in found if each["fields"]["status"] != known.cancelled]


async def mirrors(scene: Scene[Psa]) -> list[RecordState]:
    """Return the live invoices that carry the key of the confirmation, drafts too."""
    return [each for each in await live_invoices(scene) if each["key"] == KEY]


def payment(scene: Scene[Psa], invoice: PsaInvoice, amount: Money, reference: str) -> RecordPayment:
    return RecordPayment(
        connection="psa",
        invoice=record(scene, "invoice", invoice.record.id),
        amount=amount,
        reference=reference,
    )
