"""The statements that read a thread; `store.threads` runs them, in one transaction."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from sqlalchemy import TextClause, text


@cache
def names_of(statement: TextClause) -> frozenset[str]:
    """Return the names of a statement's values."""
    return frozenset(statement.compile().params)


ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

# Contracts.

SHARING: Final = text("""
    SELECT line.engagement AS id FROM draft_lines AS line WHERE line.draft IN (
        SELECT draft FROM draft_lines WHERE engagement = ANY(CAST(:engagements AS text[])))
    UNION
    SELECT other.id FROM engagements AS mine
    JOIN engagements AS other ON other.psa = mine.psa AND other.project_id = mine.project_id
        AND other.client_id = mine.client_id
    WHERE mine.id = ANY(CAST(:engagements AS text[]))
""")
CONTRACTS: Final = text("""
    SELECT version.id, version.psa, version.project_id, version.effective_from,
        version.client_id, version.title, version.lines
    FROM engagements AS version
    WHERE (version.psa, version.project_id) IN (SELECT psa, project_id FROM engagements
        WHERE id = ANY(CAST(:engagements AS text[])))
    ORDER BY version.psa, version.project_id, version.effective_from
""")

# Sagas.

SAGAS: Final = text("""
    SELECT DISTINCT ON (workflow_id) workflow_id, saga, generation, state, outcome,
        correlation_id,
        CASE WHEN workflow_id = ANY(CAST(:planned AS text[])) THEN plan_json ELSE '' END
            AS plan_json
    FROM saga_generations WHERE workflow_id = ANY(CAST(:ids AS text[]))
    ORDER BY workflow_id, generation DESC
""")
RECORDS: Final = text("""
    SELECT workflow_id, step, position, system, record_type, record_id, outcome,
        undone_at IS NOT NULL AS undone
    FROM cross_references WHERE workflow_id = ANY(CAST(:ids AS text[]))
    ORDER BY workflow_id, generation, recorded_at, key, position
""")
WORK_ITEMS: Final = text("""
    SELECT id, workflow_id, kind, step, reason, state, opened_at FROM work_items
    WHERE workflow_id = ANY(CAST(:ids AS text[])) ORDER BY state = 'closed', opened_at, id
""")

# Work. What is withdrawn counts only where no other version stands.

