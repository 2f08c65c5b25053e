"""The migrations make what the models say, in both directions, by one process or several."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection, text

from store import migrations
from store.database import Database
from store.models import metadata
from tests.support.postgres import PostgresForTests, new_name

# compare_metadata looks at neither checks nor index conditions: the catalogue does. Constraint
# triggers (type t) are no part of the models.
CATALOGUE = text("""
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype <> 't' AND connamespace = 'public'::regnamespace
        AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    UNION ALL
    SELECT table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default,
        is_identity, identity_generation)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    ORDER BY 1, 2, 3
""")


@pytest_asyncio.fixture
async def empty(postgres: PostgresForTests) -> AsyncIterator[SecretStr]:
    name = new_name()
    yield await postgres.create(name, template="template0")
    await postgres.drop(name)


async def test_migrated_database_compared_with_models_shows_no_difference(
    database: Database,
) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.transaction() as connection:
        assert await connection.run_sync(differences) == []


async def test_checks_and_indexes_of_migration_equal_those_of_models(
    database: Database, empty: SecretStr
) -> None:
    from_models = Database(empty)
    async with from_models.transaction() as connection:
        await connection.run_sync(metadata.create_all)
    modelled = await from_models.rows(CATALOGUE)
    await from_models.aclose()

    assert await database.rows(CATALOGUE) == modelled
    assert len(modelled) > 100


async def test_downgrade_to_base_leaves_nothing_and_upgrade_works_again(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        await connection.run_sync(migrations.downgrade, "base")
    left = await database.rows(
        text(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
    )
    assert {row[0] for row in left} == {"alembic_version", "alembic_version_pkc"}

    await database.migrate()

    assert await database.rows(CATALOGUE)


async def test_several_processes_migrate_at_once_all_succeed(
    empty: SecretStr, database: Database
) -> None:
    # One engine each, as processes have: nothing but the server holds them apart.
    databases = [Database(empty, pool_size=1) for _ in range(4)]

    await asyncio.gather(*(database.migrate() for database in databases))

    versions = text("SELECT version_num FROM alembic_version")
    assert await databases[0].rows(versions) == await database.rows(versions)
    for database in databases:
        await database.aclose()


async def test_migrated_again_changes_nothing(database: Database) -> None:
    before = await database.rows(CATALOGUE)

    await database.migrate()

    assert await database.rows(CATALOGUE) == before
