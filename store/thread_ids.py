"""What an id of any system may mean: each kind of thing is looked up by an index of its own."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.model import CanonicalModel
from store.database import Database
from store.thread_sql import names_of


class Meaning(CanonicalModel):
    """One thing that is called so, and whose thread it is in."""

    kind: str
    id: str
    """Its own, with the connection before it where its kind has one."""
    engagement: str = ""
    """`<crm>/<opportunity id>`; empty: no contract has it."""
    project: str = ""
    """`<psa>/<project id>`, of work that no contract bills."""
    workflow_id: str = ""
    """Of the workflow that it is about: where that works, says whose thread it is."""


# There are few systems: their names are picked out of the index, one by one.
_SOURCES = """
    WITH RECURSIVE sources AS (
        (SELECT source FROM entry_versions ORDER BY source LIMIT 1)
        UNION ALL
        SELECT (SELECT further.source FROM entry_versions AS further
            WHERE further.source > sources.source ORDER BY further.source LIMIT 1)
        FROM sources WHERE sources.source IS NOT NULL)
"""
_OF_SYSTEM = "(:system = '' OR {column} = :system)"
_IN_FORCE = """
    (SELECT engagement.id FROM engagements AS engagement
        WHERE engagement.psa = {of}.{psa} AND engagement.project_id = {of}.project_id
        ORDER BY engagement.effective_from > {on}, abs(engagement.effective_from - {on}) LIMIT 1)
"""
_ENTRY_IN_FORCE = _IN_FORCE.format(of="version", psa="source", on="version.service_date")

_DEAL = text(f"""
    SELECT DISTINCT 'deal' AS kind, id, id AS engagement FROM engagements
    WHERE split_part(id, '/', 2) = ANY(CAST(:ids AS text[]))
        AND {_OF_SYSTEM.format(column="split_part(id, '/', 1)")}
    UNION
    SELECT 'deal', substr(workflow_id, 24), substr(workflow_id, 24) FROM saga_generations
    WHERE workflow_id = ANY(CAST(:deals AS text[]))
        AND {_OF_SYSTEM.format(column="split_part(workflow_id, '/', 2)")}
""")  # noqa: S608 - constants
_ENGAGEMENT = text("""
    SELECT DISTINCT 'engagement' AS kind, id, id AS engagement FROM engagements
    WHERE id = :system || '/' || :id
""")
_LINE = text("""
    SELECT DISTINCT 'line' AS kind, id || '/' || :line AS id, id AS engagement FROM engagements
    WHERE id = :contract
    UNION
    SELECT 'line', :contract || '/' || :line, :contract FROM saga_generations
    WHERE workflow_id = 'opportunity-to-project/' || :contract
""")
_CLIENT = text(f"""
    SELECT DISTINCT 'client' AS kind, client_id AS id, id AS engagement FROM engagements
    WHERE client_id = :id AND {_OF_SYSTEM.format(column="split_part(id, '/', 1)")}
    UNION
    SELECT 'client', :id, substr(workflow_id, 24) FROM shared_record_uses
    WHERE shared_key = ANY(CAST(:client_keys AS text[]))
        AND workflow_id LIKE 'opportunity-to-project/%'
        AND {_OF_SYSTEM.format(column="split_part(shared_key, '/', 2)")}
""")  # noqa: S608 - constants
_PROJECT = text(f"""
    SELECT DISTINCT 'project' AS kind, psa || '/' || project_id AS id, id AS engagement
    FROM engagements
    WHERE psa = ANY(ARRAY(SELECT DISTINCT psa FROM engagements)) AND project_id = :id
        AND {_OF_SYSTEM.format(column="psa")}
""")  # noqa: S608 - constants
_ERP = """
    SELECT DISTINCT {kind} AS kind, {id} AS id, engagement.id AS engagement
    FROM engagements AS engagement
    CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line
    WHERE engagement.lines @> jsonb_build_array(
            jsonb_build_object('{field}', CAST(:id AS text)))
        AND line ->> '{field}' = :id AND (:system = '' OR line ->> 'erp' = :system)
