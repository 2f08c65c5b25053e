"""Holds, which keep an entry from being billed, and findings, which somebody has to look into."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import EntryRef, HoldReason
from store.database import Database
from store.models import REASON_MAX
from store.subledger_session import as_rows, ref_rows

SUCCESSOR: Final = "dealthread:same-work"
"""Owner of the hold on an entry whose work was billed under an id that vanished."""

_PUT = text("""
    INSERT INTO holds (source, kind, entry_id, reason, owner, because)
    SELECT :source, given.kind, given.entry_id, :reason, :owner, given.because
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(kind text, entry_id text, because text)
    ON CONFLICT DO NOTHING
    RETURNING id
""")

_RELEASE = text("""
    UPDATE holds AS hold SET released_at = now(), released_by = :by
    FROM jsonb_to_recordset(CAST(:refs AS jsonb)) AS given(kind text, entry_id text)
    WHERE hold.source = :source AND hold.kind = given.kind AND hold.entry_id = given.entry_id
        AND hold.released_at IS NULL
        AND (CAST(:owner AS text) IS NULL OR hold.owner = :owner)
        AND (CAST(:reason AS text) IS NULL OR hold.reason = :reason)
    RETURNING hold.id
""")

_FIND = text("""
    INSERT INTO findings (finding, source, project_id, kind, entry_id, detail)
    SELECT :finding, :source, given.project_id, given.kind, given.entry_id, given.detail
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(project_id text, kind text, entry_id text, detail text)
    ON CONFLICT DO NOTHING
    RETURNING id
""")

_CLOSE = text("""
    UPDATE findings AS finding SET closed_at = now(), closed_by = :by
    FROM jsonb_to_recordset(CAST(:refs AS jsonb)) AS given(kind text, entry_id text)
    WHERE finding.finding = :finding AND finding.source = :source AND finding.kind = given.kind
        AND finding.entry_id = given.entry_id AND finding.closed_at IS NULL
        AND NOT (:unless_held AND EXISTS (SELECT FROM holds AS hold
            WHERE hold.source = finding.source AND hold.kind = finding.kind
                AND hold.entry_id = finding.entry_id AND hold.reason = finding.finding
                AND hold.released_at IS NULL))
""")


async def put_holds(
    session: AsyncConnection,
    source: str,
    owner: str,
    reason: str,
    because: Mapping[EntryRef, str],
) -> int:
    """Hold entries for one reason, and return how many were not held for it before."""
    rows = [
        {"kind": ref.kind.value, "entry_id": ref.id, "because": why[:REASON_MAX]}
        for ref, why in because.items()
    ]
    if not rows:
        return 0
    values = {"source": source, "owner": owner, "reason": reason, "rows": as_rows(rows)}
    return len((await session.execute(_PUT, values)).all())


async def release_holds(
    session: AsyncConnection,
    source: str,
    refs: Sequence[EntryRef],
    *,
    by: str,
    owner: str | None = None,
    reason: str | None = None,
) -> int:
    """Release the open holds on entries, all or those of an owner or a reason; count them."""
    if not refs:
        return 0
    values = {
        "source": source,
        "refs": ref_rows(refs),
        "by": by,
        "owner": owner,
        "reason": reason,
    }
    return len((await session.execute(_RELEASE, values)).all())


async def find(
    session: AsyncConnection,
    source: str,
    finding: str,
    details: Mapping[EntryRef, str],
    projects: Mapping[EntryRef, str],
) -> int:
    """Put down findings, and return how many were not open before."""
    rows = [
        {
            "project_id": projects[ref],
            "kind": ref.kind.value,
            "entry_id": ref.id,
            "detail": detail[:REASON_MAX],
        }
        for ref, detail in details.items()
    ]
    if not rows:
        return 0
    values = {"source": source, "finding": finding, "rows": as_rows(rows)}
    return len((await session.execute(_FIND, values)).all())


async def close_findings(
    session: AsyncConnection,
    source: str,
    finding: str,
    refs: Sequence[EntryRef],
    *,
    by: str = "dealthread",
    unless_held: bool = False,
) -> None:
    """Close a finding about entries: its cause is gone.

    `unless_held`: it stays open where a hold of the same name does, since it has another cause.
    """
    if refs:
        values = {
            "finding": finding,
            "source": source,
            "refs": ref_rows(refs),
            "by": by,
            "unless_held": unless_held,
        }
        await session.execute(_CLOSE, values)


class Holds:
    """What people hold and release; a hold outlives the versions of its entry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hold(
        self,
        source: str,
        refs: Iterable[EntryRef],
        *,
        owner: str,
        reason: HoldReason = HoldReason.BY_HAND,
        because: str = "",
    ) -> int:
        """Hold entries, also such as the PSA has not shown yet; return how many are newly held.

        One in an open run stays there until the run looks at `RunStore.changed`.
        """
        async with self._database.transaction() as session:
            return await put_holds(
                session, source, owner, reason.value, dict.fromkeys(refs, because)
            )

    async def unhold(
        self,
        source: str,
        refs: Iterable[EntryRef],
        *,
        by: str,
        reason: HoldReason | None = None,
    ) -> int:
        """Release the holds on entries, of one reason or all; return how many were released."""
        reason_value = None if reason is None else reason.value
        async with self._database.transaction() as session:
            return await release_holds(session, source, list(refs), by=by, reason=reason_value)
