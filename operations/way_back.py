"""The way back from an invoice or a draft: to work, people, approvals, rates, deals and sagas.

Gathers what the store knows, and judges nothing. `trace` prints it, the printed document and the
evidence file are filled from it (`operations/documents`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from canonical.deal import Address
from canonical.drafts import Draft, DraftLine
from canonical.evidence import EvidencePerson, VendorCall
from canonical.ids import opportunity_to_project_id, posting_id
from canonical.invoicing import IssuedLine
from canonical.lifecycle import InvoicedLine, TrackedInvoice
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.opportunity import OpportunityToProjectPlan
from canonical.people import Worker
from canonical.provisioning import contract_value
from canonical.time_to_billing import BillingRunPlan
from store import Store
from store.finances import TracedBill
from store.sagas import CrossReference, Trace, TracedAttempt

BILLING_RUN = "billing-run/"


class WayLine(CanonicalModel):
    """A line with what it bills; on the invoice several may have become of one of the draft."""

    number: int
    """Of the draft's line; 0: somebody added it in the issuing system."""
    narrative: str
    net: Money
    """As issued; of a draft as it would be."""
    drafted: DraftLine | None = None
    issued: tuple[IssuedLine, ...] = ()
    credited: Money | None = None
    bills: tuple[TracedBill, ...] = ()


class WayDeal(CanonicalModel):
    """The deal behind lines of the invoice, with its client as the deal described it."""

    engagement: str
    crm: str
    opportunity_id: str
    workflow_id: str
    """Of the saga that provisioned it; nothing is known there of an imported engagement."""
    title: str = ""
    psa: str = ""
    projects: tuple[str, ...] = ()
    client_name: str = ""
    client_tax_id: str = ""
    client_email: str = ""
    client_address: Address = Address()


class WaySaga(CanonicalModel):
    """A saga on the way: a billing run, a milestone, a posting."""

    workflow_id: str
    saga: str
    generation: int
    outcome: str
    """Empty while it is under way."""
    began_at: datetime
    ended_at: datetime | None = None
    bundle: str = ""
    """Hash of the policies that it planned with; empty where it needs none."""
    calls: tuple[VendorCall, ...] = ()


class WayBack(CanonicalModel):
    """Everything between an invoice, or a draft, and the work and the deal behind it."""

    invoice: TrackedInvoice | None = None
    """None: the draft has not become one."""
    draft: Draft
    content_hash: str
    """Of the draft as it is; what was released is in the draft."""
    lines: tuple[WayLine, ...]
    people: tuple[EvidencePerson, ...] = ()
    """Who worked, and who approved."""
    deals: tuple[WayDeal, ...] = ()
    sagas: tuple[WaySaga, ...] = ()
    """Billing runs and milestones first, then postings."""

    @property
    def net(self) -> Money:
        """Net of the invoice as issued, or of the draft."""
        return self.invoice.net if self.invoice else self.draft.net

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose audit trails tell of it: the invoice, the draft, the sagas."""
        invoice = (subject_of(self.invoice),) if self.invoice else ()
        sagas = (saga.workflow_id for saga in self.sagas)
        return tuple(dict.fromkeys((*invoice, self.draft.id, *sagas)))

    def person(self, id_: str) -> EvidencePerson:
        """Return who has this id in the PSA; nobody known: with the id alone."""
        found = (each for each in self.people if each.id == id_)
        return next(found, EvidencePerson(id=id_))


def subject_of(invoice: TrackedInvoice) -> str:
    """Return the subject of an invoice's audit trail."""
    return f"{invoice.record.system}/{invoice.record.id}"


def name_of(person: EvidencePerson) -> str:
    """Return how a person is named: by name, else address, else the PSA's id."""
    if person.name or person.email:
        return person.name or person.email
    return person.id if "@" in person.id or not person.id.isdecimal() else f"user {person.id}"


