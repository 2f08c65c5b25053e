"""What arrives late for a schedule: billed once in the next period, or refused at the door."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from activities.schedules import ScheduleActivities
from canonical.bill_schedules import BilledSchedules, BillProject
from canonical.engagement import Engagement
from canonical.schedule_facts import UsageFact
from canonical.schedules import ManagedServicesTerms
from policies.bundle import load_bundle
from store import Store
from store.database import Database
from store.errors import Conflict
from tests.store.billing import PROJECT, PSA, usd
from tests.store.invoicing import billed_contract

BUNDLE = load_bundle(None)
OF = BillProject(project=f"{PSA}/{PROJECT}")
ENGAGEMENT = "salesforce/006"
BILLED = text("SELECT item, amount FROM fees WHERE source = 'schedule' ORDER BY id")
MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04")
TERMS = {
    "currency": "USD",
    "start": "2026-01-01",
    "fee": "100.00",
    "usage": [{"metric": "tickets", "included": 10, "unit_price": "5.00"}],
}


def managed() -> Engagement:
    terms = ManagedServicesTerms.model_validate(TERMS)
    made = billed_contract()
    fixed = next(line for line in made.lines if line.ref == "FIX")
    line = fixed.model_copy(update={"schedule": terms, "value": usd(100_000)})
    return made.model_copy(update={"lines": (line,)})


def used(name: str, quantity: int, on: date, month: str = "2026-01") -> UsageFact:
    return UsageFact(
        id=name, recorded_on=on, month=month, metric="tickets", quantity=Decimal(quantity)
    )


def order(fact: UsageFact) -> tuple[date, str]:
    return fact.recorded_on, fact.id


async def bill_at(store: Store, now: datetime) -> BilledSchedules:
    return await ScheduleActivities(store, lambda _psa: BUNDLE, lambda: now).bill_schedule(OF)


async def bill(store: Store, on: date) -> BilledSchedules:
    return await bill_at(store, datetime(on.year, on.month, on.day, 12, tzinfo=UTC))


async def true_ups(database: Database) -> dict[str, Decimal]:
    rows = await database.rows(BILLED)
    items = {str(row.item).removeprefix(f"{ENGAGEMENT}/FIX/"): row.amount for row in rows}
    return {name: amount for name, amount in items.items() if name.startswith("true-up")}


async def test_usage_recorded_under_a_day_that_is_billed_is_refused_with_the_day_to_use(
    store: Store, database: Database
) -> None:
    await store.engagements.put(managed())
    first = used("U-1", 30, date(2026, 1, 20))
    await store.schedule_facts.record(ENGAGEMENT, "FIX", first, by="ines")
    await bill(store, date(2026, 2, 10))

    late = used("U-2", 40, date(2026, 1, 25))
    with pytest.raises(Conflict, match=r"billed up to 2026-02-09, .* record it under 2026-02-10"):
        await store.schedule_facts.record(ENGAGEMENT, "FIX", late, by="ines")
    assert not await store.schedule_facts.record(ENGAGEMENT, "FIX", first, by="ines")
    again = late.model_copy(update={"recorded_on": date(2026, 2, 10)})
    assert await store.schedule_facts.record(ENGAGEMENT, "FIX", again, by="ines")
    await bill(store, date(2026, 2, 11))

    assert await true_ups(database) == {"true-up/2026-01/U-1": 100, "true-up/2026-01/U-2": 50}


@pytest.mark.parametrize("seed", range(4))
async def test_in_whatever_order_usage_is_told_each_month_comes_to_its_last_figure(
    store: Store, database: Database, seed: int
) -> None:
    rng = random.Random(seed)
    await store.engagements.put(managed())
    now, number, refused = datetime(2026, 1, 3, tzinfo=UTC), 0, 0
    last: dict[str, UsageFact] = {}
    while now < datetime(2026, 4, 20, tzinfo=UTC):
        now += timedelta(hours=rng.randint(5, 60))
        today = now.astimezone(ZoneInfo("America/New_York")).date()
        if rng.random() < 0.4:
            await bill_at(store, now)
            continue
        number += 1
        month = rng.choice([each for each in MONTHS if each <= f"{today:%Y-%m}"])
        figure = rng.randint(0, 60)
        fact = used(f"U-{number:03}", figure, today - timedelta(days=rng.randint(0, 45)), month)
        try:
            await store.schedule_facts.record(ENGAGEMENT, "FIX", fact, by="ines")
        except Conflict:
            refused += 1
            fact = fact.model_copy(update={"recorded_on": today})
            await store.schedule_facts.record(ENGAGEMENT, "FIX", fact, by="ines")
        known = last.get(month)
        if known is None or order(fact) > order(known):
            last[month] = fact
    await bill(store, date(2026, 5, 5))
    before = await true_ups(database)
    await bill(store, date(2026, 5, 6))

    found = await true_ups(database)
    assert found == before
    for month, fact in last.items():
        billed = sum(each for name, each in found.items() if f"/{month}/" in name)
        assert billed == 5 * max(fact.quantity - 10, Decimal(0)), month
    assert refused
