"""Key figures and the close, against the small month of `kpi_month`, worked out by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from canonical.kpis import Blocker, CloseLine, Kpi, KpiBy, KpiQuery, KpiReport
from store import Store
from store.kpi_table import KPIS
from tests.store.kpi_month import LAST, NOW, plant, small_month

DOC = Path(__file__).parents[2] / "docs" / "kpis.md"
REGIONS = {"US": "US", "DE": "DE"}

Rows = dict[tuple[str, str], tuple[str | None, int]]
USD, EUR, NO = "USD", "EUR", ""
W45, W46, W47, W48 = "2026-W45", "2026-W46", "2026-W47", "2026-W48"

# What each figure is over everything, worked out by hand; in brackets the 90th percentile.
ALL: dict[str, Rows] = {
    # 6 and 24 hours.
    "time_to_project": {("", NO): ("15.00 (22.20)", 2)},
    # O3 was rolled back, O4 waits; O2 was rolled back first, and completed then.
    "failed_provisioning": {("", NO): ("2", 2)},
    # From the 9th: 21 days, one second less, and 22.
    "days_to_bill": {("", NO): ("21.00 (21.80)", 3)},
    # 3 is written down to 100; 4, 5, 6 and 7 are 120 each.
    "unbilled_approved_time": {("", EUR): ("100.10", 1), ("", USD): ("580.00", 5)},
    "unpriced_time": {("", NO): ("1.50", 1)},
    # 580 of 800, which is 840 less 20 written down and 20 credited; 100.10 of 150.10.
    "unbilled_labor_percent": {("", EUR): ("66.69", 2), ("", USD): ("72.50", 7)},
    "invoice_ready_backlog": {("", USD): ("100.00", 1)},
    "transmission_backlog": {("", EUR): ("55.00", 1)},
    "invoice_exceptions": {("", NO): ("2", 2)},
    "disputes": {("", USD): ("200.00", 1)},
    # 90 x 200 / (264 - 22), and 90 x 55 / 55.
    "dso": {("", EUR): ("90.00", 1), ("", USD): ("74.38", 1)},
    # One has no amount, one is a timing gap.
    "reconciliation_variance": {("", NO): ("0", 1), ("", USD): ("12.50", 1)},
    # W1 and F3.
    "customer_master_exceptions": {("", NO): ("2", 2)},
    # One of 5001, 5002, 701, 702, 501 and 502.
    "master_mismatch_rate": {("", NO): ("16.67", 6)},
    # 11 and 12.
    "intercompany_posting_errors": {("", NO): ("2", 2)},
    # One refused and one unanswered of four that ended.
    "integration_failure_rate": {("", NO): ("50.00", 4)},
    # E2 twice, W1 once.
    "replays": {("", NO): ("3", 2)},
    # 1, 3 and 5 seconds.
    "sync_latency": {("", NO): ("3.00 (4.60)", 3)},
}
BY_ENTITY: dict[str, Rows] = {
    # O2 is of both, and counts once in all.
    "time_to_project": {("DE", NO): ("24.00 (24.00)", 1), ("US", NO): ("15.00 (22.20)", 2)},
    "failed_provisioning": {("US", NO): ("2", 2)},
    "days_to_bill": {("DE", NO): ("22.00 (22.00)", 1), ("US", NO): ("21.00 (21.00)", 2)},
    "unbilled_approved_time": {("DE", EUR): ("100.10", 1), ("US", USD): ("580.00", 5)},
    "unpriced_time": {("US", NO): ("1.50", 1)},
    "reconciliation_variance": {("DE", NO): ("0", 1), ("US", USD): ("12.50", 1)},
    "master_mismatch_rate": {("DE", NO): ("33.33", 3), ("US", NO): ("0.00", 3)},
    "intercompany_posting_errors": {("DE", NO): ("2", 2), ("US", NO): ("2", 2)},
    "sync_latency": {("", NO): ("2.00 (2.80)", 2), ("US", NO): ("5.00 (5.00)", 1)},
}
BY_WEEK: dict[str, Rows] = {
    "time_to_project": {(W45, NO): ("15.00 (22.20)", 2)},
    # What waits is of this week, the first of December.
    "failed_provisioning": {(W45, NO): ("1", 1), ("2026-W49", NO): ("1", 1)},
    "unbilled_approved_time": {(W46, EUR): ("100.10", 1), (W46, USD): ("580.00", 5)},
    "invoice_exceptions": {(W47, NO): ("2", 2)},
    "reconciliation_variance": {(W48, NO): ("0", 1), (W48, USD): ("12.50", 1)},
}
BY_FLOW: dict[str, Rows] = {
    "integration_failure_rate": {("OpportunityToProject", NO): ("50.00", 4)},
    "replays": {("OpportunityToProject", NO): ("1", 1), ("from kantata", NO): ("2", 1)},
    "sync_latency": {
        ("from kantata", NO): ("2.00 (2.80)", 2),
        ("to kantata", NO): ("5.00 (5.00)", 1),
    },
}


def shown(report: KpiReport) -> Rows:
    def value(row_value: Decimal | None, high: Decimal | None) -> str | None:
        text = None if row_value is None else f"{row_value:f}"
        return text if high is None else f"{text} ({high:f})"

    return {
        (row.group, row.currency): (value(row.value, row.high), row.count) for row in report.rows
    }


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
async def test_of_an_empty_store_every_figure_is_empty(store: Store, kpi: Kpi) -> None:
    for by in kpi.askable():
        report = await store.kpis.report(kpi.name, KpiQuery(by=by), NOW)
        assert report.rows == (), by


async def test_every_figure_of_the_small_month_is_what_it_is_by_hand(store: Store) -> None:
    await small_month(store)
    assert ALL.keys() == KPIS.keys()
    for by, figures in (
        (KpiBy.ALL, ALL),
        (KpiBy.ENTITY, BY_ENTITY),
        (KpiBy.REGION, BY_ENTITY),
        (KpiBy.WEEK, BY_WEEK),
        (KpiBy.FLOW, BY_FLOW),
    ):
        found = {
            name: shown(await store.kpis.report(name, KpiQuery(by=by, regions=REGIONS), NOW))
            for name in figures
        }
        assert found == figures, by
    unbilled = await store.kpis.report("unbilled_approved_time", KpiQuery(by=KpiBy.CLIENT), NOW)
    assert shown(unbilled) == {("C1", USD): ("580.00", 5), ("C2", EUR): ("100.10", 1)}


async def test_a_deal_of_two_entities_of_one_region_counts_there_once(store: Store) -> None:
    await small_month(store)
    query = KpiQuery(by=KpiBy.REGION, regions={"US": "Here", "DE": "Here"})
    report = await store.kpis.report("time_to_project", query, NOW)
    assert shown(report) == {("Here", NO): ("15.00 (22.20)", 2)}


async def test_days_narrow_a_figure_and_what_happened_has_90_by_default(store: Store) -> None:
    await small_month(store)

    async def completed(
        now: datetime = NOW, since: date | None = None, until: date | None = None
    ) -> Rows:
        query = KpiQuery(since=since, until=until)
        return shown(await store.kpis.report("time_to_project", query, now))

    first = {("", NO): ("6.00 (6.00)", 1)}
    assert await completed(until=date(2026, 11, 2)) == first
    assert await completed(since=date(2026, 11, 3)) == {("", NO): ("24.00 (24.00)", 1)}
    assert await completed(since=date(2026, 11, 2), until=date(2026, 11, 2)) == first
    ended = datetime(2026, 11, 4, 8, tzinfo=UTC)
    assert len(await completed(ended + timedelta(days=90))) == 1
    assert await completed(ended + timedelta(days=90, seconds=1)) == {}
    later = await store.kpis.report("unbilled_approved_time", KpiQuery(), NOW.replace(year=2028))
    assert shown(later) == ALL["unbilled_approved_time"]


async def test_what_a_figure_cannot_be_asked_for_is_said(store: Store) -> None:
    for name, query in (
        ("dso", KpiQuery(by=KpiBy.WEEK)),
        ("dso", KpiQuery(since=LAST)),
        ("disputes", KpiQuery(by=KpiBy.FLOW)),
        ("disputes", KpiQuery(since=LAST, until=date(2026, 11, 1))),
    ):
        with pytest.raises(ValueError, match=r"\.$"):
            await store.kpis.report(name, query, NOW)
    with pytest.raises(KeyError):
        await store.kpis.report("forecast_variance", KpiQuery(), NOW)


def line(
    what: Blocker, amount: object = None, count: int = 1, age: int = 0, **values: object
) -> CloseLine:
    """A line of Lea's project for C1 in USD; `age` is the place of its age."""
    ages = None
    billed = {Blocker.UNBILLED, Blocker.HELD, Blocker.IN_REVIEW, Blocker.QUEUED, Blocker.DEFERRED}
    if what in billed:
        ages = tuple(Decimal(str(amount)) if place == age else Decimal(0) for place in range(4))
    standard = {"lead": "lea@example.com", "client_id": "C1", "currency": "USD"}
    money = None if amount is None else Decimal(str(amount))
    return CloseLine.model_validate(
        {**standard, "what": what, "count": count, "amount": money, "ages": ages, **values}
    )


