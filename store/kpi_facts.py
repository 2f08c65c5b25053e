"""What the key figures are made of: one named SELECT each, and the table of their definitions.

Each SELECT gives facts in seven columns. A fact of several legal entities counts with each of them,
and once in all. `:now` is the moment that a figure is asked for. Every definition stands in
`docs/kpis.md` too, in the same words.
"""

from typing import Final

_NOBODY: Final = "CAST('{}' AS text[]) AS entities, '' AS client_id"
_ONE: Final = "'' AS currency, CAST(1 AS numeric) AS value, CAST(1 AS numeric) AS base"
# A plan is stored as it was made; a saga that did not plan yet has none.
_PLANNED: Final = """
    CROSS JOIN LATERAL (
        SELECT CAST(CASE saga.plan_json WHEN '' THEN '{}' ELSE saga.plan_json END AS jsonb)
    ) AS planned (plan)
"""
_OF_SAGA: Final = """
    ARRAY(SELECT jsonb_array_elements_text(coalesce(plan -> 'legal_entities', '[]'))) AS entities,
    coalesce(plan ->> 'client_id', '') AS client_id
"""
_PROVISIONING: Final = "saga.saga = 'OpportunityToProject'"
_COMPLETED: Final = "('completed', 'completed_with_residue')"
_STANDS: Final = "invoice.state NOT IN ('voided', 'gone')"

TIME_TO_PROJECT: Final = f"""
    SELECT {_OF_SAGA}, '' AS flow, saga.ended_at AS at, '' AS currency,
        CAST(extract(epoch FROM saga.ended_at - begun.at) / 3600 AS numeric) AS value,
        CAST(1 AS numeric) AS base
    FROM saga_generations AS saga {_PLANNED}
    CROSS JOIN LATERAL (SELECT min(opened_at) AS at FROM saga_generations AS first
        WHERE first.workflow_id = saga.workflow_id) AS begun
    WHERE {_PROVISIONING} AND saga.outcome IN {_COMPLETED}
"""  # noqa: S608 - constants

FAILED_PROVISIONING: Final = f"""
    SELECT {_OF_SAGA}, '' AS flow,
        coalesce(saga.ended_at, CAST(:now AS timestamptz)) AS at, {_ONE}
    FROM (SELECT DISTINCT ON (workflow_id) * FROM saga_generations AS saga WHERE {_PROVISIONING}
        ORDER BY workflow_id, generation DESC) AS saga {_PLANNED}
    WHERE saga.outcome NOT IN {_COMPLETED} OR saga.state <> 'ended' AND EXISTS (
        SELECT FROM work_items AS item WHERE item.workflow_id = saga.workflow_id
            AND item.state = 'open' AND item.kind IN ('step', 'undo'))
"""  # noqa: S608 - constants

# What entries are billed for, net of what was written down and credited, however far it got.
_TO_BILL: Final = """
    SELECT rating.legal_entity, coalesce(run.client_id, '') AS client_id, version.kind,
        version.approved_at, part.currency, part.cycle, member.draft,
        part.state IN ('invoiced', 'credited') AS invoiced,
        part.amount - coalesce(member.written_down, 0) - coalesce(member.credited, 0) AS net
    FROM parts AS part
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    JOIN billing_runs AS run ON run.run_key = rating.run_key
    JOIN entry_versions AS version ON version.id = part.entry AND version.standing = 'live'
    LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
    WHERE part.disposition = 'to_bill' AND NOT (part.state = 'placed' AND EXISTS (
        SELECT FROM set_asides AS aside WHERE aside.part = part.id AND aside.kind = 'written_off'))
"""

