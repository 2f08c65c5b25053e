"""The scratch of a reconciliation run: what systems listed, and what comparing it comes to.

Rows come by COPY, a page at a time, and every comparison is one statement in the database: a
million rows are never in Python. The tables are unlogged, so a server that crashed has lost them
whole; a run then finds that out, and lists anew.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from asyncpg import Connection as PostgresConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.extracts import ExtractKind, ExtractRow
from canonical.ids import Role
from canonical.reconciliation import Candidate, Compared, FoundRow, ReconcilePlan, ScopedConnection
from store import reconciling_billed as billed
from store import reconciling_deals as deals
from store import reconciling_entries as entries
from store import reconciling_invoices as invoices
from store import reconciling_items as items
from store import reconciling_masters as masters
from store import reconciling_postings as postings
from store.database import AnyRow, Database
from store.errors import Conflict

COMPARISONS: Final[Mapping[Role, Mapping[ExtractKind, tuple[str, ...]]]] = {
    Role.CRM: {ExtractKind.DEAL: (deals.LINKS,)},
    Role.PSA: {
        ExtractKind.CLIENT: (masters.CLIENTS_THERE,),
        ExtractKind.PROJECT: (masters.PSA_PROJECTS_THERE, masters.PSA_LINKS),
        ExtractKind.ENTRY: (entries.WORK, entries.BILLED_OUTSIDE),
        ExtractKind.INVOICE: (entries.MIRRORS,),
    },
    Role.ERP: {
        ExtractKind.CLIENT: (masters.CLIENTS_THERE,),
        ExtractKind.PROJECT: (masters.ERP_PROJECTS_THERE, masters.ERP_LINKS),
        ExtractKind.CHARGE: (
            *(postings.CHARGES, postings.BILLED_OUTSIDE, postings.NATIVE),
            *(billed.NOT_BILLED, billed.FREED),
        ),
        ExtractKind.COST: (postings.COSTS,),
        ExtractKind.INVOICE: (invoices.INVOICES,),
        ExtractKind.CREDIT: (invoices.CREDITS,),
        ExtractKind.PAYMENT: (invoices.PAYMENTS,),
    },
    Role.BILLING_ENGINE: {
        ExtractKind.CLIENT: (masters.CLIENTS_THERE,),
        ExtractKind.CHARGE: (items.ITEMS,),
        ExtractKind.INVOICE: (invoices.INVOICES,),
        ExtractKind.CREDIT: (invoices.CREDITS,),
        ExtractKind.PAYMENT: (invoices.PAYMENTS,),
    },
}
"""What a system's records of a kind are compared by."""
STATEMENT_SECONDS: Final = 900
"""A comparison may read millions of rows; other statements of the store may not."""
COLUMNS: Final = (
    *("run", "connection", "kind", "id", "external_id", "number", "client_id", "project_id"),
    *("date", "state", "amount", "left_amount", "currency", "minutes", "links", "version"),
    *("invoice_id", "changed_at"),
)

# Patience with big statements, and room to hash and sort in memory.
_PATIENCE = text(f"""
    SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', true),
        set_config('work_mem', '64MB', true)
""")
_CLAIM = text("""
    INSERT INTO reconciliation_extracts AS extract (run, connection, kind, attempt)
    VALUES (:run, :connection, :kind, :attempt)
    ON CONFLICT (run, connection, kind) DO UPDATE SET attempt = excluded.attempt
    WHERE extract.listed_at IS NULL
    RETURNING attempt
""")
_LISTED = text("""
    SELECT rows, listed_at FROM reconciliation_extracts
    WHERE run = :run AND connection = :connection AND kind = :kind
""")
_MINE = text("""
    SELECT attempt FROM reconciliation_extracts
    WHERE run = :run AND connection = :connection AND kind = :kind FOR UPDATE
""")
_DROP_ROWS = text("""
    DELETE FROM reconciliation_rows
    WHERE run = :run AND connection = :connection AND kind = :kind
""")
_DONE = text("""
    UPDATE reconciliation_extracts SET rows = :rows, listed_at = now()
    WHERE run = :run AND connection = :connection AND kind = :kind AND attempt = :attempt
""")
_ANALYZE = text("ANALYZE reconciliation_rows")
_DROP_CANDIDATES = text("""
    DELETE FROM reconciliation_candidates
    WHERE run = :run AND connection = :connection AND kind = :kind
""")
_CANDIDATES = text("""
    SELECT * FROM reconciliation_candidates
    WHERE run = :run AND id > :after ORDER BY id LIMIT :limit
""")
# With what runs left behind that were given up.
_OVER = "run = :run OR run IN (SELECT id FROM reconciliation_runs WHERE state <> 'open')"
_CLEAR = (
    text(f"DELETE FROM reconciliation_rows WHERE {_OVER}"),  # noqa: S608 - a constant
    text(f"DELETE FROM reconciliation_extracts WHERE {_OVER}"),  # noqa: S608 - a constant
    text(f"DELETE FROM reconciliation_candidates WHERE {_OVER}"),  # noqa: S608 - a constant
)


class ScratchLost(Conflict):
    """What a run had listed is gone: the server crashed, or another attempt took over."""