@dataclass(frozen=True)
class WayFinder:
    """Finds the way back in one store."""

    store: Store

    async def of_invoice(self, connection: str, id_: str) -> WayBack:
        """Return the way back from an invoice.

        Raises:
            NotFound: no draft became that invoice.
        """
        traced = await self.store.finances.invoice_trace(connection, id_)
        bills = {line.invoiced.number: line.bills for line in traced.lines if line.bills}
        return await self._way(traced.draft, bills, traced.invoice)

    async def of_draft(self, id_: str) -> WayBack:
        """Return the way back from a draft, or from the invoice that it became.

        Raises:
            NotFound: there is no such draft.
        """
        became = await self.store.draft_sources.invoice_of(id_)
        if became is not None:
            return await self.of_invoice(became.connection, became.invoice_id)
        traced = await self.store.finances.draft_trace(id_)
        return await self._way(traced.draft, traced.bills, None)

    async def _way(
        self, draft: Draft, bills: dict[int, tuple[TracedBill, ...]], invoice: TrackedInvoice | None
    ) -> WayBack:
        runs = sorted({bill.run for each in bills.values() for bill in each if bill.run})
        postings = [posting_id(draft.id, number) for number in range(1, draft.posting + 1)]
        return WayBack(
            invoice=invoice,
            draft=draft,
            content_hash=draft.content_hash,
            lines=tuple(_lines(draft, bills, invoice)),
            people=await self._people(draft, bills.values(), runs),
            deals=await self._deals(draft),
            sagas=tuple([saga for id_ in (*runs, *postings) for saga in await self._saga(id_)]),
        )

    async def _saga(self, workflow_id: str) -> list[WaySaga]:
        traced = await self.store.sagas.trace(workflow_id)
        return [
            WaySaga(
                workflow_id=workflow_id,
                saga=each.saga,
                generation=each.generation,
                outcome=each.outcome.value if each.outcome else "",
                began_at=each.opened_at,
                ended_at=each.ended_at,
                bundle=each.bundle,
                calls=tuple(_calls(traced, workflow_id, each.generation)),
            )
            for each in traced.generations
        ]

    async def _deals(self, draft: Draft) -> tuple[WayDeal, ...]:
        projects: dict[str, dict[str, None]] = {}
        for line in draft.live_lines:
            projects.setdefault(line.engagement, {})[line.project_id] = None
        psas = await self.store.draft_sources.psas(draft.id)
        return tuple(
            [
                await self._deal(engagement, psas.get(engagement, ""), tuple(of))
                for engagement, of in projects.items()
            ]
        )

    async def _deal(self, engagement: str, psa: str, projects: Sequence[str]) -> WayDeal:
        crm, _, opportunity = engagement.partition("/")
        workflow_id = opportunity_to_project_id(crm, opportunity)
        versions = await self.store.engagements.of_project(psa, projects[0])
        titles = [each.title for each in versions if each.id == engagement]
        deal = WayDeal(
            engagement=engagement,
            crm=crm,
            opportunity_id=opportunity,
            workflow_id=workflow_id,
            title=titles[-1] if titles else "",
            psa=psa,
            projects=tuple(projects),
        )
        completed = await self.store.sagas.completed(workflow_id)
        if completed is None or not completed[0]:
            return deal
        plan = OpportunityToProjectPlan.model_validate_json(completed[0])
        # One client for every ERP that sells the deal: the same company in each.
        client = plan.clients[0]
        facts = {
            "client_name": client.name,
            "client_tax_id": client.tax_id,
            "client_email": client.billing_email,
            "client_address": client.address,
        }
        return deal.model_copy(update=facts)

    async def _people(
        self, draft: Draft, bills: Iterable[tuple[TracedBill, ...]], runs: Sequence[str]
    ) -> tuple[EvidencePerson, ...]:
        found: dict[str, EvidencePerson] = {}
        approvers: dict[str, None] = {}
        for bill in (bill for each in bills for bill in each):
            if bill.entry is not None:
                entry, employer = bill.entry, bill.rated.cost if bill.rated else None
                found[entry.person_id] = EvidencePerson(
                    id=entry.person_id,
                    email=entry.person_email,
                    role=entry.role,
                    legal_entity=employer.legal_entity if employer else "",
                )
                approvers |= dict.fromkeys(filter(None, (entry.approved_by,)))
            elif bill.fee is not None:
                approvers |= dict.fromkeys(bill.fee.approved_by)
        for id_ in approvers:
            email = id_ if "@" in id_ else ""
            found.setdefault(id_, EvidencePerson(id=id_, email=email))
        workers = await self._workers([each.email for each in found.values() if each.email], runs)
        return tuple(
            _named(person, [each for each in workers if each.email == person.email.lower()], draft)
            for _, person in sorted(found.items())
        )

    async def _workers(self, emails: Sequence[str], runs: Sequence[str]) -> tuple[Worker, ...]:
        """Return the people of the HCMs that the runs read."""
        hcms: set[str] = set()
        for run in runs:
            if not run.startswith(BILLING_RUN):
                continue
            completed = await self.store.sagas.completed(run)
            if completed is not None and completed[0]:
                hcms.add(BillingRunPlan.model_validate_json(completed[0]).hcm)
        read = [await self.store.master.workers(emails, hcm) for hcm in sorted(hcms) if hcm]
        return tuple(worker for each in read for worker in each)


