"""What the watch over runs remembers: who was looked at when, and since when nothing changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from canonical.model import CanonicalModel
from canonical.saga import SagaPlan, WorkItem
from canonical.worklist import HELD_ID, RunSeen
from store.database import AnyRow, Database

FORGET_AFTER_DAYS = 7
"""Of runs that were not looked at for so long: they ended."""

# Runs about which an item is open, unfinished ones that do not run or are undoing, and all others
# take turns, so that none of the three keeps the watch from the others.
_NEXT = text(f"""
    WITH listed AS (
        SELECT DISTINCT unnest(CAST(:listed AS text[])) AS workflow_id
    ), found AS (
        SELECT workflow_id, 0 AS class FROM work_items
        WHERE state = 'open' AND kind = 'stuck' AND NOT starts_with(workflow_id, '{HELD_ID}')
        UNION ALL
        SELECT workflow_id, 1 FROM saga_generations AS saga
        WHERE state <> 'ended' AND opened_at < :before AND (state = 'closed'
            OR NOT EXISTS (SELECT FROM listed WHERE listed.workflow_id = saga.workflow_id))
        UNION ALL
        SELECT workflow_id, 2 FROM listed
    ), candidates AS (
        SELECT workflow_id, min(class) AS class FROM found GROUP BY workflow_id
    )
    SELECT workflow_id FROM candidates LEFT JOIN watched_runs USING (workflow_id)
    ORDER BY row_number() OVER (PARTITION BY class ORDER BY looked_at NULLS FIRST, workflow_id),
        class
    LIMIT :limit
""")  # noqa: S608 - constants

_STANDING = text("""
    SELECT given.workflow_id, saga.saga, saga.generation,
        coalesce(saga.state <> 'ended', false) AS unfinished,
        CASE WHEN saga.state = 'closed' THEN saga.closed_at END AS undoing_since,
        coalesce(saga.plan_json, '') AS plan_json, saga.opened_at,
        EXISTS (SELECT FROM work_items AS item WHERE item.workflow_id = given.workflow_id
            AND item.state = 'open' AND item.kind IN ('step', 'gate', 'undo')) AS waits_for_person
    FROM unnest(CAST(:ids AS text[])) AS given (workflow_id)
    LEFT JOIN LATERAL (SELECT * FROM saga_generations AS generation
        WHERE generation.workflow_id = given.workflow_id
        ORDER BY generation.generation DESC LIMIT 1) AS saga ON true
""")

_SEEN = text("""
    INSERT INTO watched_runs AS known
        (workflow_id, run_id, history_length, unchanged_since, looked_at)
    SELECT workflow_id, run_id, history_length, CAST(:now AS timestamptz),
        CAST(:now AS timestamptz)
    FROM unnest(CAST(:ids AS text[]), CAST(:runs AS text[]), CAST(:lengths AS integer[]))
        AS seen (workflow_id, run_id, history_length)
    ON CONFLICT (workflow_id) DO UPDATE
    SET unchanged_since = CASE
            WHEN (known.run_id, known.history_length) = (excluded.run_id, excluded.history_length)
            THEN known.unchanged_since ELSE excluded.unchanged_since END,
        run_id = excluded.run_id, history_length = excluded.history_length,
        looked_at = excluded.looked_at
    RETURNING workflow_id, unchanged_since
""")

_FORGET = text("""
    DELETE FROM watched_runs
    WHERE workflow_id = ANY(CAST(:ids AS text[]))
        OR looked_at < CAST(:now AS timestamptz) - make_interval(days => :days)
""")

_OPEN = text("""
    SELECT item_json FROM work_items
    WHERE state = 'open' AND kind = 'stuck'
        AND (workflow_id = ANY(CAST(:ids AS text[])) OR reason = 'hold_aged')
    ORDER BY id
""")


class Standing(CanonicalModel):
    """What the store knows of a run that the watch looks at."""

    workflow_id: str
    saga: str = ""
    """Workflow type; empty for what is no saga."""
    generation: int = 0
    unfinished: bool
    undoing_since: datetime | None = None
    waits_for_person: bool
    opened_at: datetime | None = None
    plan: SagaPlan | None = None


class Length(NamedTuple):
    """How long the history of a run is."""

    run_id: str
    history_length: int


class WatchStore:
    """The memory of the watch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next(self, listed: Sequence[str], *, before: datetime, limit: int) -> tuple[str, ...]:
        """Return which workflows to look at in this round, the longest not looked at first.

        Args:
            listed: those that run, as Temporal lists them.
            before: generations that began later are too young.
            limit: how many at most.
        """
        values = {"listed": list(listed), "before": before, "limit": limit}
        return tuple(str(row.workflow_id) for row in await self._database.rows(_NEXT, values))

    async def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        """Return what is known of workflows, by id."""
        rows = await self._database.rows(_STANDING, {"ids": list(ids)})
        return {str(row.workflow_id): _standing(row) for row in rows}

    async def seen(self, lengths: Mapping[str, Length], now: datetime) -> dict[str, datetime]:
        """Remember how long histories are; return since when each has that length."""
        values = {
            "ids": list(lengths),
            "runs": [each.run_id for each in lengths.values()],
            "lengths": [each.history_length for each in lengths.values()],
            "now": now,
        }
        rows = await self._database.rows(_SEEN, values)
        return {
            str(row.workflow_id): row.unchanged_since
            for row in rows
            if isinstance(row.unchanged_since, datetime)
        }

    async def forget(self, runs: Sequence[RunSeen], now: datetime) -> None:
        """Forget runs that ended, and such as were not seen for a week."""
        values = {
            "ids": [run.workflow_id for run in runs],
            "now": now,
            "days": FORGET_AFTER_DAYS,
        }
        await self._database.run(_FORGET, values)

    async def open_items(self, ids: Sequence[str]) -> tuple[WorkItem, ...]:
        """Return the watch's open work items about these workflows, and all about aged holds."""
        rows = await self._database.rows(_OPEN, {"ids": list(ids)})
        return tuple(WorkItem.model_validate_json(str(row.item_json)) for row in rows)


def _standing(row: AnyRow) -> Standing:
    values = {
        name: value
        for name, value in row._mapping.items()
        if name != "plan_json" and value is not None
    }
    plan = SagaPlan.model_validate_json(str(row.plan_json)) if row.plan_json else None
    return Standing.model_validate({**values, "plan": plan})
