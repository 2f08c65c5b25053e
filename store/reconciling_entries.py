"""Approved work of the PSA compared with the subledger."""

from typing import Final

from store.reconciling_scope import PROJECTS, both, first, insert, listed, shown

ENTRY_ID: Final = "unequal.kind || '/' || unequal.entry_id"

_THEIRS: Final = """
    theirs AS (
        SELECT row.*, split_part(row.id, '/', 1) AS entry_kind,
            substr(row.id, strpos(row.id, '/') + 1) AS entry_id, projects.client_id AS our_client
        FROM reconciliation_rows AS row JOIN projects USING (project_id)
        WHERE row.run = :run AND row.connection = :connection AND row.kind = 'entry'
    )
"""
_OUR_INVOICES: Final = """
    our_invoices AS (
        SELECT reservation AS id FROM billing_runs WHERE psa = :psa AND reservation <> ''
        UNION SELECT mirror FROM invoice_mirrors WHERE psa = :psa
        UNION SELECT record_id FROM cross_references
            WHERE system = :psa AND record_type IN ('reservation', 'invoice', 'psa_invoice')
    )
"""
_UNEQUAL: Final = """
    ours AS (
        SELECT version.*, projects.client_id AS our_client
        FROM entry_versions AS version JOIN projects USING (project_id)
        WHERE version.source = :psa AND version.standing = 'live'
            AND version.service_date BETWEEN :since AND :until
    ), unequal AS (
        SELECT coalesce(theirs.entry_kind, ours.kind) AS kind,
            coalesce(theirs.entry_id, ours.entry_id) AS entry_id,
            coalesce(theirs.project_id, ours.project_id) AS project_id,
            coalesce(theirs.our_client, ours.our_client) AS client_id,
            theirs.id IS NOT NULL AS there, theirs.state, theirs.amount, theirs.currency,
            theirs.minutes, theirs.invoice_id, theirs.changed_at
        FROM theirs FULL JOIN ours ON ours.kind = theirs.entry_kind
            AND ours.entry_id = theirs.entry_id
        WHERE theirs.id IS NULL OR ours.id IS NULL
            OR theirs.version <> '' AND theirs.version <> ours.version
            OR theirs.project_id <> ours.project_id
    )
"""

# A version may be there under another day or project than the window's, or be withdrawn.
_KNOWN: Final = """
    LEFT JOIN LATERAL (
        SELECT version.*, rating.amount AS rated, rating.currency AS rated_in
        FROM entry_versions AS version
        LEFT JOIN ratings AS rating ON rating.entry = version.id AND rating.cycle = 1
        WHERE version.source = :psa AND version.kind = unequal.kind
            AND version.entry_id = unequal.entry_id
        ORDER BY version.standing <> 'live', version.id DESC LIMIT 1
    ) AS known ON true
    LEFT JOIN LATERAL (
        SELECT run_key FROM billing_runs AS run
        WHERE run.psa = :psa AND run.project_id = unequal.project_id AND run.ended_at IS NULL
        ORDER BY number DESC LIMIT 1
    ) AS open_run ON true
"""
_UNDER_WAY: Final = """
    CASE
        WHEN EXISTS (SELECT FROM changed_entries AS changed WHERE changed.psa = :psa
            AND changed.project_id = unequal.project_id AND changed.kind = unequal.kind
            AND changed.entry_id = unequal.entry_id) THEN 'a message about it waits to be read'
        WHEN EXISTS (SELECT FROM entry_versions AS newer WHERE newer.source = :psa
            AND newer.kind = unequal.kind AND newer.entry_id = unequal.entry_id
            AND newer.standing = 'waiting')
            THEN 'a newer version of it waits for the run that has the older one'
        WHEN open_run.run_key IS NOT NULL THEN open_run.run_key || ' is under way'
    END
"""
_MINUTES: Final = "CASE WHEN {0}.minutes IS NULL THEN '' ELSE {0}.minutes || ' minutes' END"

