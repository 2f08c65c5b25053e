"""Rating: which line, which rate, how many minutes, what holds an entry."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.deal import ContractLineType
from canonical.engagement import BillRate, ContractLine, Multipliers, RatingMode
from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.rating import Disposition, Rated
from policies.quantities import billed_minutes
from policies.rating import Before, bill_rate
from tests.support.month import (
    JANUARY,
    LUCA,
    MAYA,
    adjustment,
    engagement,
    entry,
    expense,
    line,
    money,
    rated,
    worker,
)

NOVEMBER_16 = date(2026, 11, 16)


def one(given: Entry, contract: ContractLine | None = None, **more: Any) -> Rated:
    return rated(given, contract=contract, **more)[0]


def rate_of(amount: str, **terms: Any) -> BillRate:
    return BillRate(rate=Decimal(amount), **({"valid_from": JANUARY} | terms))


class TestMinutes:
    @pytest.mark.parametrize(
        ("recorded", "increment", "minimum", "billed"),
        [(7, 15, 0, 15), (15, 15, 0, 15), (16, 15, 0, 30), (7, 6, 30, 30), (31, 6, 30, 36)],
    )
    def test_increments_round_up_and_the_minimum_holds(
        self, recorded: int, increment: int, minimum: int, billed: int
    ) -> None:
        terms = line(increment_minutes=increment, minimum_minutes=minimum)
        assert billed_minutes(recorded, terms) == billed

    def test_an_adjustment_bills_what_it_changes(self) -> None:
        terms = line(increment_minutes=15)
        whole, part, back = rated(
            entry(1, 7), adjustment(2, "1", 10), adjustment(3, "1", -17), contract=terms
        )
        assert [each.billed_minutes for each in (whole, part, back)] == [15, 15, -30]
        assert back.amount == money("-100.00")
        assert back.minutes == -17
        assert back.adjusts == EntryRef(kind=EntryKind.TIME, id="1")

    def test_earlier_adjustments_count(self) -> None:
        before = Before(corrected=(entry(1, 60), adjustment(2, "1", -50)))
        assert one(adjustment(3, "1", -10), line(increment_minutes=15), before=before)
        found = one(adjustment(3, "1", -10), line(increment_minutes=15), before=before)
        assert found.billed_minutes == -15

    def test_an_adjustment_of_an_unknown_entry_bills_as_recorded(self) -> None:
        assert one(adjustment(2, "9", -7), line(increment_minutes=15)).billed_minutes == -7

    def test_an_adjustment_takes_day_person_and_kind_from_the_entry(self) -> None:
        terms = line(
            rates=(rate_of("100"), rate_of("200", valid_from=NOVEMBER_16)),
            multipliers=Multipliers(overtime=Decimal(2)),
        )
        corrected = entry(1, 60, category="Overtime")
        later = adjustment(
            2, "1", -30, service_date=date(2026, 11, 20), person_email="", task_id=""
        )
        found = one(later, terms, before=Before(corrected=(corrected,)))
        assert found.amount == money("-100.00")

    def test_a_correction_in_money_costs_nothing(self) -> None:
        found = one(adjustment(2, "1", amount=money("-50.00")))
        assert (found.amount, found.cost, found.rate) == (money("-50.00"), None, None)


class TestRate:
    def test_the_most_specific_rate_wins(self) -> None:
        rates = [
            rate_of("1"),
            rate_of("2", employee_class="senior"),
            rate_of("3", role="Principal"),
            rate_of("4", role="Principal", employee_class="senior"),
            rate_of("5", person=MAYA),
        ]
        for count in range(1, len(rates) + 1):
            found = bill_rate(line(rates=rates[:count]), MAYA, "Principal", "senior", NOVEMBER_16)
            assert found == rates[count - 1]

    def test_of_equally_specific_ones_the_latest_wins(self) -> None:
        terms = line(rates=(rate_of("205", valid_from=NOVEMBER_16), rate_of("200")))
        assert one(entry(service_date=date(2026, 11, 15)), terms).amount == money("200.00")
        assert one(entry(service_date=NOVEMBER_16), terms).amount == money("205.00")

    def test_valid_to_is_the_last_day(self) -> None:
        terms = line(rates=(rate_of("200", valid_to=NOVEMBER_16),))
        assert one(entry(service_date=NOVEMBER_16), terms).hold is None
        held = one(entry(service_date=date(2026, 11, 17)), terms)
        assert held.hold is HoldReason.NO_RATE
        assert held.amount is None

    def test_half_a_cent_goes_up_once_at_the_end(self) -> None:
        terms = line(rates=(rate_of("150.01"),), multipliers=Multipliers(overtime=Decimal("1.5")))
        assert one(entry(1, 30), terms).amount == money("75.01")
        assert one(entry(1, 60, category="overtime"), terms).amount == money("225.02")

    def test_no_rate_is_worth_nothing_where_nobody_pays_by_the_hour(self) -> None:
        bare = line(rates=())
        assert one(entry(), bare).hold is HoldReason.NO_RATE
        assert one(entry(billable=False), bare).amount == money("0.00")
        fixed = line(rates=(), type=ContractLineType.FIXED_FEE)
        assert one(entry(), fixed).amount == money("0.00")

    @pytest.mark.parametrize(
        ("type_", "base"),
        [
            (ContractLineType.TIME_AND_MATERIALS, Disposition.TO_BILL),
            (ContractLineType.FIXED_FEE, Disposition.COVERED_BY_FIXED_FEE),
            (ContractLineType.MANAGED_SERVICES, Disposition.COVERED_BY_FIXED_FEE),
            (ContractLineType.RETAINER, Disposition.DRAWN_FROM_RETAINER),
            (ContractLineType.OUTCOME_BASED, Disposition.COVERED_BY_FIXED_FEE),
        ],
    )
    def test_the_line_type_decides_the_base(
        self, type_: ContractLineType, base: Disposition
    ) -> None:
        found = one(entry(), line(type=type_))
        assert (found.base, found.amount) == (base, money("200.00"))
        assert one(entry(billable=False), line(type=type_)).base is Disposition.NON_BILLABLE


class TestModes:
    def test_the_psa_rate_is_converted(self) -> None:
        terms = line(rating=RatingMode.PSA, rates=())
        found = one(entry(psa_rate=Decimal("160.00"), currency="EUR"), terms)
        assert found.amount == money("173.60")
        assert found.rate is not None
        assert found.rate.source == "psa"
        assert found.fx is not None

    def test_without_a_psa_rate_it_is_held(self) -> None:
        assert one(entry(), line(rating=RatingMode.PSA)).hold is HoldReason.NO_RATE

    def test_compare_tolerates_a_little(self) -> None:
        terms = line(rating=RatingMode.COMPARE)
        assert one(entry(psa_rate=Decimal("200.01")), terms).amount == money("200.00")

    @pytest.mark.parametrize(("psa", "told"), [("210", "210.00 USD"), (None, "no rate at all")])
    def test_compare_holds_with_both_derivations(self, psa: str | None, told: str) -> None:
        terms = line(rating=RatingMode.COMPARE)
        given = entry(psa_rate=None if psa is None else Decimal(psa))
        held = one(given, terms)
        assert held.hold is HoldReason.RATE_MISMATCH
        assert "60 min x 200.00 / 60 = 200.00 USD" in held.hold_detail
        assert told in held.hold_detail
        accepted = Before(accepted={(given.ref, HoldReason.RATE_MISMATCH)})
        assert one(given, terms, before=accepted).amount == money("200.00")

    def test_compare_does_not_hold_what_nobody_pays_for(self) -> None:
        terms = line(rating=RatingMode.COMPARE)
        assert one(entry(billable=False, psa_rate=Decimal(1)), terms).hold is None


class TestHolds:
    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (entry(minutes=None), HoldReason.BAD_QUANTITY),
            (entry(minutes=0), HoldReason.BAD_QUANTITY),
            (entry(minutes=-5), HoldReason.BAD_QUANTITY),
            (adjustment(2, "", -5), HoldReason.BAD_QUANTITY),
            (adjustment(2, "1"), HoldReason.BAD_QUANTITY),
            (adjustment(2, "1", 5, amount=money("1.00")), HoldReason.BAD_QUANTITY),
            (expense(1, "0.00"), HoldReason.BAD_QUANTITY),
            (expense(1, "10.00", tax=money("10.01")), HoldReason.BAD_QUANTITY),
            (expense(1, "10.00", tax=money("1.00", "EUR")), HoldReason.BAD_QUANTITY),
            (entry(task_id="9"), HoldReason.NO_CONTRACT_LINE),
            (entry(project_id="9"), HoldReason.NO_CONTRACT_LINE),
            (entry(service_date=date(2025, 12, 31)), HoldReason.NO_CONTRACT_LINE),
            (entry(person_email="zoe@example.com"), HoldReason.UNKNOWN_PERSON),
            (entry(person_email=""), HoldReason.UNKNOWN_PERSON),
        ],
    )
    def test_what_is_missing_holds_the_entry(self, given: Entry, reason: HoldReason) -> None:
        held = one(given)
        assert (held.hold, held.amount, held.cost) == (reason, None, None)
        assert held.hold_detail

    def test_a_person_counts_from_the_first_version_on(self) -> None:
        later = worker(MAYA, "US", "95", "USD", valid_from=NOVEMBER_16)
        assert one(entry(), workers=(later,)).hold is HoldReason.UNKNOWN_PERSON

    def test_a_default_line_takes_unnamed_tasks(self) -> None:
        found = rated(entry(task_id="9"), contract=(engagement(line(), default_line="L1"),))[0]
        assert found.line == "L1"

    def test_the_engagement_in_force_on_the_service_date_counts(self) -> None:
        versions = (
            engagement(line()),
            engagement(line(rates=(rate_of("300"),)), effective_from=NOVEMBER_16),
        )
        found = rated(entry(1), entry(2, service_date=NOVEMBER_16), contract=versions)
        assert [each.amount for each in found] == [money("200.00"), money("300.00")]

    def test_late_work_keeps_its_date(self) -> None:
        late = one(entry(service_date=date(2026, 10, 31)))
        assert late.flags == ("late",)
        assert late.amount == money("200.00")

    def test_another_companys_hours_are_flagged(self) -> None:
        found = one(entry(person_email=LUCA.upper()))
        assert found.flags == ("intercompany",)
        assert found.intercompany is not None
        assert (found.intercompany.from_entity, found.intercompany.to_entity) == ("DE", "US")
