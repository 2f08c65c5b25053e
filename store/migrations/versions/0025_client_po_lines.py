"""Lines of client POs are counted and limited; those of POs that are known already, too."""

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

from canonical.money import minor_digits

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | None = None
depends_on: str | None = None

TABLE = """
CREATE TABLE client_po_lines (
    client_id TEXT NOT NULL,
    number TEXT NOT NULL,
    place INTEGER NOT NULL,
    numbers TEXT[] NOT NULL,
    contract_lines TEXT[] NOT NULL,
    given NUMERIC NOT NULL,
    amount NUMERIC NOT NULL,
    digits INTEGER NOT NULL,
    drafted NUMERIC DEFAULT 0 NOT NULL,
    released NUMERIC DEFAULT 0 NOT NULL,
    invoiced NUMERIC DEFAULT 0 NOT NULL,
    credited NUMERIC DEFAULT 0 NOT NULL,
    CONSTRAINT pk_client_po_lines PRIMARY KEY (client_id, number, place),
    CONSTRAINT ck_client_po_lines_client_id_length CHECK (char_length(client_id) <= 255),
    CONSTRAINT ck_client_po_lines_number_length CHECK (char_length(number) <= 255),
    CONSTRAINT ck_client_po_lines_place_counts_from_one CHECK (place > 0),
    CONSTRAINT ck_client_po_lines_not_exceeded CHECK (released + invoiced - credited <= amount),
    CONSTRAINT fk_client_po_lines_client_pos FOREIGN KEY (client_id, number)
        REFERENCES client_pos (client_id, number)
)
"""

# What drafts, invoices and credits take of each line, in the PO's basis. A draft, an invoice or a
# credit is shared out over PO lines by the net of its own lines, so that the shares add up to it.
TAKINGS = """
CREATE FUNCTION client_po_line_takings(of_client text, of_number text) RETURNS TABLE (
    place integer, drafted numeric, released numeric, invoiced numeric, credited numeric
) LANGUAGE sql STABLE AS $$
    WITH po AS (
        SELECT currency, basis = 'net' AS is_net FROM client_pos
        WHERE client_id = of_client AND number = of_number
    ), known AS (
        SELECT line.place, contract_lines, digits FROM client_po_lines AS line
        WHERE line.client_id = of_client AND line.number = of_number
    ), issued AS (
        SELECT invoice.connection, invoice.id, invoice.draft, po.is_net,
            CASE WHEN po.is_net THEN invoice.net ELSE invoice.gross END AS total
        FROM po JOIN invoices AS invoice ON invoice.client_id = of_client
            AND invoice.client_po = of_number AND invoice.currency = po.currency
    ), billed AS (
        SELECT CASE draft.state WHEN 'released' THEN 'released' ELSE 'drafted' END AS stage,
            draft.id AS document, CASE WHEN po.is_net THEN draft.net ELSE draft.gross END AS total,
            line.line, line.amount
        FROM po JOIN drafts AS draft ON draft.client_id = of_client
            AND draft.client_po = of_number AND draft.currency = po.currency
            AND draft.state IN ('in_review', 'queued', 'released')
        JOIN draft_lines AS line ON line.draft = draft.id AND line.state = 'in'
        UNION ALL
        SELECT 'invoiced', issued.draft, issued.total, line.line, line.amount
        FROM issued JOIN draft_lines AS line ON line.draft = issued.draft AND line.state = 'in'
        UNION ALL
        SELECT 'credited', credit.id,
            CASE WHEN issued.is_net THEN credit.note_net ELSE credit.note_gross END,
            line.line, part.amount
        FROM issued JOIN credits AS credit ON credit.connection = issued.connection
            AND credit.invoice = issued.id AND credit.state = 'credited'
        JOIN credit_parts AS part ON part.credit = credit.id
        JOIN draft_lines AS line ON line.draft = issued.draft AND line.number = part.number
    ), placed AS (
        SELECT stage, document, total, home.place, home.digits, sum(amount) AS net
        FROM billed CROSS JOIN LATERAL (
            SELECT known.place, digits FROM known
            WHERE contract_lines = '{}' OR billed.line = ANY(contract_lines)
            ORDER BY contract_lines = '{}', known.place LIMIT 1
        ) AS home
        GROUP BY stage, document, total, home.place, home.digits
    ), summed AS (
        SELECT *, sum(net) OVER document AS whole,
            sum(net) OVER (document ORDER BY placed.place) AS so_far
        FROM placed WINDOW document AS (PARTITION BY stage, placed.document)
    ), shares AS (
        SELECT summed.place, stage, CASE whole WHEN 0 THEN net
            ELSE round(total * so_far / whole, digits)
                - round(total * (so_far - net) / whole, digits) END AS share
        FROM summed
    )
    SELECT known.place, coalesce(sum(share) FILTER (WHERE stage = 'drafted'), 0),
        coalesce(sum(share) FILTER (WHERE stage = 'released'), 0),
        coalesce(sum(share) FILTER (WHERE stage = 'invoiced'), 0),
        coalesce(sum(share) FILTER (WHERE stage = 'credited'), 0)
    FROM known LEFT JOIN shares ON shares.place = known.place GROUP BY known.place
$$
"""

