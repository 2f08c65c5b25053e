"""Fees that are held, withdrawn or restored: by people, and by what the PSA says of them.

A hold keeps a fee off drafts, and its draft from being released. A withdrawal gives it back. What a
person withdrew stays so until a person releases it: the hold that is put down with it says so.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.fees import Fee, FeeSource, FeeStanding, FeeState
from store.audit import ENGINE
from store.billing_session import begin, note
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound
from store.models import REASON_MAX

STANDING = """
    SELECT fee.id, fee.document, fee.state, fee.run, fee.held, fee.held_by, fee.withdrawn,
        coalesce(member.draft, '') AS draft,
        coalesce(invoice.number, '') AS invoice, coalesce(invoice.state = 'settled', false) AS paid
    FROM fees AS fee
    LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
    LEFT JOIN invoices AS invoice ON invoice.draft = member.draft
"""
_HISTORY = text(f"""
    {STANDING} WHERE fee.source = :source AND fee.item = :item ORDER BY fee.cycle, fee.id
""")
_LATE = text(f"""
    {STANDING} WHERE fee.withdrawn <> '' AND fee.state IN ('released', 'invoiced')
    ORDER BY fee.id
""")
# One that was given back and is kept back counts as long as nothing bills its item anew.
_HELD = text(f"""
    {STANDING} WHERE fee.held <> '' AND fee.source = :source AND (
        fee.state IN ('reserved', 'handed_over', 'drafted')
        OR fee.state = 'returned' AND fee.held_by <> :engine AND NOT EXISTS (
            SELECT FROM fees AS later WHERE later.source = fee.source AND later.item = fee.item
                AND later.id > fee.id))
    ORDER BY fee.id
""")

_LOCK_LATEST = text("""
    SELECT id, state, held, held_by, withdrawn FROM fees
    WHERE source = :source AND item = :item ORDER BY cycle DESC, id DESC LIMIT 1 FOR UPDATE
""")
_WITHDRAW = text("""
    UPDATE fees SET withdrawn = :because, state = :state, moved_at = now(),
        held = :held, held_by = :held_by
    WHERE id = :id