def _lines(
    draft: Draft, bills: dict[int, tuple[TracedBill, ...]], invoice: TrackedInvoice | None
) -> Iterable[WayLine]:
    if invoice is None:
        for line in draft.live_lines:
            yield WayLine(
                number=line.number,
                narrative=line.narrative,
                net=line.amount,
                drafted=line,
                bills=bills.get(line.number, ()),
            )
        return
    drafted = {line.number: line for line in draft.lines}
    issued: dict[int, list[InvoicedLine]] = {}
    for each in invoice.lines:
        issued.setdefault(each.number, []).append(each)
    added = issued.pop(0, [])
    for number, own in issued.items():
        yield WayLine(
            number=number,
            narrative=drafted[number].narrative,
            net=contract_value(tuple(line.issued.amount for line in own), invoice.currency),
            drafted=drafted[number],
            issued=tuple(line.issued for line in own),
            credited=contract_value(tuple(line.credited for line in own), invoice.currency),
            bills=bills.get(number, ()),
        )
    for each in added:
        yield WayLine(
            number=0,
            narrative=each.issued.description,
            net=each.issued.amount,
            issued=(each.issued,),
            credited=each.credited,
        )


def _calls(traced: Trace, saga: str, generation: int) -> Iterable[VendorCall]:
    records: dict[str, list[CrossReference]] = {}
    for reference in traced.references:
        records.setdefault(reference.key, []).append(reference)
    for attempt in traced.attempts:
        if attempt.generation == generation and attempt.connection:
            yield _call(attempt, saga, records.get(attempt.key, []))


def _call(attempt: TracedAttempt, saga: str, made: Sequence[CrossReference]) -> VendorCall:
    done = attempt.state == "done"
    outcome = attempt.state if attempt.state != "claimed" else "unknown"
    return VendorCall(
        at=attempt.claimed_at,
        ended_at=attempt.ended_at,
        connection=attempt.connection,
        saga=saga,
        step=attempt.step,
        attempt=attempt.attempt,
        key=attempt.key,
        outcome=made[0].outcome if done and made else outcome,
        records=tuple(each.record for each in made) if done else (),
        undone_at=attempt.undone_at,
        undo=attempt.undo_result or "",
        reason=attempt.reason,
    )


def _named(person: EvidencePerson, versions: Sequence[Worker], draft: Draft) -> EvidencePerson:
    """Return a person with the name that the HCM has, in the version of the invoice's date."""
    held = [each for each in versions if each.valid_from <= draft.on] or list(versions)
    if not held:
        return person
    worker = held[-1]
    facts = {
        "name": worker.name,
        "role": person.role or worker.role,
        "legal_entity": person.legal_entity or worker.legal_entity,
    }
    return person.model_copy(update=facts)
