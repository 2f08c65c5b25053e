"""Charges and project cost of the ERP compared with what billing runs posted.

A posting's own day lies in its batch, as it was sent: the ERP lists by that day, which is not the
day of the work where a period was closed.
"""

from typing import Final

from store.reconciling_scope import ERP_PROJECTS, OURS, both, first, insert, listed, shown


def _posted(kind: str, lines: str) -> str:
    """Return what stands in the ERP by the subledger, dated in the window, as `ours`."""
    return f"""
        batches AS MATERIALIZED (
            SELECT batch.run_key, batch.generation, run.project_id, run.client_id,
                CAST(batch.document AS jsonb) AS document
            FROM posting_batches AS batch JOIN billing_runs AS run USING (run_key, generation)
            WHERE batch.kind = '{kind}' AND batch.connection = :connection AND run.psa = :psa
                AND run.period >= :month
        ), ours AS (
            SELECT posting.*, batches.project_id, batches.client_id
            FROM batches CROSS JOIN LATERAL jsonb_to_recordset(batches.document -> '{lines}')
                AS line(item text, "on" date)
            JOIN postings AS posting ON posting.run_key = batches.run_key
                AND posting.generation = batches.generation AND posting.kind = '{kind}'
                AND posting.item = line.item
            WHERE posting.state = 'live' AND line."on" BETWEEN :since AND :until
                AND batches.document ->> 'subsidiary' = :subsidiary
        )
    """  # noqa: S608 - constants


def _rows(type_: str) -> str:
    theirs = shown(
        ":connection",
        f"'{type_}'",
        "theirs.id",
        "theirs.state",
        "theirs.amount",
        "theirs.currency",
        "theirs.number",
    )
    ours = shown(
        "'dealthread'",
        "'posting'",
        "ours.external_id",
        "ours.state",
        "ours.amount",
        "ours.currency",
        "ours.run_key || ' ' || ours.item",
    )
    return both(("theirs.id IS NOT NULL", theirs), ("ours.id IS NOT NULL", ours))


def _unequal(type_: str, kind: str, lines: str) -> str:
    return insert(
        type_,
        f"{ERP_PROJECTS}, {_posted(kind, lines)}, {listed(type_)}",
        f"""
            SELECT CASE WHEN theirs.id IS NULL THEN '{type_}_deleted'
                    WHEN ours.id IS NULL THEN 'unknown_{type_}' ELSE 'amount_differs' END,
                '{type_}', coalesce(theirs.id, ours.external_id),
                coalesce(ours.client_id, project.client_id),
                coalesce(ours.project_id, project.project_id), coalesce(ours.amount, theirs.amount),
                coalesce(ours.currency, theirs.currency),
                CASE WHEN ours.id IS NULL AND EXISTS (SELECT FROM billing_runs AS run
                    WHERE run.psa = :psa AND run.project_id = project.project_id
                        AND run.ended_at IS NULL) THEN 'a billing run posts to this project' END,
                false, greatest(theirs.changed_at, ours.posted_at), {_rows(type_)}
            FROM theirs FULL JOIN ours ON ours.external_id = theirs.external_id
            LEFT JOIN erp_projects AS project ON project.id = theirs.project_id
            WHERE theirs.id IS NULL
                OR ours.id IS NULL AND starts_with(theirs.external_id, '{OURS}')
                    AND theirs.state NOT IN ('voided', 'inactive') AND theirs.amount <> 0
                    AND NOT EXISTS (SELECT FROM postings AS known
                        WHERE known.external_id = theirs.external_id AND known.state = 'live')
                OR theirs.amount <> ours.amount OR theirs.currency <> ours.currency
        """,  # noqa: S608 - constants
    )


CHARGES: Final = _unequal("charge", "charges", "charges")
"""Charges that a clerk deleted or changed, and such as carry our id and are in no run."""
COSTS: Final = _unequal("cost", "costs", "items")
"""Likewise cost. What others post as cost is theirs."""

BILLED_OUTSIDE: Final = insert(
    "charge",
    f"{ERP_PROJECTS}, {listed('charge')}",
    f"""
        SELECT 'billed_outside', 'invoice', theirs.invoice_id, min(project.client_id),
            min(project.project_id), sum(theirs.amount), min(theirs.currency), '', false,
            max(theirs.changed_at),
            jsonb_build_array({shown(":connection", "'invoice'", "theirs.invoice_id")}) || {
        first(
            shown(
                ":connection",
                "'charge'",
                "theirs.id",
                "theirs.state",
                "theirs.amount",
                "theirs.currency",
                "theirs.external_id",
            ),
            "theirs.id",
        )
    }
        FROM theirs JOIN erp_projects AS project ON project.id = theirs.project_id
        WHERE theirs.invoice_id <> '' AND theirs.amount <> 0
            AND NOT EXISTS (SELECT FROM invoices
                WHERE connection = :connection AND id = theirs.invoice_id)
            AND NOT EXISTS (SELECT FROM reconciliation_rows AS made
                WHERE made.run = :run AND made.connection = :connection AND made.kind = 'invoice'
                    AND made.id = theirs.invoice_id AND starts_with(made.external_id, '{OURS}'))
        GROUP BY theirs.invoice_id
    """,  # noqa: S608 - constants
)
"""Charges of our projects on an invoice that Dealthread did not make: one finding an invoice."""

NATIVE: Final = insert(
    "charge",
    f"{ERP_PROJECTS}, {listed('charge')}",
    f"""
        SELECT 'billed_outside', 'charge', theirs.id, project.client_id, project.project_id,
            theirs.amount, theirs.currency, '', false, theirs.changed_at,
            jsonb_build_array({
        shown(
            ":connection",
            "'charge'",
            "theirs.id",
            "theirs.state",
            "theirs.amount",
            "theirs.currency",
        )
    })
        FROM theirs JOIN erp_projects AS project ON project.id = theirs.project_id
        WHERE NOT starts_with(theirs.external_id, '{OURS}') AND theirs.amount <> 0
            AND theirs.state NOT IN ('voided', 'inactive') AND (theirs.invoice_id = ''
                OR EXISTS (SELECT FROM invoices
                    WHERE connection = :connection AND id = theirs.invoice_id))
    """,  # noqa: S608 - constants
)
"""Charges that a native job or a person made for our projects, not invoiced, or on ours."""
