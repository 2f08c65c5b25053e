"""The rows of the bench of the trace: a firm's year, made by SQL in the tables as they are.

Every constraint and trigger holds: entries, parts, drafts, invoices and credits go through their
moves. What the trace does not read (documents, costs) is left empty or out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from store.database import Database
from store.thread_sql import names_of

PER_RUN: Final = 250
PER_DRAFT: Final = 50
PER_TIMESHEET: Final = 25
PROJECTS_OF_CLIENT: Final = 5
MILESTONES: Final = 10


@dataclass(frozen=True)
class Size:
    """How much there is."""

    projects: int
    entries: int
    """Of one project."""
    placed: int
    """Of those, that a run took and rated: the first ones."""
    invoiced: int
    """Of the placed ones: whole runs of them."""

    @property
    def all(self) -> int:
        """Entries in all."""
        return self.projects * self.entries


FULL: Final = Size(projects=200, entries=5_000, placed=2_000, invoiced=500)
QUICK: Final = Size(projects=10, entries=500, placed=500, invoiced=250)

_CONTRACT = """
    INSERT INTO engagements (id, psa, project_id, effective_from, client_id, title, lines, caps)
    VALUES ('salesforce/D' || :n, 'kantata', :project, '2026-01-01', :client, 'Project ' || :n,
        jsonb_build_array(jsonb_build_object('ref', 'L1', 'type', 'time_and_materials',
            'currency', 'USD', 'legal_entity', 'US', 'client_po', 'PO-' || :n, 'erp', 'netsuite',
            'erp_project_id', 'J' || :n, 'erp_client_id', 'C-' || :client)), '[]')
"""
_SAGA = """
    INSERT INTO saga_generations (workflow_id, generation, saga, business_key, correlation_id,
        state, outcome, result_json, closed_at, ended_at)
    VALUES ('opportunity-to-project/salesforce/D' || :n, 1, 'OpportunityToProject', 'D' || :n,
        'corr-' || :n, 'ended', 'completed', '{}', now(), now())
"""
_RECORDS = """
    INSERT INTO cross_references (key, position, workflow_id, generation, step, system,
        record_type, record_id, outcome)
    SELECT workflow || '/1:' || step, 0, workflow, 1, step, system, type, id, 'created'
    FROM (SELECT 'opportunity-to-project/salesforce/D' || :n AS workflow) AS saga
    CROSS JOIN (VALUES ('provision_psa_project', 'kantata', 'project', :project),
        ('provision_erp_project', 'netsuite', 'project', 'J' || :n),
        ('provision_client', 'netsuite', 'client', 'C-' || :client))
        AS made(step, system, type, id)
"""
_WORK_ITEM = """
    INSERT INTO work_items (id, workflow_id, generation, park, kind, step, reason, item_json,
        opened_at, respond_by)
    VALUES ('WI-' || :n, 'billing-run/kantata/' || :project || '/2026-01/1', 1, 1, 'step',
        'place', 'no_rate', '{}', now(), now())
"""
_PO = """
    INSERT INTO client_pos (client_id, number, amount, currency, basis, document)
    VALUES (:client, 'PO-' || :n, 1000000, 'USD', 'net', '{}')
"""
_ENTRIES = """
    INSERT INTO entry_versions (source, kind, entry_id, version, project_id, task_id, person_id,
        submission_id, service_date, minutes, amount, currency, billable, state, approved_at)
    SELECT 'kantata', CASE WHEN i % 20 = 0 THEN 'expense' ELSE 'time' END, CAST(
        :number * 100000 + i AS text), md5(CAST(i AS text)), :project, '1', CAST(i % 40 AS text),
        'T' || :n || '-' || i / :timesheet, CAST('2026-01-01' AS date) + i % 300,
        CASE WHEN i % 20 <> 0 THEN 60 END, CASE WHEN i % 20 = 0 THEN 120.00 END, 'USD', true,
        'approved', now()
    FROM generate_series(1, :entries) AS i
