"""The ERP's posting periods, as a billing run read them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text

from canonical.billing import AccountingPeriod
from store.database import Database

_PUT_PERIODS = text("""
    INSERT INTO posting_periods (run, connection, subsidiary, period_id, name, first_day, last_day,
        open)
    SELECT :run, :connection, given.*
    FROM unnest(CAST(:subsidiaries AS text[]), CAST(:ids AS text[]), CAST(:names AS text[]),
        CAST(:starts AS date[]), CAST(:ends AS date[]), CAST(:opens AS boolean[])) AS given
    ON CONFLICT (run, connection, subsidiary, period_id)
    DO UPDATE SET open = excluded.open, read_at = now()
""")

_PERIODS = text("""
    SELECT connection, subsidiary, period_id, name, first_day, last_day, open FROM posting_periods
    WHERE run = :run ORDER BY connection, subsidiary, first_day
""")


class PostingPeriods:
    """Periods by run; what the ERP says at the post itself counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, run: str, connection: str, periods: Sequence[tuple[str, AccountingPeriod]]
    ) -> None:
        """Keep the posting periods that a run read, as (subsidiary, period)."""
        if not periods:
            return
        values = {
            "run": run,
            "connection": connection,
            "subsidiaries": [subsidiary for subsidiary, _ in periods],
            "ids": [period.id for _, period in periods],
            "names": [period.name for _, period in periods],
            "starts": [period.start for _, period in periods],
            "ends": [period.end for _, period in periods],
            "opens": [period.open for _, period in periods],
        }
        await self._database.run(_PUT_PERIODS, values)

    async def of_run(self, run: str) -> Mapping[tuple[str, str], tuple[AccountingPeriod, ...]]:
        """Return the periods that a run read, by (connection, subsidiary), in order of time."""
        found: dict[tuple[str, str], tuple[AccountingPeriod, ...]] = {}
        for row in await self._database.rows(_PERIODS, {"run": run}):
            period = AccountingPeriod(
                id=row.period_id,
                name=row.name,
                start=row.first_day,
                end=row.last_day,
                open=row.open,
            )
            key = (str(row.connection), str(row.subsidiary))
            found[key] = (*found.get(key, ()), period)
        return found
