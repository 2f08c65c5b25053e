"""Holds on whole clients: somebody asks that a client is not billed for now."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.invoicing import BillingHold
from store.audit import ENGINE
from store.billing_session import begin, note
from store.database import Database
from store.models import REASON_MAX

_PUT = text("""
    INSERT INTO client_holds (client_id, source, reason, since)
    VALUES (:client_id, :source, :reason, coalesce(CAST(:since AS timestamptz), now()))
    ON CONFLICT (client_id, source) WHERE released_at IS NULL
    DO UPDATE SET reason = excluded.reason WHERE client_holds.reason <> excluded.reason
    RETURNING id
""")
_RELEASE = text("""
    UPDATE client_holds SET released_at = now(), released_by = :by
    WHERE client_id = :client_id AND source = :source AND released_at IS NULL RETURNING id
""")
_OPEN = text("""
    SELECT client_id, source, reason, since FROM client_holds
    WHERE released_at IS NULL AND (:client_id = '' OR client_id = :client_id) ORDER BY id
""")


class ClientHolds:
    """Puts and releases holds; while one is open, nothing of the client is billable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, hold: BillingHold, *, by: str = ENGINE) -> bool:
        """Hold a client for a source; return whether that, or its reason, is new."""
        async with self._database.transaction() as session:
            await begin(session, "hold_client")
            return await put_hold(session, hold, by)

    async def release(self, client_id: str, source: str, *, by: str = ENGINE) -> bool:
        """Release the hold of one source; return whether there was one."""
        async with self._database.transaction() as session:
            await begin(session, "release_client")
            return await release_hold(session, client_id, source, by)

    async def open(self, client_id: str = "") -> tuple[BillingHold, ...]:
        """Return the holds in force, of one client or all, oldest first."""
        rows = await self._database.rows(_OPEN, {"client_id": client_id})
        return tuple(BillingHold.model_validate(row._mapping) for row in rows)


async def put_hold(session: AsyncConnection, hold: BillingHold, by: str) -> bool:
    """Hold a client inside a transaction."""
    values = {**hold.model_dump(), "reason": hold.reason[:REASON_MAX]}
    new = (await session.execute(_PUT, values)).first() is not None
    if new:
        subject = f"client/{hold.client_id}"
        await note(session, [subject], by, "hold", source=hold.source, reason=hold.reason)
    return new


async def release_hold(session: AsyncConnection, client_id: str, source: str, by: str) -> bool:
    """Release a hold inside a transaction."""
    values = {"client_id": client_id, "source": source, "by": by}
    released = (await session.execute(_RELEASE, values)).first() is not None
    if released:
        await note(session, [f"client/{client_id}"], by, "release_hold", source=source)
    return released
