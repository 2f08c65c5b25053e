"""A credit that somebody made in the issuing system, explained: what it is for, line by line."""

from collections.abc import Sequence
from decimal import Decimal

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.credit_desk import undone_net
from canonical.credit_invoice import AskedCredit, CreditedAmount, CreditInput
from canonical.ids import explained_credit_id, invoice_id
from canonical.invoice_lifecycle import InvoiceKey
from canonical.invoicing import Application, CreditNote, CreditReason
from canonical.lifecycle import UNDONE, DraftedCredit, LeftToCredit, TrackedInvoice
from canonical.money import Money
from canonical.records import RecordRef
from canonical.saga import CloseWorkItem, WorkItemKind
from operations.people import Refused, short
from operations.sagas import SAGA_QUEUE
from policies.credits import may_explain, native_credits, net_of, undoing, undone_note, work_out
from policies.queue_case import Actor
from store import Store
from store.credits import CreditStanding
from store.errors import NotFound
from workflows.credit_invoice import CreditInvoice
from workflows.options import LIVE_PRIORITY


async def explain_credit(
    store: Store,
    actor: Actor | None,
    invoice: TrackedInvoice,
    credit: str,
    lines: Sequence[CreditedAmount],
    reason: CreditReason,
    *,
    by: str,
    because: str,
) -> CreditStanding:
    """Count a native credit as one of ours, and close its work item; again changes nothing.

    Raises:
        Refused: the person may not, there is no such credit, or the lines are not its net.
        Conflict: it was explained otherwise.
    """
    refused = may_explain(actor, by)
    if refused:
        raise Refused(f"{'; '.join(refused)}.")
    record = invoice.record
    applied, net = await _native(store, invoice, credit)
    note = _note(invoice, applied, net)
    id_ = explained_credit_id(record.system, record.id, applied.id)
    drafted = await _drafted(store, id_, invoice, note, lines, reason, because)
    standing = await store.credits.open_credit(drafted)
    if standing.state == "asked":
        await store.credits.approve_credit(id_, by=by)
    standing = await store.credits.credited(id_, note)
    await _close(store, invoice, applied, f"explained by {by}: {reason}")
    return standing


async def tell_psa(
    client: Client,
    invoice: TrackedInvoice,
    standing: CreditStanding,
    reason: CreditReason,
    by: str,
) -> None:
    """Have the PSA's mirrors show what an explained credit left; twice is as good.

    A saga does it: the mirror is taken back, and made anew with what is left.
    """
    record = invoice.record
    asked = AskedCredit(
        of=InvoiceKey(connection=record.system, invoice_id=record.id),
        number=0,
        reason=reason,
        because=standing.credit.memo,
        asked_by=by,
        on=standing.note.on if standing.note else None,
        explains=standing.credit.id,
    )
    await client.start_workflow(
        CreditInvoice.run,
        CreditInput(asked=asked),
        id=asked.credit,
        task_queue=SAGA_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        priority=LIVE_PRIORITY,
        static_summary="Credit of the issuing system",
    )


async def _native(store: Store, invoice: TrackedInvoice, credit: str) -> tuple[Application, Money]:
    """Return what is meant, explained already or not, with its net."""
    native = {
        each: net_of(each.amount, invoice.net, invoice.gross)
        for each in native_credits(invoice.applications, frozenset())
    }
    lost = await undone_net(store, invoice)
    if lost is not None:
        native[undoing(invoice, lost)] = lost
    found = [each for each in native if credit in {each.id, each.reference}]
    if len(found) == 1:
        return found[0], native[found[0]]
    names = ", ".join(each.reference or each.id for each in native) or "none"
    raise Refused(
        f"No credit {short(credit)} made in {invoice.record.system} stands on invoice "
        f"{invoice.number}; there are: {names}."
    )


async def _drafted(
    store: Store,
    id_: str,
    invoice: TrackedInvoice,
    note: CreditNote,
    lines: Sequence[CreditedAmount],
    reason: CreditReason,
    because: str,
) -> DraftedCredit:
    """Return the credit as it is put down; as it was, where an earlier try did so."""
    try:
        known = (await store.credits.get_credit(id_)).credit
    except NotFound:
        pass
    else:
        if {line.reason for line in known.lines} != {reason}:
            raise Refused(f"{id_} was explained otherwise already.")
        return known
    record = invoice.record
    left = await store.credits.left(record.system, record.id)
    undone = id_.endswith(f"/native-{UNDONE}")
    wanted = tuple(lines) or (() if undone else _whole_or_one(invoice, left, note.net))
    worked = work_out(invoice, left, wanted, reason)
    if worked.refused:
        raise Refused(f"{'; '.join(worked.refused)}.")
    if worked.net != note.net:
        raise Refused(
            f"The lines come to {worked.net}, and the credit to {note.net} net: say lines that do."
        )
    return DraftedCredit(
        id=id_,
        invoice=record,
        lines=worked.lines,
        memo=because,
        asked_by=record.system,
    )


async def _close(store: Store, invoice: TrackedInvoice, applied: Application, how: str) -> None:
    record = invoice.record
    workflow_id = invoice_id(record.system, record.id)
    for stored in await store.work_items.list(workflow_id=workflow_id):
        item = stored.item
        about = item.kind is WorkItemKind.NATIVE_CREDIT
        if about and item.key == f"{workflow_id}/{applied.id}":
            closing = CloseWorkItem(work_item_id=item.id, park=item.park, how=how)
            await store.work_items.close(closing)


def _note(invoice: TrackedInvoice, applied: Application, net: Money) -> CreditNote:
    """Return a native credit as a note; an undone invoice has none, so it stands for itself."""
    if applied.id == UNDONE:
        return undone_note(invoice, net, applied.on)
    tax = applied.amount.amount - net.amount
    record = RecordRef(system=invoice.record.system, type="credit_note", id=applied.id)
    return CreditNote(
        record=record,
        invoice=invoice.record,
        number=applied.reference,
        net=net,
        tax=Money(amount=tax, currency=net.currency),
        gross=applied.amount,
        on=applied.on,
    )


def _whole_or_one(
    invoice: TrackedInvoice, left: Sequence[LeftToCredit], net: Money
) -> tuple[CreditedAmount, ...]:
    """Return what a credit without lines can only be for.

    Raises:
        Refused: it could be for several lines.
    """
    rest: dict[int, Decimal] = {}
    for each in left:
        rest[each.line] = rest.get(each.line, Decimal(0)) + each.open
    open_ = {line: amount for line, amount in rest.items() if amount > 0}
    if sum(open_.values(), Decimal(0)) == net.amount:
        return ()
    if len(open_) == 1:
        return (CreditedAmount(line=next(iter(open_)), amount=net),)
    raise Refused(
        f"The credit comes to {net} net, and invoice {invoice.number} has several lines: say which "
        "with --line 2=150.00, once for each."
    )
