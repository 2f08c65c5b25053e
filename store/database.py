"""The connection to PostgreSQL: one engine, its two ways to run statements, and its migrations."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Executable, Row, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from store import migrations
from store.errors import translated

Values = Mapping[str, object]
AnyRow = Row[*tuple[object, ...]]

MIGRATION_LOCK: Final = 0x6465616C
"""Number of the advisory lock under which one process at a time migrates."""
CONNECT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 30
"""Beyond it the server gives up on a statement: nothing here takes seconds."""


class Database:
    """A PostgreSQL database by its URL.

    Every method of a repository is one transaction. A single statement runs in autocommit, so that
    it costs one round trip; several run inside `transaction`.
    """

    def __init__(self, url: SecretStr, pool_size: int = 5) -> None:
        self.engine: AsyncEngine = create_async_engine(
            _driver_url(url),
            # A peak's connections are kept: making one costs as much as some twenty statements.
            pool_size=2 * pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            hide_parameters=True,
            connect_args={
                "timeout": CONNECT_SECONDS,
                "server_settings": {
                    "application_name": "dealthread",
                    "jit": "off",
                    "timezone": "UTC",
                    "statement_timeout": f"{STATEMENT_SECONDS}s",
                    "idle_in_transaction_session_timeout": f"{2 * STATEMENT_SECONDS}s",
                },
            },
        )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def rows(self, statement: Executable, values: Values | None = None) -> Sequence[AnyRow]:
        """Run one statement in its own transaction and return its rows.

        Raises:
            StoreError: as `store.errors.translated` says; so do the other methods.
        """
        rows, _ = await self._execute(statement, values)
        return rows

    async def first(self, statement: Executable, values: Values | None = None) -> AnyRow | None:
        """Run one statement in its own transaction and return its first row, if any."""
        found = await self.rows(statement, values)
        return found[0] if found else None

    async def run(self, statement: Executable, values: Values | None = None) -> int:
        """Run one statement in its own transaction and return how many rows it touched."""
        _, touched = await self._execute(statement, values)
        return touched

    async def _execute(
        self, statement: Executable, values: Values | None
    ) -> tuple[Sequence[AnyRow], int]:
        def execute() -> tuple[Sequence[AnyRow], int]:
            with self._single.sync_engine.connect() as connection:
                result = connection.execute(statement, values)
                return result.all() if result.returns_rows else (), result.rowcount

        # One greenlet for check-out, statement and return: the asynchronous facade starts one for
        # each, and a task, which takes a fifth of the processor time of a small statement.
        with translated():
            return await greenlet_spawn(execute)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction: committed at the end, rolled back on any error."""
        with translated():
            async with self.engine.begin() as connection:
                yield connection

    async def check(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            StoreUnavailable: it does not answer.
        """
        await self.rows(text("SELECT 1"))

    async def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`; safe when several processes start at once."""
        async with self.transaction() as connection:
            # Waiting for the lock, and changing large tables, may take longer than a statement.
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK}
            )
            await connection.run_sync(migrations.upgrade, revision)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _driver_url(url: SecretStr) -> URL:
    """Return the URL for the driver we use, whichever PostgreSQL driver it names."""
    return make_url(url.get_secret_value()).set(drivername="postgresql+asyncpg")