DAYS_TO_BILL: Final = f"""
    SELECT ARRAY[invoice.legal_entity] AS entities, invoice.client_id, '' AS flow,
        invoice.recorded_at AS at, '' AS currency,
        CAST(extract(epoch FROM invoice.recorded_at - billed.since) / 86400 AS numeric) AS value,
        CAST(1 AS numeric) AS base
    FROM (
        SELECT draft, approved_at AS since FROM ({_TO_BILL}) AS work WHERE cycle = 1 AND invoiced
        UNION ALL
        SELECT member.draft, fee.reserved_at FROM fees AS fee
        JOIN draft_members AS member ON member.fee = fee.id AND member.live WHERE fee.cycle = 1
    ) AS billed JOIN invoices AS invoice ON invoice.draft = billed.draft WHERE {_STANDS}
"""  # noqa: S608 - constants

UNBILLED_APPROVED_TIME: Final = f"""
    SELECT ARRAY[legal_entity] AS entities, client_id, '' AS flow, approved_at AS at, currency,
        net AS value, net AS base
    FROM ({_TO_BILL}) AS work WHERE NOT invoiced AND kind <> 'expense'
"""  # noqa: S608 - constants

UNBILLED_LABOR_PERCENT: Final = f"""
    SELECT ARRAY[legal_entity] AS entities, client_id, '' AS flow, approved_at AS at, currency,
        CASE WHEN invoiced THEN 0 ELSE net END AS value, net AS base
    FROM ({_TO_BILL}) AS work WHERE kind <> 'expense'
"""  # noqa: S608 - constants

# The legal entity is known once an entry is rated: until then, those of the contract stand for it.
UNPRICED_TIME: Final = """
    SELECT coalesce(engaged.entities, '{}') AS entities,
        coalesce(engaged.client_id, '') AS client_id, '' AS flow, version.approved_at AS at,
        '' AS currency, CAST(version.minutes AS numeric) / 60 AS value, CAST(1 AS numeric) AS base
    FROM entry_versions AS version
    LEFT JOIN (SELECT DISTINCT ON (psa, project_id) psa, project_id, client_id,
            ARRAY(SELECT DISTINCT line ->> 'legal_entity' FROM jsonb_array_elements(lines) AS line)
                AS entities
        FROM engagements ORDER BY psa, project_id, effective_from DESC) AS engaged
        ON engaged.psa = version.source AND engaged.project_id = version.project_id
    WHERE version.standing = 'live' AND version.state <> 'placed' AND version.minutes IS NOT NULL
        AND version.billable
"""

_OF_DRAFT: Final = "ARRAY[legal_entity] AS entities, client_id, '' AS flow"
_OF_INVOICE: Final = "ARRAY[invoice.legal_entity] AS entities, invoice.client_id, '' AS flow"

INVOICE_READY_BACKLOG: Final = f"""
    SELECT {_OF_DRAFT}, changed_at AS at, currency, net AS value, net AS base
    FROM drafts WHERE state = 'queued'
"""  # noqa: S608 - constants

TRANSMISSION_BACKLOG: Final = f"""
    SELECT {_OF_INVOICE}, invoice.recorded_at AS at, invoice.currency, invoice.gross AS value,
        invoice.gross AS base
    FROM invoices AS invoice WHERE invoice.delivery <> 'transmitted'
        AND invoice.state IN ('issued', 'delivery_rejected', 'overdue')
"""  # noqa: S608 - constants

DISPUTES: Final = f"""
    SELECT {_OF_INVOICE}, coalesce((SELECT max(change.at) FROM invoice_changes AS change
            WHERE change.connection = invoice.connection AND change.invoice = invoice.id
                AND change.state = 'disputed'), invoice.recorded_at) AS at,
        invoice.currency, invoice.remaining AS value, invoice.remaining AS base
    FROM invoices AS invoice
    WHERE invoice.disputed <> '' AND invoice.remaining <> 0 AND {_STANDS}
"""  # noqa: S608 - constants

