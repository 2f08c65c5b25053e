"""Charges of the ERP that are free there, although an invoice of ours bills them.

NetSuite puts the charges of a deleted invoice back to ready, and one that is taken off a line. What
is free there is billed once more by whatever bills next. Charges of a voided invoice are told of by
its status.
"""

from typing import Final

from store.reconciling_scope import first, insert, listed, shown

# What a charge stands for is billed by the line that its parts are on. That a deleted invoice is
# gone shows where its day is in the window; of an earlier or later one, its last look knows.
_FREE: Final = f"""
    {listed("charge", "AND state IN ('on_hold', 'ready') AND invoice_id = '' AND amount <> 0")},
    standing AS (
        SELECT id, state FROM reconciliation_rows
        WHERE run = :run AND connection = :connection AND kind = 'invoice'
    ), free AS (
        SELECT DISTINCT ON (theirs.id) theirs.id, theirs.external_id, theirs.state, theirs.amount,
            theirs.currency, theirs.changed_at, posting.state AS posted, posting.run_key,
            posting.item, run.project_id, invoice.id AS invoice, invoice.number, invoice.client_id,
            invoice.net, invoice.state AS billed_as, invoice.recorded_at,
            invoice.state = 'gone' OR standing.id IS NULL
                AND invoice."on" BETWEEN :since AND :until AS deleted
        FROM theirs
        JOIN postings AS posting ON posting.external_id = theirs.external_id
            AND posting.kind = 'charges' AND posting.state = 'live'
        JOIN billing_runs AS run ON run.run_key = posting.run_key AND run.psa = :psa
        JOIN parts AS part ON part.posting = posting.id
        JOIN draft_members AS member ON member.part = part.id AND member.live
        JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
            AND line.state = 'in'
        JOIN invoices AS invoice ON invoice.draft = member.draft
            AND invoice.connection = :connection AND invoice.legal_entity = :entity
        LEFT JOIN standing ON standing.id = invoice.id
        WHERE invoice.state <> 'voided' AND standing.state IS DISTINCT FROM 'voided'
        ORDER BY theirs.id, invoice.recorded_at DESC
    )
"""  # noqa: S608 - constants
_CHARGE: Final = shown(
    ":connection",
    "'charge'",
    "free.id",
    "free.state",
    "free.amount",
    "free.currency",
    "free.external_id",
)
_INVOICE: Final = shown(
    "'dealthread'", "'invoice'", "free.number", "free.billed_as", "free.net", "free.currency"
)
_POSTING: Final = shown(
    "'dealthread'",
    "'posting'",
    "free.external_id",
    "free.posted",
    "free.amount",
    "free.currency",
    "free.run_key || ' ' || free.item",
)

NOT_BILLED: Final = insert(
    "charge",
    _FREE,
    f"""
        SELECT 'charge_unbilled', 'charge', free.id, free.client_id, free.project_id, free.amount,
            free.currency, '', false, greatest(free.changed_at, free.recorded_at),
            jsonb_build_array({_CHARGE}, {_INVOICE}, {_POSTING})
        FROM free WHERE NOT free.deleted
    """,  # noqa: S608 - constants
)
"""Charges on hold or ready whose line stands on an invoice: one finding each."""

FREED: Final = insert(
    "charge",
    _FREE,
    f"""
        SELECT 'charges_freed', 'invoice', free.invoice, free.client_id, min(free.project_id),
            sum(free.amount), free.currency, '', false,
            max(greatest(free.changed_at, free.recorded_at)),
            jsonb_build_array({_INVOICE}) || {first(_CHARGE, "free.id")}
        FROM free WHERE free.deleted
        GROUP BY free.invoice, free.number, free.client_id, free.billed_as, free.net, free.currency
    """,  # noqa: S608 - constants
)
"""Charges of an invoice that the ERP does not have any more: one finding an invoice."""
