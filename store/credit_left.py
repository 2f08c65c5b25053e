"""What of an issued invoice can still be credited, and what credits left of its shares."""

from decimal import Decimal

from sqlalchemy import text

from canonical.lifecycle import LeftToCredit
from canonical.money import Money
from store.database import AnyRow, Database
from store.invoice_rows import ref_of

_LEFT = text("""
    SELECT member.number, member.part, member.fee, invoice.currency, line.project_id,
        member.amount - member.written_down AS billed,
        coalesce((SELECT sum(asked.amount) FROM credit_parts AS asked
            JOIN credits AS credit ON credit.id = asked.credit AND credit.state <> 'refused'
            WHERE asked.member = member.id), 0) AS taken
    FROM invoices AS invoice
    JOIN draft_members AS member ON member.draft = invoice.draft AND member.live
    JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
    WHERE invoice.connection = :connection AND invoice.id = :id
    ORDER BY member.number, member.id
""")
_RESTS = text("""
    SELECT line.project_id, sum(member.amount - member.written_down - member.credited) AS rest,
        bool_or(member.amount > 0
            AND coalesce(again.amount, 0) < member.amount - member.written_down) AS stays
    FROM invoices AS invoice
    JOIN draft_members AS member ON member.draft = invoice.draft AND member.live
    JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
    LEFT JOIN (
        SELECT asked.member, sum(asked.amount) AS amount FROM credit_parts AS asked
        JOIN credits AS credit ON credit.id = asked.credit AND credit.state = 'credited'
        WHERE asked.reason = 'rebill' GROUP BY asked.member
    ) AS again ON again.member = member.id
    WHERE invoice.connection = :connection AND invoice.id = :id
    GROUP BY line.project_id HAVING sum(member.credited) > 0
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
            project_id=row.project_id,
        )
        for row in rows
    )


async def rests_of_projects(
    database: Database, connection: str, id_: str
) -> dict[str, Decimal | None]:
    """Return what credits left of an invoice, for the projects of which they took something.

    Net, by project; None: all of the project's work is billed again, elsewhere. Work of which the
    amount was conceded as a whole stays billed, at 0.
    """
    rows = await database.rows(_RESTS, {"connection": connection, "id": id_})
    return {row.project_id: Decimal(row.rest) if _stands(row) else None for row in rows}


def _stands(row: AnyRow) -> bool:
    """Return whether the invoice goes on to bill work of the project: not deductions alone."""
    return bool(row.stays) and row.rest >= 0
