"""Decisions about credits in the store, and credits that the issuing system made by itself.

Run beside the workflows: quick, in the store. A decision is judged by a pure policy, whichever
way it came; taken or refused, it is in the audit trail.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.failures import final
from activities.registration import implements
from canonical import activities as ref
from canonical.credit_invoice import CreditAnswer, CreditVerb, DecideCredit
from canonical.failures import FailureDetail, FailureKind
from canonical.ids import explained_credit_id, invoice_id
from canonical.invoicing import Application
from canonical.lifecycle import LOST, UNDONE, DraftedCredit, InvoiceState, TrackedInvoice
from canonical.money import Money
from canonical.saga import CloseWorkItem, OpenWorkItem, WorkItem, WorkItemKind
from policies.bundle import Bundle
from policies.credits import may_approve, may_refuse, native_credits, undoing, undone
from policies.queue_case import Actor
from store import Store
from store.credits import CreditStanding
from store.errors import Conflict, NotFound

COUNTED = frozenset({"approved", "credited"})
EXPLAIN_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class CreditDeskActivities:
    """What a second person decides about a credit."""

    store: Store
    bundle: Callable[[str], Bundle]
    """By connection: the approved policy bundle."""
    people: Mapping[str, Actor]
    """Who may act, by name."""

    @implements(ref.DECIDE_CREDIT)
    async def decide_credit(self, wanted: DecideCredit) -> CreditAnswer:
        """Approve or refuse a credit, or say why that person may not.

        Key: the credit; the same decision by the same person again is answered the same.
        """
        credits_ = self.store.credits
        try:
            standing = await credits_.get_credit(wanted.credit)
        except NotFound as error:
            raise final(_unknown(error)) from error
        reasons = await self._against(wanted, standing)
        if reasons:
            return _answer(standing, taken=False, reasons=reasons)
        try:
            if wanted.verb is CreditVerb.APPROVE:
                standing = await credits_.approve_credit(wanted.credit, by=wanted.by)
            else:
                standing = await credits_.refuse_credit(
                    wanted.credit, by=wanted.by, because=wanted.because
                )
        except Conflict as error:
            standing = await credits_.get_credit(wanted.credit)
            return _answer(standing, taken=False, reasons=(str(error),))
        return _answer(standing, taken=True)

    async def _against(self, wanted: DecideCredit, standing: CreditStanding) -> tuple[str, ...]:
        actor, credit = self.people.get(wanted.by), standing.credit
        if wanted.verb is CreditVerb.REFUSE:
            return may_refuse(actor, wanted.by, wanted.because)
        record = credit.invoice
        others = await self.store.credits.of_invoice(record.system, record.id)
        return may_approve(
            actor,
            wanted.by,
            credit.asked_by,
            credit.net,
            [each.credit.net for each in others if _counts(each, credit)],
            self.bundle(record.system).policies.invoicing,
        )


def _counts(other: CreditStanding, credit: DraftedCredit) -> bool:
    return other.state in COUNTED and other.credit.id != credit.id


def _answer(
    standing: CreditStanding, *, taken: bool, reasons: tuple[str, ...] = ()
) -> CreditAnswer:
    return CreditAnswer(
        credit=standing.credit.id,
        taken=taken,
        reasons=reasons,
        state=standing.state,
        net=standing.credit.net,
    )


def _unknown(error: NotFound) -> FailureDetail:
    return FailureDetail(kind=FailureKind.REJECTED, reason="credit_unknown", message=str(error))


# Credits that the issuing system made by itself.


async def undone_net(store: Store, invoice: TrackedInvoice) -> Money | None:
    """Return the net that was lost when an invoice was voided or deleted; None: it stands.

    Once somebody said what for, it stays what it was then.
    """
    record = invoice.record
    known = _undoing(invoice, await store.credits.of_invoice(record.system, record.id))
    return known.credit.net if known else await _lost(store, invoice)


async def unexplained(store: Store, invoice: TrackedInvoice) -> tuple[Application, ...]:
    """Return what took from an invoice without us, and nobody said yet what for.

    Credits of the issuing system, and the undoing of an invoice that was voided or deleted there.
    """
    record = invoice.record
    ours = await store.credits.of_invoice(record.system, record.id)
    notes = frozenset(each.note_id for each in ours if each.note_id)
    native = native_credits(invoice.applications, notes)
    known = _undoing(invoice, ours)
    if known is not None and known.state == "credited":
        return native
    net = known.credit.net if known else await _lost(store, invoice)
    return native if net is None else (*native, undoing(invoice, net))


def _undoing(invoice: TrackedInvoice, ours: Sequence[CreditStanding]) -> CreditStanding | None:
    """Return the credit that stands for the invoice's undoing, of those on it."""
    id_ = explained_credit_id(invoice.record.system, invoice.record.id, UNDONE)
    return next((each for each in ours if each.credit.id == id_), None)


async def _lost(store: Store, invoice: TrackedInvoice) -> Money | None:
    if invoice.state not in LOST:
        return None
    return undone(invoice, await store.credits.left(invoice.record.system, invoice.record.id))


async def note_native_credits(store: Store, invoice: TrackedInvoice, now: datetime) -> None:
    """Have a work item open for each credit that nobody explained, and none for one taken back.

    What stands is compared, not what is new: a look that was cut short is made good by the next.
    """
    record = invoice.record
    wanted = {
        item.id: item
        for each in await unexplained(store, invoice)
        for item in [native_credit_item(invoice, each, now)]
    }
    for item in wanted.values():
        await store.work_items.open(OpenWorkItem(item=item))
    open_ = await store.work_items.list(workflow_id=invoice_id(record.system, record.id))
    for stored in open_:
        gone = stored.item.id not in wanted
        if stored.item.kind is WorkItemKind.NATIVE_CREDIT and gone:
            closing = CloseWorkItem(
                work_item_id=stored.item.id, park=stored.item.park, how="explained or taken back"
            )
            await store.work_items.close(closing)


def native_credit_item(invoice: TrackedInvoice, credit: Application, now: datetime) -> WorkItem:
    """Return the work item about a credit of the issuing system.

    Its id names invoice, credit and amount: with another amount it is another one, which takes
    the place of the first.
    """
    record = invoice.record
    workflow_id = invoice_id(record.system, record.id)
    key = f"{workflow_id}/{credit.id}"
    of_amount = f"{key}/{credit.amount}"
    name = credit.reference or credit.id
    what = f"Credit {name} of {credit.amount} gross was applied to invoice {invoice.number}"
    title = f"Credit {name} on invoice {invoice.number}"
    if credit.id == UNDONE:
        done = "deleted" if invoice.state is InvoiceState.GONE else "voided"
        what = f"Invoice {invoice.number} was {done}, {credit.amount} gross of it not credited,"
        title = f"Invoice {invoice.number} was {done}"
    return WorkItem(
        id=f"WI-credit-{hashlib.sha256(of_amount.encode()).hexdigest()[:12]}",
        workflow_id=workflow_id,
        generation=1,
        step="explain_credit",
        key=key,
        park=1,
        kind=WorkItemKind.NATIVE_CREDIT,
        failure=FailureDetail(
            kind=FailureKind.REJECTED,
            reason="native_credit",
            message=(
                f"{what} in {record.system}, and nobody said what for: say the reason with "
                f"starter.py invoice explain {invoice.number} {name} --reason REASON."
            ),
            system=record.system,
        ),
        title=title,
        client_id=invoice.client_id,
        legal_entities=(invoice.legal_entity,),
        amount=str(credit.amount),
        connection=record.system,
        opened_at=now,
        respond_by=now + EXPLAIN_WITHIN,
    )
