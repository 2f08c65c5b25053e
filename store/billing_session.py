"""What acts on drafts, fees and invoices share: the trail, and moves of what is billed.

Locks are taken in one order by every act: families of drafts, drafts, parts and fees, client POs,
caps; within each by id. Statements after a lock see what others committed before it.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef, DraftState
from store.audit import audit_data
from store.errors import Conflict
from store.subledger_session import as_rows, begin_act

_LOCK = text("""
    SELECT pg_advisory_xact_lock(hashtextextended(name, 0))
    FROM unnest(CAST(:names AS text[])) AS name
""")

_APPEND = text("""
    INSERT INTO audit_trail (subject, actor, act, data)
    SELECT subject, :actor, :act, CAST(:data AS jsonb)
    FROM unnest(CAST(:subjects AS text[])) AS subject ORDER BY subject
""")

_MOVE_PARTS = text("""
    UPDATE parts SET state = :to WHERE id = ANY(CAST(:ids AS bigint[])) AND state = :from
    RETURNING id
""")
_MOVE_FEES = text("""
    UPDATE fees SET state = :to, moved_at = now()
    WHERE id = ANY(CAST(:ids AS bigint[])) AND state = :from RETURNING id
""")

_LOCK_CAPS = text("""
    SELECT id FROM caps WHERE id IN (
        SELECT cap FROM cap_uses WHERE part = ANY(CAST(:ids AS bigint[])))
    ORDER BY id FOR UPDATE
""")

_LOCK_PARTS = text("""
    SELECT id FROM parts WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
""")
_LOCK_FEES = text("""
    SELECT id FROM fees WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR UPDATE
""")

_LOCK_POS = text("""
    SELECT number FROM client_pos AS po
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
        USING (client_id, number)
    ORDER BY po.client_id, po.number FOR UPDATE OF po
""")
_COUNT_POS = text("""
    UPDATE client_pos AS po SET drafted = counted.drafted, released = counted.released,
        invoiced = counted.invoiced, credited = counted.credited,
        amount = CASE WHEN :lift THEN greatest(po.amount,
            counted.released + counted.invoiced - counted.credited) ELSE po.amount END
    FROM (
        SELECT known.client_id, known.number, (
                SELECT coalesce(sum(CASE known.basis WHEN 'net' THEN net ELSE gross END), 0)
                FROM drafts WHERE drafts.client_id = known.client_id
                    AND client_po = known.number AND drafts.currency = known.currency
                    AND state IN ('in_review', 'queued')) AS drafted, (
                SELECT coalesce(sum(CASE known.basis WHEN 'net' THEN net ELSE gross END), 0)
                FROM drafts WHERE drafts.client_id = known.client_id
                    AND client_po = known.number AND drafts.currency = known.currency
                    AND state = 'released') AS released, (
                SELECT coalesce(sum(CASE known.basis WHEN 'net' THEN net ELSE gross END), 0)
                FROM invoices WHERE invoices.client_id = known.client_id
                    AND client_po = known.number AND invoices.currency = known.currency
                ) AS invoiced, (
                SELECT coalesce(sum(CASE known.basis WHEN 'net' THEN note_net ELSE note_gross END),
                    0)
                FROM credits JOIN invoices ON invoices.connection = credits.connection
                    AND invoices.id = credits.invoice
                WHERE credits.state = 'credited' AND invoices.client_id = known.client_id
                    AND client_po = known.number AND invoices.currency = known.currency
                ) AS credited
        FROM client_pos AS known
        JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
            USING (client_id, number)
    ) AS counted
    WHERE po.client_id = counted.client_id AND po.number = counted.number
        AND (po.drafted, po.released, po.invoiced, po.credited) IS DISTINCT FROM
            (counted.drafted, counted.released, counted.invoiced, counted.credited)
""")
# A function of the database counts them (migration 0025), for there it is said once.
_COUNT_PO_LINES = text("""
    UPDATE client_po_lines AS line SET drafted = counted.drafted, released = counted.released,
        invoiced = counted.invoiced, credited = counted.credited,
        amount = CASE WHEN :lift THEN greatest(line.amount,
            counted.released + counted.invoiced - counted.credited) ELSE line.amount END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(client_id text, number text)
    CROSS JOIN LATERAL client_po_line_takings(given.client_id, given.number) AS counted
    WHERE EXISTS (SELECT FROM client_po_lines AS known
            WHERE known.client_id = given.client_id AND known.number = given.number)
        AND line.client_id = given.client_id AND line.number = given.number
        AND line.place = counted.place
        AND (line.drafted, line.released, line.invoiced, line.credited) IS DISTINCT FROM
            (counted.drafted, counted.released, counted.invoiced, counted.credited)
