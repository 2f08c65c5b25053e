"""What an issued credit does to what was billed: amounts, states, caps, the next billing cycle."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef
from canonical.fees import Fee
from canonical.money import Money
from canonical.rating import Rated
from store.billing_session import ids_of, lock_members
from store.subledger_session import as_rows


@dataclass(frozen=True)
class Credited:
    """How much of one billed amount a credit takes back."""

    id: int
    """Of the credit's part."""
    member: int
    ref: BillableRef
    amount: Decimal
    billed: Decimal
    """The whole part or fee."""
    rebill: bool


Opened = dict[int, BillableRef]
"""What was opened, by the credit's part."""

_CREDIT = text("""
    UPDATE draft_members AS member SET credited = member.credited + given.amount
    FROM (SELECT member, sum(amount) AS amount
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS each(member bigint, amount numeric)
        GROUP BY member) AS given
    WHERE member.id = given.member
""")
_WHOLE = """
    UPDATE {table} AS billed SET state = 'credited' FROM draft_members AS member
    WHERE member.id = ANY(CAST(:members AS bigint[])) AND billed.id = member.{column}
        AND billed.state = 'invoiced' AND member.credited = member.amount - member.written_down
"""
_WHOLE_PARTS = text(_WHOLE.format(table="parts", column="part"))
_WHOLE_FEES = text(_WHOLE.format(table="fees", column="fee"))

_LOCK_CAPS = text("""
    SELECT id FROM caps WHERE id IN (
        SELECT cap FROM cap_uses WHERE part = ANY(CAST(:parts AS bigint[])))
    ORDER BY id FOR UPDATE
""")
# In one step: between a credit and its rebill a cap would look free.
_CAPS = text("""
    WITH given AS (
        SELECT used.cap, each.amount, each.opened
        FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS each(part bigint, amount numeric, opened bigint)
        JOIN cap_uses AS used ON used.part = each.part
    ), uses AS (
        INSERT INTO cap_uses (part, cap, amount)
        SELECT opened, cap, amount FROM given WHERE opened IS NOT NULL
    )
    UPDATE caps AS cap SET credited = cap.credited + net.credited,
        reserved = cap.reserved + net.reserved
    FROM (SELECT cap, sum(amount) AS credited,
            coalesce(sum(amount) FILTER (WHERE opened IS NOT NULL), 0) AS reserved
        FROM given GROUP BY cap) AS net
    WHERE cap.id = net.cap
""")

_LOCK_ENTRIES = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('cycle:' || entry, 0)) FROM (
        SELECT DISTINCT entry FROM parts WHERE id = ANY(CAST(:parts AS bigint[])) ORDER BY entry
    ) AS entries
""")
_RATED = text("""
    SELECT part.id, part.entry, part.cap, part.currency, part.minutes, part.amount, part.run_key,
        rating.document, (SELECT max(cycle) FROM ratings WHERE ratings.entry = part.entry) AS last
    FROM parts AS part
    JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    WHERE part.id = ANY(CAST(:parts AS bigint[])) ORDER BY part.id
""")
_RATE_AGAIN = text("""
    INSERT INTO ratings (entry, cycle, run_key, line, legal_entity, amount, currency, minutes,
        document)
    SELECT given.entry, given.cycle, known.run_key, known.line, known.legal_entity, given.amount,
        known.currency, given.minutes, given.document
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(entry bigint, cycle integer,
        amount numeric, minutes integer, document text)
    JOIN ratings AS known ON known.entry = given.entry AND known.cycle = given.cycle - 1
""")
_OPEN_PARTS = text("""
    INSERT INTO parts (entry, cycle, number, disposition, amount, currency, minutes, cap, run_key)
    SELECT given.entry, given.cycle, given.number, 'to_bill', given.amount, given.currency,
        given.minutes, given.cap, given.run_key
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(entry bigint, cycle integer,
        number integer, amount numeric, currency text, minutes integer, cap text, run_key text)
    RETURNING id, entry, cycle, number
""")
_FEES = text("""
    SELECT fee.id, fee.source, fee.item, fee.document, (SELECT max(cycle) FROM fees AS known
        WHERE known.source = fee.source AND known.item = fee.item) AS last
    FROM fees AS fee WHERE fee.id = ANY(CAST(:fees AS bigint[])) ORDER BY fee.id
""")
_OPEN_FEE = text("""
    INSERT INTO fees (source, item, cycle, engagement, line, psa, project_id, client_id, period,
        amount, currency, state, run, document)
    SELECT source, item, :cycle, engagement, line, psa, project_id, client_id, period, :amount,
        currency, 'handed_over', :run, :document
    FROM fees WHERE id = :id
    RETURNING id
""")
_OPENED = text("""
    UPDATE credit_parts AS part SET opened_part = given.part, opened_fee = given.fee
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(id bigint, part bigint, fee bigint)
    WHERE part.id = given.id
