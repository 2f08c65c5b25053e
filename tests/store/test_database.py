"""The connection: what failures become, and what a transaction leaves."""

import asyncio

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from store import make_store
from store.database import Database
from store.errors import Conflict, StoreUnavailable


async def test_server_that_is_not_there_is_unavailable() -> None:
    database = Database(SecretStr("postgresql://nobody@127.0.0.1:1/none"))

    with pytest.raises(StoreUnavailable) as raised:
        await database.check()

    assert not raised.value.final
    await database.aclose()


async def test_database_that_does_not_exist_is_unavailable(database_url: SecretStr) -> None:
    store = make_store(SecretStr(database_url.get_secret_value().replace("test_", "missing_")))

    with pytest.raises(StoreUnavailable, match="does not exist"):
        await store.database.check()

    await store.aclose()


async def test_connection_cut_by_the_server_is_unavailable_once(database: Database) -> None:
    await database.check()
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with database.transaction() as session:
        await database.check()
        await session.execute(cut)

    with pytest.raises(StoreUnavailable):
        for _ in range(3):  # one of the pooled connections was cut
            await database.check()

    await database.check()


async def test_error_inside_a_transaction_rolls_back(database: Database) -> None:
    count = text("SELECT count(*) FROM connection_budgets")

    with pytest.raises(Conflict):
        async with database.transaction() as session:
            for ceiling in (1, -1):
                await session.execute(
                    text("INSERT INTO connection_budgets VALUES (:name, :ceiling, 1)"),
                    {"name": f"c{ceiling}", "ceiling": ceiling},
                )

    assert (await database.rows(count))[0][0] == 0


async def test_single_statement_needs_no_further_round_trip(database: Database) -> None:
    """In autocommit the server sees no BEGIN: the statement's own transaction is all."""
    async with database._single.connect() as connection:
        raw = await connection.get_raw_connection()
        await connection.execute(text("SELECT 1"))

        assert raw.driver_connection is not None
        assert not raw.driver_connection.is_in_transaction()


async def test_statement_that_is_cancelled_leaves_a_working_pool(database_url: SecretStr) -> None:
    database = Database(database_url, pool_size=1)
    running = text("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
    sleeping = asyncio.create_task(database.run(text("SELECT pg_sleep(60)")))
    async with asyncio.timeout(20):
        while (await database.rows(running))[0][0] == 0:
            assert not sleeping.done()

        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping

        await asyncio.gather(*(database.check() for _ in range(4)))
        while (await database.rows(running))[0][0]:
            pass  # the server stops the statement too: it holds no lock for a minute
    await database.aclose()


async def test_url_is_never_shown() -> None:
    database = Database(SecretStr("postgresql://user:hidden@127.0.0.1:1/none"))

    assert "hidden" not in repr(database.engine)
    await database.aclose()
