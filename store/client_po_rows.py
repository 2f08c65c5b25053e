"""Client POs as rows: where they stand, in their own basis."""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.client_pos import ClientPo, PoStanding
from canonical.money import Money
from store.billing_session import PoKey, po_rows
from store.database import AnyRow

_STANDINGS = text("""
    SELECT po.* FROM client_pos AS po
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
        USING (client_id, number)
    ORDER BY po.client_id, po.number
""")


async def standings(session: AsyncConnection, keys: Iterable[PoKey]) -> tuple[PoStanding, ...]:
    """Return where client POs stand; unknown ones are missing."""
    rows = await session.execute(_STANDINGS, {"rows": po_rows(keys)})
    return tuple(standing(row) for row in rows)


def standing(row: AnyRow) -> PoStanding:
    """Return a row of `client_pos` as a standing."""
    sums = {
        name: Money(amount=getattr(row, name), currency=row.currency)
        for name in ("drafted", "released", "invoiced", "credited")
    }
    return PoStanding(po=ClientPo.model_validate_json(row.document), **sums)
