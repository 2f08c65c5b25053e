"""Contracts by date, and the copies of people and exchange rates."""

from datetime import date
from decimal import Decimal

import pytest

from canonical.people import Worker
from canonical.rating import ExchangeRate
from store import Store
from store.errors import Conflict
from tests.store.billing import PROJECT, PSA, contract


async def test_engagement_is_read_back_as_it_was_put(store: Store) -> None:
    engagement = contract(cap="1234.50", shared_cap=99)
    await store.engagements.put(engagement)
    await store.engagements.put(engagement)

    assert await store.engagements.of_project(PSA, PROJECT) == (engagement,)


async def test_version_in_force_is_the_latest_that_has_begun(store: Store) -> None:
    old, new = contract(), contract(cap=50, effective_from=date(2026, 11, 1))
    await store.engagements.put(new)
    await store.engagements.put(old)

    assert await store.engagements.in_force(PSA, PROJECT, date(2026, 10, 31)) == old
    assert await store.engagements.in_force(PSA, PROJECT, date(2026, 11, 1)) == new
    assert await store.engagements.in_force(PSA, PROJECT, date(2025, 12, 31)) is None
    assert await store.engagements.of_project(PSA, PROJECT) == (old, new)


async def test_two_contracts_from_the_same_day_are_refused(store: Store) -> None:
    await store.engagements.put(contract())

    with pytest.raises(Conflict):
        await store.engagements.put(contract(id="salesforce/007"))


async def test_workers_are_found_by_mail_in_any_case(store: Store) -> None:
    maya = Worker(
        id="E1003",
        name="Maya Chen",
        email="maya.chen@example.com",
        legal_entity="US",
        cost_rate=Decimal("95.00"),
        cost_currency="USD",
        valid_from=date(2026, 1, 1),
    )
    raised = maya.model_copy(update={"cost_rate": Decimal(99), "valid_from": date(2026, 7, 1)})
    await store.master.put_workers("workday", [raised, maya])
    await store.master.put_workers("workday", [maya])

    assert await store.master.workers(["Maya.Chen@example.com"], "workday") == (maya, raised)
    assert await store.master.workers(["nobody@example.com"], "workday") == ()


async def test_what_one_hcm_says_of_a_person_is_nothing_to_the_other(store: Store) -> None:
    maya = Worker(
        id="E1003",
        name="Maya Chen",
        email="maya.chen@example.com",
        legal_entity="US",
        valid_from=date(2026, 1, 1),
    )
    other = maya.model_copy(update={"id": "W-7", "legal_entity": "DE"})
    await store.master.put_workers("workday", [maya])
    await store.master.put_workers("adp", [other])

    assert await store.master.workers([maya.email], "workday") == (maya,)
    assert await store.master.workers([maya.email], "adp") == (other,)
    assert await store.master.workers([maya.email], "") == ()


async def test_exchange_rate_read_again_is_replaced(store: Store) -> None:
    rate = ExchangeRate(
        from_currency="EUR",
        to_currency="USD",
        rate=Decimal("1.085000"),
        valid_from=date(2026, 11, 1),
        source="netsuite:currencyrate",
    )
    corrected = rate.model_copy(update={"rate": Decimal("1.090000")})
    await store.master.put_exchange_rates([rate])
    await store.master.put_exchange_rates([corrected])

    assert await store.master.rates(["USD"]) == (corrected,)
    assert await store.master.rates(["JPY"]) == ()
