"""The worklist: all that waits for people in one list, and who sees to what (DESIGN 3.6, 5, 8).

Work items have rows of their own. Held entries and fees are grouped by project, reason and
currency as they are held, and residue is read off the sagas that ended with it: none of it is
copied, so it leaves the list by itself when its cause goes.
"""

from typing import Final

from sqlalchemy import TextClause, text

from canonical.money import Money
from canonical.saga import SagaResult, WorkItem, WorkItemKind
from canonical.worklist import (
    COMMENT_MAX,
    COMMENTS_MAX,
    HELD_ID,
    RESIDUE_ID,
    Cluster,
    Comment,
    Work,
    WorkFilter,
    WorkSort,
)
from store.audit import audit_data
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound
from store.models import REASON_MAX

PLAN_MONEY: Final = r"^-?[0-9,]+(\.[0-9]+)? [A-Z]{3}$"
"""How plans show amounts (`str(Money)`): `1,234.50 USD`."""

# An entry that is held for two reasons waits in both groups.
_HELD = f"""
    held_lines AS (
        SELECT version.source, version.project_id, hold.reason, hold.since, hold.because,
            coalesce(rated.currency, version.currency) AS currency,
            coalesce(rated.amount, version.amount) AS amount
        FROM holds AS hold JOIN entry_versions AS version ON version.source = hold.source
            AND version.kind = hold.kind AND version.entry_id = hold.entry_id
            AND version.standing = 'live'
        LEFT JOIN LATERAL (SELECT amount, currency FROM ratings WHERE ratings.entry = version.id
            ORDER BY cycle DESC LIMIT 1) AS rated ON true
        WHERE hold.released_at IS NULL
        UNION ALL
        SELECT psa, project_id, 'by_hand', moved_at, held, currency, amount
        FROM fees WHERE held <> ''
    ), held_groups AS (
        SELECT '{HELD_ID}' || substr(md5(concat_ws('/', source, project_id, reason, currency)), 1,
                16) AS id,
            source, project_id, reason, currency, count(*) AS entries, sum(amount) AS amount,
            min(since) AS since, (array_agg(because ORDER BY since))[1] AS because
        FROM held_lines GROUP BY source, project_id, reason, currency
    )
"""  # noqa: S608 - constants

_RESIDUE = rf"""
    SELECT '{RESIDUE_ID}' || substr(md5(ended.workflow_id || '/' || ended.generation), 1, 16) AS id,
        'residue' AS kind, ended.workflow_id, ended.generation, 0 AS park, '' AS step,
        ended.outcome AS reason, '' AS connection, coalesce(plan ->> 'client_id', '') AS client_id,
        coalesce(plan ->> 'project_code', '') AS project_code,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(plan -> 'legal_entities', '[]')))
            AS legal_entities,
        CASE WHEN plan ->> 'amount' ~ '{PLAN_MONEY}'
            THEN CAST(replace(split_part(plan ->> 'amount', ' ', 1), ',', '') AS numeric) END
            AS amount,
        CASE WHEN plan ->> 'amount' ~ '{PLAN_MONEY}'
            THEN split_part(plan ->> 'amount', ' ', 2) END AS currency,
        coalesce(plan ->> 'title', '') AS title, 1 AS entries, ended.ended_at AS opened_at,
        ended.ended_at + make_interval(secs => :respond_seconds) AS respond_by,
        false AS escalated, '' AS because
    FROM saga_generations AS ended
    CROSS JOIN LATERAL (
        SELECT CAST(CASE ended.plan_json WHEN '' THEN '{{}}' ELSE ended.plan_json END AS jsonb)
    ) AS planned (plan)
    WHERE ended.outcome IN ('rolled_back_with_residue', 'completed_with_residue')
        AND NOT EXISTS (SELECT FROM acknowledged_residue AS seen
            WHERE seen.workflow_id = ended.workflow_id AND seen.generation = ended.generation)
"""  # noqa: S608 - constants

