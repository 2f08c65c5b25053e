"""What a backfill would do about a record, by what Dealthread knows of it: its diff.

Pure. A dry run and a real one ask the same; so what the one says, the other does.
"""

from collections.abc import Callable, Mapping
from typing import Final

from canonical.backfill import (
    BackfillKind,
    Judged,
    KnownEntry,
    KnownSaga,
    RecordState,
    SourceRecord,
)
from canonical.ids import milestone_to_invoice_id, opportunity_to_project_id
from canonical.milestone_to_invoice import NOT_APPROVED
from canonical.saga import Outcome

DONE: Final = frozenset({Outcome.COMPLETED, Outcome.COMPLETED_WITH_RESIDUE})
SAGA_IDS: Final[Mapping[BackfillKind, Callable[[str, str], str]]] = {
    BackfillKind.OPPORTUNITIES: opportunity_to_project_id,
    BackfillKind.MILESTONES: milestone_to_invoice_id,
}
"""The saga of a record by connection and id; time has one per project and period."""


def judge_saga(
    kind: BackfillKind, connection: str, record: SourceRecord, known: KnownSaga | None
) -> Judged:
    """Return what becomes of an opportunity or a milestone."""
    workflow_id = SAGA_IDS[kind](connection, record.target)
    if known is None:
        if record.linked:
            return _conflict(record, record.linked, workflow_id)
        return Judged(record=record, state=RecordState.PLANNED, workflow_id=workflow_id)
    if known.outcome is None:
        # Its life goes on: whatever it ends in is what becomes of the record.
        state = RecordState.PARKED if known.parked else RecordState.UNDER_WAY
        before = known.generation - 1
        return Judged(
            record=record,
            state=state,
            why=known.parked or "runs already",
            workflow_id=workflow_id,
            generation=before,
        )
    if known.outcome in DONE:
        return Judged(
            record=record,
            state=RecordState.ALREADY_DONE,
            workflow_id=workflow_id,
            generation=known.generation,
        )
    if known.reason == NOT_APPROVED:  # no decision of anybody: now it is approved
        return Judged(
            record=record,
            state=RecordState.PLANNED,
            workflow_id=workflow_id,
            generation=known.generation,
        )
    why = f"ended as {known.outcome} before ({known.reason}): start it by hand if it should run"
    return _conflict(record, why, workflow_id, known.generation)


def judge_entry(record: SourceRecord, known: KnownEntry | None, *, billed: bool) -> Judged:
    """Return what becomes of a time entry; `billed`: a contract bills its project."""
    if known is not None and known.same:
        if known.handed_over:
            return Judged(record=record, state=RecordState.ALREADY_DONE)
        if known.held:
            return Judged(record=record, state=RecordState.PARKED, why=known.held)
        if known.in_run:
            return Judged(record=record, state=RecordState.UNDER_WAY, why="in a billing run")
    if not billed:
        return _conflict(record, f"no contract bills project {record.target}")
    if known is None and record.linked:
        return _conflict(record, record.linked)
    changed = known is not None and known.handed_over
    why = "changed since it was billed" if changed else ""
    return Judged(record=record, state=RecordState.PLANNED, why=why)


def _conflict(record: SourceRecord, why: str, workflow_id: str = "", generation: int = 0) -> Judged:
    return Judged(
        record=record,
        state=RecordState.REJECTED,
        why=why,
        workflow_id=workflow_id,
        generation=generation,
    )