"""
_EVIDENCE = """
    INSERT INTO entry_evidence (entry, reading, read_at, record, encrypted)
    SELECT id, 1, now(), convert_to(CAST(jsonb_build_object('source', source, 'kind', kind,
        'id', entry_id, 'project_id', project_id, 'person_id', person_id, 'person_email',
        'person' || person_id || '@example.com', 'service_date', service_date, 'minutes', minutes,
        'currency', currency, 'notes', repeat('Work on the ledger. ', 10), 'approved', true,
        'approved_by', 'lead@example.com', 'approved_at', approved_at) AS text), 'UTF8'), false
    FROM entry_versions WHERE source = 'kantata' AND project_id = :project
"""
_RUNS = """
    INSERT INTO billing_runs (run_key, psa, project_id, period, number, state, engagement,
        client_id, entries, reservation, ended_at)
    SELECT 'billing-run/kantata/' || :project || '/2026-01/' || r, 'kantata', :project, '2026-01',
        r, 'handed_over', 'salesforce/D' || :n, :client, :per_run, 'R' || :n || '-' || r, now()
    FROM generate_series(1, :placed / :per_run) AS r
"""
_RUN_SAGAS = """
    INSERT INTO saga_generations (workflow_id, generation, saga, correlation_id, state, outcome,
        result_json, closed_at, ended_at)
    SELECT run_key, 1, 'BillingRun', run_key, 'ended', 'completed', '{}', now(), now()
    FROM billing_runs WHERE psa = 'kantata' AND project_id = :project
"""
_CLAIM = """
    UPDATE entry_versions SET state = 'claimed', run_key = :run
    WHERE source = 'kantata' AND project_id = :project
        AND CAST(entry_id AS integer) BETWEEN :first AND :first + :per_run - 1
"""
_CLAIMED = """
    INSERT INTO run_entries (run_key, generation, entry, position, state)
    SELECT :run, 1, id, row_number() OVER (ORDER BY id), 'handed_over'
    FROM entry_versions WHERE run_key = :run
"""
_RATED = "UPDATE entry_versions SET state = 'rated' WHERE run_key = :run"
_RATE = """
    INSERT INTO ratings (entry, cycle, run_key, line, legal_entity, amount, currency, minutes,
        document)
    SELECT id, 1, :run, 'L1', 'US', 120.00, 'USD', 60, '{}'
    FROM entry_versions WHERE run_key = :run
"""
_CHARGE = """
    INSERT INTO postings (run_key, generation, kind, item, amount, currency, state, external_id,
        posted_at)
    SELECT :run, 1, 'charges', CAST(id AS text), 120.00, 'USD', 'live', 'dt-charge-' || id, now()
    FROM entry_versions WHERE run_key = :run
"""
_PLACE = """
    INSERT INTO parts (entry, number, disposition, amount, currency, minutes, run_key, posting)
    SELECT version.id, 1, 'to_bill', 120.00, 'USD', 60, :run, posting.id
    FROM entry_versions AS version JOIN postings AS posting ON posting.run_key = :run
        AND posting.generation = 1 AND posting.kind = 'charges'
        AND posting.item = CAST(version.id AS text)
    WHERE version.run_key = :run
"""
_PLACED = """
    UPDATE entry_versions SET state = 'placed', handed_over_at = now() WHERE run_key = :run
"""
_DRAFT_ID = "'invoice-draft/US/C-' || :client || '/USD/project-' || :project || '/2026-01/'"
_DRAFTS = f"""
    INSERT INTO drafts (id, state, family, legal_entity, client_id, client_po, currency, period,
        net, gross, content_hash, document)
    SELECT {_DRAFT_ID} || d, 'queued', {_DRAFT_ID} || d, 'US', :client, 'PO-' || :n, 'USD',
        '2026-01', 120.00 * :per_draft, 120.00 * :per_draft, repeat('a', 64), '{{}}'
    FROM generate_series(1, :invoiced / :per_draft) AS d