_WORK = f"""
    WITH {_HELD}, work AS (
        SELECT id, kind, workflow_id, generation, park, step, reason, connection, client_id,
            project_code, legal_entities, amount, currency, '' AS title, 1 AS entries, opened_at,
            respond_by, escalated_at IS NOT NULL AS escalated, '' AS because
        FROM work_items WHERE state = 'open'
        UNION ALL
        SELECT held.id, 'held', '', 0, 0, '', held.reason, held.source,
            coalesce(engaged.client_id, ''), held.project_id,
            ARRAY(SELECT DISTINCT line ->> 'legal_entity'
                FROM jsonb_array_elements(coalesce(engaged.lines, '[]')) AS line ORDER BY 1),
            held.amount, CASE WHEN held.amount IS NOT NULL THEN held.currency END,
            coalesce(engaged.title, ''), held.entries, held.since,
            held.since + make_interval(secs => :hold_seconds), false, held.because
        FROM held_groups AS held
        LEFT JOIN LATERAL (SELECT client_id, title, lines FROM engagements
            WHERE psa = held.source AND project_id = held.project_id
            ORDER BY effective_from DESC LIMIT 1) AS engaged ON true
        UNION ALL
        {_RESIDUE}
    )
"""  # noqa: S608 - constants

_MATCHES = """
    FROM work LEFT JOIN work_owners AS assigned ON assigned.work_id = work.id
    WHERE (CAST(:id AS text) = '' OR work.id = :id)
        AND (cardinality(CAST(:kinds AS text[])) = 0 OR kind = ANY(CAST(:kinds AS text[])))
        AND (CAST(:reason AS text) = '' OR reason = :reason)
        AND (CAST(:connection AS text) = '' OR connection = :connection)
        AND (CAST(:client_id AS text) = '' OR client_id = :client_id)
        AND (CAST(:project_code AS text) = '' OR project_code = :project_code)
        AND (CAST(:legal_entity AS text) = '' OR :legal_entity = ANY(legal_entities))
        AND (CAST(:owner AS text) = '' OR assigned.owner = :owner)
        AND (NOT :unowned OR assigned.owner IS NULL)
        AND (NOT :overdue OR respond_by < now())
"""


def _list(rank: str, order: str) -> TextClause:
    """Return the statement for a page; documents and comments are looked up for its rows alone."""
    return text(f"""
    {_WORK}, ranked AS (
        SELECT work.*, coalesce(assigned.owner, '') AS owner, {rank} AS rank
        {_MATCHES}
    ), page AS MATERIALIZED (
        SELECT * FROM ranked ORDER BY {order} LIMIT :limit OFFSET :offset
    )
    SELECT page.*, CASE page.kind
            WHEN 'held' THEN page.because
            WHEN 'residue' THEN (SELECT result_json FROM saga_generations AS ended
                WHERE ended.workflow_id = page.workflow_id AND ended.generation = page.generation)
            ELSE (SELECT item_json FROM work_items AS item WHERE item.id = page.id)
        END AS document,
        (SELECT count(*) FROM work_comments WHERE work_comments.work_id = page.id) AS comments
    FROM page ORDER BY {order}
    """)  # noqa: S608 - constants


_LISTS: Final = {
    WorkSort.URGENCY: _list("0", "respond_by, id"),
    WorkSort.MONEY: _list(
        "row_number() OVER (PARTITION BY currency ORDER BY amount DESC NULLS LAST, id)",
        "amount IS NULL, rank, currency, id",
    ),
}

_CLUSTERS = text(f"""
    {_WORK}
    SELECT kind, reason, connection, currency, count(*) AS count, sum(entries) AS entries,
        sum(amount) AS amount, min(opened_at) AS oldest,
        count(*) FILTER (WHERE respond_by < now()) AS overdue,
        min(work.id COLLATE "C") AS example
    {_MATCHES}
    GROUP BY kind, reason, connection, currency
""")

_AGED = text(f"""
    WITH {_HELD}
    SELECT id FROM held_groups WHERE since < :before ORDER BY since, id LIMIT :limit
""")  # noqa: S608 - constants

