"""A retainer with a schedule has one balance: what its hours draw and what its months keep."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import takewhile

import pytest
from sqlalchemy import text

from activities.retainers import schedules_of
from activities.schedules import ScheduleActivities
from canonical.bill_schedules import BilledSchedules, BillProject
from canonical.engagement import Engagement
from canonical.schedule_facts import DrawFact, ScheduleFact, TopUp
from canonical.schedules import RetainerTerms
from policies.allocation import allocate
from policies.bundle import load_bundle
from policies.schedules.retainer import RetainerMonth, retainer_months
from store import Store
from store.database import Database
from tests.store.billing import PROJECT, PSA, SEEN, claim_and_rate, contract, time_entry, usd

BUNDLE = load_bundle(None)
ENGAGEMENT = "salesforce/006"
MONTH_END = datetime(2026, 2, 1, 12, tzinfo=UTC)
FEES = text("SELECT item, amount FROM fees WHERE source = 'schedule' ORDER BY id")
RETAINER = text("SELECT *, prepaid - drawn AS balance FROM retainers")
MOVEMENTS = text("SELECT movement, amount FROM retainer_movements ORDER BY id")
PARTS = text("SELECT disposition, sum(amount) AS amount FROM parts GROUP BY disposition")
HANDED_OVER = text("""
    UPDATE entry_versions SET handed_over_at = :at
    WHERE run_key = :run_key AND handed_over_at IS NOT NULL
