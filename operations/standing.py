"""Where a saga stands, as the store knows it: for when the saga itself cannot be asked."""

from collections.abc import Sequence

from canonical.records import Receipt, UndoReceipt, UndoResult, WriteOutcome
from canonical.saga import SagaView, StepReport, StepState, WorkItem
from store.sagas import CrossReference, Generation, Trace, TracedAttempt

OPEN_STATES = {"open": "running", "closed": "rolling_back"}


def stored_view(trace: Trace, items: tuple[WorkItem, ...], state: str) -> SagaView:
    """Return the view of the latest generation; `state` says why the saga itself is not asked."""
    latest = trace.generations[-1]
    attempts = {
        attempt.key: attempt
        for attempt in trace.attempts
        if attempt.generation == latest.generation and not attempt.key.startswith("undo:")
    }
    references: dict[str, list[CrossReference]] = {}
    for reference in trace.references:
        references.setdefault(reference.key, []).append(reference)
    return SagaView(
        workflow_id=latest.workflow_id,
        generation=latest.generation,
        state=_state(latest, state),
        title=latest.title,
        steps=tuple(_report(attempts[key], references.get(key, ())) for key in attempts),
        work_items=items,
    )


def _state(latest: Generation, state: str) -> str:
    if latest.outcome is not None:
        return f"{latest.outcome}"
    return f"{OPEN_STATES.get(latest.state, latest.state)} ({state})"


def _report(attempt: TracedAttempt, references: Sequence[CrossReference]) -> StepReport:
    return StepReport(
        step=attempt.step,
        key=attempt.key,
        state=_step_state(attempt),
        system=attempt.connection,
        receipt=_receipt(*references) if references else None,
        undo=UndoReceipt(result=UndoResult(attempt.undo_result)) if attempt.undo_result else None,
        note=attempt.reason,
    )


def _receipt(of: CrossReference, *parts: CrossReference) -> Receipt:
    return Receipt(
        record=of.record,
        outcome=WriteOutcome(of.outcome),
        parts=tuple(part.record for part in parts),
    )


def _step_state(attempt: TracedAttempt) -> StepState:
    if attempt.undone_at is not None:
        return StepState.UNDONE
    return {"done": StepState.DONE, "not_done": StepState.PARKED}.get(
        attempt.state, StepState.RUNNING
    )
