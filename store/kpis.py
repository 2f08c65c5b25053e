"""Key figures out of the store: one statement puts the facts of a figure together (requirement O3).

Nothing is kept for them. Money is never added over currencies; the one rounding is at the end.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Final

from sqlalchemy import TextClause, text

from canonical.kpis import LASTS, WINDOW_DAYS, Kpi, KpiBy, KpiQuery, KpiReport, KpiRow, KpiUnit
from canonical.money import Money
from store.database import AnyRow, Database
from store.kpi_table import KPIS

ROOM: Final = text("""
    SELECT set_config('work_mem', '64MB', true), set_config('statement_timeout', '120s', true)
""")
"""Memory and time for the joins of all work: with the server's 4 MB they go through files."""

_SUM: Final = "sum(value) AS value, CAST(NULL AS numeric) AS high"
_PERCENTILE: Final = """
    CAST(percentile_cont({0}) WITHIN GROUP (ORDER BY CAST(value AS double precision)) AS numeric)
"""
_LASTING: Final = (
    f"round({_PERCENTILE.format('0.5')}, 2) AS value, round({_PERCENTILE.format('0.9')}, 2) AS high"
)
_SHARE: Final = """
    round({0} * CAST(sum(value) AS numeric) / nullif(sum(base), 0), 2) AS value,
    CAST(NULL AS numeric) AS high
"""

_PUT_TOGETHER: Final[Mapping[KpiUnit, str]] = {
    KpiUnit.COUNT: _SUM,
    KpiUnit.MONEY: _SUM,
    KpiUnit.HOURS_WORKED: "round(sum(value), 2) AS value, CAST(NULL AS numeric) AS high",
    KpiUnit.PERCENT: _SHARE.format(100),
    KpiUnit.DAYS_OF_SALES: _SHARE.format(1),
    **dict.fromkeys(LASTS, _LASTING),
}

_EACH_ENTITY: Final = """
    CROSS JOIN LATERAL (
        SELECT DISTINCT {0} AS name
        FROM unnest(CASE cardinality(entities) WHEN 0 THEN ARRAY[''] ELSE entities END)
            AS entity (code) {1}
    ) AS told
"""
_GROUPS: Final[Mapping[KpiBy, tuple[str, str]]] = {
    KpiBy.ALL: ("''", ""),
    KpiBy.ENTITY: ("told.name", _EACH_ENTITY.format("entity.code", "")),
    KpiBy.REGION: (
        "told.name",
        _EACH_ENTITY.format(
            "coalesce(known.region, '')",
            "LEFT JOIN unnest(CAST(:codes AS text[]), CAST(:regions AS text[])) "
            "AS known (code, region) USING (code)",
        ),
    ),
    KpiBy.CLIENT: ("client_id", ""),
    KpiBy.WEEK: ("""to_char(at AT TIME ZONE 'UTC', 'IYYY-"W"IW')""", ""),
    KpiBy.FLOW: ("flow", ""),
}
"""What a group is called, and what has to be joined for it."""


@cache
def _statement(sql: str, unit: KpiUnit, by: KpiBy) -> TextClause:
    group, joined = _GROUPS[by]
    return text(f"""
        SELECT {group} AS name, currency, {_PUT_TOGETHER[unit]}, count(*) AS facts
        FROM ({sql}) AS made {joined}
        WHERE (CAST(:since AS timestamptz) IS NULL OR at >= :since)
            AND (at IS NULL OR at <= CAST(:until AS timestamptz))
        GROUP BY name, currency ORDER BY name, currency
    """)  # noqa: S608 - constants


class KpiStore:
    """Works key figures out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, name: str, query: KpiQuery, now: datetime) -> KpiReport:
        """Return a figure as of `now`.

        Raises:
            KeyError: there is no such figure.
            ValueError: it can't be asked for that way; the message says why.
        """
        kpi = KPIS[name]
        since, until = _window(kpi, query, now)
        values: dict[str, object] = {"since": since, "until": until}
        if ":now" in kpi.sql:
            values["now"] = now
        if query.by is KpiBy.REGION:
            values |= {"codes": list(query.regions), "regions": list(query.regions.values())}
        async with self._database.transaction() as session:
            await session.execute(ROOM)
            rows = (await session.execute(_statement(kpi.sql, kpi.unit, query.by), values)).all()
        return KpiReport(
            name=kpi.name,
            title=kpi.title,
            unit=kpi.unit,
            meaning=kpi.meaning,
            by=query.by,
            since=since,
            until=until,
            rows=tuple(_row(row, kpi.unit) for row in rows),
        )


def _window(kpi: Kpi, query: KpiQuery, now: datetime) -> tuple[datetime | None, datetime]:
    if query.by not in kpi.askable():
        can = ", ".join(by.value for by in kpi.askable()[1:])
        raise ValueError(f"{kpi.name} is not told apart by {query.by}, but by {can}.")
    if not kpi.dated and (query.since or query.until):
        raise ValueError(f"{kpi.name} tells how things stand now, and is of no days.")
    since = None if query.since is None else _midnight(query.since)
    until = now
    if query.until is not None:
        until = min(now, _midnight(query.until + timedelta(days=1)) - timedelta(microseconds=1))
    if since is None and not kpi.stands:
        since = until - timedelta(days=WINDOW_DAYS)
    if since is not None and since > until:
        raise ValueError("The first day is after the last one, or has not begun.")
    return since, until


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _row(row: AnyRow, unit: KpiUnit) -> KpiRow:
    value: Decimal | None = row.value
    if unit is KpiUnit.MONEY and value is not None and row.currency:
        value = Money.rounded(value, row.currency).amount
    return KpiRow(
        group=row.name, currency=row.currency, value=value, high=row.high, count=row.facts
    )
