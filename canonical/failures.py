"""Why a step did not succeed, in the words of DESIGN 3.5 and of the person who must decide."""

from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.records import RecordRef


class FailureKind(StrEnum):
    """What the engine does about a failure."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    BUDGET_SPENT = "budget_spent"
    UNDO_REFUSED = "undo_refused"


class Candidate(CanonicalModel):
    """An existing record that a person may adopt, with what tells it from the others."""

    record: RecordRef
    name: str = ""
    tax_id: str = ""
    country: str = ""
    matched_by: str = ""


class FailureDetail(CanonicalModel):
    """A failure as data: what happened, where, and what to change."""

    kind: FailureKind
    reason: str
    """A code: invalid, missing_mapping, duplicate, ambiguous_client, ... (search attribute)."""
    message: str
    """Plain words, bounded and masked."""
    system: str = ""
    field: str = ""
    """What to correct, named as the person knows it."""
    owner: str = ""
    """Which system owns the field: it is corrected there."""
    outcome_unknown: bool = False
    """The write may have taken effect."""
    candidates: tuple[Candidate, ...] = ()


class StepFailed(Exception):
    """A failure on its way from a policy or adapter to the engine, already classified."""

    def __init__(self, detail: FailureDetail, retry_after_seconds: float | None = None) -> None:
        super().__init__(detail.message)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
