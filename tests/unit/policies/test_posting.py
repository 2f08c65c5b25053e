"""Charges and cost postings: quantity times rate is the amount, names are stable."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from canonical.engagement import BillingMethod, ContractLine, Multipliers
from canonical.entries import Entry
from canonical.money import Money
from canonical.standing import CapStanding
from policies.allocation import allocate
from policies.billing_schema import Detail
from policies.posting import (
    ChargeLine,
    CostLine,
    PlacedWork,
    charges_of,
    costs_of,
    quantity_and_rate,
)
from policies.schema import Policies
from tests.support.month import (
    DAY,
    LUCA,
    adjustment,
    cap,
    entry,
    expense,
    line,
    money,
    policies,
    rated,
)


def placed(
    *entries: Entry, caps: Sequence[CapStanding] = (), terms: ContractLine | None = None
) -> list[PlacedWork]:
    contract = terms or line(title="Advice", multipliers=Multipliers(travel=Decimal("0.5")))
    found = rated(*entries, contract=contract)
    parts = allocate(found, caps, []).parts
    return [PlacedWork(*each, contract) for each in zip(entries, found, parts, strict=True)]


def firm(detail: Detail) -> Policies:
    entities = policies().billing.entities
    return policies(
        entities={
            code: each.model_copy(update={"detail": detail}) for code, each in entities.items()
        }
    )


def charges(detail: Detail, *entries: Entry, **more: Any) -> tuple[ChargeLine, ...]:
    return charges_of(placed(*entries, **more), firm(detail))


def costs(detail: Detail, *entries: Entry) -> tuple[CostLine, ...]:
    return costs_of(placed(*entries), firm(detail))


class TestQuantity:
    @pytest.mark.parametrize(
        ("minutes", "hourly", "amount", "found"),
        [
            (60, "200.00", "200.00", ("1", "200")),
            (7, "250.00", "29.17", ("0.11666667", "250")),
            (-90, "255.00", "-382.50", ("-1.5", "255")),
            # A split part's minutes are rounded: the hours follow the amount.
            (22, "170.00", "63.17", ("0.37158824", "170")),
            # No hours near 60 minutes give this.
            (60, "200.00", "150.00", ("1", "150.00")),
            (0, "200.00", "5.00", ("1", "5.00")),
        ],
    )
    def test_the_product_is_the_amount(
        self, minutes: int, hourly: str, amount: str, found: tuple[str, str]
    ) -> None:
        quantity, rate = quantity_and_rate(minutes, Decimal(hourly), money(amount))
        assert (str(quantity), str(rate)) == found
        assert Money.rounded(quantity * rate, "USD") == money(amount)


class TestCharges:
    def test_one_for_each_part_to_bill(self) -> None:
        found = charges(Detail.ENTRY, entry(1), entry(2), caps=[cap("250.00")])
        assert [(each.charge.item.split("-")[1], each.charge.amount) for each in found] == [
            ("1", money("200.00")),
            ("2", money("50.00")),
        ]
        assert found[1].parts == ((entry(2).ref, 1),)

    def test_a_retry_has_the_same_names_and_a_new_version_others(self) -> None:
        first, again = charges(Detail.ENTRY, entry(1)), charges(Detail.ENTRY, entry(1))
        assert first == again
        assert charges(Detail.ENTRY, entry(1, 61))[0].charge.item != first[0].charge.item

    def test_what_another_method_bills_is_no_charge(self) -> None:
        terms = line(billing_method=BillingMethod.ERP_LINES)
        assert charges(Detail.ENTRY, entry(1), terms=terms) == ()

    def test_a_day_is_put_together_by_person_and_rate(self) -> None:
        given = [
            entry(1, 7),
            entry(2, 13),
            entry(3, 30, category="travel"),
            entry(4, person_email=LUCA, person_id="4"),
            entry(5, service_date=date(2026, 11, 11)),
            expense(6, "10.00"),
            adjustment(7, "5", amount=money("-1.00")),
        ]
        found = charges(Detail.DAY, *given)
        # 7 min are 23.33, 13 min are 43.33: one charge of 66.66, which 20 min would not be.
        assert found[0].charge.amount == money("66.66")
        assert [ref.id for ref, _ in found[0].parts] == ["1", "2"]
        assert len(found) == 6
        reordered = charges(Detail.DAY, *reversed(given))
        assert {each.charge.item for each in found} == {each.charge.item for each in reordered}

    def test_a_period_is_put_together_by_rate(self) -> None:
        found = charges(
            Detail.PERIOD, entry(1), entry(2, service_date=date(2026, 11, 30)), expense(3, "10.00")
        )
        assert [(each.charge.amount, each.charge.on.day) for each in found] == [
            (money("400.00"), 30),
            (money("10.00"), 10),
        ]

    def test_nothing_is_not_sent(self) -> None:
        assert charges(Detail.DAY, entry(1), adjustment(2, "1", -60)) == ()

    def test_the_posting_date_may_be_another(self) -> None:
        days = {("US", DAY): date(2026, 12, 1)}
        work = placed(entry(1))
        assert charges_of(work, firm(Detail.ENTRY), days)[0].charge.on == date(2026, 12, 1)
        assert costs_of(work, firm(Detail.ENTRY), days)[0].item.on == date(2026, 12, 1)


class TestCosts:
    def test_all_that_was_worked_costs(self) -> None:
        found = costs(Detail.ENTRY, entry(1, billable=False), expense(2, "10.00"))
        assert [(each.item.minutes, each.item.amount) for each in found] == [
            (60, None),
            (0, money("10.00")),
        ]
        assert found[0].item.expected_cost == money("95.00")

    def test_a_day_is_put_together_where_the_sum_is_the_same(self) -> None:
        together = costs(Detail.DAY, entry(1), entry(2))
        assert [(each.item.minutes, each.item.expected_cost) for each in together] == [
            (120, money("190.00"))
        ]
        # 7 min are 11.08, 13 min are 20.58; 20 min would be 31.67.
        apart = costs(Detail.DAY, entry(1, 7), entry(2, 13))
        assert [each.item.minutes for each in apart] == [7, 13]

    def test_another_companys_cost_goes_to_its_own_books(self) -> None:
        found = costs(Detail.ENTRY, entry(1, person_email=LUCA))[0]
        assert (found.legal_entity, found.item.dimensions.location) == ("DE", "31")
