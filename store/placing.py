"""Placing: every part of a run's entries gets its disposition, under the locks of its caps."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.entries import EntryKind, EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Disposition, Part, Rated
from store.caps import (
    Allocate,
    Schedules,
    give_back,
    lock_caps,
    lock_retainers,
    put_down_draws,
    settle,
    take,
)
from store.database import AnyRow, Database
from store.engagements import engagement_on
from store.errors import Conflict, NotFound
from store.holds import find
from store.intake import CHANGED_AFTER_BILLING
from store.run_rows import active_run, locked_run, require, set_state
from store.subledger_session import as_rows

KINDS: Final = {kind.value: kind for kind in EntryKind}
"""By value: a look-up costs a fifth of asking the enumeration."""


class PlacedAmount(CanonicalModel):
    """Sum of the run's parts of one disposition and currency."""

    disposition: Disposition
    amount: Money
    parts: int


class Placed(CanonicalModel):
    """What placing a run came to."""

    amounts: tuple[PlacedAmount, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RatedRef:
    """Which entry was rated, in which version."""

    ref: EntryRef
    version: str


class PlacedEntry(CanonicalModel):
    """A rated entry with its parts, in claim order."""

    rated: Rated
    parts: tuple[Part, ...]


_RATED_REFS = text("""
    SELECT version.kind, version.entry_id, version.version
    FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN ratings AS rating ON rating.entry = claim.entry AND rating.run_key = run.run_key
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
    ORDER BY claim.position
""")

_CORRECTED = text("""
    SELECT version.adjusts FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN ratings AS rating ON rating.entry = claim.entry AND rating.run_key = run.run_key
    JOIN entry_versions AS version ON version.id = claim.entry
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
        AND version.adjusts <> ''
    ORDER BY claim.position
""")

_RATED = text("""
    SELECT rating.entry, rating.document FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN ratings AS rating ON rating.entry = claim.entry AND rating.run_key = run.run_key
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
    ORDER BY claim.position
""")

_PARTS = text("""
    INSERT INTO parts (entry, number, disposition, amount, currency, minutes, cap, run_key)
    SELECT given.entry, given.number, given.disposition, given.amount, given.currency,
        given.minutes, given.cap, :run_key
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(entry bigint, number integer,
        disposition text, amount numeric, currency text, minutes integer, cap text)
""")

_MOVE = text("""
    UPDATE entry_versions SET state = :to WHERE run_key = :run_key AND state = :from
""")

_NOTE = text("""
    UPDATE billing_runs SET state = 'placed', engagement = :engagement, client_id = :client_id,
        warnings = CAST(:warnings AS jsonb)
    WHERE run_key = :run_key
""")

_REMOVE = text("DELETE FROM parts WHERE run_key = :run_key AND state = 'placed'")

_AMOUNTS = text("""
    SELECT disposition, currency, sum(amount) AS amount, count(*) AS parts FROM parts
    WHERE run_key = :run_key GROUP BY disposition, currency ORDER BY disposition, currency
""")

_PLACED = text("""
    SELECT rating.document, part.number, part.disposition, part.amount, part.currency,
        part.minutes, part.cap, rating.entry
    FROM billing_runs AS run
    JOIN run_entries AS claim USING (run_key, generation)
    JOIN ratings AS rating ON rating.entry = claim.entry AND rating.run_key = run.run_key
    JOIN parts AS part ON part.entry = rating.entry AND part.cycle = rating.cycle
    WHERE run.run_key = :run_key AND claim.state IN ('claimed', 'handed_over')
    ORDER BY claim.position, part.number
""")

_INSIDE = text("""
    SELECT version.id, version.kind, version.entry_id, version.project_id, claim.changed
    FROM run_entries AS claim JOIN entry_versions AS version ON version.id = claim.entry
    WHERE claim.run_key = :run_key AND claim.state = 'claimed' ORDER BY claim.position
""")

_HAND_OVER = text("""
    WITH handed AS (
        UPDATE run_entries SET state = 'handed_over'
        WHERE run_key = :run_key AND state = 'claimed' RETURNING entry
    )
    UPDATE entry_versions AS version SET handed_over_at = now()
    FROM handed WHERE version.id = handed.entry
""")

_TOO_LATE = text("""
    UPDATE entry_versions AS version SET state = 'withdrawn', because = 'superseded'
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(kind text, entry_id text)
    WHERE version.source = :source AND version.kind = given.kind
        AND version.entry_id = given.entry_id AND version.state = 'waiting'
""")

_RESERVED = text("""
    UPDATE billing_runs SET reservation = :reservation WHERE run_key = :run_key
""")
_RESERVATION = text("SELECT reservation FROM billing_runs WHERE run_key = :run_key")


class RunPlacing:
    """From rated amounts to placed parts, back, or on to drafting."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rated(self, run_key: str) -> tuple[Rated, ...]:
        """Return what rating made of the run's entries, in claim order."""
        rows = await self._database.rows(_RATED, {"run_key": run_key})
        return tuple(Rated.model_validate_json(row.document) for row in rows)

    async def rated_refs(self, run_key: str) -> tuple[RatedRef, ...]:
        """Return which of the run's entries are rated, in claim order; `rated` says how."""
        return tuple(
            RatedRef(EntryRef(kind=KINDS[row.kind], id=row.entry_id), row.version)
            for row in await self._database.rows(_RATED_REFS, {"run_key": run_key})
        )

    async def corrected(self, run_key: str) -> tuple[EntryRef, ...]:
        """Return the time entries that the run's rated adjustments correct, in claim order."""
        rows = await self._database.rows(_CORRECTED, {"run_key": run_key})
        return tuple(EntryRef(kind=EntryKind.TIME, id=row.adjusts) for row in rows)

    async def reserved(self, run_key: str, reservation: str) -> None:
        """Put down the PSA's reservation of the run; empty: it is gone again.

        Entries on a reservation that no run knows count as billed outside.

        Raises:
            NotFound: there is no such run.
        """
        values = {"run_key": run_key, "reservation": reservation}
        if not await self._database.run(_RESERVED, values):
            raise NotFound(f"{run_key} was never opened")

    async def reservation(self, run_key: str) -> str:
        """Return the id of the PSA's reservation of the run; empty: there is none."""
        row = await self._database.first(_RESERVATION, {"run_key": run_key})
        return "" if row is None else str(row.reservation)

    async def place(
        self, run_key: str, allocate: Allocate, on: date, schedules: Schedules | None = None
    ) -> Placed:
        """Give every part its disposition by `allocate`, with the contract in force `on` a day.

        Caps and retainers stay locked from the look to the commit, so that no two runs count on
        the same remainder. Placed before: the same answer, and `allocate` is not asked.

        Raises:
            NotFound: the project has no engagement on that day.
            ValueError: a scheduled retainer is to be drawn from, and `schedules` is missing.
            Conflict: the parts are not the rated amounts, or exceed a cap or a retainer.
        """
        async with self._database.transaction() as session:
            run = await active_run(session, "place", run_key)
            require(run, "placing", "rated", "placed", "handed_over")
            warnings: tuple[str, ...] = tuple(run.warnings)
            if run.state == "rated":
                warnings = await _place(session, run, allocate, on, schedules)
            amounts = await _amounts(session, run_key)
        return Placed(amounts=amounts, warnings=warnings)

    async def unplace(self, run_key: str) -> None:
        """Take the parts back, with all that they consumed; entries are rated again.

        Raises:
            Conflict: the run was handed over, or a charge or cost of it stands in the ERP.
        """
        async with self._database.transaction() as session:
            run = await locked_run(session, "unplace", run_key)
            if run is None or run.state in {"opened", "claimed", "rated", "released"}:
                return
            require(run, "unplacing", "placed")
            await give_back(session, run_key)
            await session.execute(_REMOVE, {"run_key": run_key})
            moved = {"run_key": run_key, "from": "placed", "to": "rated"}
            await session.execute(_MOVE, moved)
            await set_state(session, run_key, "rated")

    async def hand_over(self, run_key: str) -> Placed:
        """Let drafting take the run's parts: from here on they only go forward.

        An entry that changed in the PSA since it was verified is billed as it was, and a finding
        says so.

        Raises:
            Conflict: entries are not placed yet.
        """
        async with self._database.transaction() as session:
            run = await active_run(session, "hand_over", run_key)
            if run.state != "handed_over":
                inside = (await session.execute(_INSIDE, {"run_key": run_key})).all()
                if inside:
                    require(run, "handing over", "placed")
                await _too_late(session, run.psa, [row for row in inside if row.changed])
                await settle(session, run_key)
                await session.execute(_HAND_OVER, {"run_key": run_key})
                await set_state(session, run_key, "handed_over")
            amounts = await _amounts(session, run_key)
        return Placed(amounts=amounts, warnings=tuple(run.warnings))

    async def placed(self, run_key: str) -> tuple[PlacedEntry, ...]:
        """Return the run's entries with their parts, in claim order."""
        found: dict[int, PlacedEntry] = {}
        for row in await self._database.rows(_PLACED, {"run_key": run_key}):
            part = Part(
                number=row.number,
                disposition=Disposition(row.disposition),
                amount=Money(amount=row.amount, currency=row.currency),
                minutes=row.minutes,
                cap=row.cap,
            )
            known = found.get(row.entry)
            if known is None:
                rated = Rated.model_validate_json(row.document)
                found[row.entry] = PlacedEntry(rated=rated, parts=(part,))
            else:
                found[row.entry] = known.model_copy(update={"parts": (*known.parts, part)})
        return tuple(found.values())


async def _place(
    session: AsyncConnection,
    run: AnyRow,
    allocate: Allocate,
    on: date,
    schedules: Schedules | None,
) -> tuple[str, ...]:
    engagement = await engagement_on(session, run.psa, run.project_id, on)
    if engagement is None:
        raise NotFound(f"no engagement bills {run.psa} project {run.project_id} on {on}")
    rows = (await session.execute(_RATED, {"run_key": run.run_key})).all()
    rated = [Rated.model_validate_json(row.document) for row in rows]
    caps = await lock_caps(session, engagement, run.period)
    retainers = await lock_retainers(session, engagement, schedules)
    allocation = allocate(rated, caps, retainers)
    if len(allocation.parts) != len(rated):
        raise Conflict(f"{run.run_key}: the allocation is not of the run's entries")
    parts = [
        _part_row(row.entry, part)
        for row, parts in zip(rows, allocation.parts, strict=True)
        for part in parts
    ]
    await session.execute(_PARTS, {"run_key": run.run_key, "rows": as_rows(parts)})
    warnings = tuple(str(warning) for warning in allocation.warnings)
    note = {
        "run_key": run.run_key,
        "engagement": engagement.id,
        "client_id": engagement.client_id,
        "warnings": json.dumps(warnings),
    }
    await session.execute(_NOTE, note)
    await take(session, run.run_key, rated, caps)
    await put_down_draws(session, engagement, schedules)
    moved = {"run_key": run.run_key, "from": "rated", "to": "placed"}
    await session.execute(_MOVE, moved)
    return warnings


def _part_row(entry: int, part: Part) -> dict[str, object]:
    return {
        "entry": entry,
        "number": part.number,
        "disposition": part.disposition.value,
        "amount": part.amount.amount,
        "currency": part.amount.currency,
        "minutes": part.minutes,
        "cap": part.cap,
    }


async def _amounts(session: AsyncConnection, run_key: str) -> tuple[PlacedAmount, ...]:
    rows = await session.execute(_AMOUNTS, {"run_key": run_key})
    return tuple(
        PlacedAmount(
            disposition=Disposition(row.disposition),
            amount=Money(amount=row.amount or Decimal(0), currency=row.currency),
            parts=row.parts,
        )
        for row in rows
    )


async def _too_late(session: AsyncConnection, source: str, changed: Sequence[AnyRow]) -> None:
    if not changed:
        return
    refs = {EntryRef(kind=EntryKind(row.kind), id=row.entry_id): row for row in changed}
    details = {ref: f"{row.changed} in the PSA as it was billed" for ref, row in refs.items()}
    projects = {ref: str(row.project_id) for ref, row in refs.items()}
    await find(session, source, CHANGED_AFTER_BILLING, details, projects)
    rows = [{"kind": row.kind, "entry_id": row.entry_id} for row in changed]
    await session.execute(_TOO_LATE, {"source": source, "rows": as_rows(rows)})
