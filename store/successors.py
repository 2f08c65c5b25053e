"""Work that came back under a new id: joined with what vanished, and never billed twice."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import Entry, EntryKind, EntryRef
from store.holds import SUCCESSOR, find, put_holds
from store.intake import BILLED_OUTSIDE, RECREATED_AFTER_BILLING

RATING: Final = "rating"
"""Owner of holds that rating sets: they fall with the version that they judged."""

# A new id with the timesheet, person, date and task of one that vanished is the same work.
_SUCCESSORS = text("""
    WITH timesheets AS MATERIALIZED (
        SELECT DISTINCT submission_id FROM entry_versions
        WHERE source = :source AND kind IN ('time', 'expense', 'adjustment')
            AND entry_id = ANY(CAST(:ids AS text[])) AND submission_id <> ''
    ), gone AS MATERIALIZED (
        SELECT version.* FROM timesheets JOIN entry_versions AS version USING (submission_id)
        WHERE source = :source AND vanished_at IS NOT NULL AND superseded_by IS NULL
    )
    SELECT DISTINCT ON (gone.id, came.id) gone.id AS gone, gone.entry_id AS gone_id,
        gone.kind AS gone_kind, came.entry_id AS came_id, came.kind AS came_kind,
        came.project_id, gone.handed_over_at IS NOT NULL AS billed
    FROM gone
    JOIN entry_versions AS came USING (source, submission_id, person_id, service_date, task_id)
    WHERE submission_id <> '' AND gone.kind = came.kind AND gone.entry_id <> came.entry_id
        AND came.vanished_at IS NULL AND came.state <> 'withdrawn'
        AND came.first_seen_at > gone.first_seen_at
        AND NOT EXISTS (SELECT FROM entry_versions AS other
            WHERE other.source = came.source AND other.submission_id = came.submission_id
                AND other.submission_id <> '' AND other.superseded_by = came.entry_id)
    ORDER BY gone.id, came.id
""")

_SUPERSEDE = text("UPDATE entry_versions SET superseded_by = :came WHERE id = :gone")

_CARRY = text("""
    INSERT INTO holds (source, kind, entry_id, reason, owner, because)
    SELECT source, kind, :came, reason, owner, because FROM holds
    WHERE source = :source AND kind = :kind AND entry_id = :gone AND released_at IS NULL
        AND owner <> :rating
    ON CONFLICT DO NOTHING
""")


async def link_successors(
    session: AsyncConnection, source: str, entries: Sequence[Entry] | Sequence[EntryRef]
) -> int:
    """Join what vanished with what came in its place, one to one."""
    if not entries:
        return 0
    pairs = await session.execute(
        _SUCCESSORS, {"source": source, "ids": [entry.id for entry in entries]}
    )
    used: set[object] = set()
    new = 0
    for pair in pairs.all():
        if pair.gone in used or pair.came_id in used:
            continue
        used |= {pair.gone, pair.came_id}
        await session.execute(_SUPERSEDE, {"gone": pair.gone, "came": pair.came_id})
        values = {"source": source, "kind": pair.gone_kind, "rating": RATING}
        await session.execute(_CARRY, {**values, "gone": pair.gone_id, "came": pair.came_id})
        if pair.billed:
            ref = EntryRef(kind=EntryKind(pair.came_kind), id=pair.came_id)
            because = {ref: f"the same work was billed as {pair.gone_kind}:{pair.gone_id}"}
            project = {ref: str(pair.project_id)}
            new += await find(session, source, RECREATED_AFTER_BILLING, because, project)
            await put_holds(session, source, SUCCESSOR, BILLED_OUTSIDE, because)
    return new
