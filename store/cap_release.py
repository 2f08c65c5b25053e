"""What is written off counts against no cap: its consumption is released (DESIGN 5).

A line that is written off is released at once, since nothing of it is ever billed. A write-down is
released when its invoice is issued: until then the line may leave its draft and be whole again,
and what its cap had let through meanwhile could not be taken back.
"""

from collections.abc import Iterable

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef
from store.billing_session import ids_of
from store.subledger_session import as_rows

_OF_PARTS = text("""
    SELECT part.id AS part, part.amount FROM parts AS part
    WHERE part.id = ANY(CAST(:ids AS bigint[]))
        AND EXISTS (SELECT FROM cap_uses AS used WHERE used.part = part.id)
""")
_WRITTEN_DOWN = text("""
    SELECT member.part, member.written_down AS amount FROM draft_members AS member
    WHERE member.draft = :draft AND member.live AND member.part IS NOT NULL
        AND member.written_down <> 0
        AND EXISTS (SELECT FROM cap_uses AS used WHERE used.part = member.part)
""")
_LOCK = text("""
    SELECT id FROM caps WHERE id IN (
        SELECT cap FROM cap_uses WHERE part = ANY(CAST(:parts AS bigint[])))
    ORDER BY id FOR UPDATE
""")
# Where an adjustment that is not handed over yet counts on it, it stays: that one gives it back.
_RELEASE = """
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS each(part bigint, amount numeric)
    ), released AS (
        SELECT cap.id, sum(given.amount) AS amount
        FROM given JOIN cap_uses AS used USING (part) JOIN caps AS cap ON cap.id = used.cap
        GROUP BY cap.id
        HAVING sum(given.amount) <= reserved + drafted + invoiced - credited - pending - relieving
    ), uses AS (
        UPDATE cap_uses AS used SET amount = used.amount - given.amount
        FROM given, released WHERE used.part = given.part AND used.cap = released.id
    )
    UPDATE caps AS cap SET {0} = cap.{0} - released.amount FROM released
    WHERE cap.id = released.id
"""
_RELEASE_RESERVED = text(_RELEASE.format("reserved"))
_RELEASE_INVOICED = text(_RELEASE.format("invoiced"))


async def release_written_off(session: AsyncConnection, refs: Iterable[BillableRef]) -> None:
    """Release what parts take that left their draft for good; they are free again by now."""
    ids = ids_of(refs, BillableKind.PART)
    if not ids:
        return
    found = [dict(row._mapping) for row in await session.execute(_OF_PARTS, {"ids": ids})]
    await _release(session, _RELEASE_RESERVED, found)


async def release_written_down(session: AsyncConnection, draft: str) -> None:
    """Release what the lines of a draft that is invoiced now were written down by."""
    found = [dict(row._mapping) for row in await session.execute(_WRITTEN_DOWN, {"draft": draft})]
    await _release(session, _RELEASE_INVOICED, found)


async def _release(
    session: AsyncConnection, statement: TextClause, rows: list[dict[str, object]]
) -> None:
    if not rows:
        return
    await session.execute(_LOCK, {"parts": [row["part"] for row in rows]})
    await session.execute(statement, {"rows": as_rows(rows)})
