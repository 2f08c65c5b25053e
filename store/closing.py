"""What keeps a legal entity's period from being closed, worked out of the store as it is.

Every amount that is to be billed and is on no invoice stands in one line alone: on a draft, held,
deferred, or free to be drafted.
"""

from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import text

from canonical.kpis import Blocker, CloseLine
from canonical.money import Money
from store.database import AnyRow, Database
from store.kpis import ROOM

_POSTING_STEPS: Final = """
    'prepare_postings', 'post_charges', 'post_costs', 'check_postings', 'ready_charges',
    'draft_invoice', 'post_invoice', 'issue_invoice', 'read_back', 'issue_credit', 'note_credit'
"""

# Whose line a fee is, is said by the contract alone: by its latest version.
_CONTRACTS: Final = """
    contract_lines AS (
        SELECT DISTINCT ON (engagement.id, line ->> 'ref') engagement.id AS engagement,
            line ->> 'ref' AS line, line ->> 'legal_entity' AS legal_entity
        FROM engagements AS engagement
        CROSS JOIN LATERAL jsonb_array_elements(engagement.lines) AS line
        ORDER BY engagement.id, line ->> 'ref', engagement.effective_from DESC
    ), engaged AS (
        SELECT DISTINCT ON (psa, project_id) psa, project_id, client_id,
            ARRAY(SELECT line ->> 'legal_entity' FROM jsonb_array_elements(lines) AS line)
                AS entities
        FROM engagements ORDER BY psa, project_id, effective_from DESC
    ), held AS (
        SELECT DISTINCT source, kind, entry_id FROM holds WHERE released_at IS NULL
    ), aside AS (
        SELECT part, fee, max(kind) AS kind FROM set_asides
        WHERE kind = 'written_off' OR until > CAST(:as_of AS date) GROUP BY part, fee
    )
"""

_STANDS: Final = """
    CASE WHEN due.state = 'released' THEN 'posting'
        WHEN draft.state IN ('in_review', 'queued') THEN draft.state
        WHEN due.held THEN 'held'
        WHEN due.aside = 'deferred' THEN 'deferred'
        ELSE 'unbilled' END
"""
_ENTRIES: Final = """
    SELECT part.state, part.amount - coalesce(member.written_down, 0) AS amount, part.currency,
        version.service_date AS day, version.source AS psa, version.project_id,
        coalesce(run.client_id, '') AS client_id, held.entry_id IS NOT NULL AS held,
        member.draft, aside.kind AS aside
    FROM parts AS part
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    JOIN billing_runs AS run ON run.run_key = rating.run_key
    JOIN entry_versions AS version ON version.id = part.entry AND version.standing = 'live'
    LEFT JOIN held ON held.source = version.source AND held.kind = version.kind
        AND held.entry_id = version.entry_id
    LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
    LEFT JOIN aside ON aside.part = part.id
    WHERE part.disposition = 'to_bill' AND part.state NOT IN ('invoiced', 'credited')
        AND rating.legal_entity = :entity AND version.service_date <= :last
"""

_FEES: Final = """
    SELECT fee.state, fee.amount - coalesce(member.written_down, 0), fee.currency,
        CAST(CAST(fee.document AS jsonb) ->> 'on' AS date), fee.psa, fee.project_id, fee.client_id,
        fee.held <> '' OR fee.withdrawn <> '', member.draft, aside.kind
    FROM fees AS fee JOIN contract_lines AS line USING (engagement, line)
    LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
    LEFT JOIN aside ON aside.fee = fee.id
    WHERE fee.state IN ('reserved', 'handed_over', 'drafted', 'released')
        AND line.legal_entity = :entity AND fee.period <= :period
"""

# What was set aside counts only while it is on no draft again.
_TO_BILL: Final = f"""
    SELECT {_STANDS} AS what, due.psa, due.project_id, due.client_id, due.currency, due.amount,
        CAST(:as_of AS date) - due.day AS age, 0 AS minutes
    FROM ({_ENTRIES} UNION ALL {_FEES}) AS due
    LEFT JOIN drafts AS draft ON draft.id = due.draft
    WHERE due.draft IS NOT NULL OR due.aside IS DISTINCT FROM 'written_off'
"""  # noqa: S608 - constants

# Of a project without a contract nobody can say whose it is: it keeps everybody from closing.
_UNPRICED: Final = """
    SELECT CASE WHEN held.entry_id IS NULL THEN 'unpriced' ELSE 'held' END, version.source,
        version.project_id, coalesce(engaged.client_id, ''),
        CASE WHEN version.amount IS NULL THEN '' ELSE version.currency END, version.amount,
        CAST(NULL AS integer), coalesce(version.minutes, 0)
    FROM entry_versions AS version
    LEFT JOIN engaged ON engaged.psa = version.source AND engaged.project_id = version.project_id
    LEFT JOIN held ON held.source = version.source AND held.kind = version.kind
        AND held.entry_id = version.entry_id
    WHERE version.standing = 'live' AND version.state <> 'placed'
        AND version.service_date <= :last
        AND (engaged.entities IS NULL OR :entity = ANY(engaged.entities))
"""