# What is open times the days, over what was sold in these days, net of what was credited of it.
DSO: Final = f"""
    SELECT {_OF_INVOICE}, CAST(NULL AS timestamptz) AS at, invoice.currency,
        90 * invoice.remaining AS value,
        CASE WHEN invoice."on" > CAST(CAST(:now AS timestamptz) AS date) - 90
            THEN invoice.gross - coalesce(credited.gross, 0) ELSE 0 END AS base
    FROM invoices AS invoice LEFT JOIN LATERAL (
        SELECT sum(credit.note_gross) AS gross FROM credits AS credit
        WHERE credit.connection = invoice.connection AND credit.invoice = invoice.id
            AND credit.state = 'credited') AS credited ON true
    WHERE {_STANDS}
"""  # noqa: S608 - constants

_WAITS: Final = "item.legal_entities AS entities, item.client_id, '' AS flow, item.opened_at AS at"

INVOICE_EXCEPTIONS: Final = f"""
    SELECT {_WAITS}, {_ONE} FROM work_items AS item WHERE item.state = 'open'
        AND (item.kind IN ('delivery', 'native_credit', 'difference')
            OR item.kind IN ('step', 'undo', 'gate') AND item.workflow_id LIKE ANY (ARRAY[
                'invoice-draft/%', 'invoice-posting/%', 'invoice/%', 'invoice-look/%', 'credit/%']))
"""  # noqa: S608 - constants

_FOUND: Final = """
    CASE finding.legal_entity WHEN '' THEN CAST('{}' AS text[]) ELSE ARRAY[finding.legal_entity]
        END AS entities, finding.client_id, '' AS flow, finding.first_seen_at AS at
"""
_OPEN_FINDING: Final = "finding.closed_at IS NULL AND finding.class <> 'timing_gap'"

CUSTOMER_MASTER_EXCEPTIONS: Final = f"""
    SELECT {_WAITS}, {_ONE} FROM work_items AS item
    WHERE item.state = 'open' AND item.kind IN ('step', 'undo') AND item.step IN (
        'match_client', 'provision_client', 'add_client_entity', 'add_client_currency',
        'provision_psa_client', 'provision_billee')
    UNION ALL
    SELECT {_FOUND}, {_ONE} FROM reconciliation_findings AS finding
    WHERE {_OPEN_FINDING}
        AND finding.code IN ('client_missing', 'client_merged', 'client_inactive')
"""  # noqa: S608 - constants

RECONCILIATION_VARIANCE: Final = f"""
    SELECT {_FOUND}, finding.currency, abs(coalesce(finding.amount, 0)) AS value,
        abs(coalesce(finding.amount, 0)) AS base
    FROM reconciliation_findings AS finding WHERE {_OPEN_FINDING}
"""  # noqa: S608 - constants

INTEGRATION_FAILURE_RATE: Final = f"""
    SELECT {_OF_SAGA}, saga.saga AS flow, ledger.claimed_at AS at, '' AS currency,
        CASE WHEN ledger.state = 'done' THEN 0 ELSE 1 END AS value, 1 AS base
    FROM step_ledger AS ledger
    JOIN saga_generations AS saga USING (workflow_id, generation) {_PLANNED}
    WHERE ledger.connection <> '' AND ledger.state <> 'claimed'
"""  # noqa: S608 - constants

REPLAYS: Final = f"""
    SELECT {_NOBODY}, 'from ' || connection AS flow, received_at AS at, '' AS currency,
        CAST(replays AS numeric) AS value, CAST(1 AS numeric) AS base
    FROM event_inbox WHERE replays > 0
    UNION ALL
    SELECT item.legal_entities, item.client_id, coalesce(saga.saga, ''), decision.taken_at, {_ONE}
    FROM decisions AS decision JOIN work_items AS item ON item.id = decision.work_item_id
    LEFT JOIN saga_generations AS saga ON saga.workflow_id = item.workflow_id
        AND saga.generation = item.generation
    WHERE decision.verb = 'retry' AND decision.taken_at IS NOT NULL
"""  # noqa: S608 - constants

