"""What a credit does to the PSA's mirror of an invoice: taken back, and what is left made anew."""

from dataclasses import dataclass
from decimal import Decimal

from activities.attempt import attempt
from activities.ports import Ports
from activities.registration import implements
from activities.steps import StepRunner, own_id
from adapters.psa_port import Psa
from canonical import activities as ref
from canonical.credit_invoice import (
    CancelMirror,
    CountExplained,
    Freed,
    FreedShare,
    SeeFreed,
)
from canonical.draft_to_invoice import ConfirmShare
from canonical.failures import FailureDetail, FailureKind, StepFailed
from canonical.ids import ExternalId, external_id, posting_id, step_key
from canonical.invoicing import ConfirmInvoice
from canonical.lifecycle import TrackedInvoice
from canonical.money import Money
from canonical.records import Receipt, RecordRef
from canonical.saga import StepCall
from store import Store
from store.draft_sources import MirroredShare

SUBLEDGER = "subledger"


@dataclass(frozen=True)
class MirrorActivities:
    """The PSA's side of a credit."""

    runner: StepRunner
    ports: Ports

    @implements(ref.COUNT_EXPLAINED)
    async def count_explained(self, call: StepCall[CountExplained]) -> Receipt:
        """See that the credit is counted, as whoever explained it had it: the pivot.

        Key: the step. No undo: the credit stands in the issuing system.
        """
        credit = call.request.credit
        record = RecordRef(system=SUBLEDGER, type="credit", id=credit)

        async def find() -> RecordRef | None:
            standing = await self.runner.store.credits.get_credit(credit)
            return record if standing.state == "credited" else None

        async def write() -> RecordRef:
            raise StepFailed(_not_counted(credit))

        return await self.runner.create(call, find, write)

    @implements(ref.SEE_FREED)
    async def see_freed(self, call: StepCall[SeeFreed]) -> Freed:
        """Say which mirrors the credit makes wrong. Key: none needed."""
        async with attempt(self.runner.store, call):
            return Freed(shares=await freed_shares(self.runner.store, call.request.invoice))

    @implements(ref.CANCEL_MIRROR)
    async def cancel_mirror(self, call: StepCall[CancelMirror]) -> Receipt:
        """Take the mirror out of the PSA: its entries are free. Key: the step."""
        store, request = self.runner.store, call.request
        psa = self.ports.psa(request.connection)
        mirrored = ExternalId(request.confirmed_as)
        wanted = _confirmation(request)

        async def find() -> RecordRef | None:
            found = await psa.find_confirmation(mirrored, wanted)
            return request.mirror if found is None else None

        async def write() -> RecordRef:
            await psa.cancel_confirmation(mirrored, wanted)
            return request.mirror

        receipt = await self.runner.create(call, find, write)
        await store.draft_sources.unmirrored(
            request.invoice, request.connection, request.project_id
        )
        return receipt

    @implements(ref.MIRROR_REST)
    async def mirror_rest(self, call: StepCall[ConfirmShare]) -> Receipt:
        """Mirror what is left of a share, without the entries that are billed again.

        Entries that were credited and are not billed again stay on it, at what is left.

        Key: the step. No undo: it takes the place of the mirror that was taken back.
        """
        psa = self.ports.psa(call.request.connection)
        return await mirror_share(self.runner, psa, call, anew=True)


async def mirror_share(
    runner: StepRunner, psa: Psa, call: StepCall[ConfirmShare], *, anew: bool
) -> Receipt:
    """Mirror what is left of an invoice's share of a project. Key: the step.

    Credits may have taken of it since the step was asked for. Where all of it is billed again,
    elsewhere, there is nothing to mirror, and the receipt names the invoice.
    """
    store, request, ours = runner.store, call.request, own_id(call)
    left = await _left(store, request)
    sources = await store.draft_sources.of(request.draft, request.project_id)
    net = request.net if left is None else left
    wanted = sources.confirmation(request.model_copy(update={"net": net}))

    async def find() -> RecordRef | None:
        found = await psa.find_confirmation(ours, wanted)
        if found is None and left is None:
            return request.invoice
        return None if found is None else found.record

    async def write() -> RecordRef:
        return (await psa.confirm_invoice(ours, wanted)).record

    receipt = await runner.create(call, find, write)
    if receipt.record != request.invoice:
        await store.draft_sources.mirrored(
            request.invoice,
            request.connection,
            request.project_id,
            receipt.record,
            net,
            ours if anew else "",
        )
    return receipt


async def _left(store: Store, request: ConfirmShare) -> Money | None:
    """Return what credits left of a share; None: all of it is billed again, elsewhere."""
    rests = await store.credits.rests(request.invoice.system, request.invoice.id)
    rest = rests.get(request.project_id, request.net.amount)
    return None if rest is None else Money(amount=rest, currency=request.net.currency)


async def freed_shares(store: Store, record: RecordRef) -> tuple[FreedShare, ...]:
    """Return the mirrors that show more than stays billed of their share, with what is left."""
    rests = await store.credits.rests(record.system, record.id)
    mirrors = await store.draft_sources.mirrors(record) if rests else ()
    if not mirrors:
        return ()
    invoice = await store.invoices.get(record.system, record.id)
    payment_days = (await store.drafts.get(invoice.draft)).payment_days
    freed = []
    for mirror in mirrors:
        if mirror.project_id not in rests:
            continue
        rest = rests[mirror.project_id]
        if rest is None or rest < mirror.net.amount:
            freed.append(
                FreedShare(
                    psa=mirror.psa,
                    project_id=mirror.project_id,
                    mirror=mirror.record,
                    net=mirror.net,
                    confirmed_as=await _confirmed_as(store, invoice, mirror),
                    rest=None if rest is None else _rest(invoice, mirror, rest, payment_days),
                )
            )
    return tuple(freed)


def _rest(
    invoice: TrackedInvoice, mirror: MirroredShare, left: Decimal, payment_days: int
) -> ConfirmShare:
    return ConfirmShare(
        connection=mirror.psa,
        item=mirror.project_id,
        draft=invoice.draft,
        posting=invoice.posting,
        invoice=invoice.record,
        project_id=mirror.project_id,
        number=invoice.number,
        on=invoice.on,
        payment_days=payment_days,
        net=Money(amount=left, currency=mirror.net.currency),
    )


async def _confirmed_as(store: Store, invoice: TrackedInvoice, mirror: MirroredShare) -> ExternalId:
    """Return the external id of a mirror: its own, or that which the invoice's posting gave it."""
    if mirror.external_id:
        return ExternalId(mirror.external_id)
    posting = posting_id(invoice.draft, invoice.posting)
    ended = await store.sagas.state(posting)
    generation = ended.generation if ended is not None else 1
    return external_id(step_key(posting, generation, ref.CONFIRM_SHARE.name, mirror.project_id))


def _confirmation(request: CancelMirror) -> ConfirmInvoice:
    """Return what names the mirror; what is on it, the PSA knows."""
    return ConfirmInvoice(
        connection=request.connection,
        item=request.item,
        project=RecordRef(system=request.connection, type="project", id=request.project_id),
        number="",
        on=request.on,
        net=request.net,
    )


def _not_counted(credit: str) -> FailureDetail:
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="credit_not_counted",
        message=f"{credit} is not counted: explain it once more, with the same reason and lines.",
    )
