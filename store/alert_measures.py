"""What service-level rules measure, one statement each: what waits longer than until `:before`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import TextClause, text

from canonical.alerts import Measure, Waiting
from canonical.money import Money
from canonical.reconciliation import CONSERVATION
from store.database import AnyRow, Database

WAITING_MAX: Final = 10_000
"""Things that one measurement counts."""
TITLE_MAX: Final = 200

# A deal of several legal entities waits at each of them.
_TIME_TO_PROJECT = """
    SELECT saga.workflow_id AS subject, coalesce(entity, '') AS entity,
        coalesce(plan ->> 'title', '') AS title, saga.workflow_id, saga.opened_at AS since,
        CAST(NULL AS numeric) AS amount, '' AS currency
    FROM saga_generations AS saga
    CROSS JOIN LATERAL (
        SELECT CAST(CASE saga.plan_json WHEN '' THEN '{}' ELSE saga.plan_json END AS jsonb)
    ) AS planned (plan)
    LEFT JOIN LATERAL jsonb_array_elements_text(coalesce(plan -> 'legal_entities', '[]'))
        AS entity ON true
    WHERE saga.saga = 'OpportunityToProject' AND saga.state <> 'ended'
        AND saga.opened_at < :before
"""

# Not handed over yet, or handed over and on no issued invoice.
_TIME_UNBILLED = """
    WITH unbilled AS (
        SELECT version.source, version.project_id, version.approved_at, rated.legal_entity,
            coalesce(rated.amount, version.amount) AS amount,
            coalesce(rated.currency, version.currency) AS currency
        FROM entry_versions AS version
        LEFT JOIN LATERAL (SELECT legal_entity, amount, currency FROM ratings
            WHERE ratings.entry = version.id ORDER BY cycle DESC LIMIT 1) AS rated ON true
        WHERE version.standing = 'live' AND version.billable AND version.handed_over_at IS NULL
            AND version.approved_at < :before
        UNION ALL
        SELECT version.source, version.project_id, version.approved_at, rating.legal_entity,
            part.amount, part.currency
        FROM parts AS part JOIN entry_versions AS version ON version.id = part.entry
        JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
        WHERE part.disposition = 'to_bill' AND part.state IN ('placed', 'drafted', 'released')
            AND version.handed_over_at IS NOT NULL AND version.approved_at < :before
    ), placed AS (
        SELECT unbilled.*, coalesce(unbilled.legal_entity, engaged.entity, '') AS entity,
            coalesce(engaged.title, '') AS title
        FROM unbilled LEFT JOIN (
            SELECT DISTINCT ON (psa, project_id) psa, project_id, title,
                lines -> 0 ->> 'legal_entity' AS entity
            FROM engagements ORDER BY psa, project_id, effective_from DESC
        ) AS engaged ON engaged.psa = source AND engaged.project_id = unbilled.project_id
    )
    SELECT source || '/' || project_id AS subject, entity, max(title) AS title,
        '' AS workflow_id, min(approved_at) AS since, sum(amount) AS amount, currency
    FROM placed GROUP BY source, project_id, entity, currency
"""

_DRAFT_IN_REVIEW = """
    SELECT id AS subject, legal_entity AS entity, '' AS title, id AS workflow_id,
        review_until AS since, gross AS amount, currency
    FROM drafts WHERE state = 'in_review' AND review_until < :before
"""

_INBOX_WAITING = """
    SELECT connection AS subject, '' AS entity, count(*) || ' events' AS title,
        '' AS workflow_id, min(received_at) AS since, CAST(NULL AS numeric) AS amount,
        '' AS currency
    FROM event_inbox WHERE state = 'received' AND received_at < :before GROUP BY connection
"""

_CONSERVATION = f"""
    SELECT 'F' || id AS subject, legal_entity AS entity, code AS title, '' AS workflow_id,
        first_seen_at AS since, amount, currency
    FROM reconciliation_findings
    WHERE comparison = '{CONSERVATION}' AND closed_at IS NULL AND first_seen_at < :before
"""  # noqa: S608 - a constant


def _work_items(since: str, kind: str = "") -> str:
    """Return the statement over open work items; one of several legal entities waits at each."""
    only = f"AND kind = '{kind}'" if kind else ""
    return f"""
    SELECT id AS subject, coalesce(entity, '') AS entity,
        coalesce(CAST(item_json AS jsonb) ->> 'title', '') AS title, workflow_id,
        {since} AS since, amount, coalesce(currency, '') AS currency
    FROM work_items LEFT JOIN LATERAL unnest(legal_entities) AS entity ON true
    WHERE state = 'open' {only} AND {since} < :before
    """  # noqa: S608 - constants


def _oldest(measured: str) -> TextClause:
    return text(f"SELECT * FROM ({measured}) AS waiting ORDER BY since, subject LIMIT :limit")  # noqa: S608


MEASURES: Final[Mapping[Measure, TextClause]] = {
    Measure.TIME_TO_PROJECT: _oldest(_TIME_TO_PROJECT),
    Measure.APPROVED_TIME_UNBILLED: _oldest(_TIME_UNBILLED),
    Measure.DRAFT_IN_REVIEW: _oldest(_DRAFT_IN_REVIEW),
    Measure.WORK_OVERDUE: _oldest(_work_items("respond_by")),
    Measure.INBOX_WAITING: _oldest(_INBOX_WAITING),
    Measure.DEAD_LETTER: _oldest(_work_items("opened_at", "dead_letter")),
    Measure.STUCK_RUN: _oldest(_work_items("opened_at", "stuck")),
    Measure.CONSERVATION_BREAK: _oldest(_CONSERVATION),
}


class AlertMeasures:
    """Finds what waits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, measure: Measure, before: datetime) -> tuple[Waiting, ...]:
        """Return what has waited since before a moment, the longest first."""
        values = {"before": before, "limit": WAITING_MAX}
        return tuple(_waiting(row) for row in await self._database.rows(MEASURES[measure], values))


def _waiting(row: AnyRow) -> Waiting:
    known = dict(row._mapping)
    amount, currency = known.pop("amount"), known.pop("currency")
    title = str(known["title"])[:TITLE_MAX]
    money = Money.rounded(amount, currency) if amount is not None and currency else None
    return Waiting.model_validate({**known, "title": title, "amount": money})
