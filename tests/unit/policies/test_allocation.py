"""Allocation: caps, retainers, what takes back, and the parts' minutes."""

from typing import Any

import pytest

from canonical.engagement import CapBase
from canonical.entries import EntryKind, EntryRef
from canonical.rating import Disposition, Part, Rated
from canonical.schedules import Overage
from policies.allocation import allocate
from tests.support.month import cap, claim, money, retainer

BILL, OVER, DRAWN = (
    Disposition.TO_BILL.value,
    Disposition.OVER_CAP.value,
    Disposition.DRAWN_FROM_RETAINER.value,
)
RETAINED: dict[str, Any] = {"base": Disposition.DRAWN_FROM_RETAINER}


def short(parts: tuple[Part, ...]) -> list[tuple[str, str, int, str]]:
    return [
        (part.disposition.value, f"{part.amount.amount.normalize():f}", part.minutes, part.cap)
        for part in parts
    ]


def back(amount: str, of: int = 1, number: int = 9, **changes: Any) -> Rated:
    corrected = EntryRef(kind=EntryKind.TIME, id=str(of))
    return claim(number, amount, billed_minutes=-30, adjusts=corrected, **changes)


def outcome(*rated: Rated, **standing: Any) -> list[list[tuple[str, str, int, str]]]:
    given = {"caps": (), "retainers": ()} | standing
    return [short(parts) for parts in allocate(rated, **given).parts]


class TestCaps:
    def test_without_caps_all_is_billed(self) -> None:
        assert outcome(claim(1, "100.00")) == [[(BILL, "100", 60, "")]]

    def test_the_entry_that_exceeds_is_split(self) -> None:
        found = outcome(claim(1, "100.00"), claim(2, "100.00"), claim(3, "5"), caps=[cap("150.00")])
        assert found[1] == [(BILL, "50", 30, "CAP"), (OVER, "50", 30, "CAP")]
        assert found[2] == [(OVER, "5", 60, "CAP")]

    def test_what_is_consumed_counts(self) -> None:
        assert outcome(claim(1, "100"), caps=[cap("150", "120")])[0][0] == (BILL, "30", 18, "CAP")

    def test_a_cap_lowered_below_what_is_consumed_lets_nothing_through(self) -> None:
        assert outcome(claim(1, "100"), caps=[cap("150", "160")])[0] == [(OVER, "100", 60, "CAP")]

    def test_the_smallest_remaining_limits(self) -> None:
        wide = cap("1000", line="", id="ALL", scope="engagement")
        found = outcome(claim(1, "100"), claim(2, "100", line="L2"), caps=[wide, cap("40")])
        assert found[0] == [(BILL, "40", 24, "CAP"), (OVER, "60", 36, "CAP")]
        assert found[1] == [(BILL, "100", 60, "ALL")]

    def test_bases(self) -> None:
        spent = claim(1, "10", ref=EntryRef(kind=EntryKind.EXPENSE, id="1"), billed_minutes=0)
        fees, expenses = cap("5", base=CapBase.FEES), cap("5", base=CapBase.EXPENSES)
        assert outcome(spent, caps=[fees])[0] == [(BILL, "10", 0, "")]
        assert len(outcome(spent, caps=[expenses])[0]) == 2
        assert outcome(claim(1, "10"), caps=[expenses])[0] == [(BILL, "10", 60, "")]

    @pytest.mark.parametrize("base", [Disposition.COVERED_BY_FIXED_FEE, Disposition.NON_BILLABLE])
    def test_what_is_not_billed_touches_no_cap(self, base: Disposition) -> None:
        found = outcome(claim(1, "100", base=base), claim(2, "5"), caps=[cap("5")])
        assert found == [[(base.value, "100", 60, "")], [(BILL, "5", 60, "CAP")]]

    def test_a_ceiling_is_over_whatever_the_caps_say(self) -> None:
        given = claim(1, "241.50", above_ceiling=money("21.50"), billed_minutes=0)
        assert outcome(given)[0] == [(BILL, "220", 0, ""), (OVER, "21.5", 0, "")]

    def test_a_held_entry_has_no_parts_and_a_worthless_one_has_one(self) -> None:
        found = outcome(claim(1, None), claim(2, "0"), caps=[cap("0")])
        assert found == [[], [(BILL, "0", 60, "CAP")]]

    def test_another_currency_is_no_matter_of_rounding(self) -> None:
        with pytest.raises(ValueError, match="EUR"):
            outcome(claim(1, "5"), caps=[cap("5", currency="EUR")])

    def test_marks_are_told_once_with_the_entry_that_crossed_them(self) -> None:
        found = allocate(
            [claim(1, "79.99"), claim(2, "0.01"), claim(3, "20"), back("-30", 3), claim(4, "30")],
            [cap("100")],
            [],
        )
        told = [(each.percent, each.ref.id, str(each)) for each in found.warnings]
        assert [each[:2] for each in told] == [(80, "2"), (90, "3")]
        assert told[0][2] == "cap CAP of contract line L1 is used to 80 %: 80.00 USD of 100.00 USD"