class Staging:
    """The scratch of runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(self, run: int, connection: str, kind: ExtractKind) -> int | None:
        """Return how many rows of a kind were listed, or None where that has to be done."""
        key = {"run": run, "connection": connection, "kind": kind.value}
        row = await self._database.first(_LISTED, key)
        return None if row is None or row.listed_at is None else int(row.rows)

    async def begin(self, run: int, connection: str, kind: ExtractKind, attempt: str) -> None:
        """Begin to list a kind: what an earlier attempt had listed of it goes.

        Raises:
            Conflict: it is listed whole already.
        """
        key = {"run": run, "connection": connection, "kind": kind.value}
        async with self._database.transaction() as session:
            await session.execute(_PATIENCE)
            claimed = await session.execute(_CLAIM, {**key, "attempt": attempt})
            if claimed.first() is None:
                raise Conflict(f"{kind} of {connection} is listed already in run {run}")
            await session.execute(_DROP_ROWS, key)

    async def put(
        self,
        run: int,
        connection: str,
        kind: ExtractKind,
        attempt: str,
        rows: Sequence[ExtractRow],
    ) -> None:
        """Keep a page of what a system listed.

        Raises:
            ScratchLost: another attempt has taken over.
        """
        key = {"run": run, "connection": connection, "kind": kind.value}
        async with self._database.transaction() as session:
            if (await session.execute(_MINE, key)).scalar() != attempt:
                raise ScratchLost(f"another attempt lists {kind} of {connection}")
            raw = await session.get_raw_connection()
            driver: PostgresConnection = raw.driver_connection
            records = [_record(run, connection, row) for row in rows]
            await driver.copy_records_to_table(
                "reconciliation_rows", records=records, columns=COLUMNS
            )

    async def end(
        self, run: int, connection: str, kind: ExtractKind, attempt: str, rows: int
    ) -> None:
        """Put down that a kind is listed whole.

        Raises:
            ScratchLost: another attempt has taken over.
        """
        key = {"run": run, "connection": connection, "kind": kind.value}
        done = await self._database.run(_DONE, {**key, "attempt": attempt, "rows": rows})
        if not done:
            raise ScratchLost(f"another attempt lists {kind} of {connection}")

    async def compare(
        self, plan: ReconcilePlan, of: ScopedConnection, kind: ExtractKind, rows: int
    ) -> Compared | None:
        """Compare a kind with the store; the same again gives the same candidates.

        None: this kind of this system is compared with nothing.

        Raises:
            ScratchLost: it is not listed any more.
        """
        statements = COMPARISONS.get(of.role, {}).get(kind, ())
        if not statements:
            return None
        key = {"run": plan.run, "connection": of.connection, "kind": kind.value}
        differences = 0
        async with self._database.transaction() as session:
            await session.execute(_PATIENCE)
            done = (await session.execute(_LISTED, key)).first()
            if done is None or done.listed_at is None:
                raise ScratchLost(f"{kind} of {of.connection} is not listed any more")
            await session.execute(_DROP_CANDIDATES, key)
            for statement in statements:
                differences += await _compare(session, statement, _values(plan, of))
        return Compared(
            connection=of.connection, kind=kind.value, rows=rows, differences=differences
        )

    async def analyze(self) -> None:
        """Let the planner know what was listed."""
        async with self._database.transaction() as session:
            await session.execute(_PATIENCE)
            await session.execute(_ANALYZE)

    async def candidates(self, run: int, after: int, limit: int) -> tuple[Candidate, ...]:
        """Return the next candidates of a run, by id."""
        values = {"run": run, "after": after, "limit": limit}
        return tuple(_candidate(row) for row in await self._database.rows(_CANDIDATES, values))

    async def clear(self, run: int) -> None:
        """Remove a run's scratch, and that of runs that were given up."""
        async with self._database.transaction() as session:
            await session.execute(_PATIENCE)
            for statement in _CLEAR:
                await session.execute(statement, {"run": run})


async def _compare(session: AsyncConnection, statement: str, values: Mapping[str, object]) -> int:
    clause = text(statement)
    named = {name: values[name] for name in clause.compile().params}
    return int((await session.execute(clause, named)).rowcount)


def _values(plan: ReconcilePlan, of: ScopedConnection) -> dict[str, object]:
    # Work of the window's first day may have been run in the month before, where its books closed.
    before = plan.since - timedelta(days=1)
    return {
        "run": plan.run,
        "psa": plan.psa,
        "connection": of.connection,
        "entity": plan.legal_entity,
        "subsidiary": of.subsidiary,
        "since": plan.since,
        "until": plan.until,
        "month": f"{before.year:04d}-{before.month:02d}",
    }


def _record(run: int, connection: str, row: ExtractRow) -> tuple[object, ...]:
    amount, left = row.amount, row.left
    money = amount or left
    return (
        *(run, connection, row.kind.value, row.id, row.external_id, row.number),
        *(row.client_id, row.project_id, row.date, row.state.value),
        *(amount.amount if amount else None, left.amount if left else None),
        *(money.currency if money else "", row.minutes, list(row.links), row.version),
        *(row.invoice_id, row.changed_at),
    )


def _candidate(row: AnyRow) -> Candidate:
    rows = tuple(FoundRow.model_validate(each) for each in row.rows)
    return Candidate.model_validate({**row._mapping, "rows": rows})