""")


def at(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def retained(entity: str = "US", **terms: object) -> Engagement:
    """A retainer of 200 a month; an hour is worth 120."""
    values = {"currency": "USD", "start": "2026-01-01", "amount": "200.00", **terms}
    made = contract()
    line = next(each for each in made.lines if each.ref == "RET")
    update = {
        "retainer": None,
        "legal_entity": entity,
        "schedule": RetainerTerms.model_validate(values),
        "erp": "netsuite",
        "erp_client_id": "501",
    }
    return made.model_copy(update={"lines": (line.model_copy(update=update),)})


@dataclass
class Story:
    """What happens to the contract, told in order."""

    store: Store
    database: Database
    runs: int = 0
    hours: dict[str, int] = field(default_factory=dict)
    """By run."""
    free: int = 0
    """Hours of runs that were undone: the next run claims them too."""

    async def place(self, now: datetime, hours: int = 1, on: date | None = None) -> str:
        """Let a run place hours worked on a day, now, and return its key."""
        self.runs += 1
        entry = time_entry(str(self.runs), hours * 60, task_id="101", service_date=on or now.date())
        await self.store.entries.take_in([entry], SEEN)
        key = await claim_and_rate(self.store, self.runs)
        await self.store.runs.place(key, allocate, now.date(), schedules_of(BUNDLE, now))
        self.hours[key], self.free = hours + self.free, 0
        return key

    async def hand_over(self, key: str, now: datetime) -> None:
        await self.store.runs.hand_over(key)
        await self.database.run(HANDED_OVER, {"run_key": key, "at": now})

    async def bill(self, now: datetime) -> BilledSchedules:
        acts = ScheduleActivities(self.store, lambda _psa: BUNDLE, lambda: now)
        return await acts.bill_schedule(BillProject(project=f"{PSA}/{PROJECT}"))

    async def top_up(self, amount: int, on: date) -> None:
        fact = TopUp(id=f"T-{on}", recorded_on=on, amount=usd(amount))
        await self.store.schedule_facts.record(ENGAGEMENT, "RET", fact, by="ines")

    async def parts(self) -> dict[str, Decimal]:
        rows = await self.database.rows(PARTS)
        return {str(row.disposition): Decimal(str(row.amount)) for row in rows}

    async def billed(self, kind: str) -> dict[str, Decimal]:
        """Return what the schedule billed of a kind, by occurrence."""
        rows = await self.database.rows(FEES)
        items = {str(row.item).removeprefix(f"{ENGAGEMENT}/RET/"): row.amount for row in rows}
        return {name: amount for name, amount in items.items() if name.startswith(kind)}

    async def facts(self) -> tuple[ScheduleFact, ...]:
        return await self.store.schedule_facts.of_line(ENGAGEMENT, "RET")


@pytest.fixture
def story(store: Store, database: Database) -> Story:
    return Story(store, database)


def months(terms: object, facts: tuple[ScheduleFact, ...], until: date) -> Iterator[RetainerMonth]:
    assert isinstance(terms, RetainerTerms)
    every = retainer_months(terms, sorted(facts, key=lambda each: (each.recorded_on, each.id)))
    return takewhile(lambda each: each.month.start <= until, every)


async def test_hours_draw_what_the_schedule_has_and_never_what_expired(story: Story) -> None:
    await story.store.engagements.put(retained())
    await story.place(at(1, 15))
    assert await story.parts() == {"drawn_from_retainer": 120}

    # January leaves 80, which expires; February's deposit is 200.
    await story.place(at(2, 3), hours=2)

    assert await story.parts() == {"drawn_from_retainer": 320, "to_bill": 40}
    (row,) = await story.database.rows(RETAINER)
    assert (row.drawn, row.balance) == (320, 0)
    moved = [(row.movement, row.amount) for row in await story.database.rows(MOVEMENTS)]
    assert moved == [("prepaid", 200), ("drawn", -120), ("prepaid", 120), ("drawn", -200)]


async def test_what_rolls_over_and_what_was_topped_up_is_there_to_draw(story: Story) -> None:
    await story.store.engagements.put(retained(rollover={"months": 1, "limit": "50.00"}))
    await story.place(at(1, 15))
    await story.top_up(70, date(2026, 2, 2))

    await story.place(at(2, 3), hours=3)

    assert await story.parts() == {"drawn_from_retainer": 120 + 320, "to_bill": 40}


async def test_nothing_is_drawn_outside_the_term(story: Story) -> None:
    await story.store.engagements.put(retained(start="2026-02-01", end="2026-02-28"))
    await story.place(at(1, 31))
    await story.place(at(3, 1), on=date(2026, 2, 20))
    assert await story.parts() == {"to_bill": 240}


async def test_a_run_undone_in_the_next_month_gives_its_draw_back_there(story: Story) -> None:
    await story.store.engagements.put(retained())
    key = await story.place(at(1, 31))
    await story.bill(at(2, 1))
    await story.store.runs.unplace(key)

    await story.place(at(2, 2), hours=3)

    # 200 of February and the 120 given back; the 80 that January left expired.
    assert await story.parts() == {"drawn_from_retainer": 320, "to_bill": 40}


async def test_two_runs_count_on_no_balance_twice(story: Story) -> None:
    await story.store.engagements.put(retained())
    first = await story.place(at(1, 15))
    await story.place(at(1, 15))
    await story.hand_over(first, at(1, 16))
    await story.place(at(1, 17))
    assert await story.parts() == {"drawn_from_retainer": 200, "to_bill": 160}


async def test_a_schedule_that_bills_overage_gets_every_hour_and_bills_the_rest_once(
    story: Story,
) -> None:
    await story.store.engagements.put(retained(overage="schedule"))
    key = await story.place(at(1, 15), hours=3)
    assert await story.parts() == {"drawn_from_retainer": 360}
    await story.hand_over(key, at(1, 16))

    assert (await story.bill(at(2, 5))).fees == 3
    assert (await story.bill(at(2, 6))).fees == 0

    assert await story.billed("overage") == {"overage/2026-01": 160}
    assert await story.database.rows(RETAINER) == []


async def test_a_line_that_was_prepaid_before_leaves_its_balance_to_the_schedule(
    story: Story,
) -> None:
    await story.store.engagements.put(contract(prepaid=100))
    before = await story.place(at(1, 10))
    await story.hand_over(before, at(1, 10))
    await story.store.engagements.put(retained(overage="schedule"))
    await story.place(at(1, 15), hours=3)
    (row,) = await story.database.rows(RETAINER)
    assert (row.prepaid, row.drawn) == (100, 100)


async def test_hours_handed_over_while_the_legal_entitys_day_is_another_are_not_lost(
    story: Story,
) -> None:
    """It is February in Tokyo from 15:00 UTC of January 31 on."""
    await story.store.engagements.put(retained("JP", overage="schedule"))
    await story.hand_over(await story.place(at(1, 20), hours=2), at(1, 20))
    late = await story.place(at(1, 31, 14), hours=2)
    await story.bill(at(1, 31, 16))
    await story.hand_over(late, at(1, 31, 20))

    await story.bill(at(2, 10))
    await story.bill(at(3, 10))

    assert await story.billed("overage") == {"overage/2026-01": 40, "overage/2026-02": 40}


async def test_hours_count_under_the_legal_entitys_own_day(story: Story) -> None:
    """In New York it is January 31 until 05:00 UTC of the day after."""
    await story.store.engagements.put(retained(overage="schedule"))
    await story.hand_over(await story.place(at(1, 20), hours=2), at(2, 1, 3))

    await story.bill(at(2, 10))

    assert await story.billed("overage") == {"overage/2026-01": 40}


async def test_hours_whose_hand_over_a_billed_day_did_not_see_count_from_the_next_one(
    story: Story,
) -> None:
    await story.store.engagements.put(retained(overage="schedule"))
    await story.hand_over(await story.place(at(1, 20), hours=2), at(1, 20))
    late = await story.place(at(1, 30), hours=2)
    await story.bill(MONTH_END)
    # Its transaction began before midnight, and ended after the schedule had looked.
    await story.hand_over(late, at(1, 31, 12))

    await story.bill(at(3, 10))

    assert await story.billed("overage") == {"overage/2026-01": 40, "overage/2026-02": 40}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("overage", ["schedule", "entries"])
async def test_in_whatever_order_hours_arrive_nothing_is_lost_and_nothing_billed_twice(
    story: Story, overage: str, seed: int
) -> None:
    rng = random.Random(seed)
    contracted = retained(overage=overage, rollover={"months": 1})
    await story.store.engagements.put(contracted)
    now, placed = at(1, 2), []
    while now < at(4, 1):
        now += timedelta(hours=rng.randint(10, 80))
        act = rng.choice(["place", "place", "hand_over", "unplace", "bill", "top_up"])
        if act == "place":
            back = timedelta(days=rng.randint(0, 40))
            placed.append(await story.place(now, rng.randint(1, 2), on=(now - back).date()))
        elif act == "bill":
            await story.bill(now)
        elif act == "top_up" and rng.random() < 0.3:
            await story.top_up(30, schedules_of(BUNDLE, now).today(contracted.lines[0]).on)
        elif placed and act in {"hand_over", "unplace"}:
            key = placed.pop(rng.randrange(len(placed)))
            if act == "hand_over":
                await story.hand_over(key, now)
            else:
                await story.store.runs.unplace(key)
                # Its hours are claimed again by the next run.
                await story.store.runs.release(key)
                story.free += story.hours.pop(key)
    for key in placed:
        await story.hand_over(key, now)
    for day in (5, 6):
        assert not (await story.bill(at(5, day))).refused

    facts = await story.facts()
    parts = await story.parts()
    drawn = sum(fact.amount.amount for fact in facts if isinstance(fact, DrawFact))
    assert drawn == parts["drawn_from_retainer"]
    worked = 120 * sum(story.hours.values())
    assert sum(parts.values()) == worked
    closed = list(months(contracted.lines[0].schedule, facts, date(2026, 4, 30)))
    assert sum(each.worked for each in closed) == drawn
    overages = {each.month.name: each.overage for each in closed if each.overage}
    if overage == "schedule":
        billed = await story.billed("overage")
        assert billed == {f"overage/{name}": amount for name, amount in overages.items()}
        assert sum(billed.values()) + sum(each.drawn for each in closed) == worked
    else:
        assert overages == {}
        assert sum(each.drawn for each in closed) + parts.get("to_bill", 0) == worked