"""
_LINES = f"""
    INSERT INTO draft_lines (draft, number, state, engagement, line, project_id, amount)
    SELECT {_DRAFT_ID} || d, 1, 'in', 'salesforce/D' || :n, 'L1', :project, 120.00 * :per_draft
    FROM generate_series(1, :invoiced / :per_draft) AS d
"""
_MEMBERS = f"""
    INSERT INTO draft_members (draft, number, part, amount, live)
    SELECT {_DRAFT_ID} || ((:r - 1) * (:per_run / :per_draft) + (place - 1) / :per_draft + 1), 1,
        id, 120.00, true
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM parts
        WHERE run_key = :run) AS billed
"""
_MOVE_PARTS = "UPDATE parts SET state = '{to}' WHERE run_key = :run"
_MOVE_DRAFTS = """
    UPDATE drafts SET state = '{to}', posting = 1, released_hash = content_hash
    WHERE client_id = :client AND client_po = 'PO-' || :n
"""
_INVOICES = """
    INSERT INTO invoices (connection, id, record_type, draft, posting, number, "on", due, period,
        currency, legal_entity, client_id, client_po, net, tax, gross, remaining, state, change,
        seen_at)
    SELECT 'netsuite', 'I' || :n || '-' || place, 'invoice', id, 1, 'INV-' || :n || '-' || place,
        '2026-02-01', '2026-03-01', 'Jan 2026', 'USD', 'US', client_id, client_po, net, 0, net,
        net, 'issued', 1, now()
    FROM (SELECT drafts.*, row_number() OVER (ORDER BY id) AS place FROM drafts
        WHERE client_id = :client AND client_po = 'PO-' || :n) AS draft
"""
_CHANGES = """
    INSERT INTO invoice_changes (connection, invoice, change, state, remaining)
    SELECT connection, id, 1, state, remaining FROM invoices
    WHERE client_id = :client AND client_po = 'PO-' || :n
"""
_PAID = """
    INSERT INTO invoice_applications (connection, invoice, change, application, kind, amount,
        "on", reference)
    SELECT connection, id, 1, 'P' || id, 'payment', 100, '2026-03-01', 'REF-' || id FROM invoices
    WHERE client_id = :client AND client_po = 'PO-' || :n
"""
_CREDIT = """
    INSERT INTO credits (id, connection, invoice, net, currency, asked_by, document)
    VALUES ('credit/netsuite/I' || :n || '-1/1', 'netsuite', 'I' || :n || '-1', 120.00, 'USD',
        'olivia', '{}')
"""
_CREDIT_PART = """
    INSERT INTO credit_parts (credit, number, item, member, amount, reason)
    SELECT 'credit/netsuite/I' || :n || '-1/1', 1, '1', member.id, 120.00, 'concession'
    FROM invoices AS invoice JOIN draft_members AS member ON member.draft = invoice.draft
    WHERE invoice.connection = 'netsuite' AND invoice.id = 'I' || :n || '-1'
    ORDER BY member.id LIMIT 1
"""
_CREDITED = """
    UPDATE draft_members SET credited = amount WHERE id = (SELECT member FROM credit_parts
        WHERE credit = 'credit/netsuite/I' || :n || '-1/1')
"""
_MOVE_CREDIT = """
    UPDATE credits SET state = '{to}', approved_by = 'fiona', note_id = {note}
    WHERE id = 'credit/netsuite/I' || :n || '-1/1'
"""
_MIRROR = """
    INSERT INTO invoice_mirrors (connection, invoice, psa, project_id, record_type, mirror, net,
        currency)
    SELECT connection, id, 'kantata', :project, 'invoice', 'M' || id, net, currency FROM invoices
    WHERE client_id = :client AND client_po = 'PO-' || :n
