"""What happened under schedules: facts, kept for good, each under the day it was recorded."""

from datetime import date, timedelta
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy import CheckConstraint, Column, Date, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.engagement import ContractLine
from canonical.schedule_facts import ScheduleFact
from store.database import Database
from store.errors import Conflict
from store.models import DOCUMENT_MAX, _now, _text, metadata
from store.schedule_draws import LocalDay, ask, asked_until, drawn, lock, put_down

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
""")
_KNOWN = text("""
    SELECT document FROM schedule_facts
    WHERE engagement = :engagement AND line = :line AND id = :id
""")
_OF_LINE = text("""
    SELECT document FROM schedule_facts WHERE engagement = :engagement AND line = :line
    ORDER BY recorded_on, id
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
            Conflict: another fact has its id (facts never change: record a later one), or its day
                is billed already, so that it would be lost, or counted twice.
        """
        document = FACT.dump_json(fact).decode()
        key = {"engagement": engagement, "line": line, "id": fact.id}
        values = {**key, "kind": fact.kind, "recorded_on": fact.recorded_on, "by": by}
        async with self._database.transaction() as session:
            await lock(session, engagement)
            known = (await session.execute(_KNOWN, key)).first()
            if known is None:
                until = await asked_until(session, engagement, line)
                if until is not None and fact.recorded_on < until:
                    raise Conflict(_too_late(engagement, line, fact, until))
                await session.execute(_PUT, {**values, "document": document})
                return True
            if known.document != document:
                raise Conflict(
                    f"fact {fact.id} of {engagement} line {line} is known with other content: "
                    "facts never change, record a later one"
                )
        return False

    async def of_line(self, engagement: str, line: str) -> tuple[ScheduleFact, ...]:
        """Return the facts of a contract line, with the draws that its schedule counted so far."""
        async with self._database.transaction() as session:
            return await facts_of(session, engagement, line)

    async def ask(
        self, engagement: str, line: ContractLine, today: LocalDay
    ) -> tuple[ScheduleFact, ...]:
        """Return what counts for the days before `today`; from now on nothing is added to them.

        Draws from a retainer that came since are put down, each under a day not asked for yet.
        """
        async with self._database.transaction() as session:
            await lock(session, engagement)
            await put_down(session, engagement, line, today)
            await ask(session, engagement, line.ref, today.on)
            return await facts_of(session, engagement, line.ref)

    async def done(self, engagement: str, line: str) -> frozenset[str]:
        """Return the occurrences that were handed over already, by key."""
        prefix = f"{engagement}/{line}/"
        rows = await self._database.rows(_DONE, {"engagement": engagement, "line": line})
        return frozenset(row.item.removeprefix(prefix) for row in rows)

    async def projects(self, engagement: str = "") -> tuple[tuple[str, str], ...]:
        """Return PSA and project of every contract that has a schedule, or of one."""
        rows = await self._database.rows(_PROJECTS, {"engagement": engagement})
        return tuple((row.psa, row.project_id) for row in rows)


async def facts_of(
    session: AsyncConnection, engagement: str, line: str
) -> tuple[ScheduleFact, ...]:
    """Return what was told of a contract line, and the draws that were put down."""
    key = {"engagement": engagement, "line": line}
    rows = (await session.execute(_OF_LINE, key)).all()
    told = [FACT.validate_json(row.document) for row in rows]
    return (*told, *await drawn(session, engagement, line))


def _too_late(engagement: str, line: str, fact: ScheduleFact, until: date) -> str:
    last = until - timedelta(days=1)
    return (
        f"fact {fact.id}: recorded_on: {engagement} line {line} is billed up to {last}, and "
        f"{fact.recorded_on} with it; record it under {until} or later: it counts from then on"
    )