_ASSIGN = text("""
    WITH assigned AS (
        INSERT INTO work_owners AS known (work_id, owner, assigned_by)
        VALUES (:work_id, :owner, :by)
        ON CONFLICT (work_id) DO UPDATE
        SET owner = excluded.owner, assigned_by = excluded.assigned_by, assigned_at = now()
        WHERE known.owner <> excluded.owner
        RETURNING work_id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :subject, :by, 'work_assigned', CAST(:audit AS jsonb) FROM assigned
""")

_COMMENT = text("""
    WITH commented AS (
        INSERT INTO work_comments (work_id, by, comment)
        SELECT :work_id, :by, :comment
        WHERE (SELECT count(*) FROM work_comments WHERE work_id = :work_id) < :most
        RETURNING work_id
    ), audited AS (
        INSERT INTO audit_trail (subject, actor, act, data)
        SELECT :subject, :by, 'work_commented', CAST(:audit AS jsonb) FROM commented
    )
    SELECT work_id FROM commented
""")

_COMMENTS = text("SELECT by, at, comment FROM work_comments WHERE work_id = :work_id ORDER BY id")

_ACKNOWLEDGE = text("""
    WITH acknowledged AS (
        INSERT INTO acknowledged_residue (workflow_id, generation, by, because)
        VALUES (:workflow_id, :generation, :by, :because)
        ON CONFLICT DO NOTHING RETURNING workflow_id
    )
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT :workflow_id, :by, 'residue_acknowledged', CAST(:audit AS jsonb) FROM acknowledged
""")


class WorklistStore:
    """Reads the one list, and puts down who owns, comments on and acknowledges what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self,
        wanted: WorkFilter,
        *,
        hold_seconds: float,
        respond_seconds: float,
        sort: WorkSort = WorkSort.URGENCY,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Work, ...]:
        """Return open work.

        Args:
            wanted: which.
            hold_seconds: how long after its hold a group of entries is overdue.
            respond_seconds: the same for residue.
            sort: what comes first.
            limit: how much at most.
            offset: how much comes before.
        """
        values = _values(wanted, hold_seconds, respond_seconds)
        rows = await self._database.rows(_LISTS[sort], {**values, "limit": limit, "offset": offset})
        return tuple(_work(row) for row in rows)

    async def get(
        self, work_id: str, *, hold_seconds: float, respond_seconds: float
    ) -> Work | None:
        """Return one piece of open work."""
        values = _values(WorkFilter(), hold_seconds, respond_seconds)
        row = await self._database.first(
            _LISTS[WorkSort.URGENCY], {**values, "id": work_id, "limit": 1, "offset": 0}
        )
        return None if row is None else _work(row)

    async def clusters(
        self, wanted: WorkFilter, *, hold_seconds: float, respond_seconds: float
    ) -> tuple[Cluster, ...]:
        """Return open work by its cause, the largest cluster first."""
        rows = await self._database.rows(_CLUSTERS, _values(wanted, hold_seconds, respond_seconds))
        clusters: dict[tuple[object, ...], Cluster] = {}
        for row in rows:
            key = (row.kind, row.reason, row.connection)
            money = () if row.amount is None else (_money(row),)
            one = Cluster(**{**row._mapping, "money": money})
            known = clusters.get(key)
            clusters[key] = one if known is None else _joined(known, one)
        return tuple(
            sorted(clusters.values(), key=lambda each: (-each.count, each.oldest, each.reason))
        )

    async def aged_holds(self, before: object, limit: int = 1_000) -> frozenset[str]:
        """Return the groups of held entries of which the oldest was held before a moment."""
        rows = await self._database.rows(_AGED, {"before": before, "limit": limit})
        return frozenset(str(row.id) for row in rows)

    async def assign(self, work: Work, owner: str, *, by: str) -> None:
        """Let a person see to it; the same person again changes nothing."""
        audit = audit_data(work=work.id, owner=owner)
        values = {"work_id": work.id, "owner": owner, "by": by}
        await self._database.run(_ASSIGN, {**values, "subject": _subject(work), "audit": audit})

    async def comment(self, work: Work, comment: str, *, by: str) -> None:
        """Add a comment.

        Raises:
            Conflict: there are as many as there may be.
        """
        values = {
            "work_id": work.id,
            "by": by,
            "comment": comment[:COMMENT_MAX],
            "most": COMMENTS_MAX,
            "subject": _subject(work),
            "audit": audit_data(work=work.id, comment=comment),
        }
        if await self._database.first(_COMMENT, values) is None:
            raise Conflict(f"{work.id} has {COMMENTS_MAX} comments, and takes no more")

    async def comments(self, work_id: str) -> tuple[Comment, ...]:
        """Return the comments, oldest first."""
        rows = await self._database.rows(_COMMENTS, {"work_id": work_id})
        return tuple(
            Comment.model_validate({"by": row.by, "at": row.at, "text": row.comment})
            for row in rows
        )

    async def acknowledge(self, work: Work, *, by: str, because: str) -> None:
        """Put down that somebody has seen to residue; the first one counts.

        Raises:
            NotFound: it is no residue.
        """
        if work.kind is not WorkItemKind.RESIDUE:
            raise NotFound(f"{work.id} is no residue")
        values = {
            "workflow_id": work.workflow_id,
            "generation": work.generation,
            "by": by,
            "because": because[:REASON_MAX],
            "audit": audit_data(generation=work.generation, because=because),
        }
        await self._database.run(_ACKNOWLEDGE, values)


def _values(wanted: WorkFilter, hold_seconds: float, respond_seconds: float) -> dict[str, object]:
    return {
        **wanted.model_dump(exclude={"kinds"}),
        "id": "",
        "kinds": [kind.value for kind in wanted.kinds],
        "hold_seconds": hold_seconds,
        "respond_seconds": respond_seconds,
    }


def _subject(work: Work) -> str:
    """Return whose trail it goes to: the saga's, where there is one."""
    return work.workflow_id or work.id