class TestRetainers:
    def test_drawn_down_then_overage_then_its_cap(self) -> None:
        found = outcome(
            claim(1, "575.00", billed_minutes=150, **RETAINED),
            retainers=[retainer("150.00")],
            caps=[cap("200.00")],
        )
        assert found[0] == [
            (DRAWN, "150", 39, ""),
            (BILL, "200", 52, "CAP"),
            (OVER, "225", 59, "CAP"),
        ]

    def test_overage_may_be_nobodys(self) -> None:
        found = outcome(claim(1, "100", **RETAINED), retainers=[retainer("0", overage="over_cap")])
        assert found[0] == [(OVER, "100", 60, "")]

    def test_a_line_without_a_retainer_bills(self) -> None:
        assert outcome(claim(1, "100", **RETAINED))[0] == [(BILL, "100", 60, "")]

    def test_what_is_given_back_can_be_drawn_again(self) -> None:
        found = outcome(
            claim(1, "100", **RETAINED),
            back("-40", **RETAINED),
            claim(2, "50", **RETAINED),
            retainers=[retainer("100")],
        )
        assert found[1] == [(DRAWN, "-40", -30, "")]
        assert found[2] == [(DRAWN, "40", 48, ""), (BILL, "10", 12, "")]

    def test_a_schedules_balance_hears_of_a_return_at_the_hand_over(self) -> None:
        fed = retainer("100").model_copy(update={"schedule": Overage.ENTRIES})
        rated = [claim(1, "100", **RETAINED), back("-40", **RETAINED), claim(2, "40", **RETAINED)]
        found = outcome(*rated, retainers=[fed])
        assert [parts[0][0] for parts in found] == [DRAWN, DRAWN, BILL]

    @pytest.mark.parametrize("overage", [Overage.SCHEDULE, Overage.NONE])
    def test_where_the_schedule_decides_all_is_drawn(self, overage: Overage) -> None:
        decided = retainer("0").model_copy(update={"schedule": overage})
        found = outcome(claim(1, "100", **RETAINED), back("-40", **RETAINED), retainers=[decided])
        assert [parts[0][:2] for parts in found] == [(DRAWN, "100"), (DRAWN, "-40")]
        assert [len(parts) for parts in found] == [1, 1]

    def test_never_more_is_given_back_than_was_drawn(self) -> None:
        found = outcome(back("-40", **RETAINED), retainers=[retainer("60", settled="25")])
        assert found[0] == [(DRAWN, "-25", -19, ""), (BILL, "-15", -11, "")]


class TestTakingBack:
    def test_the_excess_goes_first(self) -> None:
        found = outcome(claim(1, "100"), back("-60"), caps=[cap("70")])
        assert found[1] == [(OVER, "-30", -15, "CAP"), (BILL, "-30", -15, "CAP")]

    def test_twice_goes_on_where_the_first_ended(self) -> None:
        found = outcome(claim(1, "100"), back("-20"), back("-20", number=10), caps=[cap("70")])
        assert found[1] == [(OVER, "-20", -30, "CAP")]
        assert found[2] == [(OVER, "-10", -15, "CAP"), (BILL, "-10", -15, "CAP")]

    def test_an_earlier_runs_parts_are_known(self) -> None:
        ref = EntryRef(kind=EntryKind.TIME, id="1")
        parts = allocate([claim(1, "100")], [cap("70")], []).parts[0]
        found = allocate([back("-60")], [cap("70", "70")], [], {ref: parts})
        assert short(found.parts[0])[0] == (OVER, "-30", -15, "CAP")

    def test_only_what_is_settled_frees_a_cap(self) -> None:
        found = outcome(back("-60"), claim(2, "50"), caps=[cap("70", "70", settled="20")])
        assert found[0] == [(BILL, "-20", -10, "CAP"), (OVER, "-40", -20, "CAP")]
        assert found[1][0][:2] == (BILL, "20")
