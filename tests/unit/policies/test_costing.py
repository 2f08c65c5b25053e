"""What an entry costs, and what one company charges the other for it."""

from datetime import date
from decimal import Decimal
from typing import Any

from canonical.deal import ContractLineType
from canonical.entries import HoldReason
from canonical.rating import Rated
from policies.billing_schema import IntercompanyPolicy, TransferRule
from tests.support.month import (
    AIKO,
    LUCA,
    MAYA,
    WORKERS,
    entry,
    line,
    money,
    policies,
    rated,
    worker,
)

COST_PLUS = IntercompanyPolicy.model_validate(
    {
        "default": {"of": "cost", "markup_percent": "5"},
        "pairs": {"JP": {"DE": {"of": "bill_rate", "percent": "70"}}},
    }
)


def one(
    minutes: int, person: str, intercompany: IntercompanyPolicy = COST_PLUS, **terms: Any
) -> Rated:
    billable = terms.pop("billable", True)
    given = entry(1, minutes, person_email=person, billable=billable)
    return rated(given, contract=line(**terms), firm=policies(intercompany=intercompany))[0]


def price(found: Rated) -> Any:
    return found.intercompany and found.intercompany.amount


class TestCost:
    def test_it_is_of_the_minutes_as_recorded(self) -> None:
        found = one(7, MAYA, increment_minutes=15)
        assert found.billed_minutes == 15
        assert found.cost is not None
        assert found.cost.amount == money("11.08")
        assert found.cost.rate is not None
        assert found.cost.rate.source == "hcm:E-maya"

    def test_it_is_the_rate_of_the_service_date(self) -> None:
        raised = worker(MAYA, "US", "100.00", "USD", valid_from=date(2026, 11, 16))
        before, after = rated(
            entry(1), entry(2, service_date=date(2026, 11, 16)), workers=(*WORKERS, raised)
        )
        assert before.cost is not None
        assert after.cost is not None
        assert (before.cost.amount, after.cost.amount) == (money("95.00"), money("100.00"))

    def test_it_is_in_the_employing_entitys_currency(self) -> None:
        in_euros = (worker(MAYA, "US", "80.00", "EUR"),)
        found = rated(entry(), workers=in_euros)[0]
        assert found.cost is not None
        assert found.cost.amount == money("86.80")
        assert found.cost.fx is not None

    def test_no_cost_rate_holds_even_what_is_not_billed(self) -> None:
        given = entry(billable=False)
        assert rated(given, workers=(worker(MAYA, "US", None, ""),))[0].hold is (
            HoldReason.NO_COST_RATE
        )

    def test_an_employer_that_is_none_of_ours(self) -> None:
        assert rated(entry(), workers=(worker(MAYA, "GB", "95", "USD"),))[0].hold is (
            HoldReason.UNKNOWN_PERSON
        )


class TestTransferPrice:
    def test_within_one_company_there_is_none(self) -> None:
        assert one(60, MAYA).intercompany is None

    def test_cost_plus_is_rounded_once(self) -> None:
        # 45 min x 62.50 / 60 x 1.05 = 49.21875; from the rounded cost it would be 49.224.
        assert price(one(45, LUCA)) == money("49.22", "EUR")

    def test_fixed_fee_and_non_billable_hours_too(self) -> None:
        fixed = one(60, LUCA, type=ContractLineType.FIXED_FEE, rates=())
        free = one(60, LUCA, billable=False)
        assert price(fixed) == price(free) == money("65.63", "EUR")

    def test_a_share_of_the_bill_rate_in_the_employers_currency(self) -> None:
        found = one(90, AIKO, legal_entity="DE", currency="EUR")
        # 90 min x 200 / 60 x 163.157895 x 0.70 = 34,263.16
        assert price(found) == money("34263", "JPY")

    def test_a_third_of_an_hour_does_not_lose_half_a_unit(self) -> None:
        # 20 min x 0.03 / 60 x 50 % = 0.005: a third is not cut off on the way.
        half = TransferRule(of="bill_rate", percent=Decimal(50))  # type: ignore[arg-type]
        rule = IntercompanyPolicy(default=half)
        rates = ({"rate": "0.03", "valid_from": "2026-01-01"},)
        found = one(20, LUCA, rule, currency="EUR", rates=rates)
        assert price(found) == money("0.01", "EUR")
