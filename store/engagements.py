"""Engagements: which contract bills a project, from which date (DESIGN 4, 10)."""

import json
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.engagement import Engagement
from store.audit import ENGINE
from store.billing_session import begin, note
from store.database import AnyRow, Database
from store.engagement_imports import note_import

_PUT = text("""
    INSERT INTO engagements AS engagement (id, psa, project_id, effective_from, client_id, title,
        default_line, lines, caps)
    VALUES (:id, :psa, :project_id, :effective_from, :client_id, :title, :default_line,
        CAST(:lines AS jsonb), CAST(:caps AS jsonb))
    ON CONFLICT (id, psa, project_id, effective_from) DO UPDATE
    SET client_id = excluded.client_id, title = excluded.title,
        default_line = excluded.default_line, lines = excluded.lines, caps = excluded.caps,
        recorded_at = now()
    WHERE (engagement.client_id, engagement.title, engagement.default_line, engagement.lines,
            engagement.caps)
        IS DISTINCT FROM (excluded.client_id, excluded.title, excluded.default_line,
            excluded.lines, excluded.caps)
    RETURNING id
""")

_OF_PROJECT = text("""
    SELECT id, psa, project_id, effective_from, client_id, title, default_line,
        CAST(lines AS text) AS lines, CAST(caps AS text) AS caps
    FROM engagements WHERE psa = :psa AND project_id = :project_id ORDER BY effective_from
""")

_IN_FORCE = text("""
    SELECT id, psa, project_id, effective_from, client_id, title, default_line,
        CAST(lines AS text) AS lines, CAST(caps AS text) AS caps
    FROM engagements
    WHERE psa = :psa AND project_id = :project_id AND effective_from <= :on
    ORDER BY effective_from DESC LIMIT 1
""")


class EngagementStore:
    """Versions of engagements by project."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, engagement: Engagement, *, by: str = ENGINE) -> None:
        """Keep one version; the same again writes nothing, another of its date replaces it.

        A person who imports it prepared what the prices that it changes will rate.

        Raises:
            Conflict: another engagement bills the project from the same date.
        """
        values = {
            **engagement.model_dump(exclude={"lines", "caps"}),
            "lines": json.dumps([line.model_dump(mode="json") for line in engagement.lines]),
            "caps": json.dumps([cap.model_dump(mode="json") for cap in engagement.caps]),
        }
        async with self._database.transaction() as session:
            subject = f"{engagement.psa}/{engagement.project_id}"
            await begin(session, "put_engagement", f"engagement:{subject}")
            on = engagement.effective_from
            last = await engagement_on(session, engagement.psa, engagement.project_id, on)
            if (await session.execute(_PUT, values)).first() is None or by == ENGINE:
                return
            before = last if last is not None and last.id == engagement.id else None
            lines = await note_import(session, engagement, before, by)
            facts = {"effective_from": on, "repriced": list(lines)}
            await note(session, [engagement.id], by, "import_engagement", **facts)

    async def of_project(self, psa: str, project_id: str) -> tuple[Engagement, ...]:
        """Return all versions that bill a project, oldest first; empty: nothing bills it."""
        rows = await self._database.rows(_OF_PROJECT, {"psa": psa, "project_id": project_id})
        return tuple(_engagement(row) for row in rows)

    async def projects(self, psa: str) -> tuple[str, ...]:
        """Return every project of a PSA that an engagement bills."""
        statement = text("SELECT DISTINCT project_id FROM engagements WHERE psa = :psa ORDER BY 1")
        return tuple(row.project_id for row in await self._database.rows(statement, {"psa": psa}))

    async def in_force(self, psa: str, project_id: str, on: date) -> Engagement | None:
        """Return the version that holds on a day."""
        values = {"psa": psa, "project_id": project_id, "on": on}
        row = await self._database.first(_IN_FORCE, values)
        return None if row is None else _engagement(row)


async def engagement_on(
    session: AsyncConnection, psa: str, project_id: str, on: date
) -> Engagement | None:
    """Return the version in force on a day, inside the transaction of `session`."""
    values = {"psa": psa, "project_id": project_id, "on": on}
    row = (await session.execute(_IN_FORCE, values)).first()
    return None if row is None else _engagement(row)


def _engagement(row: AnyRow) -> Engagement:
    return Engagement.model_validate(
        {**row._mapping, "lines": json.loads(row.lines), "caps": json.loads(row.caps)}
    )