""")


async def take_back(session: AsyncConnection, parts: Sequence[Credited], opened: Opened) -> None:
    """Count what was credited, on what was billed and on its caps."""
    rows = [{"member": each.member, "amount": each.amount} for each in parts]
    await session.execute(_CREDIT, {"rows": as_rows(rows)})
    members = {"members": [each.member for each in parts]}
    await session.execute(_WHOLE_PARTS, members)
    await session.execute(_WHOLE_FEES, members)
    of_caps = [each for each in parts if each.ref.kind is BillableKind.PART]
    if of_caps:
        taken = [
            {
                "part": each.ref.id,
                "amount": each.amount,
                "opened": opened[each.id].id if each.id in opened else None,
            }
            for each in of_caps
        ]
        await session.execute(_LOCK_CAPS, {"parts": [each.ref.id for each in of_caps]})
        await session.execute(_CAPS, {"rows": as_rows(taken)})


async def reopen(session: AsyncConnection, credit: str, parts: Sequence[Credited]) -> Opened:
    """Open the next billing cycle of what is to be billed again, with what was credited of it."""
    opened: Opened = {}
    if not parts:
        return opened
    await lock_members(session, [each.ref for each in parts])
    opened |= await _reopen_parts(session, [p for p in parts if p.ref.kind is BillableKind.PART])
    opened |= await _reopen_fees(
        session, credit, [p for p in parts if p.ref.kind is BillableKind.FEE]
    )
    rows = [
        {
            "id": id_,
            "part": ref.id if ref.kind is BillableKind.PART else None,
            "fee": ref.id if ref.kind is BillableKind.FEE else None,
        }
        for id_, ref in opened.items()
    ]
    await session.execute(_OPENED, {"rows": as_rows(rows)})
    return opened


async def _reopen_parts(session: AsyncConnection, parts: Sequence[Credited]) -> Opened:
    if not parts:
        return {}
    ids = ids_of([each.ref for each in parts], BillableKind.PART)
    await session.execute(_LOCK_ENTRIES, {"parts": ids})
    known = {row.id: row for row in await session.execute(_RATED, {"parts": ids})}
    of_entry: dict[int, list[Credited]] = {}
    for each in parts:
        of_entry.setdefault(known[each.ref.id].entry, []).append(each)
    ratings, rows, wanted = [], [], {}
    for entry, credited in of_entry.items():
        first = known[credited[0].ref.id]
        cycle = first.last + 1
        total = sum((each.amount for each in credited), Decimal(0))
        minutes = 0
        for number, each in enumerate(credited, start=1):
            row = known[each.ref.id]
            share = int(row.minutes * each.amount / each.billed) if each.billed else 0
            minutes += share
            wanted[entry, cycle, number] = each.id
            rows.append(
                {
                    "entry": entry,
                    "cycle": cycle,
                    "number": number,
                    "amount": each.amount,
                    "currency": row.currency,
                    "minutes": share,
                    "cap": row.cap,
                    "run_key": row.run_key,
                }
            )
        rated = Rated.model_validate_json(first.document)
        again = rated.model_copy(
            update={
                "amount": Money(amount=total, currency=first.currency),
                "billed_minutes": minutes,
            }
        )
        ratings.append(
            {
                "entry": entry,
                "cycle": cycle,
                "amount": total,
                "minutes": minutes,
                "document": again.model_dump_json(),
            }
        )
    await session.execute(_RATE_AGAIN, {"rows": as_rows(ratings)})
    return {
        wanted[row.entry, row.cycle, row.number]: BillableRef(kind=BillableKind.PART, id=row.id)
        for row in await session.execute(_OPEN_PARTS, {"rows": as_rows(rows)})
    }


async def _reopen_fees(session: AsyncConnection, credit: str, parts: Sequence[Credited]) -> Opened:
    ids = ids_of([each.ref for each in parts], BillableKind.FEE)
    known = {row.id: row for row in await session.execute(_FEES, {"fees": ids})} if ids else {}
    opened: Opened = {}
    for each in parts:
        row = known[each.ref.id]
        fee = Fee.model_validate_json(row.document)
        cycle = row.last + 1
        again = fee.model_copy(
            update={
                "cycle": cycle,
                "amount": Money(amount=each.amount, currency=fee.amount.currency),
                "quantity": Decimal(1),
                "unit_price": each.amount,
            }
        )
        values = {
            "id": row.id,
            "cycle": cycle,
            "amount": each.amount,
            "run": credit,
            "document": again.model_dump_json(),
        }
        id_ = (await session.execute(_OPEN_FEE, values)).scalar_one()
        opened[each.id] = BillableRef(kind=BillableKind.FEE, id=id_)
    return opened