SYNC_LATENCY: Final = f"""
    SELECT {_NOBODY}, 'from ' || connection AS flow, received_at AS at, '' AS currency,
        CAST(extract(epoch FROM ended_at - received_at) AS numeric) AS value,
        CAST(1 AS numeric) AS base
    FROM event_inbox WHERE state = 'delivered'
    UNION ALL
    SELECT ARRAY[invoice.legal_entity], invoice.client_id, 'to ' || told.system, told.at, '',
        CAST(extract(epoch FROM told.at - change.at) AS numeric), 1
    FROM invoice_deliveries AS told
    JOIN invoice_changes AS change USING (connection, invoice, change)
    JOIN invoices AS invoice ON invoice.connection = told.connection AND invoice.id = told.invoice
"""  # noqa: S608 - constants

# Who works for one company of the firm and is billed by another.
INTERCOMPANY_POSTING_ERRORS: Final = f"""
    SELECT ARRAY[cost.legal_entity, rating.legal_entity] AS entities,
        coalesce(run.client_id, '') AS client_id, '' AS flow, waits.since AS at, {_ONE}
    FROM cost_track AS cost
    JOIN billing_runs AS run ON run.run_key = cost.run_key
    JOIN (SELECT workflow_id, min(opened_at) AS since FROM work_items
        WHERE state = 'open' AND step IN ('prepare_postings', 'post_costs', 'check_postings')
        GROUP BY workflow_id) AS waits ON waits.workflow_id = cost.run_key
    JOIN ratings AS rating ON rating.entry = cost.entry AND rating.cycle = 1
    WHERE cost.state <> 'reversed' AND cost.legal_entity <> rating.legal_entity
"""  # noqa: S608 - constants

MASTER_MISMATCH_RATE: Final = f"""
    WITH named AS (
        SELECT made.system, made.record_type, made.record_id, plan.entity,
            coalesce(planned.plan ->> 'client_id', '') AS client_id
        FROM cross_references AS made
        JOIN saga_generations AS saga USING (workflow_id, generation) {_PLANNED}
        LEFT JOIN LATERAL jsonb_array_elements_text(coalesce(planned.plan -> 'legal_entities',
            '[]')) AS plan (entity) ON true
        WHERE made.record_type IN ('client', 'project') AND made.undone_at IS NULL
            AND made.outcome <> 'skipped'
        UNION ALL
        SELECT record.system, record.type, record.id, line ->> 'legal_entity', engagement.client_id
        FROM engagements AS engagement
        CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line
        CROSS JOIN LATERAL (VALUES (engagement.psa, 'project', engagement.project_id),
            (line ->> 'erp', 'client', line ->> 'erp_client_id'),
            (line ->> 'erp', 'project', line ->> 'erp_project_id')) AS record (system, type, id)
        WHERE coalesce(record.id, '') <> '' AND coalesce(record.system, '') <> ''
    ), records AS (
        SELECT system, record_type, record_id, max(client_id) AS client_id,
            coalesce(array_agg(DISTINCT entity) FILTER (WHERE entity IS NOT NULL), '{{}}')
                AS entities
        FROM named GROUP BY system, record_type, record_id
    )
    SELECT record.entities, record.client_id, '' AS flow, CAST(NULL AS timestamptz) AS at,
        '' AS currency, CASE WHEN EXISTS (
            SELECT FROM reconciliation_findings AS finding
            WHERE {_OPEN_FINDING} AND (
                finding.code IN ('client_missing', 'client_merged', 'client_inactive',
                    'project_missing', 'link_missing', 'link_differs')
                    AND finding.system = record.system AND finding.record_type = record.record_type
                    AND finding.record_id = record.record_id
                OR finding.code = 'duplicate_project' AND finding.psa = record.system
                    AND record.record_type = 'project' AND finding.project_id = record.record_id))
            THEN 1 ELSE 0 END AS value, 1 AS base
    FROM records AS record
"""  # noqa: S608 - constants