"""
_FEES = """
    INSERT INTO fees (source, item, engagement, line, psa, project_id, client_id, period, amount,
        currency, run, document)
    SELECT 'milestone', 'kantata/MS' || :n || '-' || m, 'salesforce/D' || :n, 'L1', 'kantata',
        :project, :client, '2026-01', 1000, 'USD',
        'milestone-to-invoice/kantata/MS' || :n || '-' || m, '{"narrative": "Phase done"}'
    FROM generate_series(1, :milestones) AS m
"""

_NUMBERS: Final = (
    *("number", "entries", "placed", "invoiced", "first", "r"),
    *("per_run", "per_draft", "timesheet", "milestones"),
)
_VALUE: Final = re.compile(r":(\w+)")


def _typed(found: re.Match[str]) -> str:
    """Return a value with its type: text and numbers are put together of them."""
    return f"CAST({found[0]} AS {'integer' if found[1] in _NUMBERS else 'text'})"


def _all(*statements: str) -> tuple[TextClause, ...]:
    return tuple(text(_VALUE.sub(_typed, each)) for each in statements)


WORK: Final = _all(
    *(_CONTRACT, _SAGA, _RECORDS, _PO, _ENTRIES, _EVIDENCE, _RUNS, _RUN_SAGAS, _WORK_ITEM)
)
RUN: Final = _all(_CLAIM, _CLAIMED, _RATED, _RATE, _CHARGE, _PLACE, _PLACED)
DRAFTS: Final = _all(_DRAFTS, _LINES)
BILLED: Final = _all(
    *(_MEMBERS, _MOVE_PARTS.format(to="drafted"), _MOVE_PARTS.format(to="released")),
    _MOVE_PARTS.format(to="invoiced"),
)
INVOICES: Final = _all(
    *(_MOVE_DRAFTS.format(to="released"), _MOVE_DRAFTS.format(to="invoiced"), _INVOICES),
    *(_CHANGES, _PAID, _CREDIT, _CREDIT_PART, _CREDITED),
    *(
        _MOVE_CREDIT.format(to="approved", note="NULL"),
        _MOVE_CREDIT.format(to="credited", note="'N' || :n"),
        _MIRROR,
        _FEES,
    ),
)


async def fill_project(database: Database, number: int, size: Size) -> None:
    """Make one project with all its work and invoices: a transaction for each run, as in life."""
    values: dict[str, object] = {
        "n": str(number),
        "number": number,
        "project": project_of(number),
        "client": client_of(number),
        "entries": size.entries,
        "placed": size.placed,
        "invoiced": size.invoiced,
        "per_run": PER_RUN,
        "per_draft": PER_DRAFT,
        "timesheet": PER_TIMESHEET,
        "milestones": MILESTONES,
    }
    await _run(database, WORK, values)
    for r in range(1, size.placed // PER_RUN + 1):
        await _run(database, RUN, values | _of_run(number, r))
    async with database.transaction() as session:
        await _within(session, DRAFTS, values)
        for r in range(1, size.invoiced // PER_RUN + 1):
            await _within(session, BILLED, values | _of_run(number, r))
        await _within(session, INVOICES, values)


def _of_run(number: int, r: int) -> dict[str, object]:
    return {
        "r": r,
        "run": f"billing-run/kantata/{project_of(number)}/2026-01/{r}",
        "first": number * 100_000 + (r - 1) * PER_RUN + 1,
    }


async def _run(
    database: Database, statements: Iterable[TextClause], values: Mapping[str, object]
) -> None:
    async with database.transaction() as session:
        await _within(session, statements, values)


async def _within(
    session: AsyncConnection, statements: Iterable[TextClause], values: Mapping[str, object]
) -> None:
    for statement in statements:
        named = {name: values[name] for name in names_of(statement)}
        await session.execute(statement, named)


def project_of(number: int) -> str:
    """Return a project's id in the PSA."""
    return f"W{number}"


def client_of(number: int) -> str:
    """Return a project's client."""
    return f"A{number // PROJECTS_OF_CLIENT}"