""")
_RESTORE = text("UPDATE fees SET withdrawn = '', held = '', held_by = '' WHERE id = :id")
_HOLD = text("UPDATE fees SET held = :because, held_by = :by WHERE id = :id")

_FREE = frozenset({FeeState.RESERVED, FeeState.HANDED_OVER})
_TOO_LATE = frozenset({FeeState.RELEASED, FeeState.INVOICED, FeeState.CREDITED})


class FeeHolds:
    """Holds, withdraws and restores the latest fee of an item: that of its highest cycle."""

    _database: Database

    async def latest(self, source: FeeSource, item: str) -> FeeStanding | None:
        """Return the latest fee of an item, one that was given back too; None: there is none."""
        history = await self.history(source, item)
        return history[-1] if history else None

    async def history(self, source: FeeSource, item: str) -> tuple[FeeStanding, ...]:
        """Return every fee that was ever reserved for an item, oldest first."""
        values = {"source": source.value, "item": item}
        return tuple(standing_of(row) for row in await self._database.rows(_HISTORY, values))

    async def held(self, source: FeeSource = FeeSource.MILESTONE) -> tuple[FeeStanding, ...]:
        """Return what is held, and what people keep back after it was withdrawn."""
        values = {"source": source.value, "engine": ENGINE}
        return tuple(standing_of(row) for row in await self._database.rows(_HELD, values))

    async def late(self) -> tuple[FeeStanding, ...]:
        """Return what was withdrawn when it was released or invoiced already: findings."""
        return tuple(standing_of(row) for row in await self._database.rows(_LATE))

    async def withdraw(
        self, source: FeeSource, item: str, because: str, *, by: str = ENGINE
    ) -> FeeStanding:
        """Take note that an item may not be billed any more, and return how its fee stands then.

        Reserved or handed over, it is given back at once. On a draft it is marked, and given back
        with its line. Released or invoiced, the mark is a finding (`late`): only a credit helps;
        of a person that is refused. Again, it changes nothing.

        Raises:
            NotFound: nothing was ever reserved for it.
            Conflict: a person withdraws what is released or invoiced, or given back already.
        """
        async with self._database.transaction() as session:
            await begin(session, "withdraw")
            fee = await _locked(session, source, item)
            state = FeeState(fee.state)
            if by != ENGINE and state in {*_TOO_LATE, FeeState.RETURNED}:
                raise Conflict(_refused(item, state, "withdrawn"))
            mark = because[:REASON_MAX] or "withdrawn"
            kept = (mark, by) if by != ENGINE else (fee.held, fee.held_by)
            values = {
                "id": fee.id,
                "because": fee.withdrawn or mark,
                "state": FeeState.RETURNED.value if state in _FREE else state.value,
                "held": kept[0],
                "held_by": kept[1],
            }
            if not fee.withdrawn or state in _FREE or by != ENGINE:
                await session.execute(_WITHDRAW, values)
                await note(session, [_subject(source, item)], by, "withdraw", state=state, why=mark)
        return await self._now(source, item)

    async def restore(self, source: FeeSource, item: str) -> bool:
        """Let the PSA's word count again: it may be billed as it was; return whether that is new.

        What a person holds stays held.
        """
        async with self._database.transaction() as session:
            await begin(session, "restore")
            fee = await _locked(session, source, item)
            ours = fee.held_by in {"", ENGINE} and fee.state != FeeState.RETURNED
            restored = ours and bool(fee.withdrawn or fee.held)
            if restored:
                await session.execute(_RESTORE, {"id": fee.id})
                await note(session, [_subject(source, item)], ENGINE, "restore", state=fee.state)
        return restored

    async def hold(self, source: FeeSource, item: str, *, by: str, because: str) -> bool:
        """Keep an item off drafts, and its draft from release; return whether that is new.

        A hold of a person takes the place of the engine's, and never the other way round.

        Raises:
            NotFound: nothing was ever reserved for it.
            Conflict: it is released or invoiced: there is nothing left to hold.
        """
        async with self._database.transaction() as session:
            await begin(session, "hold")
            fee = await _locked(session, source, item)
            if fee.state in _TOO_LATE:
                raise Conflict(_refused(item, FeeState(fee.state), "held"))
            held = not fee.held or (fee.held_by == ENGINE and by != ENGINE)
            if held:
                values = {"id": fee.id, "because": because[:REASON_MAX] or "held", "by": by}
                await session.execute(_HOLD, values)
                await note(session, [_subject(source, item)], by, "hold", why=because)
        return held

    async def unhold(self, source: FeeSource, item: str, *, by: str) -> bool:
        """Release what holds or keeps back an item; return whether something did.

        What was withdrawn on a draft may be billed with it again, unless the PSA says otherwise.
        """
        async with self._database.transaction() as session:
            await begin(session, "unhold")
            fee = await _locked(session, source, item)
            released = bool(fee.held)
            if released:
                empty = {"id": fee.id, "because": "", "by": ""}
                live = fee.state != FeeState.RETURNED
                await session.execute(_RESTORE if live else _HOLD, empty)
                subject = [_subject(source, item)]
                await note(session, subject, by, "unhold", was=fee.held, held_by=fee.held_by)
        return released

    async def _now(self, source: FeeSource, item: str) -> FeeStanding:
        found = await self.latest(source, item)
        if found is None:
            raise NotFound(f"nothing was ever reserved for {item}")
        return found


def standing_of(row: AnyRow) -> FeeStanding:
    """Return a row of `STANDING`."""
    return FeeStanding(
        id=row.id,
        fee=Fee.model_validate_json(row.document),
        state=FeeState(row.state),
        run=row.run,
        draft=row.draft,
        invoice=row.invoice,
        paid=row.paid,
        held=row.held,
        held_by=row.held_by,
        withdrawn=row.withdrawn,
    )


async def _locked(session: AsyncConnection, source: FeeSource, item: str) -> AnyRow:
    values = {"source": source.value, "item": item}
    row = (await session.execute(_LOCK_LATEST, values)).first()
    if row is None:
        raise NotFound(f"nothing was ever reserved for {item}")
    return row


def _refused(item: str, state: FeeState, what: str) -> str:
    if state is FeeState.RETURNED:
        return f"{item} is not being billed: there is nothing to be {what}"
    return f"{item} is {state}: it cannot be {what} any more, only credited once it is invoiced"


def _subject(source: FeeSource, item: str) -> str:
    return f"fee/{source}/{item}"
