"""The only place that builds Temporal failures: our errors in, `ApplicationError` out.

| our error | kind | Temporal |
| --- | --- | --- |
| Transient, RateLimited, OutcomeUnknown | the same | retried, with the delay we choose |
| Rejected and its kinds, UndoRefused | rejected, undo_refused | final: the step parks |
| BudgetSpent | budget_spent | final: the step parks |
| StepFailed of a policy | as it says | final |
| GenerationClosed | rejected | final: the saga is stopping |
"""

from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from adapters.errors import AdapterError, OutcomeUnknown, RateLimited, Transient, UndoRefused
from canonical.failures import FailureDetail, FailureKind

MESSAGE_LENGTH_MAX = 2000

KINDS: dict[type[AdapterError], FailureKind] = {
    Transient: FailureKind.TRANSIENT,
    RateLimited: FailureKind.RATE_LIMITED,
    OutcomeUnknown: FailureKind.UNKNOWN,
    UndoRefused: FailureKind.UNDO_REFUSED,
}
"""Every other AdapterError is a rejection."""


def detail_of(error: AdapterError, connection: str) -> FailureDetail:
    """Return an adapter's error as data for work items and search attributes."""
    kinds = [kind for type_, kind in KINDS.items() if isinstance(error, type_)]
    return FailureDetail(
        kind=kinds[0] if kinds else FailureKind.REJECTED,
        reason=str(error.reason),
        message=str(error)[:MESSAGE_LENGTH_MAX],
        system=connection,
        field=getattr(error, "field", None) or "",
        outcome_unknown=isinstance(error, OutcomeUnknown),
    )


def final(detail: FailureDetail) -> ApplicationError:
    """Return the failure that parks the step: trying again by itself would not help."""
    return ApplicationError(
        detail.message,
        detail.model_dump(mode="json"),
        type=detail.reason,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,
    )


def again(detail: FailureDetail, delay_seconds: float) -> ApplicationError:
    """Return the failure after which Temporal tries again, after `delay_seconds`."""
    return ApplicationError(
        detail.message,
        detail.model_dump(mode="json"),
        type=detail.reason,
        next_retry_delay=timedelta(seconds=delay_seconds),
        category=ApplicationErrorCategory.BENIGN,
    )
