"""What falls due under a schedule: order, keys, and facts that do not fit."""

from datetime import date
from decimal import Decimal

import pytest

from canonical.money import Money
from canonical.schedule_facts import (
    Acceptance,
    DrawFact,
    LineKind,
    MeasuredValue,
    MilestoneFact,
    ProgressFact,
    ReleaseFact,
    ScheduledLine,
    ScheduleFact,
    TopUp,
    UsageFact,
)
from canonical.schedules import (
    Advance,
    FixedFeeTerms,
    Instalment,
    ManagedServicesTerms,
    MonthlyFeeTerms,
    OutcomeTerms,
    OutcomeTier,
    Overage,
    RetainerTerms,
    Retention,
    RetentionRelease,
    ScheduleTerms,
    UsageTerms,
)
from policies.schedules import FactsRefused, due

JANUARY, FAR_OFF = date(2026, 1, 1), date(2030, 1, 1)
FEE = MonthlyFeeTerms(currency="EUR", fee=Decimal(100), start=JANUARY)
FIXED = FixedFeeTerms(currency="EUR", value=Decimal(1000), start=JANUARY)
RETAINER = RetainerTerms(currency="EUR", amount=Decimal(500), start=JANUARY, end=date(2026, 6, 30))
MANAGED = ManagedServicesTerms(
    currency="EUR",
    fee=Decimal(100),
    start=JANUARY,
    usage=(UsageTerms(metric="calls", unit_price=Decimal(1)),),
)
MILESTONES = FixedFeeTerms(
    currency="EUR",
    value=Decimal(1000),
    start=JANUARY,
    milestones=(Instalment(id="M1", percent=Decimal(100)),),
)
RETAINED = FixedFeeTerms(
    currency="EUR",
    value=Decimal(1000),
    start=JANUARY,
    retention=Retention(percent=Decimal(5), releases=(RetentionRelease(due=date(2027, 1, 1)),)),
)


def items(lines: tuple[ScheduledLine, ...]) -> list[str]:
    return [each.item for each in lines]


def progress(id_: str, day: date, percent: int) -> ProgressFact:
    return ProgressFact(id=id_, recorded_on=day, percent=Decimal(percent))


