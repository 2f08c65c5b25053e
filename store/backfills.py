"""Backfills and their records: what each is, and what became of it (DESIGN 4)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from canonical.backfill import (
    Amount,
    BackfillInput,
    BackfillKind,
    BackfillView,
    Judged,
    RecordState,
    SourceWindow,
    Standing,
    SteeringAct,
)
from canonical.model import CanonicalModel
from canonical.money import Money
from store.audit import audit_data
from store.backfill_statements import (
    AUDIT,
    COUNTS,
    GIVE_UP,
    IN_FLIGHT,
    KEEP,
    LIST,
    NEXT_NUMBER,
    NOTE,
    OPEN,
    RECORDS,
    REFUSE,
    SEE_ENTRIES,
    SEE_SAGAS,
    STARTED,
    TAKE,
)
from store.database import AnyRow, Database
from store.models import REASON_MAX, _now, _one_of, _text, _time, metadata

RECORDS_PAGE = 2_000

backfills = Table(
    "backfills",
    metadata,
    *_text("id", key=True),
    *_text("kind"),
    *_text("connection"),
    Column("since", Date, nullable=False),
    Column("until", Date, nullable=False),
    *_text("filter", REASON_MAX, empty=True),
    *_text("state"),
    Column("rate", Numeric, nullable=False),
    Column("in_flight_max", Integer, nullable=False),
    *_text("why", REASON_MAX, empty=True),
    *_text("begun_by", empty=True),
    _now("begun_at"),
    _time("ended_at"),
    _one_of("kind", *(kind.value for kind in BackfillKind)),
    CheckConstraint("since <= until", name="window_is_one"),
)

backfill_records = Table(
    "backfill_records",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_text("backfill"),
    *_text("record"),
    *_text("target"),
    Column("day", Date, nullable=False),
    Column("amount", Numeric, nullable=True),
    Column("currency", Text, nullable=True),
    *_text("version", empty=True),
    Column("state", Text, nullable=False),
    *_text("why", REASON_MAX, empty=True),
    # What a dry run would have said of it.
    *_text("planned"),
    *_text("workflow_id", empty=True),
    # Lives of its saga up to this one are none of this backfill's.
    Column("generation", Integer, nullable=False, server_default=text("0")),
    # Whether its saga, ours or not, decides what becomes of it.
    Column("followed", Boolean, nullable=False, server_default=text("false")),
    _time("started_at"),
    _time("ended_at"),
    _one_of("state", *(state.value for state in RecordState)),
    CheckConstraint("(amount IS NULL) = (currency IS NULL)", name="money_is_whole"),
    UniqueConstraint("backfill", "record"),
    ForeignKeyConstraint(["backfill"], ["backfills.id"]),
    Index("ix_backfill_records_state", "backfill", "state", "id"),
    Index("ix_backfill_records_target", "backfill", "target"),
)


@dataclass(frozen=True)
class Target:
    """What is to be started, with the records that it carries."""

    id: str
    records: tuple[str, ...]
    workflow_id: str


class StoredBackfill(CanonicalModel):
    """A backfill as the store has it: also of one that Temporal forgot."""

    view: BackfillView
    begun_by: str
    begun_at: datetime
    ended_at: datetime | None = None


class ReportedRecord(CanonicalModel):
    """One line of a backfill's report."""

    record: str
    target: str
    on: str
    amount: str
    """With a point; empty where the source does not say."""
    currency: str
    state: RecordState
    why: str
    planned: RecordState
    """What the plan said."""
    workflow_id: str
    started_at: datetime | None = None
    ended_at: datetime | None = None