def _money(row: AnyRow) -> Money:
    return Money.rounded(row.amount, row.currency)


def _joined(one: Cluster, other: Cluster) -> Cluster:
    """Return the clusters of two currencies as one."""
    return one.model_copy(
        update={
            "count": one.count + other.count,
            "entries": one.entries + other.entries,
            "overdue": one.overdue + other.overdue,
            "oldest": min(one.oldest, other.oldest),
            "example": min(one.example, other.example),
            "money": tuple(sorted((*one.money, *other.money), key=lambda each: each.currency)),
        }
    )


def _work(row: AnyRow) -> Work:
    values = {name: row._mapping[name] for name in Work.model_fields if name in row._mapping}
    told = _TOLD.get(row.kind, _of_item)(row)
    amount = None if row.amount is None else _money(row)
    return Work.model_validate({**values, "amount": amount, "count": row.entries, **told})


def _of_item(row: AnyRow) -> dict[str, object]:
    item = WorkItem.model_validate_json(row.document)
    failure = item.failure
    return {
        "message": failure.message,
        "title": item.title,
        "key": item.key,
        "candidates": failure.candidates,
        "field": failure.field,
        "field_owner": failure.owner,
        "failure": failure.kind,
        "verbs": item.verbs,
    }


def _of_hold(row: AnyRow) -> dict[str, object]:
    because = f": {row.document}" if row.document else ""
    entries = "entry is" if row.entries == 1 else "entries are"
    message = f"{row.entries} {entries} held for {str(row.reason).replace('_', ' ')}{because}"
    return {"message": message}


def _of_residue(row: AnyRow) -> dict[str, object]:
    result = SagaResult.model_validate_json(row.document)
    left = [
        f"{step.step}: {step.undo.residue if step.undo and step.undo.residue else step.note}"
        for step in result.steps
        if step.state == "residue" or (step.undo is not None and step.undo.residue)
    ]
    said = "; ".join(left) or result.reason or "what it is, nobody said"
    return {"message": f"Left behind: {said}"}


_TOLD: Final = {"held": _of_hold, "residue": _of_residue}