class TestDue:
    def test_an_open_fee_yields_what_is_due_before_the_day_and_no_more(self) -> None:
        assert items(due(FEE, (), JANUARY, date(2026, 3, 1))) == ["fee/2026-01", "fee/2026-02"]
        assert items(due(FEE, (), JANUARY, date(2026, 3, 2)))[-1] == "fee/2026-03"

    def test_what_is_due_before_since_is_left_to_others_but_counted(self) -> None:
        facts = (progress("P-1", date(2026, 2, 1), 30), progress("P-2", date(2026, 5, 1), 80))
        (line,) = due(FIXED, facts, date(2026, 4, 1), FAR_OFF)
        assert (line.item, line.net.amount) == ("progress/P-2", Decimal(500))

    def test_a_deduction_alone_is_caught_up_where_its_instalment_is_done(self) -> None:
        terms = FIXED.model_copy(update={"advance": Advance(due=JANUARY, percent=Decimal(10))})
        facts = (progress("P-1", date(2026, 2, 1), 30),)
        done = ("advance", "progress/P-1")
        (line,) = due(terms, facts, JANUARY, FAR_OFF, done)
        assert (line.kind, line.net.amount) == (LineKind.ADVANCE_OFFSET, Decimal(-30))

    def test_a_fact_counts_from_the_day_it_was_recorded(self) -> None:
        facts = (progress("P-1", date(2026, 2, 1), 30),)
        assert due(FIXED, facts, JANUARY, date(2026, 2, 1)) == ()
        assert items(due(FIXED, facts, JANUARY, date(2026, 2, 2))) == ["progress/P-1"]

    def test_a_fee_of_nothing_yields_no_line(self) -> None:
        terms = MANAGED.model_copy(update={"fee": Decimal(0)})
        fact = UsageFact(
            id="U-1", recorded_on=JANUARY, month="2026-01", metric="calls", quantity=Decimal(3)
        )
        assert items(due(terms, (fact,), JANUARY, FAR_OFF)) == ["true-up/2026-01/U-1"]

    def test_the_tax_point_is_the_end_of_service_or_the_invoice_if_earlier(self) -> None:
        late = UsageFact(
            id="U-1",
            recorded_on=date(2026, 2, 20),
            month="2026-01",
            metric="calls",
            quantity=Decimal(3),
        )
        fee, _, true_up = due(MANAGED, (late,), JANUARY, date(2026, 2, 28))
        assert (fee.invoice_on, fee.tax_point) == (JANUARY, JANUARY)
        assert (true_up.invoice_on, true_up.tax_point) == (date(2026, 2, 20), date(2026, 1, 31))

    def test_the_tax_point_of_a_release_is_its_invoice(self) -> None:
        lines = due(RETAINED, (progress("P-1", JANUARY, 100),), JANUARY, FAR_OFF)
        assert lines[-1].item == "retention-release/1"
        assert lines[-1].tax_point == date(2027, 1, 1)

    def test_the_basis_of_a_prorated_and_indexed_fee_computes_it_again(self) -> None:
        terms = MonthlyFeeTerms.model_validate(
            {
                "currency": "EUR",
                "fee": "850.50",
                "start": JANUARY,
                "end": date(2026, 3, 10),
                "indexation": [{"valid_from": date(2026, 3, 1), "percent": 9, "cap_percent": 2}],
            }
        )
        assert due(terms, (), JANUARY, FAR_OFF)[-1].basis == (
            ("fee per month", "850.50 EUR"),
            ("indexation of 2026-03-01 (9 % capped)", "2 %"),
            ("fee then", "867.51 EUR"),
            ("days of service", "10 of 31 days"),
            ("prorated", "279.84 EUR"),
        )

    def test_nothing_is_withheld_after_the_last_release(self) -> None:
        retention = Retention(
            percent=Decimal(5), releases=(RetentionRelease(due=date(2026, 3, 1)),)
        )
        terms = FIXED.model_copy(update={"retention": retention})
        facts = (progress("P-1", date(2026, 2, 1), 50), progress("P-2", date(2026, 4, 1), 100))
        assert items(due(terms, facts, JANUARY, FAR_OFF)) == [
            "progress/P-1",
            "progress/P-1/retention",
            "retention-release/1",
            "progress/P-2",
        ]

    def test_a_release_recorded_twice_pays_once(self) -> None:
        halves = (RetentionRelease(percent=Decimal(50)), RetentionRelease(percent=Decimal(50)))
        retention = Retention(percent=Decimal(10), releases=halves)
        terms = FIXED.model_copy(update={"retention": retention})
        facts = (
            progress("P-1", date(2026, 2, 1), 50),
            ReleaseFact(id="R-1", recorded_on=date(2026, 3, 1), release=1),
            progress("P-2", date(2026, 4, 1), 100),
            ReleaseFact(id="R-2", recorded_on=date(2026, 5, 1), release=1),
        )
        lines = due(terms, facts, JANUARY, FAR_OFF)
        released = [each for each in lines if each.kind is LineKind.RETENTION_RELEASE]
        assert [(each.item, each.net.amount) for each in released] == [
            ("retention-release/1", Decimal(25))
        ]

    def test_a_month_is_decided_when_its_last_day_is_over(self) -> None:
        last = date(2026, 1, 31)
        assert items(due(RETAINER, (), JANUARY, last)) == ["deposit/2026-01"]
        after = due(RETAINER, (), JANUARY, date(2026, 2, 1))
        assert items(after) == ["deposit/2026-01", "expiry/2026-01"]

    def test_work_after_the_end_is_overage_once_the_last_month_is_closed(self) -> None:
        terms = RETAINER.model_copy(update={"overage": Overage.SCHEDULE})
        after = DrawFact(
            id="D-1",
            recorded_on=date(2026, 6, 20),
            service_date=date(2026, 7, 5),
            amount=money("EUR", 70),
        )
        line = due(terms, (after,), JANUARY, FAR_OFF)[-1]
        assert (line.item, line.invoice_on) == ("overage/late/D-1", date(2026, 6, 30))

    def test_a_corrected_measurement_does_not_use_up_the_cap_twice(self) -> None:
        terms = OutcomeTerms(
            currency="EUR",
            start=JANUARY,
            tiers=(OutcomeTier(percent=Decimal(100)),),
            total_cap=Decimal(100),
        )
        facts = [
            MeasuredValue(
                id=f"V-{value}",
                recorded_on=JANUARY,
                name="pilot",
                value=Decimal(value),
                acceptance=Acceptance(by="A. Weber", on=JANUARY, document="ACC-1"),
            )
            for value in (80, 90)
        ]
        lines = due(terms, facts, JANUARY, FAR_OFF)
        assert [each.net.amount for each in lines] == [Decimal(80), Decimal(10)]


