"""What happened under schedules: facts, kept for good, each under the day it was recorded."""

from typing import Final

from pydantic import TypeAdapter
from sqlalchemy import CheckConstraint, Column, Date, Table, text

from canonical.money import Money
from canonical.schedule_facts import DrawFact, ScheduleFact
from store.database import Database
from store.errors import Conflict
from store.models import DOCUMENT_MAX, _now, _text, metadata

FACT: Final[TypeAdapter[ScheduleFact]] = TypeAdapter(ScheduleFact)

schedule_facts = Table(
    "schedule_facts",
    metadata,
    *_text("engagement", key=True),
    *_text("line", key=True),
    *_text("id", key=True),
    *_text("kind"),
    Column("recorded_on", Date, nullable=False),
    *_text("document", DOCUMENT_MAX),
    *_text("by"),
    _now("recorded_at"),
    CheckConstraint("id <> ''", name="id_says_something"),
)

_PUT = text("""
    INSERT INTO schedule_facts (engagement, line, id, kind, recorded_on, document, by)
    VALUES (:engagement, :line, :id, :kind, :recorded_on, :document, :by)
    ON CONFLICT DO NOTHING RETURNING id
""")
_KNOWN = text("""
    SELECT document FROM schedule_facts
    WHERE engagement = :engagement AND line = :line AND id = :id
""")
_OF_LINE = text("""
    SELECT document FROM schedule_facts WHERE engagement = :engagement AND line = :line
    ORDER BY recorded_on, id
""")
_DRAWN = text("""
    SELECT part.id, version.service_date, part.amount, part.currency,
        (version.handed_over_at AT TIME ZONE 'UTC')::date AS recorded_on
    FROM parts AS part
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    JOIN entry_versions AS version ON version.id = part.entry
    JOIN engagements AS engagement ON engagement.psa = version.source
        AND engagement.project_id = version.project_id AND engagement.id = :engagement
    WHERE part.disposition = 'drawn_from_retainer' AND rating.line = :line
        AND version.handed_over_at IS NOT NULL
    GROUP BY part.id, version.id ORDER BY part.id
""")
_DONE = text("""
    SELECT item FROM fees
    WHERE source = 'schedule' AND engagement = :engagement AND line = :line
        AND state <> 'returned'
""")
_PROJECTS = text("""
    SELECT DISTINCT psa, project_id FROM engagements
    WHERE (:engagement = '' OR id = :engagement)
        AND lines @? '$[*].schedule ? (@ != null)'
    ORDER BY psa, project_id
""")


class ScheduleFacts:
    """Keeps facts, and what was billed of each schedule."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, engagement: str, line: str, fact: ScheduleFact, *, by: str) -> bool:
        """Keep a fact; the same again is as good, and False.

        Raises:
            Conflict: another fact has its id. Facts never change: record a later one.
        """
        document = FACT.dump_json(fact).decode()
        key = {"engagement": engagement, "line": line, "id": fact.id}
        values = {**key, "kind": fact.kind, "recorded_on": fact.recorded_on, "by": by}
        async with self._database.transaction() as session:
            made = (await session.execute(_PUT, {**values, "document": document})).first()
            if made is not None:
                return True
            known = (await session.execute(_KNOWN, key)).one()
            if known.document != document:
                raise Conflict(
                    f"fact {fact.id} of {engagement} line {line} is known with other content: "
                    "facts never change, record a later one"
                )
        return False

    async def of_line(self, engagement: str, line: str) -> tuple[ScheduleFact, ...]:
        """Return the facts of a contract line, what was drawn from its retainer among them."""
        key = {"engagement": engagement, "line": line}
        told = [
            FACT.validate_json(row.document) for row in await self._database.rows(_OF_LINE, key)
        ]
        drawn = [
            DrawFact(
                id=f"part-{row.id}",
                recorded_on=row.recorded_on,
                service_date=row.service_date,
                amount=Money(amount=row.amount, currency=row.currency),
            )
            for row in await self._database.rows(_DRAWN, key)
            if row.amount
        ]
        return (*told, *drawn)

    async def done(self, engagement: str, line: str) -> frozenset[str]:
        """Return the occurrences that were handed over already, by key."""
        prefix = f"{engagement}/{line}/"
        rows = await self._database.rows(_DONE, {"engagement": engagement, "line": line})
        return frozenset(row.item.removeprefix(prefix) for row in rows)

    async def projects(self, engagement: str = "") -> tuple[tuple[str, str], ...]:
        """Return PSA and project of every contract that has a schedule, or of one."""
        rows = await self._database.rows(_PROJECTS, {"engagement": engagement})
        return tuple((row.psa, row.project_id) for row in rows)
