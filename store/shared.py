"""Shared records: one customer per client, whichever deals need it (DESIGN 3.1).

A shared record is known by its own key (`client/<crm>/<account>`) and its connection. Who changes
it, or finds out whether it may be removed, holds its lease from before the look until after the
write; so between `drop_use` and the removal nobody can begin to use it.
"""

from sqlalchemy import ColumnElement, Table, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.model import CanonicalModel
from canonical.records import RecordRef
from store.database import AnyRow, Database
from store.models import shared_record_uses as uses
from store.models import shared_records as records


class Creator(CanonicalModel):
    """The generation of a saga that has to remove what it created, when it is undone."""

    workflow_id: str
    generation: int


class SharedRecord(CanonicalModel):
    """What is known of a shared record on one connection."""

    record: RecordRef | None = None
    """None: leased or used, but not provisioned yet, or removed again."""
    created_by: Creator | None = None
    """None: it existed before Dealthread, which therefore never removes it."""
    uses: int


class Remaining(CanonicalModel):
    """What is left of a shared record once a saga dropped its use."""

    uses: int
    created_by_dealthread: bool
    record: RecordRef | None = None

    @property
    def removable(self) -> bool:
        """Whether the one who dropped the use should remove the record now."""
        return self.uses == 0 and self.created_by_dealthread and self.record is not None


_LEASE = text("""
    INSERT INTO shared_records AS shared (shared_key, connection, lease_owner, lease_until)
    VALUES (:shared_key, :connection, :owner,
        clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (shared_key, connection) DO UPDATE
    SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until
    WHERE shared.lease_owner IS NULL OR shared.lease_owner = excluded.lease_owner
        OR shared.lease_until <= clock_timestamp()
    RETURNING shared_key
""")

# One statement: leased, used and read, or, while another holds the lease, nothing.
_ENTER = text("""
    WITH leased AS (
        INSERT INTO shared_records AS shared (shared_key, connection, lease_owner, lease_until)
        VALUES (:shared_key, :connection, :owner,
            clock_timestamp() + make_interval(secs => :seconds))
        ON CONFLICT (shared_key, connection) DO UPDATE
        SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until
        WHERE shared.lease_owner IS NULL OR shared.lease_owner = excluded.lease_owner
            OR shared.lease_until <= clock_timestamp()
        RETURNING shared_key, connection, record_type, record_id, created_by_workflow,
            created_by_generation
    ), used AS (
        INSERT INTO shared_record_uses (shared_key, connection, workflow_id, generation)
        SELECT shared_key, connection, :workflow_id, :generation FROM leased
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT leased.*, (SELECT count(*) FROM used) + (
        SELECT count(*) FROM shared_record_uses AS before
        WHERE before.shared_key = leased.shared_key AND before.connection = leased.connection
    ) AS uses
    FROM leased
""")

# For the same record a known creator stays: who finds it later did not create it.
_RECORD = text("""
    INSERT INTO shared_records AS shared (shared_key, connection, record_type, record_id,
        created_by_workflow, created_by_generation, recorded_at)
    VALUES (:shared_key, :connection, :record_type, :record_id, :workflow_id, :generation, now())
    ON CONFLICT (shared_key, connection) DO UPDATE
    SET record_type = excluded.record_type, record_id = excluded.record_id, recorded_at = now(),
        created_by_workflow = CASE
            WHEN shared.record_id = excluded.record_id AND shared.created_by_workflow IS NOT NULL
            THEN shared.created_by_workflow ELSE excluded.created_by_workflow END,
        created_by_generation = CASE
            WHEN shared.record_id = excluded.record_id AND shared.created_by_workflow IS NOT NULL
            THEN shared.created_by_generation ELSE excluded.created_by_generation END,
        lease_owner = CASE WHEN shared.lease_owner <> :owner THEN shared.lease_owner END,
        lease_until = CASE WHEN shared.lease_owner <> :owner THEN shared.lease_until END
""")


