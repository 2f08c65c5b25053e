"""Key figures in business terms, and what keeps a period from being closed (requirement O3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import computed_field

from canonical.model import CanonicalModel

WINDOW_DAYS = 90
"""How far back a figure of what happened looks where nobody says."""


class KpiUnit(StrEnum):
    """What a figure counts in, and so how it is put together from what it is made of."""

    COUNT = "count"
    """A sum of pieces."""
    MONEY = "money"
    """A sum per currency; currencies are never added."""
    HOURS_WORKED = "hours worked"
    """A sum."""
    HOURS = "hours"
    """The median, and the 90th percentile."""
    DAYS = "days"
    """The median, and the 90th percentile."""
    SECONDS = "seconds"
    """The median, and the 90th percentile."""
    PERCENT = "percent"
    """A share of a whole, per currency where it is one of money."""
    DAYS_OF_SALES = "days of sales"
    """What is open, in days of what was sold, per currency."""


LASTS = frozenset({KpiUnit.HOURS, KpiUnit.DAYS, KpiUnit.SECONDS})
"""Units of how long something takes."""


class KpiBy(StrEnum):
    """What a figure is told apart by."""

    ALL = "all"
    ENTITY = "entity"
    REGION = "region"
    """The country of the legal entity."""
    CLIENT = "client"
    WEEK = "week"
    """ISO weeks in UTC."""
    FLOW = "flow"
    """A saga, or a connection with its direction."""


@dataclass(frozen=True)
class Kpi:
    """What a figure is; `docs/kpis.md` says the same."""

    name: str
    title: str
    unit: KpiUnit
    meaning: str
    sql: str
    """Its facts: `entities`, `client_id`, `flow`, `at`, `currency`, `value`, `base`."""
    stands: bool = False
    """It tells how things stand now; else what happened, by default of the last 90 days."""
    dated: bool = True
    """Its facts have moments: it can be asked by week, and for some days alone."""
    flows: bool = False
    """It can be asked by flow."""

    def askable(self) -> tuple[KpiBy, ...]:
        """Return what it can be told apart by."""
        left = (self.dated, KpiBy.WEEK), (self.flows, KpiBy.FLOW)
        return (
            *(KpiBy.ALL, KpiBy.ENTITY, KpiBy.REGION, KpiBy.CLIENT),
            *(by for there, by in left if there),
        )


@dataclass(frozen=True)
class KpiQuery:
    """Which days, and told apart by what."""

    by: KpiBy = KpiBy.ALL
    since: date | None = None
    """The first day, in UTC; none: as the figure is."""
    until: date | None = None
    """The last day, in UTC; none: now."""
    regions: Mapping[str, str] = field(default_factory=dict)
    """The region of each legal entity."""


class KpiRow(CanonicalModel):
    """One figure."""

    group: str = ""
    """An entity's code, a client's id, a week …; empty: all, or nobody's."""
    currency: str = ""
    """Of money, and of shares of money."""
    value: Decimal | None
    """None: there is nothing to take a share of."""
    high: Decimal | None = None
    """The 90th percentile, of what lasts."""
    count: int
    """How many facts it is made of."""


class KpiReport(CanonicalModel):
    """A figure with what it means and what it was asked for."""

    name: str
    title: str
    unit: KpiUnit
    meaning: str
    by: KpiBy
    since: datetime | None
    """None: from the beginning."""
    until: datetime
    rows: tuple[KpiRow, ...]
    """Empty: nothing of it happened, or stands."""


class Blocker(StrEnum):
    """What keeps a legal entity's period from being closed."""

    UNPRICED = "unpriced"
    """Approved, and no billing run has placed it yet: it has no price."""
    UNBILLED = "unbilled"
    """Ready to be drafted."""
    HELD = "held"
    IN_REVIEW = "in_review"
    QUEUED = "queued"
    """In the billing queue."""
    POSTING = "posting"
    """Released, and not an invoice yet."""
    DEFERRED = "deferred"
    """A person put it off to a later day: shown, it blocks nothing."""
    COSTS_PENDING = "costs_pending"
    """Cost of work that the ERP does not have yet."""
    UNMATCHED_POSTING = "unmatched_posting"
    """A step that posts was not answered, or waits for a person."""
    FINDING = "finding"
    """Systems that do not agree."""


class CloseLine(CanonicalModel):
    """What one client's work, under one lead, adds to a blocker."""

    what: Blocker
    lead: str = ""
    """Who leads the project, by e-mail; empty: the PSA names nobody, or it is of no project."""
    client_id: str = ""
    currency: str = ""
    count: int
    minutes: int = 0
    """Of work without a price."""
    amount: Decimal | None = None
    """None: nothing here has an amount."""
    ages: tuple[Decimal, Decimal, Decimal, Decimal] | None = None
    """The amount by age: up to 30 days, 60, 90, and older; only of what is to be billed."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def blocks(self) -> bool:
        """Whether the period can't be closed while it is there."""
        return self.what is not Blocker.DEFERRED


class CloseReport(CanonicalModel):
    """What keeps a legal entity's period from being closed, as things stand."""

    legal_entity: str
    period: str
    as_of: date
    """Ages count up to this day: the period's last, or today before that."""
    lines: tuple[CloseLine, ...]

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def blocked(self) -> bool:
        """Whether anything blocks."""
        return any(line.blocks for line in self.lines)