US = {
    line(Blocker.UNPRICED, currency="", minutes=90),
    line(Blocker.UNBILLED, 1120, 2),  # 7 and M1
    line(Blocker.HELD, 120),
    line(Blocker.IN_REVIEW, 120),
    line(Blocker.QUEUED, 100),
    line(Blocker.DEFERRED, 120),
    line(Blocker.COSTS_PENDING, 665, 7),
    line(Blocker.COSTS_PENDING, 190, 2, lead="", client_id="C2"),
    line(Blocker.UNMATCHED_POSTING, 264, lead=""),
    line(Blocker.FINDING, "12.50"),
}
DE = {
    line(Blocker.UNBILLED, "100.10", age=3, lead="", client_id="C2", currency="EUR"),
    line(Blocker.UNMATCHED_POSTING, lead="", client_id="C2", currency=""),
    line(Blocker.FINDING, lead="", client_id="C2", currency=""),
}


async def test_the_close_shows_what_blocks_it_once_with_amount_and_age(store: Store) -> None:
    await small_month(store)
    of_us = await store.closing.blockers("US", "2026-11", last=LAST, as_of=LAST)
    assert set(of_us) == US
    assert len(of_us) == len(US)
    assert [line.what for line in of_us] == sorted(
        (line.what for line in of_us), key=list(Blocker).index
    )
    of_de = await store.closing.blockers("DE", "2026-11", last=LAST, as_of=LAST)
    assert set(of_de) == DE
    # Nothing that is to be billed is left out or counted twice.
    billed = sum(each.amount or 0 for each in of_us if each.ages is not None)
    unbilled = await store.kpis.report("unbilled_approved_time", KpiQuery(by=KpiBy.ENTITY), NOW)
    assert billed == 1000 + sum(row.value or 0 for row in unbilled.rows if row.group == "US")


