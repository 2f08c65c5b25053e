"""Writes what a decision made of drafts: moves, what left them, lines, client POs (DESIGN 4, 5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef, Draft, DraftLine, LineState
from canonical.entries import EntryKind, EntryRef, HoldReason
from store.audit import ENGINE
from store.billing_session import STAGES, Stage, count_pos, ids_of, lock_pos, move
from store.cap_release import release_written_off
from store.draft_change import Change
from store.draft_rows import let_go, members_of, po_keys, put
from store.errors import Conflict
from store.holds import put_holds
from store.models import REASON_MAX
from store.subledger_session import as_rows

_ENTRIES = text("""
    SELECT part.id, version.source, version.kind, version.entry_id FROM parts AS part
    JOIN entry_versions AS version ON version.id = part.entry
    WHERE part.id = ANY(CAST(:ids AS bigint[]))
""")
_HOLD_FEES = text("""
    UPDATE fees AS fee SET held = given.because, held_by = :by
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, because text)
    WHERE fee.id = given.id AND (fee.held_by IN ('', :engine) OR :by <> :engine)
""")
_RETURN_FEES = text("""
    UPDATE fees SET state = 'returned', moved_at = now()
    WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'handed_over' AND withdrawn <> ''
""")
_SET_ASIDE = text("""
    INSERT INTO set_asides (kind, part, fee, until, draft, number, because, by)
    SELECT given.*, :by FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(kind text,
        part bigint, fee bigint, until date, draft text, number integer, because text)
""")
_NEXT = text("""
    INSERT INTO draft_numbers AS known (prefix, last) VALUES (:prefix, 1)
    ON CONFLICT (prefix) DO UPDATE SET last = known.last + 1 RETURNING last
