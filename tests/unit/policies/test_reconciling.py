"""What a difference is, in words, and whether it waits, mends itself or is queued."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from canonical.reconciliation import Candidate, FindingClass, FindingCode, FoundRow, Healing
from policies.reconciling import DIFFERENCES, judge, period_days, periods_back
from policies.reconciling_schema import Reconciling

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
RULES = Reconciling(heal=(FindingCode.NEVER_TOLD, FindingCode.STATUS_DIFFERS))


def candidate(code: FindingCode = FindingCode.NEVER_TOLD, **values: object) -> Candidate:
    return Candidate.model_validate(
        {
            "id": 1,
            "connection": "kantata",
            "kind": "entry",
            "code": code,
            "record_type": "entry",
            "record_id": "time/4711",
            "project_id": "5001",
            "amount": Decimal("150.00"),
            "currency": "USD",
            "rows": (
                FoundRow(system="kantata", type="entry", id="time/4711", state="open"),
                FoundRow(system="dealthread", type="entry", id="time/4711", state="withdrawn"),
            ),
            **values,
        }
    )


@pytest.mark.parametrize("code", FindingCode)
def test_every_code_is_explained_with_the_rows_behind_it(code: FindingCode) -> None:
    verdict = judge(candidate(code), RULES, NOW)
    assert "4711" in verdict.explanation or code in {
        FindingCode.CHARGE_DELETED,
        FindingCode.COST_DELETED,
        FindingCode.INVOICE_GONE,
    }
    assert "{" not in verdict.explanation + verdict.remedy
    assert verdict.class_ is DIFFERENCES[code].class_
    assert verdict.queue


def test_what_is_fresh_or_under_way_is_a_gap_and_is_not_queued() -> None:
    fresh = candidate(changed_at=NOW - timedelta(minutes=5))
    verdict = judge(fresh, RULES, NOW)
    assert (verdict.class_, verdict.queue) == (FindingClass.TIMING_GAP, False)
    strict = judge(fresh, RULES, NOW, tolerance_seconds=0)
    assert strict.class_ is FindingClass.ORPHAN
    under_way = judge(candidate(under_way="a run has it"), RULES, NOW, tolerance_seconds=0)
    assert under_way.class_ is FindingClass.TIMING_GAP
    assert "a run has it" in under_way.explanation


def test_a_code_may_have_a_tolerance_of_its_own() -> None:
    rules = Reconciling(tolerances={FindingCode.UNAPPLIED_PAYMENT: 7_200})
    lying = candidate(FindingCode.UNAPPLIED_PAYMENT, changed_at=NOW - timedelta(minutes=90))
    assert judge(lying, rules, NOW).class_ is FindingClass.TIMING_GAP
    assert judge(candidate(changed_at=lying.changed_at), rules, NOW).class_ is FindingClass.ORPHAN


def test_what_is_mended_is_not_queued_unless_it_is_not_to_be_mended() -> None:
    verdict = judge(candidate(), RULES, NOW, heal=True)
    assert (verdict.healing, verdict.queue) == (Healing.TELL, False)
    assert judge(candidate(), RULES, NOW).queue
    gone = candidate(FindingCode.ENTRY_GONE)
    assert judge(gone, RULES, NOW, heal=True).queue


def test_only_an_invoice_that_is_followed_here_is_looked_at() -> None:
    ours = FoundRow(system="dealthread", type="invoice", id="INV1", state="issued")
    known = candidate(FindingCode.STATUS_DIFFERS, connection="netsuite", rows=(ours,))
    assert judge(known, RULES, NOW, heal=True).healing is Healing.LOOK
    strange = candidate(FindingCode.STATUS_DIFFERS, connection="netsuite", rows=())
    verdict = judge(strange, RULES, NOW, heal=True)
    assert (verdict.healing, verdict.queue) == (Healing.NONE, True)


def test_what_waits_as_a_work_item_already_is_not_queued_again() -> None:
    assert not judge(candidate(FindingCode.NATIVE_CREDIT, waits=True), RULES, NOW).queue


def test_periods() -> None:
    assert period_days("2026-02") == (date(2026, 2, 1), date(2026, 2, 28))
    assert period_days("2026-12") == (date(2026, 12, 1), date(2026, 12, 31))
    assert periods_back("2026-01", 2) == ("2026-01", "2025-12", "2025-11")