KNOWN = "SELECT client_id, number, currency, document FROM client_pos"
INSERT = """
    INSERT INTO client_po_lines (client_id, number, place, numbers, contract_lines, given, amount,
        digits)
    VALUES (:client_id, :number, :place, :numbers, :contract_lines, :given, :given, :digits)
"""
# What was taken before lines were counted is no conflict.
COUNT = """
    UPDATE client_po_lines AS line SET drafted = counted.drafted, released = counted.released,
        invoiced = counted.invoiced, credited = counted.credited,
        amount = greatest(line.amount, counted.released + counted.invoiced - counted.credited)
    FROM (SELECT DISTINCT client_id, number FROM client_po_lines) AS po
    CROSS JOIN LATERAL client_po_line_takings(po.client_id, po.number) AS counted
    WHERE line.client_id = po.client_id AND line.number = po.number AND line.place = counted.place
"""


def upgrade() -> None:
    """Create the table, and count the lines of the POs that are known."""
    op.execute(TABLE)
    op.execute(TAKINGS)
    connection = op.get_bind()
    insert = sa.text(INSERT).bindparams(
        sa.bindparam("numbers", type_=sa.ARRAY(sa.Text)),
        sa.bindparam("contract_lines", type_=sa.ARRAY(sa.Text)),
        sa.bindparam("given", type_=sa.Numeric),
    )
    for po in connection.execute(sa.text(KNOWN)).all():
        key = {"client_id": po.client_id, "number": po.number, "digits": minor_digits(po.currency)}
        for place, line in enumerate(_counted(json.loads(po.document).get("lines", [])), start=1):
            connection.execute(insert, {**key, "place": place, **line})
    op.execute(COUNT)


def downgrade() -> None:
    """Drop it; the lines themselves stay in the documents."""
    op.execute("DROP FUNCTION client_po_line_takings(text, text)")
    op.execute("DROP TABLE client_po_lines")


def _counted(lines: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Return each line that names contract lines, and the others as one, the last."""
    if not lines:
        return []
    named = [line for line in lines if line.get("contract_lines")]
    others = [line for line in lines if not line.get("contract_lines")]
    rest = sum((Decimal(line["amount"]["amount"]) for line in others), Decimal(0))
    return [
        *(
            {
                "numbers": [line["number"]],
                "contract_lines": line["contract_lines"],
                "given": Decimal(line["amount"]["amount"]),
            }
            for line in named
        ),
        {"numbers": [line["number"] for line in others], "contract_lines": [], "given": rest},
    ]