_SPANS = """
    jsonb_to_recordset(CAST(:spans AS jsonb)) AS span(psa text, project_id text, first date,
        after date)
"""
_MINE = f"""
    FROM {_SPANS}
    JOIN entry_versions AS version ON version.source = span.psa
        AND version.project_id = span.project_id
        AND (span.first IS NULL OR version.service_date >= span.first)
        AND (span.after IS NULL OR version.service_date < span.after)
    WHERE (version.standing = 'live' OR NOT EXISTS (
        SELECT FROM entry_versions AS other WHERE other.source = version.source
            AND other.kind = version.kind AND other.entry_id = version.entry_id
            AND other.id <> version.id AND (other.standing = 'live'
                OR (other.standing = 'withdrawn', -other.id)
                    < (version.standing = 'withdrawn', -version.id))))
"""
SURVEY: Final = text(f"""
    WITH mine AS MATERIALIZED (
        SELECT version.id, version.source, version.kind, version.state, version.minutes,
            version.service_date, version.submission_id {_MINE}
    ), counted AS (
        SELECT kind, state, count(*) AS entries, coalesce(sum(minutes), 0) AS minutes
        FROM mine GROUP BY kind, state ORDER BY kind, state
    ), placed AS MATERIALIZED (
        SELECT entry, disposition, currency, amount FROM parts
        WHERE run_key = ANY(CAST(:runs AS text[])) AND cycle = 1
    ), money AS (
        SELECT mine.kind, placed.disposition, placed.currency,
            CAST(sum(placed.amount) AS text) AS amount
        FROM placed JOIN mine ON mine.id = placed.entry
        GROUP BY mine.kind, placed.disposition, placed.currency ORDER BY 1, 2, 3
    ), submitted AS (
        SELECT DISTINCT source, submission_id FROM mine WHERE submission_id <> ''
    ), chosen AS (
        SELECT first.id FROM (VALUES ('time'), ('expense'), ('adjustment')) AS kinds(kind)
        CROSS JOIN LATERAL (
            SELECT mine.id FROM mine WHERE mine.kind = kinds.kind
            ORDER BY mine.id <> ALL(CAST(:near AS bigint[])), mine.service_date, mine.id
            LIMIT :most) AS first
    )
    SELECT (SELECT coalesce(jsonb_agg(counted), '[]') FROM counted) AS totals,
        (SELECT coalesce(jsonb_agg(money), '[]') FROM money) AS money,
        (SELECT count(*) FROM submitted) AS timesheets, ARRAY(SELECT id FROM chosen) AS chosen
""")  # noqa: S608 - constants
ENTRIES: Final = text("""
    SELECT version.id, version.source, version.kind, version.entry_id, version.project_id,
        version.person_id, version.submission_id, version.service_date, version.minutes,
        version.amount, version.currency, version.state, version.run_key, rating.line,
        evidence.record, evidence.encrypted,
        coalesce((SELECT string_agg(hold.reason, ', ' ORDER BY hold.id) FROM holds AS hold
            WHERE hold.source = version.source AND hold.kind = version.kind
                AND hold.entry_id = version.entry_id AND hold.released_at IS NULL), '') AS held
    FROM entry_versions AS version
    LEFT JOIN LATERAL (SELECT line FROM ratings WHERE ratings.entry = version.id
        ORDER BY cycle DESC LIMIT 1) AS rating ON true
    LEFT JOIN entry_evidence AS evidence ON evidence.entry = version.id
        AND evidence.reading = version.reading
    WHERE version.id = ANY(CAST(:chosen AS bigint[]))
    ORDER BY version.kind, version.service_date, version.id
""")
PARTS: Final = text("""
    SELECT part.entry, part.cycle, part.disposition, part.amount, part.currency, part.state,
        part.run_key, posting.external_id AS charge, member.draft
    FROM parts AS part
    LEFT JOIN postings AS posting ON posting.id = part.posting
    LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
    WHERE part.entry = ANY(CAST(:entries AS bigint[])) ORDER BY part.entry, part.cycle, part.number
""")
RUNS: Final = text(f"""
    SELECT DISTINCT run.run_key, run.psa, run.project_id, run.period, run.number, run.state,
        run.entries, run.reservation
    FROM {_SPANS}
    JOIN billing_runs AS run ON run.psa = span.psa AND run.project_id = span.project_id
    WHERE run.engagement = ANY(CAST(:engagements AS text[]))
        OR run.psa || '/' || run.project_id = ANY(CAST(:whole AS text[]))
    ORDER BY run.psa, run.project_id, run.period, run.number
""")  # noqa: S608 - constants
CHARGES_COUNT: Final = text("""
    SELECT count(*) FROM postings WHERE run_key = ANY(CAST(:runs AS text[]))
        AND kind = 'charges' AND external_id IS NOT NULL
""")
CHARGES: Final = text("""
    SELECT posting.external_id, posting.run_key, posting.amount, posting.currency, posting.state,
        coalesce((SELECT batch.connection FROM posting_batches AS batch
            WHERE batch.run_key = posting.run_key AND batch.kind = 'charges'
            ORDER BY batch.generation DESC, batch.number LIMIT 1), '') AS connection
    FROM postings AS posting
    WHERE posting.external_id = ANY(CAST(:ids AS text[])) AND posting.kind = 'charges'
""")
FEES: Final = text("""
    SELECT fee.source, fee.item, fee.cycle, fee.engagement, fee.line, fee.psa, fee.project_id,
        fee.amount, fee.currency, fee.state, fee.period, fee.run, fee.held,
        CAST(fee.document AS jsonb) ->> 'narrative' AS narrative, member.draft
    FROM fees AS fee LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
    WHERE fee.engagement = ANY(CAST(:engagements AS text[]))
        AND (fee.state <> 'returned' OR NOT EXISTS (SELECT FROM fees AS other
            WHERE other.source = fee.source AND other.item = fee.item AND other.cycle = fee.cycle
                AND (other.state <> 'returned' OR other.id > fee.id)))
    ORDER BY fee.source, fee.period, fee.item, fee.cycle
""")

# The entries of what somebody asked about.

_BY_PART = """
    SELECT part.entry AS id FROM draft_members AS member JOIN parts AS part ON part.id = member.part
    WHERE member.draft = ANY(CAST(:drafts AS text[])) AND member.live
    ORDER BY member.id LIMIT :most
"""
_BY_ENTRY = text("""
    SELECT id FROM entry_versions WHERE source = :system AND kind = :kind AND entry_id = :id
""")
NEAR: Final[Mapping[str, TextClause]] = {
    "draft": text(_BY_PART),
    "time": _BY_ENTRY,
    "expense": _BY_ENTRY,
    "adjustment": _BY_ENTRY,
    "timesheet": text("""
        SELECT id FROM entry_versions WHERE source = :system AND submission_id = :id
            AND submission_id <> '' LIMIT :most
    """),
    "run": text("SELECT entry AS id FROM parts WHERE run_key = :whole LIMIT :most"),
    "charge": text("""
        SELECT part.entry AS id FROM postings AS posting JOIN parts AS part
            ON part.posting = posting.id WHERE posting.external_id = :whole LIMIT :most
    """),
}

