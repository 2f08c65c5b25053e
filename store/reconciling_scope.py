"""What every comparison of reconciliation shares: whose projects they are, and how a row is shown.

A comparison is one `INSERT … SELECT` from what was listed and from what the store knows, so that no
row comes to Python that agrees. All take the same values: `run`, `psa`, `connection`, `entity`,
`subsidiary`, `since`, `until`, `month`.
"""

import re
from collections.abc import Mapping
from typing import Final

ROWS_MAX: Final = 20
"""Rows that one finding names; how many more there are, it says."""
OURS: Final = "dt-"
"""How every external id of Dealthread begins (`canonical.ids.external_id`)."""

PROJECTS: Final = """
    latest AS (
        SELECT DISTINCT ON (project_id) project_id, client_id, lines -> 0 ->> 'legal_entity' AS home
        FROM engagements WHERE psa = :psa ORDER BY project_id, effective_from DESC
    ), projects AS (
        SELECT project_id, client_id FROM latest WHERE home = :entity
        UNION ALL
        SELECT made.record_id, coalesce(plan.document ->> 'client_id', '')
        FROM cross_references AS made
        JOIN saga_generations AS saga USING (workflow_id, generation)
        CROSS JOIN LATERAL (
            SELECT CASE saga.plan_json WHEN '' THEN NULL ELSE CAST(saga.plan_json AS jsonb) END
                AS document
        ) AS plan
        WHERE made.system = :psa AND made.step = 'provision_psa_project'
            AND made.undone_at IS NULL AND plan.document -> 'legal_entities' ->> 0 = :entity
            AND NOT EXISTS (SELECT FROM latest WHERE latest.project_id = made.record_id)
    )
"""
"""The PSA's projects of the legal entity, with their clients: the first line of a contract says
whose it is, or the deal that provisioned a project which nothing was billed of yet."""

ERP_PROJECTS: Final = """
    erp_projects AS (
        SELECT line.document ->> 'erp_project_id' AS id, min(engagement.project_id) AS project_id,
            min(engagement.client_id) AS client_id
        FROM engagements AS engagement
        CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line(document)
        WHERE engagement.psa = :psa AND line.document ->> 'erp' = :connection
            AND line.document ->> 'legal_entity' = :entity
            AND coalesce(line.document ->> 'erp_project_id', '') <> ''
        GROUP BY 1
        UNION
        SELECT made.record_id, psa.record_id, ''
        FROM cross_references AS made
        JOIN cross_references AS psa ON psa.workflow_id = made.workflow_id
            AND psa.generation = made.generation AND psa.step = 'provision_psa_project'
            AND psa.system = :psa AND psa.undone_at IS NULL AND psa.position = 0
        WHERE made.system = :connection AND made.step = 'provision_erp_project'
            AND right(made.key, length(:entity) + 1) = ':' || :entity
            AND made.position = 0 AND made.undone_at IS NULL
            AND NOT EXISTS (SELECT FROM engagements
                WHERE engagements.psa = :psa AND engagements.project_id = psa.record_id)
    )
"""
"""The ERP's projects of the legal entity, each with the PSA's."""

CLIENTS: Final = """
    clients AS (
        SELECT id, max(client_id) AS client_id FROM (
            SELECT line.document ->> 'erp_client_id' AS id, engagement.client_id
            FROM engagements AS engagement
            CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line(document)
            WHERE engagement.psa = :psa AND line.document ->> 'erp' = :connection
                AND line.document ->> 'legal_entity' = :entity
            UNION ALL
            SELECT made.record_id, '' FROM cross_references AS made
            WHERE made.system = :connection AND made.record_type = 'client'
                AND made.undone_at IS NULL AND made.position = 0
                AND (right(made.key, length(:entity) + 1) = ':' || :entity
                    OR starts_with(made.workflow_id, 'invoice-posting/' || :entity || '/')
                    OR :connection = :psa AND EXISTS (SELECT FROM cross_references AS psa
                        JOIN projects ON projects.project_id = psa.record_id
                        WHERE psa.workflow_id = made.workflow_id
                            AND psa.step = 'provision_psa_project'))
        ) AS known WHERE coalesce(id, '') <> '' GROUP BY id
    )
"""
"""The system's clients that the legal entity sells to, as contracts and sagas name them."""

TYPES: Final[Mapping[str, str]] = {"run": "bigint", "since": "date", "until": "date"}
"""Of the values that are no text: the server can't tell by itself everywhere."""
_VALUE: Final = re.compile(r"(?<![:\w]):([a-z]+)\b")
_COLUMNS: Final = (
    "code, record_type, record_id, client_id, project_id, amount, currency, under_way, waits, "
    "changed_at, rows"
)


def insert(kind: str, ctes: str, select: str) -> str:
    """Return a comparison: what `select` comes to is put down as candidates of the run.

    `select` gives code, record type and id, client, project, amount, currency, what is under way,
    whether a work item waits, when it changed, and the rows behind it.
    """
    statement = f"""
        WITH {ctes}, found ({_COLUMNS}) AS ({select})
        INSERT INTO reconciliation_candidates (run, connection, kind, {_COLUMNS})
        SELECT :run, :connection, '{kind}', code, record_type, record_id, coalesce(client_id, ''),
            coalesce(project_id, ''), CAST(amount AS numeric), coalesce(currency, ''),
            coalesce(under_way, ''), coalesce(waits, false), CAST(changed_at AS timestamptz), rows
        FROM found
    """  # noqa: S608 - constants
    return _VALUE.sub(
        lambda found: f"CAST(:{found[1]} AS {TYPES.get(found[1], 'text')})", statement
    )


def listed(kind: str, more: str = "") -> str:
    """Return the rows of the run's own system and a kind, as `theirs`."""
    return f"""
        theirs AS (
            SELECT * FROM reconciliation_rows
            WHERE run = :run AND connection = :connection AND kind = '{kind}' {more}
        )
    """  # noqa: S608 - constants


def shown(
    system: str,
    type_: str,
    id_: str,
    state: str = "''",
    amount: str = "NULL",
    currency: str = "''",
    note: str = "''",
) -> str:
    """Return a row behind a finding, made of SQL expressions; see `canonical` FoundRow."""
    return (
        f"jsonb_build_object('system', {system}, 'type', {type_}, 'id', {id_}, "
        f"'state', coalesce({state}, ''), 'amount', CAST({amount} AS text), "
        f"'currency', coalesce({currency}, ''), 'note', coalesce({note}, ''))"
    )


def both(*rows: tuple[str, str]) -> str:
    """Return the rows that are there: each with the expression that says so."""
    shown_ = ", ".join(f"CASE WHEN {there} THEN {row} END" for there, row in rows)
    return f"to_jsonb(array_remove(ARRAY[{shown_}], NULL))"


def first(row: str, order: str) -> str:
    """Return the first rows of a group, and how many more there are."""
    more = shown("''", "'more'", f"CAST(count(*) - {ROWS_MAX} AS text)")
    return (
        f"to_jsonb((array_agg({row} ORDER BY {order}))[1:{ROWS_MAX}] || "
        f"CASE WHEN count(*) > {ROWS_MAX} THEN ARRAY[{more}] ELSE ARRAY[]::jsonb[] END)"
    )
