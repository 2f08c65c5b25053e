"""Client POs: imported, replaced, and consumed as drafts go from state to state (DESIGN 4, 5).

What is taken of a PO is counted from the drafts, invoices and credits that name it, under its lock,
in its own basis; the database refuses more than its amount, or that of one of its lines, once it is
released.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.client_pos import ClientPo, PoStanding, line_problems
from canonical.drafts import Draft
from store.audit import ENGINE
from store.billing_session import PoKey, begin, count_pos, lock_pos, note
from store.client_po_rows import STANDING, put_lines, standing, standings
from store.database import Database
from store.draft_rows import put
from store.errors import Conflict

_KNOWN = text("""
    SELECT version, currency, document, drafted + released + invoiced AS taken FROM client_pos
    WHERE client_id = :client_id AND number = :number FOR UPDATE
""")
_PUT = text("""
    INSERT INTO client_pos AS po (client_id, number, amount, currency, basis, document)
    VALUES (:client_id, :number, :amount, :currency, :basis, :document)
    ON CONFLICT (client_id, number) DO UPDATE
    SET version = po.version + 1, currency = excluded.currency, basis = excluded.basis,
        document = excluded.document, recorded_at = now(),
        amount = greatest(excluded.amount, po.released + po.invoiced - po.credited)
    WHERE po.document <> excluded.document
    RETURNING version
""")
_REPLACED = text("""
    UPDATE client_pos SET replaced_by = :number
    WHERE client_id = :client_id AND number = :replaces AND replaced_by <> :number
""")
_FAMILIES = text("""
    SELECT DISTINCT family FROM drafts
    WHERE client_id = :client_id AND client_po = :replaces AND state IN ('in_review', 'queued')
""")
_UNRELEASED = text("""
    SELECT document FROM drafts
    WHERE client_id = :client_id AND client_po = :replaces AND state IN ('in_review', 'queued')
        AND family = ANY(CAST(:families AS text[]))
    ORDER BY id FOR UPDATE
""")
_LIST = text(f"""
    {STANDING}
    WHERE (:client_id = '' OR client_id = :client_id) AND (:replaced OR replaced_by = '')
    ORDER BY client_id, number LIMIT :limit OFFSET :offset
""")


class ClientPoStore:
    """Client POs by client and number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, po: ClientPo, *, by: str = ENGINE) -> PoStanding:
        """Import a PO, or another version of it; the same again changes nothing.

        One lowered below what was released and invoiced lets nothing more through. Drafts that are
        not released go over from the PO that it replaces.

        Raises:
            Conflict: something was taken of it in another currency, it replaces itself, its lines
                contradict each other, or they come to more than it does.
        """
        if problems := list(line_problems(po)):
            raise Conflict("; ".join(problems))
        if po.replaces == po.number:
            raise Conflict(f"client PO {po.number} cannot replace itself")
        async with self._database.transaction() as session:
            families = await self._families(session, po)
            await begin(session, "put_po", *(f"drafts:{family}" for family in families))
            moved = await _unreleased(session, po, families)
            keys = [PoKey(po.client_id, po.number), PoKey(po.client_id, po.replaces)]
            await lock_pos(session, keys)
            version = await _put(session, po)
            if version:
                await put_lines(session, po)
            await put(session, moved, by)
            await session.execute(_REPLACED, _key(po))
            await count_pos(session, keys, lift=True)
            if version or moved:
                names = [draft.id for draft in moved]
                facts = {"version": version, "amount": po.amount.amount, "replaces": po.replaces}
                subject = f"{po.client_id}/{po.number}"
                await note(session, [subject, *names], by, "put_po", **facts, drafts=names)
            (found,) = await standings(session, keys[:1])
        return found

    async def standing(self, client_id: str, number: str) -> PoStanding | None:
        """Return what was taken of a PO; None: it is not known."""
        async with self._database.transaction() as session:
            found = await standings(session, [PoKey(client_id, number)])
        return found[0] if found else None

    async def list(
        self, client_id: str = "", *, replaced: bool = False, limit: int = 500, offset: int = 0
    ) -> tuple[PoStanding, ...]:
        """Return POs, of one client or all; those that were replaced only if asked for."""
        values = {"client_id": client_id, "replaced": replaced, "limit": limit, "offset": offset}
        return tuple(standing(row) for row in await self._database.rows(_LIST, values))

    async def _families(self, session: AsyncConnection, po: ClientPo) -> Sequence[str]:
        if not po.replaces:
            return ()
        return (await session.execute(_FAMILIES, _key(po))).scalars().all()


def _key(po: ClientPo) -> dict[str, object]:
    return {"client_id": po.client_id, "number": po.number, "replaces": po.replaces}


async def _unreleased(
    session: AsyncConnection, po: ClientPo, families: Sequence[str]
) -> list[Draft]:
    """Lock the drafts that go over, and return them as they are then."""
    if not families:
        return []
    found = await session.execute(_UNRELEASED, {**_key(po), "families": list(families)})
    drafts = [Draft.model_validate_json(row.document) for row in found]
    return [
        draft.model_copy(update={"client_po": po.number, "version": draft.version + 1})
        for draft in drafts
    ]


async def _put(session: AsyncConnection, po: ClientPo) -> int:
    """Write the PO; return its version, 0 where nothing is new."""
    known = (await session.execute(_KNOWN, _key(po))).first()
    if known is not None and known.taken and known.currency != po.amount.currency:
        raise Conflict(f"client PO {po.number} is billed in {known.currency}: keep that currency")
    values = {
        "client_id": po.client_id,
        "number": po.number,
        "amount": po.amount.amount,
        "currency": po.amount.currency,
        "basis": po.basis.value,
        "document": po.model_dump_json(),
    }
    version = (await session.execute(_PUT, values)).scalar()
    return int(version or 0)