class BackfillStore:
    """Keeps what backfills do, and sees in the store what became of what they started."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_number(self, kind: BackfillKind) -> int:
        """Return a number that no backfill of this kind has yet."""
        (row,) = await self._database.rows(NEXT_NUMBER, {"kind": kind.value})
        return int(row.number)

    async def open(self, id_: str, given: BackfillInput) -> None:
        """Keep a backfill that begins; the same again changes nothing."""
        window = given.window
        values = {
            "id": id_,
            "kind": window.kind.value,
            "connection": window.connection,
            "since": window.since,
            "until": window.until,
            "filter": window.where,
            "state": given.state.value,
            "rate": given.rate,
            "in_flight_max": given.in_flight_max,
            "by": given.by,
            "audit": audit_data(
                kind=window.kind.value, since=str(window.since), until=str(window.until)
            ),
        }
        await self._database.run(OPEN, values)

    async def note(self, view: BackfillView, ended: bool, acts: Sequence[SteeringAct]) -> None:
        """Put down how a backfill stands, and what people did to it."""
        values = {
            "id": view.id,
            "state": view.state.value,
            "rate": view.rate,
            "in_flight_max": view.in_flight_max,
            "why": view.why[:REASON_MAX],
            "ended": ended,
        }
        async with self._database.transaction() as session:
            await session.execute(NOTE, values)
            for act in acts:
                data = audit_data(by=act.by, detail=act.detail)
                entry = {"id": view.id, "actor": act.by or "dealthread", "act": act.act}
                await session.execute(AUDIT, {**entry, "data": data})

    async def keep(self, id_: str, judged: Sequence[Judged]) -> int:
        """Keep judged records; one that is known is left as it is. Returns how many are new."""
        rows = [_kept(each) for each in judged]
        return await self._database.run(KEEP, {"id": id_, "rows": json.dumps(rows)})

    async def see(self, id_: str, kind: BackfillKind) -> int:
        """Put down what became of what is followed; returns how many records changed."""
        statement = SEE_ENTRIES if kind is BackfillKind.TIME else SEE_SAGAS
        return await self._database.run(statement, {"id": id_})

    async def take(self, id_: str, start_max: int, in_flight_max: int) -> tuple[Target, ...]:
        """Mark the next targets as starting, and return them with those that were left so."""
        values = {"id": id_, "start_max": start_max, "in_flight_max": in_flight_max}
        rows = await self._database.rows(TAKE, values)
        return tuple(Target(row.target, tuple(row.records), row.workflow_id) for row in rows)

    async def started(self, id_: str, target: str, workflow_id: str) -> None:
        """Put down that a target runs."""
        values = {"id": id_, "target": target, "workflow_id": workflow_id}
        await self._database.run(STARTED, values)

    async def refuse(self, id_: str, target: str, why: str) -> None:
        """Put down that a target can't be started, and why."""
        values = {"id": id_, "target": target, "why": why[:REASON_MAX]}
        await self._database.run(REFUSE, values)

    async def give_up(self, id_: str) -> int:
        """Put down that what is planned is not started any more; return how many records."""
        return await self._database.run(GIVE_UP, {"id": id_})

    async def standing(self, id_: str) -> Standing:
        """Return how many records are in each state, and what they come to by currency."""
        rows = await self._database.rows(COUNTS, {"id": id_})
        (flight,) = await self._database.rows(IN_FLIGHT, {"id": id_})
        return Standing(
            amounts=tuple(
                Amount(state=RecordState(row.state), records=row.records, money=_money(row))
                for row in rows
            ),
            in_flight=flight.in_flight,
        )

    async def list(self, id_: str = "", limit: int = 100) -> tuple[StoredBackfill, ...]:
        """Return backfills, the newest first, or the one of this id."""
        rows = await self._database.rows(LIST, {"id": id_, "limit": limit})
        return tuple([await self._stored(row) for row in rows])

    async def records(
        self, id_: str, after: int = 0, limit: int = RECORDS_PAGE
    ) -> tuple[tuple[ReportedRecord, ...], int]:
        """Return a page of the report in the source's order, and where the next one begins."""
        rows = await self._database.rows(RECORDS, {"id": id_, "after": after, "limit": limit})
        return tuple(_reported(row) for row in rows), rows[-1].id if rows else after

    async def _stored(self, row: AnyRow) -> StoredBackfill:
        window = SourceWindow(
            kind=BackfillKind(row.kind),
            connection=row.connection,
            since=row.since,
            until=row.until,
            where=row.filter,
        )
        return StoredBackfill(
            view=BackfillView(
                id=row.id,
                window=window,
                state=row.state,
                rate=row.rate,
                in_flight_max=row.in_flight_max,
                standing=await self.standing(row.id),
                why=row.why,
            ),
            begun_by=row.begun_by,
            begun_at=row.begun_at,
            ended_at=row.ended_at,
        )


def _kept(judged: Judged) -> dict[str, object]:
    record = judged.record
    return {
        "record": record.id,
        "target": record.target,
        "day": record.on.isoformat(),
        "amount": None if record.amount is None else str(record.amount.amount),
        "currency": None if record.amount is None else record.amount.currency,
        "version": record.version,
        "state": judged.state.value,
        "why": judged.why[:REASON_MAX],
        "workflow_id": judged.workflow_id,
        "generation": judged.generation,
        "followed": judged.state in {RecordState.PARKED, RecordState.UNDER_WAY},
    }


def _money(row: AnyRow) -> Money | None:
    if row.currency is None:
        return None
    return Money.rounded(row.amount, row.currency)


def _reported(row: AnyRow) -> ReportedRecord:
    return ReportedRecord(
        record=row.record,
        target=row.target,
        on=row.day.isoformat(),
        amount="" if row.amount is None else f"{row.amount:f}",
        currency=row.currency or "",
        state=row.state,
        why=row.why,
        planned=row.planned,
        workflow_id=row.workflow_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
