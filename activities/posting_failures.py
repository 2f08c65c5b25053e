"""Why a posting waits, in words for whoever has to act."""

from collections.abc import Sequence

from canonical.draft_to_invoice import INVOICE_GONE
from canonical.drafts import Draft
from canonical.entries import Entry
from canonical.failures import FailureDetail, FailureKind
from canonical.invoicing import Invoice, PsaMilestone
from canonical.records import RecordRef
from store.draft_sources import SourceEntry, SourceMilestone

NOT_POSTED_YET = FailureDetail(
    kind=FailureKind.RATE_LIMITED,
    reason="not_posted_yet",
    message="The issuing system has taken the invoice and has not posted it yet.",
)


def not_released(draft: Draft, posting: int) -> FailureDetail:
    """Return that somebody acted on the draft between its release and its posting."""
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="not_released",
        message=(
            f"The draft is {draft.state} at release {draft.posting}, and this posting is of "
            f"release {posting}: roll it back."
        ),
    )


def invoice_differs(invoice: Invoice, found: Sequence[str]) -> FailureDetail:
    """Return how an issued invoice differs from what was released, at most ten ways."""
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason="invoice_differs",
        message=(
            f"Invoice {invoice.number} is not what was released: {'; '.join(found[:10])}. "
            "Correct it there, or credit it, and retry."
        ),
        system=invoice.record.system,
    )


def invoice_gone(invoice: RecordRef) -> FailureDetail:
    """Return that an invoice, once issued, is not in its system any more."""
    return FailureDetail(
        kind=FailureKind.REJECTED,
        reason=INVOICE_GONE,
        message=(
            f"Invoice {invoice.id} was issued, and somebody has deleted it in {invoice.system}. "
            "Roll back to queue the draft again, which issues nothing until it is released anew; "
            "or restore the invoice there, and retry."
        ),
        system=invoice.system,
    )


# What keeps a released draft from being posted, said of one thing that it bills.


def entry_problem(billed: SourceEntry, now: Entry | None) -> str:
    """Return why an entry may not be billed as it was released; empty: it may."""
    if now is None:
        return "is gone"
    if not now.approved:
        return "is not approved any more"
    if now.version != billed.version:
        return "was changed"
    if now.reservation_id not in billed.reserved_by:
        return (
            f"is on invoice {now.reservation_id} of the PSA"
            if now.reservation_id
            else "is not reserved for its billing run any more"
        )
    return ""


def milestone_problem(billed: SourceMilestone, now: PsaMilestone | None) -> str:
    """Return why a milestone may not be billed as it was released; empty: it may."""
    if now is None:
        return "is gone"
    if not now.approved:
        return "is not approved any more"
    if now.amount != billed.amount and not billed.again:
        return f"is {now.amount} now"
    return ""