class SharedRecords:
    """Leases, uses and creators of records that several sagas share."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(self, shared_key: str, connection: str, owner: str, seconds: float) -> bool:
        """Take the lease for `seconds`, or prolong one's own; False while another holds it."""
        values = {
            "shared_key": shared_key,
            "connection": connection,
            "owner": owner,
            "seconds": seconds,
        }
        return await self._database.first(_LEASE, values) is not None

    async def release(self, shared_key: str, connection: str, owner: str) -> None:
        """Give the lease back; one that is no longer the owner's stays as it is."""
        await self._database.run(
            update(records)
            .where(*_is(records, shared_key, connection))
            .where(records.c.lease_owner == owner)
            .values(lease_owner=None, lease_until=None)
        )

    async def enter(
        self,
        shared_key: str,
        connection: str,
        owner: str,
        user: tuple[str, int],
        seconds: float,
    ) -> SharedRecord | None:
        """Take the lease, put down that `user` relies on the record, and say what is known of it.

        `user` is a workflow id and its generation; the same twice counts once. None, and nothing
        written, while another holds the lease.
        """
        values = {
            "shared_key": shared_key,
            "connection": connection,
            "owner": owner,
            "workflow_id": user[0],
            "generation": user[1],
            "seconds": seconds,
        }
        row = await self._database.first(_ENTER, values)
        return None if row is None else _shared_record(row)

    async def record(
        self,
        shared_key: str,
        connection: str,
        record: RecordRef,
        created_by: tuple[str, int] | None = None,
        owner: str = "",
    ) -> None:
        """Put down which record it is, and the (workflow id, generation) that created it.

        A lease of `owner` ends with it.

        Without `created_by` it existed before, unless a creator of the same record is known. Only
        a record of this connection is kept: its system is the connection.
        """
        workflow_id, generation = created_by or (None, None)
        values = {
            "shared_key": shared_key,
            "connection": connection,
            "record_type": record.type,
            "record_id": record.id,
            "workflow_id": workflow_id,
            "generation": generation,
            "owner": owner,
        }
        await self._database.run(_RECORD, values)

    async def drop_use(
        self, shared_key: str, connection: str, workflow_id: str, generation: int
    ) -> Remaining:
        """Take a saga's use back and say what is left; the same twice answers the same.

        When the creator drops its use while others use the record, it passes on to the oldest of
        them, so that the last one to be undone removes it. Call `forget` once it is removed.
        """
        async with self._database.transaction() as session:
            row = await _locked(session, shared_key, connection)
            if row is None:
                return Remaining(uses=0, created_by_dealthread=False)
            await session.execute(
                delete(uses)
                .where(*_is(uses, shared_key, connection))
                .where(uses.c.workflow_id == workflow_id, uses.c.generation == generation)
            )
            others = await _uses(session, shared_key, connection)
            if others and (row.created_by_workflow, row.created_by_generation) == (
                workflow_id,
                generation,
            ):
                await _pass_on(session, shared_key, connection, others[0])
            return Remaining(
                uses=len(others),
                created_by_dealthread=row.created_by_workflow is not None,
                record=_ref(row),
            )

    async def forget(self, shared_key: str, connection: str, record: RecordRef) -> None:
        """Put down that `record` was removed; another record under the key stays known."""
        await self._database.run(
            update(records)
            .where(*_is(records, shared_key, connection))
            .where(records.c.record_type == record.type, records.c.record_id == record.id)
            .values(
                record_type=None,
                record_id=None,
                created_by_workflow=None,
                created_by_generation=None,
            )
        )

    async def get(self, shared_key: str, connection: str) -> SharedRecord | None:
        """Return what is known of a shared record; None where nobody ever asked for it."""
        used = select(func.count()).where(*_is(uses, shared_key, connection)).scalar_subquery()
        query = select(records, used.label("uses")).where(*_is(records, shared_key, connection))
        row = await self._database.first(query)
        return None if row is None else _shared_record(row)


async def _locked(session: AsyncConnection, shared_key: str, connection: str) -> AnyRow | None:
    query = select(records).where(*_is(records, shared_key, connection)).with_for_update()
    return (await session.execute(query)).first()


async def _uses(session: AsyncConnection, shared_key: str, connection: str) -> list[AnyRow]:
    query = select(uses).where(*_is(uses, shared_key, connection)).order_by(uses.c.seq)
    return list((await session.execute(query)).all())


async def _pass_on(
    session: AsyncConnection, shared_key: str, connection: str, heir: AnyRow
) -> None:
    await session.execute(
        update(records)
        .where(*_is(records, shared_key, connection))
        .values(created_by_workflow=heir.workflow_id, created_by_generation=heir.generation)
    )


def _shared_record(row: AnyRow) -> SharedRecord:
    creator = row.created_by_workflow and Creator(
        workflow_id=row.created_by_workflow, generation=row.created_by_generation
    )
    return SharedRecord(record=_ref(row), created_by=creator, uses=row.uses)


def _ref(row: AnyRow) -> RecordRef | None:
    if row.record_id is None:
        return None
    return RecordRef(system=row.connection, type=row.record_type, id=row.record_id)


def _is(table: Table, shared_key: str, connection: str) -> tuple[ColumnElement[bool], ...]:
    return table.c.shared_key == shared_key, table.c.connection == connection