def money(currency: str, amount: int) -> Money:
    return Money(amount=Decimal(amount), currency=currency)


REFUSED: list[tuple[ScheduleTerms, ScheduleFact, str]] = [
    (
        FEE,
        progress("X", JANUARY, 5),
        "fact X: kind: a progress says nothing to a monthly_fee schedule; allowed: none",
    ),
    (
        FIXED,
        TopUp(id="X", recorded_on=JANUARY, amount=money("EUR", 1)),
        (
            "fact X: kind: a top_up says nothing to a fixed_fee schedule; "
            "allowed: progress, milestone, release"
        ),
    ),
    (
        MILESTONES,
        progress("X", JANUARY, 5),
        "fact X: kind: the line is invoiced by milestones; record a milestone",
    ),
    (
        MILESTONES,
        MilestoneFact(id="X", recorded_on=JANUARY, milestone="M2"),
        "fact X: milestone: the terms have no M2; allowed: M1",
    ),
    (
        FIXED,
        ReleaseFact(id="X", recorded_on=JANUARY, release=1),
        "fact X: release: the terms have 0 releases of retention, not 1; correct the number",
    ),
    (
        RETAINED,
        ReleaseFact(id="X", recorded_on=JANUARY, release=1),
        (
            "fact X: release: 1 is due on 2027-01-01 by itself; "
            "record none, or take the day out of the terms"
        ),
    ),
    (
        RETAINER,
        DrawFact(id="X", recorded_on=JANUARY, service_date=JANUARY, amount=money("USD", 1)),
        "fact X: amount: it is in USD, the schedule in EUR; record it in that",
    ),
    (
        RETAINER,
        TopUp(id="X", recorded_on=JANUARY, amount=money("EUR", 0)),
        "fact X: amount: a top-up of 0.00 EUR adds nothing; record more than nil",
    ),
    (
        RETAINER,
        TopUp(id="X", recorded_on=date(2026, 7, 1), amount=money("EUR", 1)),
        "fact X: recorded_on: the retainer ended on 2026-06-30; extend its `end` first",
    ),
    (
        MANAGED,
        UsageFact(
            id="X", recorded_on=JANUARY, month="2026-01", metric="scans", quantity=Decimal(1)
        ),
        "fact X: metric: the terms have no scans; allowed: calls",
    ),
    (
        MANAGED,
        UsageFact(
            id="X", recorded_on=JANUARY, month="2025-12", metric="calls", quantity=Decimal(1)
        ),
        "fact X: month: 2025-12 is outside the term (from 2026-01-01, open); correct the month",
    ),
]


@pytest.mark.parametrize(("terms", "fact", "problem"), REFUSED, ids=lambda each: str(each)[:40])
def test_a_fact_that_does_not_fit_is_refused_with_the_cure(
    terms: ScheduleTerms, fact: ScheduleFact, problem: str
) -> None:
    with pytest.raises(FactsRefused) as refused:
        due(terms, (fact,), JANUARY, FAR_OFF)
    assert refused.value.problems == (problem,)


def test_a_fact_told_in_two_ways_is_refused() -> None:
    facts = (progress("P-1", JANUARY, 10), progress("P-1", JANUARY, 20))
    with pytest.raises(FactsRefused, match="fact P-1: it is told in two ways; record a correction"):
        due(FIXED, facts, JANUARY, FAR_OFF)
