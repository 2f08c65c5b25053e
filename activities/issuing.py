"""What PostInvoice does: look again, make charges ready, issue, read back, confirm in the PSA."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from activities.attempt import attempt
from activities.failures import again
from activities.milestones import read_again
from activities.mirroring import mirror_share
from activities.ports import Ports
from activities.posting_failures import (
    NOT_POSTED_YET,
    entry_problem,
    invoice_differs,
    invoice_gone,
    milestone_problem,
    not_released,
)
from activities.registration import implements
from activities.steps import StepRunner, own_id
from adapters.errors import NotFound
from canonical import activities as ref
from canonical.billing import ChargeStage
from canonical.draft_to_invoice import (
    CheckTerms,
    ConfirmShare,
    IssueInvoice,
    PlanPosting,
    PostDraftInvoice,
    Posted,
    PostInvoicePlan,
    ReadBack,
    ReadyCharges,
    Verification,
    VerifyDraft,
)
from canonical.drafts import BillableRef, Draft, DraftState
from canonical.engagement import BillingMethod
from canonical.failures import StepFailed
from canonical.ids import ExternalId, client_key, external_id
from canonical.invoicing import Billee, Invoice, ProvisionInvoice
from canonical.money import Money
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult
from canonical.saga import Route, StepCall, UndoCall
from policies.bundle import Bundle
from policies.issuing import (
    charges_of,
    differences,
    head_differences,
    items_of,
    lines_of,
    provision_of,
    shares_of,
)

CHARGES_AT_ONCE: Final = 100
"""Charges of one call to the ERP: what NetSuite takes in a batch (decision 0010)."""
ON_ITS_WAY: Final = frozenset({DraftState.RELEASED, DraftState.INVOICED})
"""States of a draft in which its posting may plan, or plan anew: it may be issued already."""
LOOK_AGAIN_SECONDS: Final = 5.0
"""Between two looks at an invoice that its system has not posted yet."""


@dataclass(frozen=True)
class IssuingActivities:
    """The sides of a posting: store, PSA, ERP, billing engine."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    route: Callable[[str], Route]
    """How calls to a connection are made, by its name."""

    @implements(ref.PLAN_POSTING)
    async def plan_posting(self, call: StepCall[PlanPosting]) -> PostInvoicePlan:
        """Read the released draft and say who is asked for what.

        Key: none needed. A draft that is not at this release parks here: somebody acted between.
        """
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            draft = await store.drafts.get(request.draft)
            if draft.state not in ON_ITS_WAY or draft.posting != request.posting:
                raise StepFailed(not_released(draft, request.posting))
            plan = await self._plan(draft)
            await store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    async def _plan(self, draft: Draft) -> PostInvoicePlan:
        bundle = self.bundle(draft.connection)
        psas = await self.runner.store.draft_sources.psas(draft.id)
        shares = shares_of(draft, psas)
        engine = draft.method is BillingMethod.BILLING_ENGINE
        asked = {draft.connection, draft.erp, *(share.psa for share in shares)}
        return PostInvoicePlan(
            bundle=bundle.hash,
            title=draft.title,
            client_id=draft.client_id,
            project_code=", ".join(sorted({share.project_id for share in shares}))[:200],
            legal_entities=(draft.legal_entity,),
            amount=str(draft.net),
            routes={name: self.route(name) for name in sorted(asked)},
            draft=draft.id,
            posting=draft.posting,
            content_hash=draft.content_hash,
            issuer=draft.connection,
            traits=self.ports.issuer(draft.connection).invoicing,
            method=draft.method,
            erp=draft.erp,
            client=None if engine else RecordRef(system=draft.erp, type="client", id=draft.bill_to),
            billee=await self._billee(draft) if engine else None,
            subsidiary=bundle.policies.legal_entities[draft.legal_entity].subsidiary,
            currency=draft.currency,
            on=draft.on,
            payment_days=draft.payment_days,
            client_po=draft.client_po,
            net=draft.net,
            shares=shares,
            charges=len(charges_of(draft)),
        )

    async def _billee(self, draft: Draft) -> Billee:
        """Return the client as a billing engine has to know it, by what the deal said of it."""
        crm = draft.lines[0].engagement.partition("/")[0]
        client = await self.runner.store.draft_sources.client(draft.lines[0].engagement)
        return Billee(
            connection=draft.connection,
            client_key=client_key(crm, draft.client_id),
            name=client.name or draft.client_id,
            billing_email=client.billing_email,
            address=client.address,
        )

    # Looking again, just before anything is sent.

    @implements(ref.VERIFY_DRAFT)
    async def verify_draft(self, call: StepCall[VerifyDraft]) -> Verification:
        """Read entries and milestones of a project again: still approved, as they were, reserved.

        Key: none needed. What is not any more is named; the draft then goes back to the queue.
        """
        store, request = self.runner.store, call.request
        psa = self.ports.psa(request.connection)
        reasons: list[str] = []
        withdrawn: list[BillableRef] = []
        async with attempt(store, call):
            sources = await store.draft_sources.of(request.draft, request.project_id)
            read = await psa.read_entries(tuple({each.ref for each in sources.entries}))
            now = {entry.ref: entry for entry in read}
            for each in sources.entries:
                if problem := entry_problem(each, now.get(each.ref)):
                    reasons.append(f"{each.ref} {problem}")
                    withdrawn.append(each.bills)
            milestones = await read_again(psa, request.project_id, sources.milestones)
            for fee in sources.milestones:
                if problem := milestone_problem(fee, milestones.get(fee.milestone_id)):
                    reasons.append(f"milestone {fee.milestone_id} {problem}")
                    withdrawn.append(fee.bills)
        return Verification(reasons=tuple(reasons), withdrawn=tuple(withdrawn))

    @implements(ref.CHECK_TERMS)
    async def check_terms(self, call: StepCall[CheckTerms]) -> Verification:
        """Read the period of the invoice date and the client in the ERP. Key: none needed."""
        request = call.request
        erp = self.ports.erp(request.connection)
        reasons: list[str] = []
        async with attempt(self.runner.store, call):
            period = await erp.read_period(request.subsidiary, request.on)
            if period is None:
                reasons.append(f"the ERP has no accounting period for {request.on}")
            elif not period.open:
                reasons.append(
                    f"accounting period {period.name} is closed: finance opens it, or rejects the "
                    "draft with --free, and its lines are drafted with a later date"
                )
            if request.client is not None:
                client = await erp.get_client(request.client.id)
                if client is None:
                    reasons.append(
                        f"customer {request.client.id} is gone from the ERP, perhaps merged into "
                        "another: import the engagement with that one, and reject the draft with "
                        "--free: its lines are drafted for it"
                    )
                elif not client.active:
                    reasons.append(f"customer {request.client.id} is inactive in the ERP")
        return Verification(reasons=tuple(reasons))

    # Writing.

    @implements(ref.PROVISION_BILLEE)
    async def provision_billee(self, call: StepCall[Billee]) -> Receipt:
        """Have the client in the billing engine. Shared key: the client's. Undo: if unused."""
        engine, request = self.ports.billing_engine(call.request.connection), call.request
        ours = external_id(request.client_key)
        return await self.runner.share(
            call,
            request.client_key,
            None,
            lambda: engine.find_client(ours),
            lambda: engine.provision_client(ours, request),
        )

    @implements(ref.UNDO_PROVISION_BILLEE)
    async def undo_provision_billee(self, call: UndoCall[Billee]) -> UndoReceipt:
        """Remove the client from the billing engine where this posting created it alone."""
        engine = self.ports.billing_engine(call.request.connection)
        ours = external_id(call.request.client_key)
        return await self.runner.unshare(
            call, call.request.client_key, lambda record: engine.remove_client(ours, record)
        )

    @implements(ref.READY_CHARGES)
    async def ready_charges(self, call: StepCall[ReadyCharges]) -> Receipt:
        """Let the ERP bill the draft's charges. Key: the step. Undo: on hold again."""
        erp, ids = self.ports.erp(call.request.connection), await self._charges(call.request.draft)

        async def make_ready() -> RecordRef:
            for part in _portions(ids):
                await erp.set_charges_ready(part, ready=True)
            return _charges_record(call.request)

        # The same stage again is as good: there is nothing to look for.
        return await self.runner.create(call, _nothing, make_ready)

    @implements(ref.UNDO_READY_CHARGES)
    async def undo_ready_charges(self, call: UndoCall[ReadyCharges]) -> UndoReceipt:
        """Put the draft's charges on hold again."""
        ids = await self._charges(call.request.draft)
        erp = self.ports.erp(call.request.connection)

        async def hold(_record: RecordRef | None) -> UndoReceipt:
            """What is on hold already says so: an unanswered write may still land."""
            record, result = _charges_record(call.request), UndoResult.ABSENT
            for part in _portions(ids):
                found = await erp.find_charges(part)
                if any(each.stage is ChargeStage.READY for each in found):
                    await erp.set_charges_ready(part, ready=False)
                    result = UndoResult.RESTORED
            return UndoReceipt(result=result, record=record)

        return await self.runner.undo_create(call, hold)

    @implements(ref.DRAFT_INVOICE)
    async def draft_invoice(self, call: StepCall[IssueInvoice]) -> Receipt:
        """Create the invoice as a draft of the issuing system. Key: the step. Undo: deletes it."""
        return await self._provision(call)

    @implements(ref.UNDO_DRAFT_INVOICE)
    async def undo_draft_invoice(self, call: UndoCall[IssueInvoice]) -> UndoReceipt:
        """Delete the draft invoice; its charges are free again."""
        issuer, ours = self.ports.issuer(call.request.connection), own_id(call)
        wanted = await self._wanted(call.request)
        return await self.runner.undo_create(
            call, lambda _record: issuer.remove_invoice(ours, wanted)
        )

    @implements(ref.ISSUE_INVOICE)
    async def issue_invoice(self, call: StepCall[IssueInvoice]) -> Receipt:
        """Create the invoice where that issues it: the pivot. Key: the step. No undo."""
        return await self._provision(call)

    async def _provision(self, call: StepCall[IssueInvoice]) -> Receipt:
        issuer, ours = self.ports.issuer(call.request.connection), own_id(call)
        wanted = await self._wanted(call.request)

        async def find() -> RecordRef | None:
            found = await issuer.find_invoice(ours, wanted)
            return None if found is None else found.record

        async def write() -> RecordRef:
            return (await issuer.provision_invoice(ours, wanted)).record

        return await self.runner.create(call, find, write)

    @implements(ref.POST_INVOICE)
    async def post_invoice(self, call: StepCall[PostDraftInvoice]) -> Receipt:
        """Issue the draft invoice: the pivot. Key: the step. No undo; credit it."""
        issuer, request = self.ports.issuer(call.request.connection), call.request
        ours = own_id(call)

        async def find() -> RecordRef | None:
            found = await issuer.read_invoice(request.invoice)
            return found.record if found.issued else None

        async def write() -> RecordRef:
            return (await issuer.post_invoice(ours, request.invoice)).record

        return await self.runner.create(call, find, write)

    # Afterwards.

    @implements(ref.READ_BACK)
    async def read_back(self, call: StepCall[ReadBack]) -> Posted:
        """Read the invoice until it is posted and agrees, net, with what was released; note it.

        Key: none needed. A difference parks: somebody edited it in the issuing system. So does one
        that is gone; nothing issues it again by itself.
        """
        store, request = self.runner.store, call.request
        issuer = self.ports.issuer(request.connection)
        async with attempt(store, call):
            draft = await store.drafts.get(request.draft)
            try:
                invoice = await issuer.read_invoice(request.invoice)
            except NotFound as error:
                if draft.state is DraftState.INVOICED:
                    raise  # it was noted already: from there on the invoice's own life tells
                raise StepFailed(invoice_gone(request.invoice)) from error
            if not invoice.issued or not invoice.number:
                raise again(NOT_POSTED_YET, LOOK_AGAIN_SECONDS)
            found = (
                *await self._other_client(request, invoice),
                *head_differences(draft, invoice),
                *differences(lines_of(draft), invoice),
            )
            if found:
                raise StepFailed(invoice_differs(invoice, found))
            await store.invoices.posted(draft.id, request.posting, invoice, items_of(draft))
        beyond = self._beyond_tolerance(draft, invoice)
        return Posted(
            invoice=invoice.record,
            number=invoice.number,
            on=invoice.on or draft.on,
            period=invoice.period,
            net=invoice.net,
            tax=invoice.tax,
            gross=invoice.gross,
            tax_differs=beyond,
            expected_tax=draft.expected_tax if beyond else None,
        )

    @implements(ref.CONFIRM_SHARE)
    async def confirm_share(self, call: StepCall[ConfirmShare]) -> Receipt:
        """Mirror the invoice's share of a project in the PSA. Key: the step. No undo."""
        psa = self.ports.psa(call.request.connection)
        return await mirror_share(self.runner, psa, call, anew=False)

    async def _other_client(self, request: ReadBack, invoice: Invoice) -> tuple[str, ...]:
        """Return that an invoice is for another client; one that ours was merged into is ours."""
        client, erps = request.client, self.ports.erps
        if client is None or invoice.client_id in {"", client.id}:
            return ()
        if client.system in erps and await erps[client.system].get_client(client.id) is None:
            return ()
        return (f"it is for client {invoice.client_id}, released was {client.id}",)

    async def _wanted(self, request: IssueInvoice) -> ProvisionInvoice:
        return provision_of(await self.runner.store.drafts.get(request.draft), request)

    async def _charges(self, draft: str) -> tuple[ExternalId, ...]:
        return tuple(
            ExternalId(each) for each in charges_of(await self.runner.store.drafts.get(draft))
        )

    def _beyond_tolerance(self, draft: Draft, invoice: Invoice) -> bool:
        """Return whether the issuing system's tax is another than expected; it is final."""
        terms = self.bundle(draft.connection).policies.invoicing.entities[draft.legal_entity]
        tolerance = Money.rounded(terms.tax_tolerance, draft.currency)
        return abs(invoice.tax.amount - draft.expected_tax.amount) > tolerance.amount


async def _nothing() -> None:
    """There is nothing to look for: the write is as good twice as once."""


def _portions(ids: tuple[ExternalId, ...]) -> list[tuple[ExternalId, ...]]:
    return [ids[first : first + CHARGES_AT_ONCE] for first in range(0, len(ids), CHARGES_AT_ONCE)]


def _charges_record(request: ReadyCharges) -> RecordRef:
    return RecordRef(system=request.connection, type="charges", id=request.draft)