"""
_ERP_PROJECT = text(
    _ERP.format(kind="'erp_project'", id="(line ->> 'erp') || '/' || :id", field="erp_project_id")
)
_ERP_CLIENT = text(_ERP.format(kind="'client'", id="engagement.client_id", field="erp_client_id"))
_ENTRY = text(f"""
    {_SOURCES}
    SELECT DISTINCT ON (version.source, version.kind) version.kind,
        version.source || '/' || version.entry_id AS id, {_ENTRY_IN_FORCE} AS engagement,
        version.source || '/' || version.project_id AS project
    FROM sources JOIN entry_versions AS version ON version.source = sources.source
        AND version.kind = ANY(CAST(:kinds AS text[])) AND version.entry_id = :id
    WHERE {_OF_SYSTEM.format(column="version.source")}
    ORDER BY version.source, version.kind, version.standing = 'withdrawn', version.id DESC
""")  # noqa: S608 - constants
_TIMESHEET = text(f"""
    {_SOURCES}
    SELECT DISTINCT 'timesheet' AS kind, version.source || '/' || :id AS id,
        {_ENTRY_IN_FORCE} AS engagement, version.source || '/' || version.project_id AS project
    FROM sources JOIN entry_versions AS version ON version.source = sources.source
        AND version.submission_id = :id
    WHERE version.submission_id <> '' AND {_OF_SYSTEM.format(column="version.source")}
""")  # noqa: S608 - constants
_FEE = text("""
    SELECT DISTINCT source AS kind, item AS id, engagement FROM fees
    WHERE item = ANY(CASE WHEN :system <> '' THEN ARRAY[:system || '/' || :id]
        ELSE :id || ARRAY(SELECT DISTINCT psa || '/' || :id FROM engagements) END)
        AND (:source = '' OR source = :source)
""")
_DRAFT = text("""
    SELECT DISTINCT 'draft' AS kind, draft AS id, engagement FROM draft_lines
    WHERE draft = ANY(CAST(:drafts AS text[]))
""")
_INVOICE = text("""
    SELECT DISTINCT 'invoice' AS kind, invoice.connection || '/' || invoice.id AS id,
        line.engagement
    FROM invoices AS invoice JOIN draft_lines AS line ON line.draft = invoice.draft
    WHERE (invoice.id = :id OR invoice.number = :id)
        AND (:system = '' OR invoice.connection = :system)
""")
_CREDIT = text("""
    SELECT DISTINCT 'credit' AS kind, credit.id, line.engagement
    FROM credits AS credit
    JOIN invoices AS invoice ON invoice.connection = credit.connection
        AND invoice.id = credit.invoice
    JOIN draft_lines AS line ON line.draft = invoice.draft
    WHERE (credit.note_id = :id OR credit.note_number = :id OR credit.id = :id)
        AND (:system = '' OR credit.connection = :system)
    UNION
    SELECT 'credit', applied.connection || '/' || applied.application, line.engagement
    FROM invoice_applications AS applied
    JOIN invoices AS invoice ON invoice.connection = applied.connection
        AND invoice.id = applied.invoice
    JOIN draft_lines AS line ON line.draft = invoice.draft
    WHERE applied.application = :id AND applied.kind = 'credit'
        AND (:system = '' OR applied.connection = :system)
        AND NOT EXISTS (SELECT FROM credits AS credit WHERE credit.note_id = applied.application
            AND credit.connection = applied.connection)
""")
_PAYMENT = text("""
    SELECT DISTINCT 'payment' AS kind, applied.connection || '/' || applied.application AS id,
        line.engagement
    FROM invoice_applications AS applied
    JOIN invoices AS invoice ON invoice.connection = applied.connection
        AND invoice.id = applied.invoice
    JOIN draft_lines AS line ON line.draft = invoice.draft
    WHERE (applied.application = :id OR applied.reference = :id) AND applied.kind <> 'credit'
        AND (:system = '' OR applied.connection = :system)