""")


@dataclass(frozen=True)
class _Left:
    """A line that is on the invoice no more."""

    draft: str
    line: DraftLine
    by: str


async def next_number(session: AsyncConnection, prefix: str) -> int:
    """Count the drafts of one prefix, from 1."""
    return int((await session.execute(_NEXT, {"prefix": prefix})).scalar_one())


async def numbered(session: AsyncConnection, origin: Draft, change: Change) -> Change:
    """Give new drafts without an id the next one after `origin`, and name them in the answer."""
    made: list[Draft] = []
    for draft in change.made:
        if draft.id:
            made.append(draft)
            continue
        prefix = origin.id.rpartition("/")[0]
        id_ = f"{prefix}/{await next_number(session, prefix)}"
        made.append(draft.model_copy(update={"id": id_, "family": draft.family or origin.family}))
    names = tuple(draft.id for draft in made)
    answer = change.answer.model_copy(update={"made": names}) if names else change.answer
    return replace(change, made=tuple(made), answer=answer)


async def write(session: AsyncConnection, before: Mapping[str, Draft], change: Change) -> None:
    """Persist a change of drafts that are locked, `before` being how they stood.

    Raises:
        Conflict: it would bill something new, twice, or more than a client PO has.
    """
    after = _changed(before, change)
    old = members_of(before[id_] for id_ in after if id_ in before)
    new = members_of(after.values())
    foreign = new.keys() - old.keys()
    if foreign:
        ref = min(foreign, key=lambda each: (each.kind, each.id))
        raise Conflict(f"{ref.kind} {ref.id} was on none of these drafts")
    stages = {ref: STAGES[before[draft].state] for ref, (draft, _) in old.items()}
    ends = {ref: STAGES[after[draft].state] for ref, (draft, _) in new.items()}
    if Stage.INVOICED in ends.values():
        raise Conflict("a draft is invoiced by its posting, not by an act")
    keys = po_keys([*before.values(), *after.values()])
    await lock_pos(session, keys)
    back = [ref for ref, stage in stages.items() if stage is Stage.RELEASED != ends.get(ref)]
    freed = [ref for ref in stages if ref not in ends]
    await move(session, back, Stage.RELEASED, Stage.DRAFTED)
    await move(session, freed, Stage.DRAFTED, Stage.FREE)
    moved = [ref for ref in old if old[ref] != new.get(ref)]
    await let_go(session, [id_ for id_ in after if id_ in before], moved)
    released = [
        ref
        for ref, end in ends.items()
        if end is Stage.RELEASED and stages[ref] is not Stage.RELEASED
    ]
    await move(session, released, Stage.DRAFTED, Stage.RELEASED)
    await put(session, [draft for id_, draft in after.items() if id_ in before], change.by)
    await put(session, change.made, change.by, new=True)
    await _put_away(session, before, after, change.by)
    await _return_withdrawn(session, freed)
    await count_pos(session, keys)


def _changed(before: Mapping[str, Draft], change: Change) -> dict[str, Draft]:
    after = {draft.id: draft for draft in change.drafts if draft != before.get(draft.id)}
    unknown = after.keys() - before.keys()
    if unknown:
        raise Conflict(f"{min(unknown)} is not locked: name it, or make it a new draft")
    for draft in change.made:
        if draft.id in before or draft.id in after:
            raise Conflict(f"{draft.id} is there already")
        after[draft.id] = draft
    return after


async def _put_away(
    session: AsyncConnection, before: Mapping[str, Draft], after: Mapping[str, Draft], by: str
) -> None:
    """Hold, defer or write off what the lines bill that left."""
    left = [
        _Left(id_, line, by)
        for id_, draft in after.items()
        if id_ in before
        for line in _lines_left(before[id_], draft)
    ]
    off = [each.line for each in left if each.line.state is LineState.WRITTEN_OFF]
    await release_written_off(session, [ref for line in off for ref in line.bills])
    held = [each for each in left if each.line.state is LineState.HELD]
    await _hold(session, held)
    rows = [
        _aside_row(each, ref)
        for each in left
        if each.line.state is LineState.WRITTEN_OFF
        or (each.line.state is LineState.DEFERRED and each.line.deferred_until is not None)
        for ref in each.line.bills
    ]
    if rows:
        await session.execute(_SET_ASIDE, {"rows": as_rows(rows), "by": by})


def _lines_left(before: Draft, after: Draft) -> Iterable[DraftLine]:
    if before.state not in STAGES:
        return
    live = {line.number for line in before.live_lines}
    for line in after.lines:
        if line.number in live and line.state is not LineState.IN:
            yield line


def _aside_row(left: _Left, ref: BillableRef) -> dict[str, object]:
    deferred = left.line.state is LineState.DEFERRED
    return {
        "kind": "deferred" if deferred else "written_off",
        "part": ref.id if ref.kind is BillableKind.PART else None,
        "fee": ref.id if ref.kind is BillableKind.FEE else None,
        "until": left.line.deferred_until if deferred else None,
        "draft": left.draft,
        "number": left.line.number,
        "because": left.line.because[:REASON_MAX],
    }


async def _hold(session: AsyncConnection, left: Sequence[_Left]) -> None:
    """Hold entries, and fees, by hand of who took their lines off."""
    if not left:
        return
    by = left[0].by
    because = {ref: each.line.because or "held" for each in left for ref in each.line.bills}
    fees = [
        {"id": id_, "because": because[BillableRef(kind=BillableKind.FEE, id=id_)][:REASON_MAX]}
        for id_ in ids_of(because, BillableKind.FEE)
    ]
    if fees:
        # What a person holds stays theirs, whatever else takes its line off.
        values = {"rows": as_rows(fees), "by": by, "engine": ENGINE}
        await session.execute(_HOLD_FEES, values)
    found = await session.execute(_ENTRIES, {"ids": ids_of(because, BillableKind.PART)})
    by_source: dict[str, dict[EntryRef, str]] = {}
    for row in found:
        entry = EntryRef(kind=EntryKind(row.kind), id=row.entry_id)
        why = because[BillableRef(kind=BillableKind.PART, id=row.id)]
        by_source.setdefault(row.source, {})[entry] = why
    for source, entries in sorted(by_source.items()):
        await put_holds(session, source, by, HoldReason.BY_HAND.value, entries)


async def _return_withdrawn(session: AsyncConnection, freed: Iterable[BillableRef]) -> None:
    """A fee that was withdrawn while it was on a draft is returned once it is free."""
    if ids := ids_of(freed, BillableKind.FEE):
        await session.execute(_RETURN_FEES, {"ids": ids})