@pytest.mark.parametrize(("days", "place"), [(30, 0), (31, 1), (60, 1), (61, 2), (90, 2), (91, 3)])
async def test_ages_change_after_30_60_and_90_days(store: Store, days: int, place: int) -> None:
    await small_month(store)
    as_of = date(2026, 8, 15) + timedelta(days=days)
    lines = await store.closing.blockers("DE", "2026-11", last=LAST, as_of=as_of)
    (ages,) = (each.ages for each in lines if each.ages is not None)
    assert ages[place] == Decimal("100.10")
    assert sum(ages) == Decimal("100.10")


async def test_later_work_does_not_block_and_an_unanswered_posting_does(store: Store) -> None:
    await small_month(store)
    october = date(2026, 10, 31)
    lines = await store.closing.blockers("US", "2026-10", last=october, as_of=october)
    # The German work is of August, by people of US; work items are of no period.
    assert {each.what for each in lines} == {Blocker.COSTS_PENDING, Blocker.UNMATCHED_POSTING}
    unanswered = "UPDATE step_ledger SET step = 'post_charges' WHERE step = 'write_back'"
    await plant(store, unanswered)
    found = await store.closing.blockers("US", "2026-10", last=october, as_of=october)
    (posting,) = set(found) - set(lines)
    assert posting == line(Blocker.UNMATCHED_POSTING, lead="", currency="")


async def test_nothing_blocks_the_close_of_an_empty_store(store: Store) -> None:
    assert await store.closing.blockers("US", "2026-11", last=LAST, as_of=LAST) == ()


def test_the_page_defines_every_figure_in_the_same_words() -> None:
    rows = [
        [cell.strip() for cell in row.strip("|").split(" | ")]
        for row in DOC.read_text().splitlines()
        if row.startswith("| `")
    ]
    told = {row[0].strip("`"): tuple(row[1:]) for row in rows if row[0].strip("`") in KPIS}
    assert told == {
        kpi.name: (
            kpi.title,
            kpi.unit.value,
            kpi.meaning,
            ", ".join(by.value for by in kpi.askable()[1:]),
            "now" if kpi.stands else "90 days",
        )
        for kpi in KPIS.values()
    }