WORK: Final = insert(
    "entry",
    f"{PROJECTS}, {_THEIRS}, {_OUR_INVOICES}, {_UNEQUAL}",
    f"""
        SELECT CASE WHEN NOT unequal.there THEN 'entry_gone'
                WHEN known.standing = 'live' THEN 'entry_changed' ELSE 'never_told' END,
            'entry', {ENTRY_ID}, unequal.client_id, unequal.project_id,
            coalesce(unequal.amount, known.rated, known.amount),
            CASE WHEN unequal.amount IS NOT NULL THEN unequal.currency
                WHEN known.rated IS NOT NULL THEN known.rated_in
                WHEN known.amount IS NOT NULL THEN known.currency END,
            {_UNDER_WAY}, false,
            greatest(unequal.changed_at, known.first_seen_at),
            {
        both(
            (
                "unequal.there",
                shown(
                    ":connection",
                    "'entry'",
                    ENTRY_ID,
                    "unequal.state",
                    "unequal.amount",
                    "unequal.currency",
                    _MINUTES.format("unequal"),
                ),
            ),
            (
                "known.id IS NOT NULL",
                shown(
                    "'dealthread'",
                    "'entry'",
                    ENTRY_ID,
                    "known.state",
                    "known.amount",
                    "known.currency",
                    _MINUTES.format("known"),
                ),
            ),
        )
    }
        FROM unequal {_KNOWN}
        WHERE NOT unequal.there OR coalesce(unequal.invoice_id, '') = ''
            OR EXISTS (SELECT FROM our_invoices WHERE our_invoices.id = unequal.invoice_id)
    """,  # noqa: S608 - constants
)
"""What is approved there and not known here, known here and not approved there, or unequal."""

BILLED_OUTSIDE: Final = insert(
    "entry",
    f"{PROJECTS}, {_THEIRS}, {_OUR_INVOICES}",
    f"""
        SELECT 'billed_outside', 'invoice', theirs.invoice_id, min(theirs.our_client),
            min(theirs.project_id), sum(theirs.amount), min(theirs.currency), '', false,
            max(theirs.changed_at),
            jsonb_build_array({shown(":connection", "'invoice'", "theirs.invoice_id")}) || {
        first(
            shown(
                ":connection",
                "'entry'",
                "theirs.id",
                "theirs.state",
                "theirs.amount",
                "theirs.currency",
            ),
            "theirs.id",
        )
    }
        FROM theirs WHERE theirs.invoice_id <> ''
            AND NOT EXISTS (SELECT FROM our_invoices WHERE our_invoices.id = theirs.invoice_id)
        GROUP BY theirs.invoice_id
    """,  # noqa: S608 - constants
)
"""Entries on an invoice of the PSA that Dealthread did not make: one finding for each invoice."""

MIRRORS: Final = insert(
    "invoice",
    f"{PROJECTS}, {listed('invoice')}",
    f"""
        SELECT CASE WHEN theirs.id IS NULL THEN 'mirror_gone'
                WHEN theirs.amount <> billed.net THEN 'amount_differs'
                ELSE 'mirror_differs' END,
            'invoice', mirror.mirror, invoice.client_id, mirror.project_id, billed.net,
            mirror.currency, '', false, greatest(theirs.changed_at, invoice.seen_at),
            {
        both(
            (
                "theirs.id IS NOT NULL",
                shown(
                    ":connection",
                    "'invoice'",
                    "theirs.id",
                    "theirs.state",
                    "theirs.amount",
                    "theirs.currency",
                ),
            ),
            (
                "true",
                shown(
                    "invoice.connection",
                    "'invoice'",
                    "invoice.id",
                    "invoice.state",
                    "billed.net",
                    "mirror.currency",
                    "invoice.number",
                ),
            ),
        )
    }
        FROM invoice_mirrors AS mirror
        JOIN invoices AS invoice ON invoice.connection = mirror.connection
            AND invoice.id = mirror.invoice AND invoice.legal_entity = :entity
            AND invoice."on" BETWEEN :since AND :until
        LEFT JOIN theirs ON theirs.id = mirror.mirror
        CROSS JOIN LATERAL (
            SELECT sum(member.amount - member.written_down - member.credited) AS net
            FROM draft_members AS member
            JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
            WHERE member.draft = invoice.draft AND member.live
                AND line.project_id = mirror.project_id
        ) AS billed
        WHERE mirror.psa = :psa AND CASE
            WHEN invoice.state IN ('credited', 'voided', 'gone')
                THEN theirs.state NOT IN ('voided', 'paid') AND theirs.amount <> 0
            WHEN theirs.id IS NULL THEN true
            WHEN theirs.amount <> billed.net OR theirs.state = 'voided' THEN true
            WHEN invoice.state = 'settled' AND invoice.settled_by = 'cash'
                THEN theirs.state <> 'paid'
            WHEN theirs.state = 'paid' THEN invoice.state <> 'settled' AND billed.net <> 0 END
    """,  # noqa: S608 - constants
)
"""The PSA's mirrors of issued invoices: there, at what credits left, and paid as the invoice is."""
