"""What TellInvoice does: read an issued invoice, note what is new, tell PSA and CRM of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from activities.attempt import attempt
from activities.credit_desk import note_native_credits
from activities.delivery_desk import note_rejected_delivery
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner
from adapters.errors import NotFound
from canonical import activities as ref
from canonical.invoice_lifecycle import (
    InvoiceKey,
    Look,
    Looked,
    PlanLook,
    TellPayment,
    TellPlan,
)
from canonical.invoicing import (
    Invoice,
    RecordPayment,
    WriteFinances,
    WriteProjectFinances,
)
from canonical.lifecycle import TrackedInvoice
from canonical.money import Money
from canonical.records import Receipt, RecordRef
from canonical.saga import Route, StepCall
from policies.arithmetic import product
from policies.bundle import Bundle
from policies.invoice_states import says_anew, settled_by, state_of
from store.draft_sources import MirroredShare, NotedPayment


@dataclass(frozen=True)
class FollowingActivities:
    """The issuing system's, the PSA's and the CRM's side of an invoice's life."""

    runner: StepRunner
    ports: Ports
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    route: Callable[[str], Route]
    """How calls to a connection are made, by its name."""
    now: Callable[[], datetime]
    is_crm: Callable[[str], bool]
    """Whether a connection of this name is a CRM: an imported engagement may have none."""

    @implements(ref.PLAN_LOOK)
    async def plan_look(self, call: StepCall[PlanLook]) -> TellPlan:
        """Say where the invoice is mirrored and whose deals it bills. Key: none needed."""
        store, request = self.runner.store, call.request
        async with attempt(store, call):
            tracked = await store.invoices.get(request.connection, request.invoice_id)
            mirrors = await store.draft_sources.mirrors(tracked.record)
            projects = await store.finances.projects(tracked.draft)
            psas = {*(each.psa for each in mirrors), *(each.psa for each in projects)}
            asked = {request.connection, *psas, *self._deals(tracked)}
            plan = TellPlan(
                bundle=self.bundle(request.connection).hash,
                title=f"Invoice {tracked.number}",
                client_id=tracked.client_id,
                legal_entities=(tracked.legal_entity,),
                amount=str(tracked.gross),
                routes={name: self.route(name) for name in sorted(asked)},
                of=InvoiceKey(connection=request.connection, invoice_id=request.invoice_id),
            )
            await store.sagas.save_plan(
                call.workflow_id, call.generation, plan.model_dump_json(), plan.bundle
            )
            return plan

    @implements(ref.LOOK_AT_INVOICE)
    async def look_at_invoice(self, call: StepCall[Look]) -> Looked:
        """Read the invoice, note what is new of it, and say who is told what.

        Key: none needed: the same look twice notes nothing new, and tells what is true.
        """
        store, request = self.runner.store, call.request
        issuer = self.ports.issuer(request.connection)
        record = RecordRef(system=request.connection, type="invoice", id=request.invoice_id)
        async with attempt(store, call):
            before = await store.invoices.get(request.connection, request.invoice_id)
            try:
                invoice: Invoice | None = await issuer.read_invoice(record)
            except NotFound:
                invoice = None
            zone = ZoneInfo(self.bundle(request.connection).zone(before.legal_entity))
            today = self.now().astimezone(zone).date()
            if invoice is not None and says_anew(invoice, before):
                before = await store.invoices.delivered(
                    request.connection,
                    request.invoice_id,
                    invoice.delivery,
                    f"{invoice.delivery_word} in {request.connection}",
                    word=invoice.delivery_word,
                )
            state = state_of(
                invoice, today, disputed=bool(before.disputed), delivery=before.delivery
            )
            by = settled_by(invoice.applications if invoice else ())
            noted = await store.invoices.observe(
                request.connection, request.invoice_id, invoice, state, by
            )
            seen = await store.invoices.get(request.connection, request.invoice_id)
            await note_native_credits(store, seen, self.now())
            await note_rejected_delivery(store, seen, self.now())
            return Looked(
                change=noted.change,
                state=noted.state,
                due=_falls_due(invoice, today, zone),
                payments=await self._payments(before),
                finances=await self._finances(before, today),
                projects=await self._projects(before, today),
                native_credits=noted.native_credits,
            )

    def _deals(self, tracked: TrackedInvoice) -> dict[str, list[str]]:
        """Return the deals that an invoice bills, by CRM; imported engagements have none."""
        deals: dict[str, list[str]] = {}
        for engagement in tracked.engagements:
            crm, _, deal = engagement.partition("/")
            if self.is_crm(crm):
                deals.setdefault(crm, []).append(deal)
        return deals

    async def _payments(self, tracked: TrackedInvoice) -> tuple[TellPayment, ...]:
        """Return what no PSA was told yet, whichever look noted it."""
        sources = self.runner.store.draft_sources
        paid = await sources.payments(tracked.record)
        mirrors = await sources.mirrors(tracked.record) if paid else ()
        if not mirrors:
            return ()
        payable = tracked.gross.amount - await sources.credited_gross(tracked.record)
        return tuple(each for mirror in mirrors for each in _untold(tracked, payable, paid, mirror))

    async def _finances(self, tracked: TrackedInvoice, today: date) -> tuple[WriteFinances, ...]:
        finances = self.runner.store.finances
        return tuple(
            [
                WriteFinances(
                    connection=crm,
                    item=deal,
                    deal_id=deal,
                    finances=await finances.of_deal(f"{crm}/{deal}", today),
                )
                for crm, deals in self._deals(tracked).items()
                for deal in deals
            ]
        )

    async def _projects(
        self, tracked: TrackedInvoice, today: date
    ) -> tuple[WriteProjectFinances, ...]:
        finances = self.runner.store.finances
        return tuple(
            [
                WriteProjectFinances(
                    connection=each.psa,
                    item=each.project_id,
                    project=RecordRef(system=each.psa, type="project", id=each.project_id),
                    finances=await finances.of_deal(each.engagement, today),
                )
                for each in await finances.projects(tracked.draft)
                if self.ports.psa(each.psa).shows_finances
            ]
        )

    @implements(ref.TELL_PAYMENT)
    async def tell_payment(self, call: StepCall[TellPayment]) -> Receipt:
        """Record a payment on the invoice's mirror in the PSA. Key: the payment's own id."""
        request, invoices = call.request, self.runner.store.invoices
        psa = self.ports.psa(request.connection)
        payment = RecordPayment(
            connection=request.connection,
            item=request.item,
            invoice=request.mirror,
            amount=request.amount,
            reference=request.reference,
        )
        receipt = await self.runner.create(
            call, lambda: psa.find_payment(payment), lambda: psa.record_payment(payment)
        )
        of = request.of
        await invoices.told(of.connection, of.invoice_id, request.change, request.told_as)
        return receipt

    @implements(ref.TELL_FINANCES)
    async def tell_finances(self, call: StepCall[WriteFinances]) -> Receipt:
        """Show the deal's money in the CRM; what is shown already is not written again."""
        request = call.request
        crm = self.ports.crm(request.connection)
        shown = RecordRef(system=request.connection, type="deal", id=request.deal_id)

        async def find() -> RecordRef | None:
            return shown if await crm.read_finances(request.deal_id) == request.finances else None

        return await self.runner.create(
            call, find, lambda: crm.write_finances(request.deal_id, request.finances)
        )

    @implements(ref.TELL_PROJECT)
    async def tell_project(self, call: StepCall[WriteProjectFinances]) -> Receipt:
        """Show the deal's money on its project in the PSA; the same again is not written."""
        project, finances = call.request.project, call.request.finances
        psa = self.ports.psa(call.request.connection)
        return await self.runner.create(
            call,
            lambda: psa.find_finances(project, finances),
            lambda: psa.write_finances(project, finances),
        )


