"""What the store knows of the records that a backfill finds; read only, so a dry run may ask."""

from collections.abc import Sequence

from canonical.backfill import KnownEntry, KnownSaga, SourceRecord
from store.backfill_statements import BILLED_PROJECTS, KNOWN_ENTRIES, KNOWN_SAGAS
from store.database import Database


class BackfillKnown:
    """Answers for one page of records at a time, one statement each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sagas(self, workflow_ids: Sequence[str]) -> dict[str, KnownSaga]:
        """Return the latest life of each saga that ever began, by workflow id."""
        rows = await self._database.rows(KNOWN_SAGAS, {"ids": list(workflow_ids)})
        return {row.workflow_id: KnownSaga.model_validate(row._mapping) for row in rows}

    async def entries(self, psa: str, records: Sequence[SourceRecord]) -> dict[str, KnownEntry]:
        """Return what the subledger has of each entry that it ever took in, by record."""
        values = {
            "psa": psa,
            "records": [record.id for record in records],
            "versions": [record.version for record in records],
        }
        rows = await self._database.rows(KNOWN_ENTRIES, values)
        return {row.record: KnownEntry.model_validate(row._mapping) for row in rows}

    async def billed(self, psa: str, projects: Sequence[str]) -> frozenset[str]:
        """Return those of the projects that a contract bills."""
        values = {"psa": psa, "projects": list(projects)}
        rows = await self._database.rows(BILLED_PROJECTS, values)
        return frozenset(row.project for row in rows)
