"""Which billing period is open, and on which day work is posted."""

from datetime import UTC, date, datetime, time

import pytest

from canonical.billing import AccountingPeriod
from canonical.entries import HoldReason
from policies.billing_schema import ClosedPeriod, EntityBilling
from policies.periods import billing_period, cutoff_of, held_if_closed, posting_date
from tests.support.month import DAY, LUCA, entry, policies, rated


def entity(zone: str = "Europe/Berlin", **changes: object) -> EntityBilling:
    values: dict[str, object] = {
        "zone": zone,
        "cutoff_day": 3,
        "cutoff_time": time(18),
    }
    return EntityBilling.model_validate(values | changes)


def month(year: int, number: int, *, is_open: bool = True) -> AccountingPeriod:
    last = {2: 28, 4: 30, 6: 30, 9: 30, 11: 30}.get(number, 31)
    return AccountingPeriod(
        id=f"{year}-{number}",
        name=f"{year}-{number:02d}",
        start=date(year, number, 1),
        end=date(year, number, last),
        open=is_open,
    )


class TestBillingPeriod:
    @pytest.mark.parametrize(
        ("zone", "now", "period"),
        [
            ("Europe/Berlin", datetime(2026, 12, 3, 16, 59, 59, tzinfo=UTC), "2026-11"),
            ("Europe/Berlin", datetime(2026, 12, 3, 17, 0, tzinfo=UTC), "2026-12"),
            ("America/New_York", datetime(2026, 12, 3, 22, 59, tzinfo=UTC), "2026-11"),
            ("America/New_York", datetime(2026, 12, 3, 23, 0, tzinfo=UTC), "2026-12"),
            ("Asia/Tokyo", datetime(2026, 12, 3, 8, 59, tzinfo=UTC), "2026-11"),
            ("Asia/Tokyo", datetime(2026, 12, 3, 9, 0, tzinfo=UTC), "2026-12"),
            ("Asia/Tokyo", datetime(2026, 11, 30, 15, 0, tzinfo=UTC), "2026-11"),
            ("Europe/Berlin", datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "2026-12"),
        ],
    )
    def test_the_cutoff_is_meant_in_the_entitys_zone(
        self, zone: str, now: datetime, period: str
    ) -> None:
        assert billing_period(now, entity(zone)) == period

    def test_the_hour_that_comes_twice(self) -> None:
        # New York, 1 November 2026: 01:30 comes twice; the cutoff is the first of the two.
        terms = entity("America/New_York", cutoff_day=1, cutoff_time=time(1, 30))
        assert cutoff_of("2026-10", terms).astimezone(UTC) == datetime(
            2026, 11, 1, 5, 30, tzinfo=UTC
        )
        assert billing_period(datetime(2026, 11, 1, 5, 29, tzinfo=UTC), terms) == "2026-10"
        assert billing_period(datetime(2026, 11, 1, 6, 15, tzinfo=UTC), terms) == "2026-11"

    def test_cutoff_of_december(self) -> None:
        assert cutoff_of("2026-12", entity()).isoformat() == "2027-01-03T18:00:00+01:00"

    def test_no_month(self) -> None:
        with pytest.raises(ValueError, match="2026-13"):
            cutoff_of("2026-13", entity())


class TestPostingDate:
    PARK, MOVE = entity(), entity(closed_period=ClosedPeriod.MOVE)
    OPEN = (month(2026, 10, is_open=False), month(2026, 11), month(2026, 12))

    def test_an_open_period_posts_on_the_service_date(self) -> None:
        assert posting_date(self.PARK, DAY, self.OPEN).on == DAY

    def test_a_closed_one_parks(self) -> None:
        found = posting_date(self.PARK, date(2026, 10, 30), self.OPEN)
        assert found.on is None
        assert "2026-10 is closed" in found.problem

    def test_or_moves_to_the_next_open_one(self) -> None:
        found = posting_date(self.MOVE, date(2026, 10, 30), tuple(reversed(self.OPEN)))
        assert (found.on, found.moved) == (date(2026, 11, 1), True)

    def test_an_earlier_open_one_is_none(self) -> None:
        periods = (month(2026, 9), month(2026, 10, is_open=False))
        assert posting_date(self.MOVE, date(2026, 10, 30), periods).on is None

    def test_a_month_comes_before_its_year(self) -> None:
        year = AccountingPeriod(
            id="Y", name="FY 2026", start=date(2026, 1, 1), end=date(2026, 12, 31), open=True
        )
        assert posting_date(self.PARK, date(2026, 10, 30), (year, *self.OPEN)).on is None

    def test_no_period_parks(self) -> None:
        assert (
            "no accounting period" in posting_date(self.MOVE, date(2027, 3, 1), self.OPEN).problem
        )

    def test_either_companys_closed_books_hold_an_entry(self) -> None:
        found = rated(entry(person_email=LUCA))[0]
        shut, opened = (month(2026, 11, is_open=False),), (month(2026, 11),)
        assert held_if_closed(found, DAY, policies(), {"US": opened, "DE": opened}) == found
        held = held_if_closed(found, DAY, policies(), {"US": opened, "DE": shut})
        assert (held.hold, held.amount) == (HoldReason.PERIOD_CLOSED, None)
        assert held.hold_detail.startswith("DE: ")
