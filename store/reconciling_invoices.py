"""Invoices, credits and payments of an issuing system compared with what was noted of them."""

from typing import Final

from canonical.lifecycle import UNDONE
from store.reconciling_scope import CLIENTS, OURS, PROJECTS, both, insert, listed, shown

_THEIR_ROW: Final = shown(
    ":connection",
    "'{type}'",
    "theirs.id",
    "theirs.state",
    "theirs.{amount}",
    "theirs.currency",
    "theirs.number",
)
_STANDS: Final = """
    CASE theirs.state WHEN 'paid' THEN 'settled' WHEN 'voided' THEN 'voided'
        WHEN 'draft' THEN 'draft' ELSE 'open' END
"""
_OURS_STANDS: Final = """
    CASE ours.state WHEN 'settled' THEN 'settled' WHEN 'credited' THEN 'settled'
        WHEN 'voided' THEN 'voided' WHEN 'gone' THEN 'gone' ELSE 'open' END
"""

INVOICES: Final = insert(
    "invoice",
    f"""
        {listed("invoice")}, ours AS (
            SELECT invoice.*, draft.net AS released FROM invoices AS invoice
            JOIN drafts AS draft ON draft.id = invoice.draft
            WHERE invoice.connection = :connection AND invoice.legal_entity = :entity
                AND invoice."on" BETWEEN :since AND :until
        )
    """,  # noqa: S608 - constants
    f"""
        SELECT CASE WHEN theirs.id IS NULL THEN 'invoice_gone'
                WHEN ours.id IS NULL THEN 'unknown_invoice'
                WHEN {_STANDS} <> {_OURS_STANDS} THEN 'status_differs'
                WHEN theirs.amount <> ours.released OR theirs.currency <> ours.currency
                    THEN 'amount_differs'
                ELSE 'balance_differs' END,
            'invoice', coalesce(theirs.id, ours.id), ours.client_id, '',
            coalesce(ours.released, theirs.amount), coalesce(ours.currency, theirs.currency),
            CASE WHEN ours.id IS NULL AND EXISTS (SELECT FROM drafts
                WHERE legal_entity = :entity AND state = 'released')
                THEN 'a draft is being posted' END,
            false, greatest(theirs.changed_at, ours.recorded_at), {
        both(
            ("theirs.id IS NOT NULL", _THEIR_ROW.format(type="invoice", amount="amount")),
            (
                "theirs.left_amount IS NOT NULL",
                shown(
                    ":connection",
                    "'balance'",
                    "theirs.id",
                    "''",
                    "theirs.left_amount",
                    "theirs.currency",
                ),
            ),
            (
                "ours.id IS NOT NULL",
                shown(
                    "'dealthread'",
                    "'invoice'",
                    "ours.number",
                    "ours.state",
                    "ours.released",
                    "ours.currency",
                ),
            ),
            (
                "ours.id IS NOT NULL",
                shown(
                    "'dealthread'",
                    "'balance'",
                    "ours.number",
                    "''",
                    "ours.remaining",
                    "ours.currency",
                ),
            ),
        )
    }
        FROM theirs FULL JOIN ours ON ours.id = theirs.id
        WHERE theirs.id IS NULL AND ours.state NOT IN ('voided', 'gone')
            OR ours.id IS NULL AND starts_with(theirs.external_id, '{OURS}')
                AND theirs.state NOT IN ('draft', 'voided') AND NOT EXISTS (SELECT FROM invoices
                    WHERE connection = :connection AND id = theirs.id)
            OR theirs.id = ours.id AND {_STANDS} <> {_OURS_STANDS}
            OR theirs.state <> 'voided' AND (theirs.amount <> ours.released
                OR theirs.currency <> ours.currency OR theirs.left_amount <> ours.remaining)
    """,  # noqa: S608 - constants
)
"""Invoices that one side lacks, or of which status, net or balance differ."""

CREDITS: Final = insert(
    "credit",
    f"""
        {PROJECTS}, {CLIENTS}, {listed("credit")}, ours AS (
            SELECT credit.*, invoice.client_id FROM credits AS credit
            JOIN invoices AS invoice ON invoice.connection = credit.connection
                AND invoice.id = credit.invoice AND invoice.legal_entity = :entity
            WHERE credit.connection = :connection AND credit.state = 'credited'
                AND NOT starts_with(credit.note_id, '{UNDONE}-')
                AND credit.note_on BETWEEN :since AND :until
        )
    """,  # noqa: S608 - constants
    f"""
        SELECT CASE WHEN theirs.id IS NULL THEN 'credit_gone'
                WHEN ours.id IS NULL THEN 'native_credit' ELSE 'amount_differs' END,
            'credit', coalesce(theirs.id, ours.note_id),
            coalesce(ours.client_id, invoice.client_id, client.client_id), '',
            coalesce(theirs.amount, ours.note_net), coalesce(theirs.currency, ours.currency),
            CASE WHEN ours.id IS NULL AND EXISTS (SELECT FROM credits
                WHERE connection = :connection AND invoice = theirs.invoice_id
                    AND state IN ('asked', 'approved')) THEN 'a credit of this invoice is under way'
            END,
            EXISTS (SELECT FROM work_items AS item WHERE item.state = 'open'
                AND item.kind = 'native_credit' AND item.connection = :connection
                AND CAST(item.item_json AS jsonb) ->> 'key'
                    = 'invoice/' || :connection || '/' || theirs.invoice_id || '/' || theirs.id),
            greatest(theirs.changed_at, ours.credited_at), {
        both(
            ("theirs.id IS NOT NULL", _THEIR_ROW.format(type="credit", amount="amount")),
            (
                "theirs.invoice_id <> ''",
                shown(":connection", "'invoice'", "theirs.invoice_id", note="invoice.number"),
            ),
            (
                "ours.id IS NOT NULL",
                shown(
                    "'dealthread'",
                    "'credit'",
                    "ours.id",
                    "ours.state",
                    "ours.note_net",
                    "ours.currency",
                ),
            ),
        )
    }
        FROM theirs FULL JOIN ours ON ours.note_id = theirs.id
        LEFT JOIN invoices AS invoice
            ON invoice.connection = :connection AND invoice.id = theirs.invoice_id
        LEFT JOIN clients AS client ON client.id = theirs.client_id
        WHERE theirs.id IS NULL
            OR ours.id IS NULL AND theirs.state NOT IN ('draft', 'voided')
                AND (invoice.id IS NOT NULL AND invoice.legal_entity = :entity
                    OR theirs.invoice_id = '' AND client.id IS NOT NULL)
                AND NOT EXISTS (SELECT FROM credits AS known
                    WHERE known.connection = :connection AND known.note_id = theirs.id)
            OR theirs.amount <> ours.note_net
    """,  # noqa: S608 - constants
)
"""Credits that nobody gave a reason for, such as are gone, and amounts."""

PAYMENTS: Final = insert(
    "payment",
    f"{PROJECTS}, {CLIENTS}, {listed('payment')}",
    f"""
        SELECT 'unapplied_payment', 'payment', theirs.id, client.client_id, '',
            theirs.left_amount, theirs.currency, '', false, theirs.changed_at,
            jsonb_build_array({_THEIR_ROW.format(type="payment", amount="amount")}, {
        shown(
            ":connection", "'unapplied'", "theirs.id", "''", "theirs.left_amount", "theirs.currency"
        )
    })
        FROM theirs JOIN clients AS client ON client.id = theirs.client_id
        WHERE theirs.state = 'unapplied' AND theirs.left_amount > 0
    """,  # noqa: S608 - constants
)
"""Money of our clients that no invoice has."""
