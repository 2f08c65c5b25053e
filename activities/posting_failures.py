"""Why a posting waits, in words for whoever has to act."""

from collections.abc import Sequence

from canonical.drafts import Draft
from canonical.failures import FailureDetail, FailureKind
from canonical.invoicing import Invoice

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
