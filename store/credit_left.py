"""What of an issued invoice can still be credited, and which shares are billed again as a whole."""

from sqlalchemy import text

from canonical.lifecycle import LeftToCredit
from canonical.money import Money
from store.database import Database
from store.invoice_rows import ref_of

_LEFT = text("""
    SELECT member.number, member.part, member.fee, invoice.currency,
        member.amount - member.written_down AS billed,
        coalesce((SELECT sum(asked.amount) FROM credit_parts AS asked
            JOIN credits AS credit ON credit.id = asked.credit AND credit.state <> 'refused'
            WHERE asked.member = member.id), 0) AS taken
    FROM invoices AS invoice
    JOIN draft_members AS member ON member.draft = invoice.draft AND member.live
    WHERE invoice.connection = :connection AND invoice.id = :id
    ORDER BY member.number, member.id
""")
_REBILLED = text("""
    SELECT line.project_id FROM invoices AS invoice
    JOIN draft_members AS member ON member.draft = invoice.draft AND member.live
    JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
    LEFT JOIN (
        SELECT asked.member, sum(asked.amount) AS amount FROM credit_parts AS asked
        JOIN credits AS credit ON credit.id = asked.credit AND credit.state = 'credited'
        WHERE asked.reason = 'rebill' GROUP BY asked.member
    ) AS again ON again.member = member.id
    WHERE invoice.connection = :connection AND invoice.id = :id
    GROUP BY line.project_id
    HAVING sum(member.amount - member.written_down) = sum(coalesce(again.amount, 0))
""")


async def left_to_credit(database: Database, connection: str, id_: str) -> tuple[LeftToCredit, ...]:
    """Return what an invoice bills with what credits took of it, line by line."""
    rows = await database.rows(_LEFT, {"connection": connection, "id": id_})
    return tuple(
        LeftToCredit(
            line=row.number,
            bills=ref_of(row),
            billed=Money(amount=row.billed, currency=row.currency),
            taken=Money(amount=row.taken, currency=row.currency),
        )
        for row in rows
    )


async def rebilled_projects(database: Database, connection: str, id_: str) -> frozenset[str]:
    """Return the projects of which all that an invoice bills is credited to be billed again."""
    rows = await database.rows(_REBILLED, {"connection": connection, "id": id_})
    return frozenset(row.project_id for row in rows)
