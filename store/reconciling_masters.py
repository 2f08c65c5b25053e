"""Clients and projects of a system compared with those that contracts and sagas name."""

from typing import Final

from store.reconciling_scope import CLIENTS, ERP_PROJECTS, PROJECTS, both, insert, listed, shown

_ROW: Final = shown(":connection", "'{type}'", "theirs.id", "theirs.state", note="theirs.number")

# A merge deletes one of two customers, and its projects name the other one: so it is told.
_INTO: Final = """
    of_clients AS (
        SELECT line.document ->> 'erp_client_id' AS client, line.document ->> 'erp_project_id' AS id
        FROM engagements AS engagement
        CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line(document)
        WHERE engagement.psa = :psa AND line.document ->> 'erp' = :connection
        UNION
        SELECT made.record_id, project.record_id FROM cross_references AS made
        JOIN cross_references AS project ON project.workflow_id = made.workflow_id
            AND project.generation = made.generation AND project.step = 'provision_erp_project'
            AND project.system = made.system AND project.position = 0
        WHERE made.system = :connection AND made.record_type = 'client' AND made.position = 0
    ), merged AS (
        SELECT of_clients.client, min(project.client_id) AS into_id FROM of_clients
        JOIN reconciliation_rows AS project ON project.run = :run
            AND project.connection = :connection AND project.kind = 'project'
            AND project.id = of_clients.id
        WHERE project.client_id NOT IN ('', of_clients.client) GROUP BY of_clients.client
    )
"""

CLIENTS_THERE: Final = insert(
    "client",
    f"{PROJECTS}, {CLIENTS}, {listed('client')}, {_INTO}",
    f"""
        SELECT CASE WHEN theirs.id IS NOT NULL THEN 'client_inactive'
                WHEN merged.into_id IS NOT NULL THEN 'client_merged' ELSE 'client_missing' END,
            'client', client.id, client.client_id, '', CAST(NULL AS numeric), '', '', false,
            theirs.changed_at,
            {
        both(
            ("theirs.id IS NOT NULL", _ROW.format(type="client")),
            (
                "merged.into_id IS NOT NULL",
                shown(":connection", "'client'", "merged.into_id", note="'has its projects now'"),
            ),
            (
                "true",
                shown(
                    "'dealthread'", "'client'", "coalesce(nullif(client.client_id, ''), client.id)"
                ),
            ),
        )
    }
        FROM clients AS client LEFT JOIN theirs ON theirs.id = client.id
        LEFT JOIN merged ON merged.client = client.id
        WHERE theirs.id IS NULL OR theirs.state = 'inactive'
    """,  # noqa: S608 - constants
)
"""Clients that are gone, merged into others, or inactive."""

# Both by equality: every project beside every other would be too many pairs.
_TWINS: Final = """
    twins AS (
        SELECT own.id AS own, noting.id AS other FROM erp_projects AS own
        JOIN (SELECT id, unnest(links) AS noted FROM theirs) AS noting
            ON noting.noted = own.project_id
        UNION
        SELECT own.id, named.id FROM erp_projects AS own JOIN theirs AS its ON its.id = own.id
        JOIN theirs AS named ON lower(named.number) = lower(its.number)
            AND named.client_id = its.client_id
    )
"""

ERP_PROJECTS_THERE: Final = insert(
    "project",
    f"{ERP_PROJECTS}, {listed('project')}, {_TWINS}",
    f"""
        SELECT 'project_missing', 'project', own.id, own.client_id, own.project_id,
            CAST(NULL AS numeric), '', '', false, CAST(NULL AS timestamptz),
            jsonb_build_array({shown("'dealthread'", "'project'", "own.project_id")})
        FROM erp_projects AS own LEFT JOIN theirs ON theirs.id = own.id WHERE theirs.id IS NULL
        UNION ALL
        SELECT 'duplicate_project', 'project', other.id, own.client_id, own.project_id, NULL, '',
            '', false, other.changed_at, jsonb_build_array({
        shown(":connection", "'project'", "other.id", "other.state", note="other.number")
    }, {_ROW.format(type="project")})
        FROM erp_projects AS own JOIN theirs ON theirs.id = own.id
        JOIN twins ON twins.own = own.id JOIN theirs AS other ON other.id = twins.other
        LEFT JOIN erp_projects AS twin ON twin.id = other.id
        WHERE other.id <> own.id AND twin.id IS NULL AND other.state <> 'inactive'
    """,  # noqa: S608 - constants
)
"""Projects that are gone, and second ones for the same work."""

PSA_PROJECTS_THERE: Final = insert(
    "project",
    f"{PROJECTS}, {listed('project')}",
    f"""
        SELECT 'project_missing', 'project', own.project_id, own.client_id, own.project_id, NULL,
            '', '', false, CAST(NULL AS timestamptz),
            jsonb_build_array({shown("'dealthread'", "'project'", "own.project_id")})
        FROM projects AS own LEFT JOIN theirs ON theirs.id = own.project_id
        WHERE theirs.id IS NULL
    """,  # noqa: S608 - constants
)
"""Projects that contracts bill, or deals provisioned, and that are gone."""


def _links(step: str, record_step: str, projects: str, own: str) -> str:
    """Return the projects that lack an id which a saga wrote on them."""
    return insert(
        "project",
        f"{projects}, {listed('project')}",
        f"""
            SELECT 'link_missing', 'project', theirs.id, own.client_id, own.project_id, NULL, '',
                CASE WHEN saga.state <> 'ended' THEN saga.workflow_id || ' is under way' END,
                false, theirs.changed_at, jsonb_build_array({_ROW.format(type="project")}, {
            shown(
                "counterpart.system", "'project'", "counterpart.record_id", note="'not noted there'"
            )
        })
            FROM cross_references AS linked
            JOIN saga_generations AS saga USING (workflow_id, generation)
            JOIN theirs ON theirs.id = linked.record_id
            JOIN {own}
            JOIN cross_references AS counterpart ON counterpart.workflow_id = linked.workflow_id
                AND counterpart.generation = linked.generation AND counterpart.position = 0
                AND counterpart.step = '{record_step}' AND counterpart.undone_at IS NULL
            WHERE linked.system = :connection AND linked.step = '{step}' AND linked.position = 0
                AND linked.undone_at IS NULL AND linked.outcome <> 'skipped'
                AND NOT theirs.links && ARRAY[counterpart.record_id,
                    counterpart.system || ':' || counterpart.record_id]
        """,  # noqa: S608 - constants
    )


ERP_LINKS: Final = _links(
    "link_erp_project",
    "provision_psa_project",
    ERP_PROJECTS,
    "erp_projects AS own ON own.id = theirs.id",
)
"""Projects of the ERP on which the PSA's id is not noted any more."""
PSA_LINKS: Final = _links(
    "link_psa_project",
    "provision_erp_project",
    PROJECTS,
    "projects AS own ON own.project_id = theirs.id",
)
"""Projects of the PSA on which an id of the ERP is not noted any more."""