""")
_MIRROR = text("""
    SELECT DISTINCT 'mirror' AS kind, mirror.psa || '/' || mirror.mirror AS id, line.engagement
    FROM invoice_mirrors AS mirror
    JOIN invoices AS invoice ON invoice.connection = mirror.connection
        AND invoice.id = mirror.invoice
    JOIN draft_lines AS line ON line.draft = invoice.draft
    WHERE mirror.mirror = :id AND (:system = '' OR mirror.psa = :system)
""")
_RUN_IN_FORCE = _IN_FORCE.format(of="run", psa="psa", on="CAST(run.period || '-01' AS date)")
_CHARGE = text(f"""
    SELECT 'charge' AS kind, posting.external_id AS id,
        coalesce(run.engagement, {_RUN_IN_FORCE}) AS engagement,
        run.psa || '/' || run.project_id AS project
    FROM postings AS posting JOIN billing_runs AS run USING (run_key)
    WHERE posting.external_id = :id AND posting.kind = 'charges'
""")  # noqa: S608 - constants
_CLIENT_PO = text("""
    SELECT 'client_po' AS kind, ordered.client_id || '/' || ordered.number AS id,
        engagement.id AS engagement
    FROM client_pos AS ordered JOIN engagements AS engagement USING (client_id)
    WHERE ordered.number = :id AND (:system = '' OR ordered.client_id = :system)
        AND engagement.lines @> jsonb_build_array(jsonb_build_object('client_po', ordered.number))
    UNION
    SELECT 'client_po', ordered.client_id || '/' || ordered.number, line.engagement
    FROM client_pos AS ordered
    JOIN drafts AS draft ON draft.client_id = ordered.client_id AND draft.client_po = ordered.number
    JOIN draft_lines AS line ON line.draft = draft.id
    WHERE ordered.number = :id AND (:system = '' OR ordered.client_id = :system)
""")
_RUN = text(f"""
    SELECT 'run' AS kind, run.run_key AS id,
        coalesce(run.engagement, {_RUN_IN_FORCE}) AS engagement,
        run.psa || '/' || run.project_id AS project
    FROM billing_runs AS run WHERE run.run_key = :id
        OR (run.psa = ANY(ARRAY(SELECT DISTINCT psa FROM engagements)) AND run.reservation = :id
            AND run.reservation <> '' AND (:system = '' OR run.psa = :system))
    UNION
    SELECT DISTINCT 'run', fee.run, fee.engagement, '' FROM fees AS fee WHERE fee.run = :id
""")  # noqa: S608 - constants
_WORK_ITEM = text("""
    SELECT 'work_item' AS kind, item.id, item.workflow_id, engagement.id AS engagement
    FROM work_items AS item
    LEFT JOIN engagements AS engagement
        ON engagement.client_id = CAST(item.item_json AS jsonb) ->> 'client_id'
    WHERE item.id = :id
""")
_SAGA = text("""
    SELECT 'saga' AS kind, workflow_id AS id, workflow_id FROM saga_generations
    WHERE workflow_id = :id OR (correlation_id = :id AND correlation_id <> '')
    ORDER BY workflow_id <> :id, opened_at
""")
# What a deal's saga made or uses in connected systems; of the parts that have no node of their
# own, the deal is told.
_RECORD = text("""
    WITH made AS (
        SELECT system || '/' || record_id AS id, substr(workflow_id, 24) AS deal, workflow_id,
            CASE WHEN record_type = 'client' THEN 'client'
                WHEN record_type = 'milestone' THEN 'milestone'
                WHEN step = 'provision_psa_project' THEN 'project'
                WHEN step = 'provision_erp_project' THEN 'erp_project' ELSE 'deal' END AS kind
        FROM cross_references
        WHERE record_id = :id AND (:system = '' OR system = :system)
            AND workflow_id LIKE 'opportunity-to-project/%'
            AND (record_type IN ('client', 'milestone', 'task')
                OR step IN ('provision_psa_project', 'provision_erp_project'))
    )
    SELECT DISTINCT made.kind, made.deal AS engagement, CASE made.kind
        WHEN 'deal' THEN made.deal
        WHEN 'client' THEN coalesce(
            (SELECT min(client_id) FROM engagements WHERE engagements.id = made.deal),
            (SELECT CAST(plan_json AS jsonb) ->> 'client_id' FROM saga_generations AS planned
                WHERE planned.workflow_id = made.workflow_id AND plan_json <> ''
                ORDER BY generation DESC LIMIT 1))
        ELSE made.id END AS id
    FROM made WHERE :kind = '' OR made.kind = :kind
