"""Expenses: recharged, disbursed, per diem, with ceilings; and one recorded twice."""

from decimal import Decimal
from typing import Any

import pytest

from canonical.deal import ContractLineType
from canonical.engagement import ExpenseRule, ExpenseTreatment
from canonical.entries import Entry, EntryRef, HoldReason
from canonical.rating import Disposition, Rated
from canonical.standing import KnownExpense
from policies.expenses import duplicates
from policies.rating import Before
from tests.support.month import DAY, LUCA, expense, line, money, rated


def one(given: Entry, *rules: ExpenseRule, **terms: Any) -> Rated:
    return rated(given, contract=line(expense_rules=rules, **terms))[0]


def rule(**terms: Any) -> ExpenseRule:
    return ExpenseRule(**terms)


def known(given: Entry, id_: str) -> KnownExpense:
    assert given.amount is not None
    return KnownExpense(
        ref=EntryRef(kind=given.kind, id=id_),
        person_id=given.person_id,
        service_date=given.service_date,
        amount=given.amount,
        receipt=given.receipt,
    )


class TestAmounts:
    def test_a_recharge_is_net_converted_and_marked_up_rounded_once(self) -> None:
        given = expense(1, "119.06", "EUR", tax=money("19.01", "EUR"))
        found = one(given, rule(markup_percent=Decimal(10)))
        # 100.05 x 1.085 x 1.10 = 119.409675
        assert found.amount == money("119.41")
        assert found.cost is not None
        assert found.cost.amount == money("108.55")
        assert found.fx is not None

    def test_a_disbursement_is_gross_and_never_marked_up(self) -> None:
        disbursed = rule(
            treatment=ExpenseTreatment.DISBURSEMENT, markup_percent=Decimal(10), category="travel"
        )
        found = one(expense(1, "310.00", tax=money("24.80")), rule(), disbursed)
        assert found.amount == money("310.00")
        assert found.cost is not None
        assert found.cost.amount == money("285.20")

    def test_a_per_diem_is_the_contracts_amount(self) -> None:
        assert one(expense(1, "22.10"), rule(per_diem=Decimal(64))).amount == money("64.00")

    def test_above_a_ceiling(self) -> None:
        found = one(expense(1, "230.00"), rule(markup_percent=Decimal(5), ceiling=Decimal(220)))
        assert (found.amount, found.above_ceiling) == (money("241.50"), money("21.50"))

    def test_a_correction_mirrors_the_ceiling(self) -> None:
        back = expense(2, "-230.00", adjusts="1")
        found = one(back, rule(markup_percent=Decimal(5), ceiling=Decimal(220)))
        assert (found.amount, found.above_ceiling) == (money("-241.50"), money("-21.50"))

    def test_the_rule_of_any_other_category_is_the_last_resort(self) -> None:
        found = one(expense(1, "10.00", category="Parking"), rule(category="Travel"), rule())
        assert found.amount == money("10.00")

    def test_no_rule_holds_what_is_billable(self) -> None:
        assert one(expense(1, "10.00"), rule(category="Meals")).hold is HoldReason.NO_RATE
        free = one(expense(1, "10.00", billable=False))
        assert (free.amount, free.base) == (money("10.00"), Disposition.NON_BILLABLE)

    def test_what_nobody_bills_is_worth_its_net_cost(self) -> None:
        marked = rule(markup_percent=Decimal(10))
        assert one(expense(1, "10.00", billable=False), marked).amount == money("10.00")

    @pytest.mark.parametrize("type_", [ContractLineType.FIXED_FEE, ContractLineType.OUTCOME_BASED])
    def test_beside_a_fee_expenses_follow_their_rules(self, type_: ContractLineType) -> None:
        assert one(expense(1, "10.00"), rule(), type=type_).base is Disposition.TO_BILL

    def test_no_exchange_rate_and_no_inverse_of_one(self) -> None:
        assert one(expense(1, "10.00", "GBP"), rule()).hold is HoldReason.NO_EXCHANGE_RATE
        yen = one(expense(1, "1000", "JPY"), rule())
        assert yen.hold is HoldReason.NO_EXCHANGE_RATE

    def test_another_companys_expense_is_passed_on_at_cost(self) -> None:
        found = one(expense(1, "10.00", person_email=LUCA), rule(markup_percent=Decimal(10)))
        assert found.cost is not None
        assert found.intercompany is not None
        assert found.intercompany.amount == found.cost.amount == money("9.22", "EUR")


class TestDuplicates:
    def test_the_same_receipt_on_another_day(self) -> None:
        first = expense(1, "10.00", receipt="R1")
        second = expense(2, "12.00", receipt="R1", service_date=DAY.replace(day=1))
        assert duplicates([first, second]) == {second.ref: first.ref}

    def test_same_person_day_and_amount(self) -> None:
        first, second = expense(1, "10.00"), expense(2, "10.00", receipt="R1")
        assert duplicates([first, second]) == {second.ref: first.ref}

    @pytest.mark.parametrize(
        "other",
        [
            {"person_id": "4"},
            {"service_date": DAY.replace(day=1)},
            {"amount": money("10.01")},
            {"amount": money("10.00", "EUR")},
            {"receipt": "R2"},
            {"adjusts": "1"},
        ],
    )
    def test_what_differs_is_another_one(self, other: dict[str, Any]) -> None:
        first = expense(1, "10.00", receipt="R1" if "receipt" in other else "")
        assert duplicates([first, expense(2, "10.00").model_copy(update=other)]) == {}

    def test_the_later_approval_is_held_in_whatever_order_they_come(self) -> None:
        first, second = expense(9, "10.00"), expense(10, "10.00")
        assert duplicates([second, first]) == {second.ref: first.ref}

    def test_what_is_known_came_first(self) -> None:
        given = expense(1, "10.00")
        found = rated(given, before=Before(known_expenses=(known(given, "0"),)))[0]
        assert found.hold is HoldReason.DUPLICATE_EXPENSE
        assert "expense:0" in found.hold_detail

    def test_of_known_ones_only_those_before_count(self) -> None:
        given = expense(1, "10.00")
        assert duplicates([given], [known(given, "1"), known(given, "2")]) == {}
        earlier = EntryRef(kind=given.kind, id="2")
        assert duplicates([given], [known(given, "2"), known(given, "1")]) == {given.ref: earlier}

    def test_a_person_may_say_that_it_is_none(self) -> None:
        first, second = expense(1, "10.00"), expense(2, "10.00")
        accepted = Before(accepted={(second.ref, HoldReason.DUPLICATE_EXPENSE)})
        assert rated(first, second, before=accepted)[1].amount == money("10.00")
