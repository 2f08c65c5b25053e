"""What CreditInvoice does: work out, put down, look, issue, count; mirrors are `mirroring`'s."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from activities.attempt import attempt
from activities.mirroring import freed_shares
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner, own_id
from adapters.errors import Rejected, UndoRefused
from adapters.invoicing import Invoicing
from canonical import activities as ref
from canonical.credit_invoice import (
    AskedCredit,
    CheckCreditable,
    CheckCreditPeriod,
    Creditable,
    CreditDay,
    CreditNoted,
    CreditPlan,
    IssueCredit,
    NoteCredit,
    OpenCredit,
    PlanCredit,
)
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import ExternalId, external_id, step_key
from canonical.invoicing import CreditLine, CreditNote, InvoiceStatus, ProvisionCredit
from canonical.lifecycle import DraftedCredit, TrackedInvoice
from canonical.records import Receipt, RecordRef, UndoReceipt, UndoResult
from canonical.saga import Route, StepCall, UndoCall
from policies.bundle import Bundle
from policies.credits import not_creditable, not_voidable, undone_note, work_out
from store.audit import ENGINE
from store.credits import CreditStanding
from store.errors import Conflict, NotFound

SUBLEDGER = "subledger"
GIVEN_UP = "given up before its credit note was issued"


@dataclass(frozen=True)
class CreditActivities:
    """The sides of a credit: store, issuing system, ERP, PSA."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    route: Callable[[str], Route]
    """How calls to a connection are made, by its name."""
    now: Callable[[], datetime]

    # In the store.

    @implements(ref.PLAN_CREDIT)
    async def plan_credit(self, call: StepCall[PlanCredit]) -> CreditPlan:
        """Work out what is credited, and say who is asked for what.

        Key: none needed. More than is left of the invoice is refused, with the figures.
        """
        store, asked = self.runner.store, call.request.asked
        of = asked.of
        async with attempt(store, call):
            invoice = await store.invoices.get(of.connection, of.invoice_id)
            draft = await store.drafts.get(invoice.draft)
            known = await self._known(asked.credit)
            credit = known.credit if known is not None else await self._credit(asked, invoice)
            mirrors = await store.draft_sources.mirrors(invoice.record)
            bundle = self.bundle(of.connection)
            # A mirror that was taken back already is made anew in the same PSA.
            psas = (await store.draft_sources.psas(draft.id)).values()
            systems = {of.connection, draft.erp, *psas, *(each.psa for each in mirrors)}
            route = self.route(of.connection)
            plan = CreditPlan(
                bundle=bundle.hash,
                title=_title(asked, credit, invoice),
                client_id=invoice.client_id,
                project_code=", ".join(sorted({each.project_id for each in mirrors}))[:200],
                legal_entities=(invoice.legal_entity,),
                amount=str(credit.net),
                routes={name: self.route(name) for name in sorted(systems)},
                credit=credit.id,
                invoice=invoice.record,
                number=invoice.number,
                net=credit.net,
                erp=draft.erp,
                legal_entity=invoice.legal_entity,
                subsidiary=bundle.policies.legal_entities[invoice.legal_entity].subsidiary,
                respond_seconds=route.respond_seconds,
            )
            await store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    @implements(ref.OPEN_CREDIT)
    async def open_credit(self, call: StepCall[OpenCredit]) -> Receipt:
        """Put the credit down, so that it counts for whoever asks next.

        Key: the credit's id. Undo: refuses it, which frees what it would have taken back.
        """
        store, request = self.runner.store, call.request
        record = _record(request.credit)

        async def find() -> RecordRef | None:
            known = await self._known(request.credit)
            if known is not None and known.state == "refused":
                raise StepFailed(_refused(f"{request.credit} was refused: ask for another one"))
            return record if known is not None else None

        async def write() -> RecordRef:
            of = request.asked.of
            invoice = await store.invoices.get(of.connection, of.invoice_id)
            credit = await self._credit(request.asked, invoice)
            if credit.net != request.net:
                raise StepFailed(_refused(f"{credit.net} is left by now, not {request.net}"))
            try:
                await store.credits.open_credit(credit)
            except Conflict as error:
                raise StepFailed(_refused(str(error))) from error
            return record

        return await self.runner.create(call, find, write)

    @implements(ref.UNDO_OPEN_CREDIT)
    async def undo_open_credit(self, call: UndoCall[OpenCredit]) -> UndoReceipt:
        """Give the credit up: what it would have taken back can be credited again."""
        credit = call.request.credit

        async def give_up(_: RecordRef | None) -> UndoReceipt:
            try:
                await self.runner.store.credits.refuse_credit(credit, by=ENGINE, because=GIVEN_UP)
            except NotFound:
                return UndoReceipt(result=UndoResult.ABSENT)
            return UndoReceipt(result=UndoResult.RESTORED, record=_record(credit))

        return await self.runner.undo_create(call, give_up)

    # Looking, just before anything is sent.

    @implements(ref.CHECK_CREDIT_PERIOD)
    async def check_credit_period(self, call: StepCall[CheckCreditPeriod]) -> CreditDay:
        """Read the period of the credit note's day in the ERP. Key: none needed."""
        request = call.request
        erp = self.ports.erp(request.connection)
        zone = ZoneInfo(self.bundle(request.connection).zone(request.legal_entity))
        on = request.on or self.now().astimezone(zone).date()
        async with attempt(self.runner.store, call):
            period = await erp.read_period(request.subsidiary, on)
        if period is None:
            return CreditDay(on=on, reasons=(f"the ERP has no accounting period for {on}",))
        if not period.open:
            why = (
                f"accounting period {period.name} is closed: finance opens it, or the credit is "
                "dated into an open one"
            )
            return CreditDay(on=on, reasons=(why,))
        return CreditDay(on=on)

    @implements(ref.CHECK_CREDITABLE)
    async def check_creditable(self, call: StepCall[CheckCreditable]) -> Creditable:
        """Read the invoice: is it issued, and is as much left of it? Key: none needed."""
        request = call.request
        issuer = self.ports.issuer(request.connection)
        async with attempt(self.runner.store, call):
            invoice = await issuer.read_invoice(request.invoice)
        reasons = not_creditable(invoice, request.net, _note_id(call))
        if request.void and not reasons and invoice.remaining != invoice.gross:
            reasons = (f"invoice {invoice.number} is paid or credited in part: credit the rest",)
        return Creditable(reasons=reasons)

    # Writing.

    @implements(ref.ISSUE_CREDIT)
    async def issue_credit(self, call: StepCall[IssueCredit]) -> Receipt:
        """Issue the credit note: the pivot. Key: the step. No undo; invoice it once more."""
        issuer, ours = self.ports.issuer(call.request.connection), own_id(call)
        if call.request.void:
            return await self._void(call, issuer)
        standing = await self.runner.store.credits.get_credit(call.request.credit)
        wanted = _provision(standing.credit, call.request)

        async def find() -> RecordRef | None:
            found = await issuer.find_credit(ours, wanted)
            return None if found is None else found.record

        async def write() -> RecordRef:
            return (await issuer.provision_credit(ours, wanted)).record

        return await self.runner.create(call, find, write)

    async def _void(self, call: StepCall[IssueCredit], issuer: Invoicing) -> Receipt:
        """Void the invoice; one that is void already is as good."""
        of = call.request.invoice

        async def find() -> RecordRef | None:
            return of if (await issuer.read_invoice(of)).status is InvoiceStatus.VOID else None

        async def write() -> RecordRef:
            try:
                await issuer.void_invoice(own_id(call), of)
            except UndoRefused as error:
                raise Rejected(
                    str(error), vendor=error.vendor, operation=error.operation
                ) from error
            return of

        return await self.runner.create(call, find, write)

    @implements(ref.NOTE_CREDIT)
    async def note_credit(self, call: StepCall[NoteCredit]) -> CreditNoted:
        """Read the credit note back, count it, and say which mirrors it makes wrong.

        Key: none needed, the same note is counted once. A difference parks: somebody edited it.
        """
        store, request = self.runner.store, call.request
        issuer = self.ports.issuer(request.connection)
        async with attempt(store, call):
            standing = await store.credits.get_credit(request.credit)
            if request.void:
                note = await self._voided(issuer, standing.credit, request)
            else:
                wanted = _provision(standing.credit, request)
                note = await issuer.find_credit(_note_id(call), wanted)
            if note is None:
                raise StepFailed(_gone(request))
            try:
                counted = await store.credits.credited(request.credit, note)
            except Conflict as error:
                raise StepFailed(_differs(note, error)) from error
            return CreditNoted(
                note=note.record,
                number=note.number,
                net=note.net,
                tax=note.tax,
                gross=note.gross,
                opened=len(counted.opened),
                freed=await freed_shares(store, request.invoice),
            )

    async def _voided(
        self, issuer: Invoicing, credit: DraftedCredit, request: NoteCredit
    ) -> CreditNote | None:
        """Return what stands for the note of a voided invoice; None: it is not void."""
        read = await issuer.read_invoice(request.invoice)
        if read.status is not InvoiceStatus.VOID:
            return None
        of = request.invoice
        invoice = await self.runner.store.invoices.get(of.system, of.id)
        return undone_note(invoice, credit.net, request.on)

    async def _known(self, credit: str) -> CreditStanding | None:
        try:
            return await self.runner.store.credits.get_credit(credit)
        except NotFound:
            return None

    async def _credit(self, asked: AskedCredit, invoice: TrackedInvoice) -> DraftedCredit:
        """Return the credit with its lines.

        Raises:
            StepFailed: more is asked for than is left.
        """
        of = asked.of
        left = await self.runner.store.credits.left(of.connection, of.invoice_id)
        worked = work_out(invoice, left, asked.lines, asked.reason)
        refused = worked.refused
        if asked.void and not refused:
            terms = self.bundle(of.connection).policies.invoicing.entities[invoice.legal_entity]
            refused = not_voidable(invoice, worked.net, asked.lines, terms)
        if refused:
            raise StepFailed(_refused("; ".join(refused)))
        return DraftedCredit(
            id=asked.credit,
            invoice=invoice.record,
            lines=worked.lines,
            memo=asked.because,
            asked_by=asked.asked_by,
        )


