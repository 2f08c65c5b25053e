"""Which entries changed in the PSA and have not been read since."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from canonical.entries import EntryKind, EntryRef
from canonical.model import CanonicalModel
from store.database import Database


class Noted(CanonicalModel):
    """Changed entries, in the order in which they were noted."""

    entries: tuple[EntryRef, ...]
    until: int
    """Give it to `forget` once they are read: what was noted again meanwhile stays."""


# Noted again, an entry goes to the end: its newest change is after whatever is being read now.
_NOTE = text("""
    INSERT INTO changed_entries (psa, project_id, kind, entry_id, correlation_id)
    SELECT :psa, :project_id, given.kind, given.id, :correlation_id
    FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) WITH ORDINALITY AS given(kind, id, n)
    ORDER BY given.n
    ON CONFLICT (psa, project_id, kind, entry_id) DO UPDATE
    SET seq = DEFAULT, noted_at = now(), correlation_id = excluded.correlation_id
""")

_NOTED = text("""
    SELECT kind, entry_id, seq FROM changed_entries
    WHERE psa = :psa AND project_id = :project_id ORDER BY seq LIMIT :limit
""")

_FORGET = text("""
    DELETE FROM changed_entries
    WHERE psa = :psa AND project_id = :project_id AND seq <= :until
""")


_PROJECTS = text("""
    SELECT DISTINCT ON (version.kind, version.entry_id) version.kind, version.entry_id,
        version.project_id
    FROM entry_versions AS version
    JOIN unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS given(kind, entry_id)
        USING (kind, entry_id)
    WHERE version.source = :psa ORDER BY version.kind, version.entry_id, version.id DESC
""")


_ON_LIST = text("""
    SELECT project_id, noted_at FROM changed_entries
    WHERE psa = :psa AND kind = :kind AND entry_id = :entry_id ORDER BY noted_at DESC LIMIT 1
""")


class OnList(CanonicalModel):
    """Where a changed entry waits to be read."""

    project_id: str
    noted_at: datetime


class ChangedEntries:
    """A list per project, kept until what it names was read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(
        self, psa: str, project_id: str, entries: Sequence[EntryRef], correlation_id: str = ""
    ) -> None:
        """Put entries on the list; the same twice stands on it once."""
        # One order for everybody: two that note the same entries at once wait for one another.
        unique = sorted(set(entries), key=str)
        if not unique:
            return
        values = {
            "psa": psa,
            "project_id": project_id,
            "kinds": [entry.kind.value for entry in unique],
            "ids": [entry.id for entry in unique],
            "correlation_id": correlation_id,
        }
        await self._database.run(_NOTE, values)

    async def noted(self, psa: str, project_id: str, limit: int = 5_000) -> Noted:
        """Return the entries on a project's list."""
        values = {"psa": psa, "project_id": project_id, "limit": limit}
        rows = await self._database.rows(_NOTED, values)
        entries = tuple(EntryRef(kind=EntryKind(row.kind), id=row.entry_id) for row in rows)
        return Noted(entries=entries, until=rows[-1].seq if rows else 0)

    async def on_list(self, psa: str, entry: EntryRef) -> OnList | None:
        """Return on which project's list an entry is; None: no run has yet to read it."""
        values = {"psa": psa, "kind": entry.kind.value, "entry_id": entry.id}
        row = await self._database.first(_ON_LIST, values)
        return None if row is None else OnList.model_validate(row._mapping)

    async def forget(self, psa: str, project_id: str, until: int) -> None:
        """Take off the list what was noted up to `until`; the same twice is fine."""
        values = {"psa": psa, "project_id": project_id, "until": until}
        await self._database.run(_FORGET, values)

    async def known_projects(self, psa: str, entries: Sequence[EntryRef]) -> dict[EntryRef, str]:
        """Return the project of each entry that was ever taken in; others are absent."""
        values = {
            "psa": psa,
            "kinds": [entry.kind.value for entry in entries],
            "ids": [entry.id for entry in entries],
        }
        if not entries:
            return {}
        return {
            EntryRef(kind=EntryKind(row.kind), id=row.entry_id): row.project_id
            for row in await self._database.rows(_PROJECTS, values)
        }
