"""From which day on each draw counts for a schedule, and up to which day it has been asked.

What a schedule made of a day stays as it was. So nothing may be added under a day that it was
asked for: each draw is put down once, under the day of its hand-over in the legal entity's zone, or
under the first day not asked for yet, if that is later. All of it happens under one lock by
engagement, which placing holds too.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import BigInteger, Column, Date, Index, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.engagement import ContractLine
from canonical.money import Money
from canonical.schedule_facts import DrawFact
from canonical.schedules import Overage, RetainerTerms
from store.models import _text, metadata
from store.subledger_models import _currency, _number

schedule_asked = Table(
    "schedule_asked",
    metadata,
    *_text("engagement", key=True),
    *_text("line", key=True),
    # The first day that was not asked for yet.
    Column("until", Date, nullable=False),
)

# A part may vanish, its row here stays: what was counted is taken back by a day of its own.
schedule_draws = Table(
    "schedule_draws",
    metadata,
    Column("part", BigInteger, primary_key=True, autoincrement=False),
    *_text("engagement"),
    *_text("line"),
    Column("service_date", Date, nullable=False),
    _number("amount"),
    *_currency(),
    Column("recorded_on", Date, nullable=False),
    Column("undone_on", Date, nullable=True),
    Index("ix_schedule_draws_engagement", "engagement", "line"),
)

LOCK: Final = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('retainers:' || :engagement, 0))
""")
_UNTIL: Final = text("""
    SELECT until FROM schedule_asked WHERE engagement = :engagement AND line = :line
""")
_ASK: Final = text("""
    INSERT INTO schedule_asked AS asked (engagement, line, until)
    VALUES (:engagement, :line, :until)
    ON CONFLICT (engagement, line) DO UPDATE SET until = greatest(asked.until, excluded.until)
""")

# Where the hours themselves are billed beyond the balance, placing decides; so a draw counts as
# soon as it is placed, in the month of that day. What gives back counts once it is final.
_PUT: Final = text("""
    INSERT INTO schedule_draws
        (part, engagement, line, service_date, amount, currency, recorded_on)
    SELECT id, :engagement, :line,
        CASE WHEN :when_placed THEN recorded_on ELSE service_date END,
        amount, currency, recorded_on
    FROM (
        SELECT part.id, part.amount, part.currency, version.service_date,
            greatest(CAST(:until AS date), coalesce(
                (version.handed_over_at AT TIME ZONE CAST(:zone AS text))::date,
                CAST(:today AS date))) AS recorded_on
        FROM parts AS part
        JOIN billing_runs AS run ON run.run_key = part.run_key
        JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
        JOIN entry_versions AS version ON version.id = part.entry
        WHERE run.engagement = :engagement AND rating.line = :line
            AND part.disposition = 'drawn_from_retainer' AND part.amount <> 0
            AND (version.handed_over_at IS NOT NULL OR :when_placed AND part.amount > 0)
    ) AS drawn
    ON CONFLICT DO NOTHING
""")
_UNDO: Final = text("""
    UPDATE schedule_draws AS draw
    SET undone_on = greatest(CAST(:until AS date), CAST(:today AS date), draw.recorded_on)
    WHERE engagement = :engagement AND line = :line AND undone_on IS NULL
        AND NOT EXISTS (SELECT FROM parts WHERE parts.id = draw.part)
""")
OF_LINE: Final = text("""
    SELECT * FROM schedule_draws WHERE engagement = :engagement AND line = :line ORDER BY part
""")


@dataclass(frozen=True)
class LocalDay:
    """A day where a contract line's legal entity is."""

    on: date
    zone: str
    """As the time zone database names it."""


async def lock(session: AsyncConnection, engagement: str) -> None:
    """Wait for, and keep out, whoever else counts for schedules of an engagement."""
    await session.execute(LOCK, {"engagement": engagement})


async def asked_until(session: AsyncConnection, engagement: str, line: str) -> date | None:
    """Return the first day that the schedule was not asked for yet; None: it never was."""
    key = {"engagement": engagement, "line": line}
    row = (await session.execute(_UNTIL, key)).first()
    return None if row is None else row.until


async def ask(session: AsyncConnection, engagement: str, line: str, until: date) -> None:
    """Put down that the days before `until` are asked for. Call it under `lock`."""
    await session.execute(_ASK, {"engagement": engagement, "line": line, "until": until})


async def put_down(
    session: AsyncConnection, engagement: str, line: ContractLine, today: LocalDay
) -> date:
    """Give each draw of a line its day, and return the one that what comes now gets.

    Call it under `lock`. A line without a retainer's schedule has no draws.
    """
    asked = await asked_until(session, engagement, line.ref)
    until = max(today.on, asked) if asked is not None else today.on
    if isinstance(line.schedule, RetainerTerms):
        values = {
            "engagement": engagement,
            "line": line.ref,
            "today": today.on,
            "until": asked or date.min,
        }
        when_placed = line.schedule.overage is Overage.ENTRIES
        await session.execute(_PUT, {**values, "zone": today.zone, "when_placed": when_placed})
        await session.execute(_UNDO, values)
    return until


async def drawn(session: AsyncConnection, engagement: str, line: str) -> tuple[DrawFact, ...]:
    """Return the draws that were put down, and what was undone of them, as facts."""
    key = {"engagement": engagement, "line": line}
    facts = []
    for row in (await session.execute(OF_LINE, key)).all():
        amount = Money(amount=row.amount, currency=row.currency)
        fact = DrawFact(
            id=f"part-{row.part}",
            recorded_on=row.recorded_on,
            service_date=row.service_date,
            amount=amount,
        )
        facts.append(fact)
        if row.undone_on is not None:
            undone = {
                "id": f"part-{row.part}-undone",
                "recorded_on": row.undone_on,
                "amount": amount.model_copy(update={"amount": -row.amount}),
            }
            facts.append(fact.model_copy(update=undone))
    return tuple(facts)
