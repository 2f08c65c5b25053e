"""What a backfill would do about a record, by what is known of it."""

from datetime import date

import pytest

from canonical.backfill import BackfillKind, KnownEntry, KnownSaga, RecordState, SourceRecord
from canonical.milestone_to_invoice import NOT_APPROVED
from canonical.saga import Outcome
from policies.backfilling import judge_entry, judge_saga

RECORD = SourceRecord(id="1", target="1", on=date(2026, 1, 1))
LINKED = RECORD.model_copy(update={"linked": "the CRM names project 9"})
ENTRY = SourceRecord(id="time:7", target="5001", on=date(2026, 1, 1), version="v")
RESERVED = ENTRY.model_copy(update={"linked": "is on invoice 3"})


@pytest.mark.parametrize(
    ("record", "known", "state", "generation", "why"),
    [
        (RECORD, None, RecordState.PLANNED, 0, ""),
        (LINKED, None, RecordState.REJECTED, 0, "project 9"),
        (LINKED, KnownSaga(generation=1, outcome=Outcome.COMPLETED), "already_done", 1, ""),
        (
            RECORD,
            KnownSaga(generation=2, outcome=Outcome.COMPLETED_WITH_RESIDUE),
            "already_done",
            2,
            "",
        ),
        (RECORD, KnownSaga(generation=1), RecordState.UNDER_WAY, 0, "runs"),
        (RECORD, KnownSaga(generation=3, parked="match_client: two"), RecordState.PARKED, 2, "two"),
        (
            RECORD,
            KnownSaga(generation=1, outcome=Outcome.ROLLED_BACK, reason="no"),
            "rejected",
            1,
            "no",
        ),
        (
            RECORD,
            KnownSaga(generation=1, outcome=Outcome.ABANDONED, reason="x"),
            "rejected",
            1,
            "hand",
        ),
        (
            RECORD,
            KnownSaga(generation=1, outcome=Outcome.ROLLED_BACK, reason=NOT_APPROVED),
            "planned",
            1,
            "",
        ),
    ],
)
def test_a_saga_decides(
    record: SourceRecord, known: KnownSaga | None, state: str, generation: int, why: str
) -> None:
    judged = judge_saga(BackfillKind.MILESTONES, "psa", record, known)
    assert (judged.state, judged.generation) == (state, generation)
    assert why in judged.why
    assert judged.workflow_id == "milestone-to-invoice/psa/1"


def known(
    *, same: bool = True, handed_over: bool = False, in_run: bool = False, held: str = ""
) -> KnownEntry:
    return KnownEntry(same=same, handed_over=handed_over, in_run=in_run, held=held)


@pytest.mark.parametrize(
    ("record", "entry", "billed", "state"),
    [
        (ENTRY, None, True, RecordState.PLANNED),
        (ENTRY, None, False, RecordState.REJECTED),
        (RESERVED, None, True, RecordState.REJECTED),
        (RESERVED, known(in_run=True), True, RecordState.UNDER_WAY),
        (ENTRY, known(handed_over=True), False, RecordState.ALREADY_DONE),
        (ENTRY, known(held="no_rate: …"), True, RecordState.PARKED),
        (ENTRY, known(), True, RecordState.PLANNED),
        (ENTRY, known(same=False, handed_over=True), True, RecordState.PLANNED),
    ],
)
def test_the_subledger_decides_of_an_entry(
    record: SourceRecord, entry: KnownEntry | None, billed: bool, state: RecordState
) -> None:
    assert judge_entry(record, entry, billed=billed).state is state