def _title(asked: AskedCredit, credit: DraftedCredit, invoice: TrackedInvoice) -> str:
    if asked.void:
        return f"Void invoice {invoice.number} of {credit.net} ({asked.reason})"
    return f"Credit {credit.net} ({asked.reason}) on invoice {invoice.number}"


def _note_id(call: StepCall[NoteCredit] | StepCall[CheckCreditable]) -> ExternalId:
    """Return the external id of the credit note, which another step of the saga issues."""
    return external_id(step_key(call.workflow_id, call.generation, ref.ISSUE_CREDIT.name))


def _provision(credit: DraftedCredit, request: IssueCredit | NoteCredit) -> ProvisionCredit:
    return ProvisionCredit(
        connection=request.connection,
        invoice=request.invoice,
        lines=tuple(
            CreditLine(item=line.item, amount=line.amount, reason=line.reason)
            for line in credit.lines
        ),
        on=request.on,
        memo=credit.memo,
    )


def _record(credit: str) -> RecordRef:
    return RecordRef(system=SUBLEDGER, type="credit", id=credit)


def _refused(why: str) -> FailureDetail:
    return FailureDetail(kind=FailureKind.REJECTED, reason="not_creditable", message=why)


def _gone(request: NoteCredit) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="credit_note_gone",
        message=(
            "The credit note was issued, and is not there any more, or void: see who removed it, "
            "restore it there, then retry."
        ),
        system=request.connection,
    )


def _differs(note: CreditNote, error: Conflict) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="credit_differs",
        message=f"Credit note {note.number} is not what was approved: {error}. Correct it there, "
        "and retry.",
        system=note.record.system,
    )
