"""Invoice drafts: what waits for them, opening them, and every act on them (DESIGN 4, 5).

An act is decided once, by a pure function under the locks of the drafts and their families; its
answer is kept under the act's id, so that the same act again changes nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.alerts import TellingKind
from canonical.draft_acts import DraftAnswer
from canonical.drafts import Billable, BillableKind, BillableRef, Draft, DraftState
from store.audit import ENGINE
from store.billables import LIMIT, billables, clients_to_bill
from store.billing_session import (
    Stage,
    begin,
    count_pos,
    ids_of,
    lock_members,
    lock_pos,
    move,
    note,
)
from store.database import Database
from store.draft_change import Change, Decide
from store.draft_looking import kin_of, looked
from store.draft_rows import families_of, locked, members_of, po_keys, put
from store.draft_writing import next_number, numbered, write
from store.errors import NotFound
from store.evidence import Cipher, Evidence

_FREE = text("""
    SELECT 'part' AS kind, part.id FROM parts AS part
    JOIN entry_versions AS version ON version.id = part.entry
    WHERE part.id = ANY(CAST(:parts AS bigint[])) AND part.state = 'placed'
        AND part.disposition = 'to_bill' AND version.handed_over_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM holds AS hold WHERE hold.source = version.source
            AND hold.kind = version.kind AND hold.entry_id = version.entry_id
            AND hold.released_at IS NULL)
        AND NOT EXISTS (SELECT FROM set_asides AS aside
            WHERE aside.part = part.id AND aside.kind = 'written_off')
    UNION ALL
    SELECT 'fee', fee.id FROM fees AS fee
    WHERE fee.id = ANY(CAST(:fees AS bigint[])) AND fee.state = 'handed_over'
        AND fee.withdrawn = '' AND fee.held = ''
        AND NOT EXISTS (SELECT FROM set_asides AS aside
            WHERE aside.fee = fee.id AND aside.kind = 'written_off')
""")
_KNOWN = text("SELECT id FROM drafts WHERE id = ANY(CAST(:ids AS text[]))")

_GET = text("SELECT document FROM drafts WHERE id = :id")
_FAMILY = text("""
    SELECT document FROM drafts WHERE family = (SELECT family FROM drafts WHERE id = :id)
    ORDER BY id
""")
# A title begins with the draft's period: only drafts of that one are read for it.
_CALLED = text("""
    SELECT document FROM drafts WHERE right(id, length(:ending)) = :ending
    UNION
    SELECT document FROM drafts
    WHERE period = left(:typed, 7) AND CAST(document AS jsonb) ->> 'title' = :typed
    LIMIT :limit
""")
_LIST = text("""
    SELECT document FROM drafts
    WHERE (CAST(:states AS text[]) = '{}' OR state = ANY(CAST(:states AS text[])))
        AND (:legal_entity = '' OR legal_entity = :legal_entity)
        AND (:client_id = '' OR client_id = :client_id)
        AND (:reviewer = '' OR reviewer = :reviewer)
    ORDER BY made_at, id LIMIT :limit OFFSET :offset
""")

_ACT = text("SELECT answer FROM draft_acts WHERE act_id = :act_id")
_KEEP_ACT = text("""
    INSERT INTO draft_acts (act_id, draft, act, by, answer)
    VALUES (:act_id, :draft, :act, :by, :answer)
""")
_TELL = text("""
    INSERT INTO outbox (kind, subject, payload_json) VALUES (:kind, :subject, :payload)