_COSTS: Final = """
    SELECT 'costs_pending', version.source, version.project_id, coalesce(run.client_id, ''),
        cost.currency, cost.amount, NULL, 0
    FROM cost_track AS cost
    JOIN entry_versions AS version ON version.id = cost.entry
    JOIN billing_runs AS run ON run.run_key = cost.run_key
    WHERE cost.state = 'pending' AND cost.legal_entity = :entity AND version.service_date <= :last
"""

_POSTINGS: Final = f"""
    SELECT 'unmatched_posting', '', item.project_code, item.client_id, coalesce(item.currency, ''),
        item.amount, NULL, 0
    FROM work_items AS item
    WHERE item.state = 'open' AND item.kind IN ('step', 'undo') AND item.step IN ({_POSTING_STEPS})
        AND :entity = ANY(item.legal_entities)
    UNION ALL
    SELECT 'unmatched_posting', '', coalesce(plan ->> 'project_code', ''),
        coalesce(plan ->> 'client_id', ''), '', NULL, NULL, 0
    FROM (
        SELECT key, workflow_id, generation, step FROM step_ledger
        WHERE state IN ('claimed', 'unknown', 'done') AND undone_at IS NULL
            AND step IN ({_POSTING_STEPS})
        GROUP BY key, workflow_id, generation, step HAVING bool_and(state = 'unknown')
    ) AS unanswered
    JOIN saga_generations AS saga USING (workflow_id, generation)
    CROSS JOIN LATERAL (
        SELECT CAST(CASE saga.plan_json WHEN '' THEN '{{}}' ELSE saga.plan_json END AS jsonb)
    ) AS planned (plan)
    WHERE plan -> 'legal_entities' @> to_jsonb(CAST(:entity AS text))
        AND NOT EXISTS (SELECT FROM work_items AS item WHERE item.state = 'open'
            AND item.workflow_id = unanswered.workflow_id AND item.step = unanswered.step)
"""  # noqa: S608 - constants

_FINDINGS: Final = """
    SELECT 'finding', finding.psa, finding.project_id, finding.client_id, finding.currency,
        CASE WHEN finding.currency <> '' THEN abs(finding.amount) END, NULL, 0
    FROM reconciliation_findings AS finding
    WHERE finding.closed_at IS NULL AND finding.class <> 'timing_gap'
        AND finding.legal_entity = :entity AND finding.period <= :period
    UNION ALL
    SELECT 'finding', finding.source, finding.project_id, engaged.client_id, '', NULL, NULL, 0
    FROM findings AS finding
    JOIN engaged ON engaged.psa = finding.source AND engaged.project_id = finding.project_id
    WHERE finding.closed_at IS NULL AND :entity = ANY(engaged.entities)
"""


def _of_age(condition: str) -> str:
    return f"coalesce(sum(amount) FILTER (WHERE age {condition}), 0)"


_CLOSE = text(f"""
    WITH {_CONTRACTS}, blocking AS (
        {_TO_BILL} UNION ALL {_UNPRICED} UNION ALL {_COSTS} UNION ALL {_POSTINGS}
        UNION ALL {_FINDINGS}
    )
    SELECT what, coalesce(lead.email, '') AS lead, client_id, currency, count(*) AS pieces,
        sum(minutes) AS minutes, sum(amount) AS amount, bool_or(age IS NOT NULL) AS aged,
        {_of_age("<= 30")} AS days_30, {_of_age("BETWEEN 31 AND 60")} AS days_60,
        {_of_age("BETWEEN 61 AND 90")} AS days_90, {_of_age("> 90")} AS older
    FROM blocking
    LEFT JOIN project_leads AS lead ON lead.psa = blocking.psa
        AND lead.project_id = blocking.project_id
    GROUP BY what, lead, client_id, currency ORDER BY what, lead, client_id, currency
""")  # noqa: S608 - constants


class Closing:
    """Reads what blocks a close."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def blockers(
        self, legal_entity: str, period: str, *, last: date, as_of: date
    ) -> tuple[CloseLine, ...]:
        """Return what blocks, in the order in which work goes its way.

        Args:
            legal_entity: whose books.
            period: the billing period, as `2026-11`.
            last: its last day: later work does not count.
            as_of: up to when ages are counted, and what is deferred beyond it stays so.
        """
        values = {"entity": legal_entity, "period": period, "last": last, "as_of": as_of}
        async with self._database.transaction() as session:
            await session.execute(ROOM)
            rows = (await session.execute(_CLOSE, values)).all()
        order = list(Blocker)
        return tuple(sorted(map(_line, rows), key=lambda line: order.index(line.what)))


def _line(row: AnyRow) -> CloseLine:
    def money(amount: Decimal) -> Decimal:
        return Money.rounded(amount, row.currency).amount

    return CloseLine(
        what=Blocker(row.what),
        lead=row.lead,
        client_id=row.client_id,
        currency=row.currency,
        count=row.pieces,
        minutes=row.minutes or 0,
        amount=None if row.amount is None else money(row.amount),
        ages=(
            (money(row.days_30), money(row.days_60), money(row.days_90), money(row.older))
            if row.aged
            else None
        ),
    )
