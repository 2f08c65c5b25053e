"""Deals of the CRM compared with what their sagas wrote on them."""

from typing import Final

from store.reconciling_scope import insert, listed, shown

# A deal belongs to the legal entity that its project belongs to: the first of its plan.
_WRITTEN: Final = """
    written AS (
        SELECT wrote.workflow_id, wrote.generation, wrote.record_id AS deal, saga.state,
            psa.record_id AS project_id,
            coalesce(CAST(nullif(saga.plan_json, '') AS jsonb) ->> 'client_id', '') AS client_id
        FROM cross_references AS wrote
        JOIN saga_generations AS saga USING (workflow_id, generation)
        JOIN cross_references AS psa ON psa.workflow_id = wrote.workflow_id
            AND psa.generation = wrote.generation AND psa.step = 'provision_psa_project'
            AND psa.system = :psa AND psa.position = 0 AND psa.undone_at IS NULL
        WHERE wrote.system = :connection AND wrote.step = 'write_back' AND wrote.position = 0
            AND wrote.undone_at IS NULL AND wrote.outcome <> 'skipped'
            AND CAST(nullif(saga.plan_json, '') AS jsonb) -> 'legal_entities' ->> 0 = :entity
    ), made AS (
        SELECT written.deal, reference.system, reference.record_type, reference.record_id,
            CASE reference.step WHEN 'provision_client' THEN 'erp_client:'
                WHEN 'provision_erp_project' THEN 'erp_project:' ELSE 'psa_project:' END
                || reference.record_id AS noted
        FROM written JOIN cross_references AS reference
            ON reference.workflow_id = written.workflow_id
            AND reference.generation = written.generation AND reference.position = 0
            AND reference.undone_at IS NULL AND reference.outcome <> 'skipped'
            AND reference.step IN
                ('provision_client', 'provision_erp_project', 'provision_psa_project')
    )
"""
_THEIRS: Final = shown(
    ":connection", "'deal'", "theirs.id", note="array_to_string(theirs.links, ', ')"
)
_LACKING: Final = shown("made.system", "made.record_type", "made.record_id", note="made.noted")

LINKS: Final = insert(
    "deal",
    f"{_WRITTEN}, {listed('deal')}",
    f"""
        SELECT CASE WHEN strange.there THEN 'link_differs' ELSE 'link_missing' END, 'deal',
            theirs.id, written.client_id, written.project_id, CAST(NULL AS numeric), '',
            CASE WHEN written.state <> 'ended' THEN written.workflow_id || ' is under way' END,
            false, theirs.changed_at, jsonb_build_array({_THEIRS}) || lacking.rows
        FROM written JOIN theirs ON theirs.id = written.deal
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg({_LACKING} ORDER BY made.noted), '[]') AS rows
            FROM made WHERE made.deal = written.deal AND made.noted <> ALL (theirs.links)
        ) AS lacking
        CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM unnest(theirs.links) AS link WHERE link NOT IN
                (SELECT made.noted FROM made WHERE made.deal = written.deal)) AS there
        ) AS strange
        WHERE strange.there OR lacking.rows <> '[]'
    """,  # noqa: S608 - constants
)
"""Deals that do not name what was made for them any more, or name something else."""