def _falls_due(invoice: Invoice | None, today: date, zone: ZoneInfo) -> datetime | None:
    """Return when nobody would tell us of a change: the day after it is due."""
    if invoice is None or invoice.due is None or invoice.remaining.amount <= 0:
        return None
    return datetime.combine(max(invoice.due, today) + timedelta(days=1), time(1), zone)


def _untold(
    tracked: TrackedInvoice, payable: Decimal, paid: Sequence[NotedPayment], mirror: MirroredShare
) -> Iterator[TellPayment]:
    """Yield what the PSA is to be told of payments: the share of its project, net.

    The shares of all payments are rounded as one running sum, so that a paid invoice is a paid
    mirror to the cent. A mirror that was made anew is told everything: what its predecessor was
    told went with that.
    """
    sum_ = Decimal(0)
    for each in paid:
        before = _share(sum_, payable, mirror)
        sum_ += each.amount.amount
        share = _share(sum_, payable, mirror) - before
        told_as = f"{mirror.psa}/{mirror.project_id}/{each.application}"
        if mirror.external_id:
            told_as = f"{told_as}/{mirror.record.id}"
        if share and told_as not in each.told:
            yield TellPayment(
                connection=mirror.psa,
                item=f"{mirror.project_id}-{each.application}-{each.change}",
                of=InvoiceKey(connection=tracked.record.system, invoice_id=tracked.record.id),
                change=each.change,
                mirror=mirror.record,
                reference=f"{each.application}-{each.change}",
                amount=Money(amount=share, currency=mirror.net.currency),
                told_as=told_as,
            )


def _share(paid: Decimal, payable: Decimal, mirror: MirroredShare) -> Decimal:
    """Return what a gross payment is of a project's net, rounded.

    `payable` is the gross of what stays billed: paid as a whole, the mirror is paid.
    """
    if payable <= 0:
        return Decimal(0)
    exact = product(min(paid, payable), mirror.net.amount) / payable
    return Money.rounded(exact, mirror.net.currency).amount
