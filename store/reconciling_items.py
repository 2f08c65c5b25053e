"""Items of the billing engine compared with the lines of the invoices that were issued there.

An item has a day of its own, which need not be in the month of its invoice: so what is compared is
what was listed, and that none is missing shows by the invoice's net.
"""

from typing import Final

from store.reconciling_scope import CLIENTS, PROJECTS, both, insert, listed, shown

_ITEM: Final = shown(
    ":connection",
    "'charge'",
    "theirs.id",
    "theirs.state",
    "theirs.amount",
    "theirs.currency",
    "theirs.external_id",
)
_LINE: Final = shown(
    "'dealthread'",
    "'line'",
    "invoice.number || ' ' || line.item",
    "''",
    "line.amount",
    "line.currency",
)

# Where rates are inclusive, the item's amount has the tax in it that the line tells apart.
ITEMS: Final = insert(
    "charge",
    f"""
        {PROJECTS}, {CLIENTS}, {listed("charge", "AND state <> 'voided'")}, lines AS (
            SELECT line.invoice, line.item,
                CAST(CAST(line.issued AS jsonb) -> 'amount' ->> 'amount' AS numeric) AS amount,
                CAST(CAST(line.issued AS jsonb) -> 'tax' ->> 'amount' AS numeric) AS tax,
                CAST(line.issued AS jsonb) -> 'amount' ->> 'currency' AS currency
            FROM invoice_lines AS line JOIN theirs ON theirs.invoice_id = line.invoice
                AND theirs.external_id = line.item
            WHERE line.connection = :connection AND line.item <> ''
        )
    """,  # noqa: S608 - constants
    f"""
        SELECT CASE WHEN line.item IS NOT NULL THEN 'amount_differs'
                WHEN invoice.id IS NOT NULL THEN 'billed_outside' ELSE 'unknown_charge' END,
            'charge', theirs.id, coalesce(invoice.client_id, client.client_id), '',
            theirs.amount, theirs.currency,
            CASE WHEN invoice.id IS NULL AND EXISTS (SELECT FROM drafts
                WHERE legal_entity = :entity AND state = 'released')
                THEN 'a draft is being posted' END,
            false, theirs.changed_at,
            {both(("true", _ITEM), ("line.item IS NOT NULL", _LINE))}
        FROM theirs
        LEFT JOIN invoices AS invoice
            ON invoice.connection = :connection AND invoice.id = theirs.invoice_id
        LEFT JOIN lines AS line ON line.invoice = invoice.id AND line.item = theirs.external_id
        LEFT JOIN clients AS client ON client.id = theirs.client_id
        WHERE invoice.legal_entity = :entity AND theirs.amount <> 0 AND (line.item IS NULL
                OR theirs.amount NOT IN (line.amount, line.amount + line.tax)
                OR theirs.currency <> line.currency)
            OR theirs.invoice_id = '' AND theirs.external_id <> '' AND client.id IS NOT NULL
    """,  # noqa: S608 - constants
)
"""Items on an invoice of ours that it does not have here, of another amount, and such as carry our
line and are on no invoice: Stripe would put them on the client's next one."""