DRAFTS_OF: Final[Mapping[str, TextClause]] = {
    "invoice": text("SELECT draft FROM invoices WHERE connection = :connection AND id = :id"),
    "credit": text("""
        SELECT invoice.draft FROM credits AS credit
        JOIN invoices AS invoice ON invoice.connection = credit.connection
            AND invoice.id = credit.invoice
        WHERE credit.id = :whole
    """),
    "payment": text("""
        SELECT DISTINCT invoice.draft FROM invoice_applications AS applied
        JOIN invoices AS invoice ON invoice.connection = applied.connection
            AND invoice.id = applied.invoice
        WHERE applied.connection = :connection AND applied.application = :id
    """),
    "mirror": text("""
        SELECT invoice.draft FROM invoice_mirrors AS mirror
        JOIN invoices AS invoice ON invoice.connection = mirror.connection
            AND invoice.id = mirror.invoice
        WHERE mirror.psa = :connection AND mirror.mirror = :id
    """),
}

# Invoices.

DRAFTS: Final = text("""
    SELECT draft.id, draft.state, draft.client_id, draft.client_po, draft.legal_entity,
        draft.period, draft.currency, draft.net, draft.gross, draft.posting,
        ARRAY(SELECT DISTINCT line.project_id FROM draft_lines AS line
            WHERE line.draft = draft.id ORDER BY 1) AS projects,
        ARRAY(SELECT DISTINCT coalesce(part.run_key, fee.run) FROM draft_members AS member
            LEFT JOIN parts AS part ON part.id = member.part
            LEFT JOIN fees AS fee ON fee.id = member.fee
            WHERE member.draft = draft.id ORDER BY 1) AS runs
    FROM drafts AS draft
    WHERE draft.id IN (SELECT draft FROM draft_lines
        WHERE engagement = ANY(CAST(:engagements AS text[])))
    ORDER BY draft.period, draft.id
""")
INVOICES: Final = text("""
    SELECT connection, id, draft, number, "on", currency, net, tax, gross, remaining, state
    FROM invoices WHERE draft = ANY(CAST(:drafts AS text[])) ORDER BY "on", connection, id
""")
_GIVEN = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(connection text, invoice text)
"""
APPLIED: Final = text(f"""
    SELECT applied.connection, applied.invoice, applied.application, max(applied.kind) AS kind,
        sum(applied.amount) AS amount, max(invoice.currency) AS currency, max(applied."on") AS "on",
        max(applied.reference) AS reference
    FROM {_GIVEN} JOIN invoice_applications AS applied USING (connection, invoice)
    JOIN invoices AS invoice ON invoice.connection = applied.connection
        AND invoice.id = applied.invoice
    GROUP BY applied.connection, applied.invoice, applied.application ORDER BY min(applied.id)
""")  # noqa: S608 - constants
CREDITS: Final = text(f"""
    SELECT credit.id, credit.connection, credit.invoice, credit.state, credit.net, credit.currency,
        credit.note_id, credit.note_number,
        ARRAY(SELECT DISTINCT taken.reason FROM credit_parts AS taken
            WHERE taken.credit = credit.id ORDER BY 1) AS reasons,
        ARRAY(SELECT DISTINCT member.draft FROM credit_parts AS taken
            JOIN draft_members AS member ON member.part = taken.opened_part
                OR member.fee = taken.opened_fee
            WHERE taken.credit = credit.id AND member.live ORDER BY 1) AS again
    FROM {_GIVEN} JOIN credits AS credit USING (connection, invoice)
    ORDER BY credit.asked_at, credit.id
""")  # noqa: S608 - constants
MIRRORS: Final = text(f"""
    SELECT mirror.connection, mirror.invoice, mirror.psa, mirror.project_id, mirror.mirror,
        mirror.net, mirror.currency
    FROM {_GIVEN} JOIN invoice_mirrors AS mirror USING (connection, invoice)
    ORDER BY mirror.psa, mirror.mirror
""")  # noqa: S608 - constants
CLIENT_POS: Final = text("""
    SELECT ordered.client_id, ordered.number, ordered.amount, ordered.currency, ordered.basis,
        ordered.drafted + ordered.released + ordered.invoiced - ordered.credited AS taken
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
    JOIN client_pos AS ordered USING (client_id, number) ORDER BY ordered.number
""")