""")

LOOKUPS: Final[Mapping[str, tuple[TextClause, ...]]] = {
    "deal": (_DEAL,),
    "engagement": (_ENGAGEMENT,),
    "line": (_LINE,),
    "client": (_CLIENT, _ERP_CLIENT),
    "project": (_PROJECT,),
    "erp_project": (_ERP_PROJECT,),
    "time": (_ENTRY,),
    "expense": (_ENTRY,),
    "adjustment": (_ENTRY,),
    "timesheet": (_TIMESHEET,),
    "milestone": (_FEE,),
    "schedule": (_FEE,),
    "run": (_RUN,),
    "charge": (_CHARGE,),
    "draft": (_DRAFT,),
    "invoice": (_INVOICE,),
    "mirror": (_MIRROR,),
    "payment": (_PAYMENT,),
    "credit": (_CREDIT,),
    "client_po": (_CLIENT_PO,),
    "work_item": (_WORK_ITEM,),
    "saga": (_SAGA,),
}
"""Statements that find each kind of thing by its id."""
ENTRY_KINDS: Final = ("time", "expense", "adjustment")
FEE_KINDS: Final = ("milestone", "schedule")
ANYTHING: Final = tuple(kind for kind in LOOKUPS if kind not in {"engagement", "line"})
"""Kinds that a bare id may be of: a contract and its line are called like their deal."""


class ThreadIds:
    """Finds what is called so; nothing here changes anything."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def called(
        self,
        id_: str,
        *,
        system: str = "",
        kind: str = "",
        full_ids: tuple[str, ...] = (),
        crms: tuple[str, ...] = (),
    ) -> tuple[Meaning, ...]:
        """Return everything that has this id, at one connection or at any, of one kind or any.

        `full_ids` are other ways to write the id of a deal; `crms` the CRM connections there are.
        """
        values = _values(id_, system, kind, full_ids, crms)
        kinds = [kind] if kind in LOOKUPS else [] if kind else list(ANYTHING)
        statements = dict.fromkeys(each for name in kinds for each in LOOKUPS[name])
        async with self._database.transaction() as session:
            found = [
                meaning
                for statement in (*statements, _RECORD)
                for meaning in await _meanings(session, statement, values)
            ]
        return tuple(found)


async def _meanings(
    session: AsyncConnection, statement: TextClause, values: Mapping[str, object]
) -> list[Meaning]:
    named = {name: values[name] for name in names_of(statement)}
    rows = await session.execute(statement, named)
    given = ({key: each for key, each in row._mapping.items() if each} for row in rows)
    return [Meaning.model_validate(each) for each in given if "id" in each]


def _values(
    id_: str, system: str, kind: str, full_ids: tuple[str, ...], crms: tuple[str, ...]
) -> dict[str, object]:
    ids = list(dict.fromkeys((id_, *full_ids)))
    contract, _, line = f"{system}/{id_}".rpartition("/")
    return {
        "id": id_,
        "system": system,
        "ids": ids,
        "deals": [
            f"opportunity-to-project/{crm}/{each}" for crm in {*crms, system} - {""} for each in ids
        ],
        "client_keys": [f"client/{crm}/{id_}" for crm in {*crms, system} - {""}],
        "kind": kind,
        "kinds": [kind] if kind in ENTRY_KINDS else list(ENTRY_KINDS),
        "source": kind if kind in FEE_KINDS else "",
        "drafts": [id_, f"invoice-draft/{id_}", f"invoice-draft/{system}/{id_}"],
        "contract": contract,
        "line": line,
    }