""")


class Stage(Enum):
    """Where something billable stands: the state of a part, of a fee, and the column of a cap."""

    FREE = ("placed", "handed_over", "reserved")
    DRAFTED = ("drafted", "drafted", "drafted")
    RELEASED = ("released", "released", "drafted")
    INVOICED = ("invoiced", "invoiced", "invoiced")


STAGES = {
    DraftState.IN_REVIEW: Stage.DRAFTED,
    DraftState.QUEUED: Stage.DRAFTED,
    DraftState.RELEASED: Stage.RELEASED,
    DraftState.INVOICED: Stage.INVOICED,
}
"""Where a draft's lines stand; in any other state it holds none."""


class PoKey(NamedTuple):
    """A client PO by its client and number."""

    client_id: str
    number: str


async def begin(session: AsyncConnection, act: str, *locks: str) -> None:
    """Name the act of this transaction for the trail, and wait for these locks, in order."""
    await begin_act(session, act, "")
    if locks:
        await session.execute(_LOCK, {"names": sorted(set(locks))})


async def note(
    session: AsyncConnection, subjects: Iterable[str], actor: str, act: str, **data: object
) -> None:
    """Append one act to the audit trail of each subject."""
    values = {
        "subjects": sorted(set(subjects)),
        "actor": actor,
        "act": act,
        "data": audit_data(**data),
    }
    await session.execute(_APPEND, values)


def ids_of(refs: Iterable[BillableRef], kind: BillableKind) -> list[int]:
    """Return the ids of one kind, in order."""
    return sorted({ref.id for ref in refs if ref.kind is kind})


async def lock_members(session: AsyncConnection, refs: Sequence[BillableRef]) -> None:
    """Lock parts and fees, so that nobody else moves them."""
    for kind, statement in ((BillableKind.PART, _LOCK_PARTS), (BillableKind.FEE, _LOCK_FEES)):
        if ids := ids_of(refs, kind):
            await session.execute(statement, {"ids": ids})


async def move(
    session: AsyncConnection, refs: Iterable[BillableRef], start: Stage, end: Stage
) -> None:
    """Move what is billed from one stage to the next, with what it takes of caps.

    Raises:
        Conflict: something is not where it should be.
    """
    given = tuple(refs)
    parts = ids_of(given, BillableKind.PART)
    fees = ids_of(given, BillableKind.FEE)
    for ids, statement, index, what in (
        (parts, _MOVE_PARTS, 0, "part"),
        (fees, _MOVE_FEES, 1, "fee"),
    ):
        if not ids:
            continue
        states = {"from": start.value[index], "to": end.value[index]}
        moved = await session.execute(statement, {"ids": ids, **states})
        missing = set(ids) - set(moved.scalars())
        if missing:
            raise Conflict(f"{what} {min(missing)} is not {states['from']}")
    await _move_caps(session, parts, start.value[2], end.value[2])


async def _move_caps(session: AsyncConnection, parts: list[int], start: str, end: str) -> None:
    if not parts or start == end:
        return
    await session.execute(_LOCK_CAPS, {"ids": parts})
    statement = text(f"""
        UPDATE caps AS cap SET {start} = {start} - used.net, {end} = {end} + used.net
        FROM (SELECT cap, sum(amount) AS net FROM cap_uses
            WHERE part = ANY(CAST(:ids AS bigint[])) GROUP BY cap) AS used
        WHERE cap.id = used.cap
    """)  # noqa: S608 - columns of Stage
    await session.execute(statement, {"ids": parts})


def po_rows(keys: Iterable[PoKey]) -> str:
    """Return client POs as rows; those without a number are none."""
    return as_rows(key._asdict() for key in sorted(set(keys)) if key.number)


async def lock_pos(session: AsyncConnection, keys: Iterable[PoKey]) -> None:
    """Lock client POs, those that are known."""
    await session.execute(_LOCK_POS, {"rows": po_rows(keys)})


async def count_pos(session: AsyncConnection, keys: Iterable[PoKey], *, lift: bool = False) -> None:
    """Count anew what drafts, invoices and credits take of client POs and of their lines.

    The POs have to be locked.

    With `lift`, what was taken before a PO was known, or before it was lowered, is no conflict: it
    only lets nothing more through.

    Raises:
        Conflict: a PO, or one of its lines, would be exceeded.
    """
    if not (named := [key for key in keys if key.number]):
        return
    values = {"rows": po_rows(named), "lift": lift}
    await session.execute(_COUNT_POS, values)
    await session.execute(_COUNT_PO_LINES, values)