""")


class DraftStore:
    """Opens drafts, takes acts on them, and finds them."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def billables(
        self,
        *,
        psa: str = "",
        project_id: str = "",
        client_id: str = "",
        clients: Sequence[str] | None = None,
        limit: int = LIMIT,
        on: date | None = None,
    ) -> tuple[Billable, ...]:
        """Return what is free to be drafted on a day (today, UTC), fees first, then by id."""
        values = {
            "psa": psa,
            "project_id": project_id,
            "client_id": client_id,
            "every_client": clients is None,
            "clients": list(clients or ()),
            "limit": limit,
            "on": on or datetime.now(UTC).date(),
        }
        async with self._database.transaction() as session:
            return await billables(session, self._evidence, values)

    async def clients_to_bill(
        self,
        *,
        psa: str = "",
        project_id: str = "",
        client_id: str = "",
        after: str = "",
        limit: int = 1_000,
    ) -> tuple[tuple[str, int], ...]:
        """Return the next clients with amounts free to be drafted, and about how many they are."""
        values = {
            "psa": psa,
            "project_id": project_id,
            "client_id": client_id,
            "after": after,
            "limit": limit,
        }
        async with self._database.transaction() as session:
            return await clients_to_bill(session, values)

    async def next_number(self, prefix: str) -> int:
        """Count the drafts of one prefix from 1; a number that is not used leaves a gap."""
        async with self._database.transaction() as session:
            return await next_number(session, prefix)

    async def open(self, drafts: Sequence[Draft]) -> tuple[str, ...]:
        """Put down new drafts with all that they bill, and return the ids of those that are there.

        One whose amounts somebody took, held or withdrew meanwhile is skipped as a whole. One that
        is there already, with the same amounts, counts as opened.

        Raises:
            Conflict: a line is not the sum of what it bills.
        """
        async with self._database.transaction() as session:
            await begin(session, "open", *(f"drafts:{each.family or each.id}" for each in drafts))
            known = await session.execute(_KNOWN, {"ids": [draft.id for draft in drafts]})
            there = set(known.scalars())
            again = [draft.id for draft in drafts if draft.id in there]
            fresh = [draft for draft in drafts if draft.id not in there]
            taken = await _free_ones(session, fresh)
            refs = members_of(taken)
            await lock_pos(session, po_keys(taken))
            await move(session, refs, Stage.FREE, Stage.DRAFTED)
            await put(session, taken, ENGINE, new=True)
            await count_pos(session, po_keys(taken))
            for draft in taken:
                facts = {"net": draft.net.amount, "currency": draft.currency}
                hash_ = draft.content_hash
                await note(session, [draft.id], ENGINE, "open", **facts, content_hash=hash_)
        return (*again, *(draft.id for draft in taken))

    async def get(self, id_: str) -> Draft:
        """Return a draft as it is.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._database.first(_GET, {"id": id_})
        if row is None:
            raise NotFound(f"there is no draft {id_}")
        return Draft.model_validate_json(row.document)

    async def family(self, id_: str) -> tuple[Draft, ...]:
        """Return a draft with all that were split from the same one, by id, ended ones too."""
        rows = await self._database.rows(_FAMILY, {"id": id_})
        return tuple(Draft.model_validate_json(row.document) for row in rows)

    async def called(self, typed: str, limit: int = 10) -> tuple[Draft, ...]:
        """Return drafts, in order, whose ids end with `/` and this, or whose title it is."""
        values = {"typed": typed, "ending": f"/{typed}", "limit": limit}
        rows = await self._database.rows(_CALLED, values)
        found = (Draft.model_validate_json(row.document) for row in rows)
        return tuple(sorted(found, key=lambda draft: draft.id))

    async def list(
        self,
        states: Sequence[DraftState] = (),
        *,
        legal_entity: str = "",
        client_id: str = "",
        reviewer: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[Draft, ...]:
        """Return drafts, oldest first; filters that are empty let everything through."""
        values = {
            "states": [state.value for state in states],
            "legal_entity": legal_entity,
            "client_id": client_id,
            "reviewer": reviewer,
            "limit": limit,
            "offset": offset,
        }
        rows = await self._database.rows(_LIST, values)
        return tuple(Draft.model_validate_json(row.document) for row in rows)

    async def change(self, ids: Sequence[str], decide: Decide, *, act_id: str) -> DraftAnswer:
        """Take an act on drafts as `decide` says, and return its answer; again: the same answer.

        `decide` is called once, under the locks of the drafts, their families, kin and client POs.
        Its answer is kept also where it refuses.

        Raises:
            NotFound: one of the drafts does not exist.
            Conflict: the decision contradicts itself, or a limit that the database keeps.
        """
        async with self._database.transaction() as session:
            kin = await kin_of(session, ids)
            families = await families_of(session, [*ids, *kin])
            # A repeated act waits for its first run by the families' locks, which come first.
            await begin(session, "change", *(f"drafts:{family}" for family in families))
            row = (await session.execute(_ACT, {"act_id": act_id})).first()
            if row is not None:
                return DraftAnswer.model_validate_json(row.answer)
            drafts = await locked(session, ids, families)
            change = decide(await looked(session, ids, drafts))
            if change.answer.taken:
                change = await numbered(session, drafts[ids[0]], change)
                await begin(session, change.act)
                await write(session, drafts, change)
            await _keep(session, ids, change, act_id)
            for alert in change.tells:
                kind, told = TellingKind.ALERT_RAISED.value, alert.model_dump_json()
                values = {"kind": kind, "subject": alert.id, "payload": told}
                await session.execute(_TELL, values)
        return change.answer


async def _free_ones(session: AsyncConnection, drafts: Sequence[Draft]) -> list[Draft]:
    """Lock what drafts would bill, and return those of them that can have all of theirs."""
    wanted = {ref for draft in drafts for line in draft.live_lines for ref in line.bills}
    await lock_members(session, sorted(wanted, key=lambda ref: (ref.kind, ref.id)))
    found = await session.execute(_FREE, _by_kind(wanted))
    free = {BillableRef(kind=BillableKind(row.kind), id=row.id) for row in found}
    taken: list[Draft] = []
    for draft in drafts:
        refs = [ref for line in draft.live_lines for ref in line.bills]
        if refs and len(set(refs)) == len(refs) and free.issuperset(refs):
            free.difference_update(refs)
            taken.append(draft.model_copy(update={"family": draft.family or draft.id}))
    return taken


def _by_kind(refs: Iterable[BillableRef]) -> dict[str, object]:
    given = tuple(refs)
    return {
        "parts": ids_of(given, BillableKind.PART),
        "fees": ids_of(given, BillableKind.FEE),
    }


async def _keep(session: AsyncConnection, ids: Sequence[str], change: Change, act_id: str) -> None:
    """Keep the answer, and put the act down in the trail of every draft that it touched."""
    answer = change.answer
    values = {
        "act_id": act_id,
        "draft": ids[0],
        "act": change.act,
        "by": change.by,
        "answer": answer.model_dump_json(),
    }
    await session.execute(_KEEP_ACT, values)
    touched = {*ids, *(draft.id for draft in (*change.drafts, *change.made))}
    act = change.act if answer.taken else f"{change.act}_refused"
    facts: dict[str, object] = {
        "act_id": act_id,
        "reasons": list(answer.reasons),
        "state": answer.state,
        "content_hash": answer.content_hash,
        "posting": answer.posting,
        **change.data,
    }
    await note(session, touched if answer.taken else ids, change.by, act, **facts)
