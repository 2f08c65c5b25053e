"""Issued invoices: what became of each draft, and all that was seen of it since (DESIGN 4).

Every look is compared with what is known: only something new counts as a change, and each change is
told to each system once. Applications are known by the paying record's id; less of one is a
reversal.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import Draft, DraftState
from canonical.entries import EntryRef
from canonical.invoicing import BillingHold, Delivery, Invoice
from canonical.lifecycle import InvoiceChangeNoted, InvoiceState, SettledBy, TrackedInvoice
from store.audit import ENGINE
from store.billing_session import PoKey, Stage, begin, count_pos, lock_pos, move, note
from store.cap_release import release_written_down
from store.client_holds import put_hold, release_hold
from store.database import AnyRow, Database
from store.draft_rows import families_of, locked, members_of, po_keys, put
from store.errors import Conflict, NotFound
from store.evidence import Cipher, Evidence
from store.invoice_evidence import ReadBackKept, keep, kept
from store.invoice_rows import load
from store.invoice_seen import amounts, differences, facts, is_native, note_change
from store.models import KEY_MAX, REASON_MAX
from store.subledger_session import as_rows

_INSERT = text("""
    INSERT INTO invoices (connection, id, record_type, draft, posting, external_id, number, "on",
        due, period, currency, legal_entity, client_id, client_po, net, tax, gross, remaining,
        state, change, seen_at)
    VALUES (:connection, :id, :record_type, :draft, :posting, :external_id, :number, :on, :due,
        :period, :currency, :legal_entity, :client_id, :client_po, :net, :tax, :gross, :remaining,
        'issued', 1, :seen_at)
""")
_INSERT_LINES = text("""
    INSERT INTO invoice_lines (connection, invoice, position, number, item, expected, issued)
    SELECT :connection, :id, given.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(position integer, number integer, item text, expected numeric, issued text)
""")
_UPDATE = text("""
    UPDATE invoices SET number = :number, due = :due, period = :period, net = :net, tax = :tax,
        gross = :gross, remaining = :remaining, state = :state, settled_by = :settled_by,
        change = :change, seen_at = :seen_at
    WHERE connection = :connection AND id = :id
""")
_SEEN = text("UPDATE invoices SET seen_at = :seen_at WHERE connection = :connection AND id = :id")
_OF_DRAFT = text("SELECT connection, id, posting FROM invoices WHERE draft = :draft")
_LOCK = text("SELECT * FROM invoices WHERE connection = :connection AND id = :id FOR UPDATE")
_DISPUTE = text("""
    UPDATE invoices SET disputed = :because WHERE connection = :connection AND id = :id
        AND disputed <> :because
""")
_DELIVERED = text("""
    UPDATE invoices SET delivery = :delivery, delivery_because = :because,
        delivery_word = coalesce(:word, delivery_word), deliveries = deliveries + 1
    WHERE connection = :connection AND id = :id
        AND (delivery, delivery_because, delivery_word)
            IS DISTINCT FROM (:delivery, :because, coalesce(:word, delivery_word))
""")
_OUR_NOTES = text("""
    SELECT note_id FROM credits
    WHERE connection = :connection AND invoice = :id AND note_id IS NOT NULL
""")
_TOLD = text("""
    INSERT INTO invoice_deliveries (connection, invoice, change, system)
    VALUES (:connection, :id, :change, :system) ON CONFLICT DO NOTHING
""")

_BY_NUMBER = text("SELECT connection, id FROM invoices WHERE number = :number")
_LIST = text("""
    SELECT connection, id FROM invoices AS invoice
    WHERE (CAST(:states AS text[]) = '{}' OR state = ANY(CAST(:states AS text[])))
        AND (:client_id = '' OR client_id = :client_id)
        AND (:legal_entity = '' OR legal_entity = :legal_entity)
        AND (:engagement = '' OR EXISTS (SELECT FROM draft_lines AS line
            WHERE line.draft = invoice.draft AND line.engagement = :engagement
                AND line.state = 'in'))
    ORDER BY recorded_at, connection, id LIMIT :limit OFFSET :offset
""")
_OF_ENTRY = text("""
    SELECT DISTINCT invoice.connection, invoice.id FROM entry_versions AS version
    JOIN parts AS part ON part.entry = version.id
    JOIN draft_members AS member ON member.part = part.id AND member.live
    JOIN invoices AS invoice ON invoice.draft = member.draft
    WHERE version.source = :source AND version.kind = :kind AND version.entry_id = :entry_id
""")


class InvoiceStore:
    """What was issued, and what was seen of it."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def posted(
        self,
        draft_id: str,
        posting: int,
        invoice: Invoice,
        lines: Mapping[str, int],
        *,
        seen_at: datetime | None = None,
    ) -> TrackedInvoice:
        """Put down that a released draft is issued, as read back; again: the same invoice.

        `lines` names the draft's line for each item; other lines of the invoice are not ours.
        The issue is change 1. What is applied already, the next `observe` notes.

        Raises:
            NotFound: there is no such draft.
            Conflict: the draft is not released under that posting, or has another invoice.
        """
        key = (invoice.record.system, invoice.record.id)
        async with self._database.transaction() as session:
            families = await families_of(session, [draft_id])
            await begin(session, "posted", *(f"drafts:{family}" for family in families))
            draft = (await locked(session, [draft_id], []))[draft_id]
            known = (await session.execute(_OF_DRAFT, {"draft": draft_id})).first()
            if known is None:
                _require_released(draft, posting)
                read_at = seen_at or datetime.now(UTC)
                await _issue(session, self._evidence, draft, invoice, lines, read_at)
            elif (known.connection, known.id, known.posting) != (*key, posting):
                raise Conflict(f"{draft_id} is invoice {known.connection}/{known.id} already")
            (found,) = await load(session, [key])
        return found

    async def observe(
        self,
        connection: str,
        id_: str,
        invoice: Invoice | None,
        state: InvoiceState,
        settled_by: SettledBy = SettledBy.NOTHING,
        *,
        seen_at: datetime | None = None,
    ) -> InvoiceChangeNoted:
        """Compare an invoice with what is known, and note what is new; None: it is gone.

        `state` and `settled_by` are the caller's judgement of what it read.

        Raises:
            NotFound: no draft became that invoice.
        """
        at = seen_at or datetime.now(UTC)
        key = {"connection": connection, "id": id_}
        async with self._database.transaction() as session:
            await begin(session, "observe")
            row = await _locked(session, connection, id_)
            (known,) = await load(session, [(connection, id_)])
            changes = [] if invoice is None else differences(known, invoice)
            seen = facts(row, invoice, state, settled_by)
            if not changes and all(getattr(row, name) == value for name, value in seen.items()):
                await session.execute(_SEEN, {**key, "seen_at": at})
                return InvoiceChangeNoted(change=0, state=state)
            number = row.change + 1
            await session.execute(_UPDATE, {**key, **seen, "change": number, "seen_at": at})
            await note_change(session, key, number, known.state, seen, changes)
            pos = [PoKey(row.client_id, row.client_po)]
            await lock_pos(session, pos)
            await count_pos(session, pos, lift=True)
            ours = frozenset((await session.execute(_OUR_NOTES, key)).scalars())
        return InvoiceChangeNoted(
            change=number,
            state=state,
            before=known.state,
            new_applications=tuple(changes),
            native_credits=tuple(each for each in changes if is_native(each, ours)),
        )

    async def dispute(self, connection: str, id_: str, because: str, *, by: str) -> TrackedInvoice:
        """Take note that an invoice is disputed; its client is not billed until it is settled."""
        return await self._disputed(connection, id_, because[:REASON_MAX] or "disputed", by)

    async def undispute(self, connection: str, id_: str, *, by: str) -> TrackedInvoice:
        """End a dispute, and the hold on the client that it put."""
        return await self._disputed(connection, id_, "", by)

    async def delivered(
        self,
        connection: str,
        id_: str,
        delivery: Delivery,
        because: str = "",
        *,
        by: str = ENGINE,
        word: str | None = None,
    ) -> TrackedInvoice:
        """Note what became of an invoice on its way to the client; the same again is as good.

        `word` is the issuing system's, where it said so; None: a person did.

        Raises:
            NotFound: no draft became that invoice.
        """
        key = {"connection": connection, "id": id_}
        said = {"delivery": delivery.value, "because": because[:REASON_MAX]}
        async with self._database.transaction() as session:
            await begin(session, "delivered")
            await _locked(session, connection, id_)
            values = {**key, **said, "word": word and word[:KEY_MAX]}
            if (await session.execute(_DELIVERED, values)).rowcount:
                await note(session, [f"{connection}/{id_}"], by, "delivered", **said, word=word)
            (found,) = await load(session, [(connection, id_)])
        return found

    async def told(self, connection: str, id_: str, change: int, to: str) -> bool:
        """Mark a change as told to a system; return whether that is new.

        Raises:
            Conflict: there is no such change.
        """
        values = {"connection": connection, "id": id_, "change": change, "system": to}
        return bool(await self._database.run(_TOLD, values))

    async def get(self, connection: str, id_: str) -> TrackedInvoice:
        """Return an invoice as last seen.

        Raises:
            NotFound: no draft became that invoice.
        """
        async with self._database.transaction() as session:
            found = await load(session, [(connection, id_)])
        if not found:
            raise NotFound(f"there is no invoice {connection}/{id_}")
        return found[0]

    async def read_back(self, connection: str, id_: str) -> ReadBackKept | None:
        """Return an invoice as its posting read it back; None: from before that was kept.

        Raises:
            StoreError: it is encrypted, and there is no key or another one.
        """
        async with self._database.transaction() as session:
            return await kept(session, self._evidence, connection, id_)

    async def by_number(self, number: str) -> tuple[TrackedInvoice, ...]:
        """Return the invoices of that number: one for each issuing system that gave it."""
        return await self._found(_BY_NUMBER, {"number": number})

    async def list(
        self,
        states: Sequence[InvoiceState] = (),
        *,
        client_id: str = "",
        legal_entity: str = "",
        engagement: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[TrackedInvoice, ...]:
        """Return invoices, oldest first; filters that are empty let everything through."""
        values = {
            "states": [state.value for state in states],
            "client_id": client_id,
            "legal_entity": legal_entity,
            "engagement": engagement,
            "limit": limit,
            "offset": offset,
        }
        return await self._found(_LIST, values)

    async def of_entry(self, source: str, ref: EntryRef) -> tuple[TrackedInvoice, ...]:
        """Return every invoice that bills, or billed, an entry of a PSA."""
        values = {"source": source, "kind": ref.kind.value, "entry_id": ref.id}
        return await self._found(_OF_ENTRY, values)

    async def _found(
        self, query: TextClause, values: Mapping[str, object]
    ) -> tuple[TrackedInvoice, ...]:
        async with self._database.transaction() as session:
            keys = [(row.connection, row.id) for row in await session.execute(query, values)]
            return await load(session, keys)

    async def _disputed(self, connection: str, id_: str, because: str, by: str) -> TrackedInvoice:
        source = f"invoice/{connection}/{id_}"
        key = {"connection": connection, "id": id_}
        async with self._database.transaction() as session:
            await begin(session, "dispute" if because else "undispute")
            row = await _locked(session, connection, id_)
            changed = await session.execute(_DISPUTE, {**key, "because": because})
            if because:
                hold = BillingHold(client_id=row.client_id, source=source, reason=because)
                await put_hold(session, hold, by)
            else:
                await release_hold(session, row.client_id, source, by)
            if changed.rowcount:
                act = "dispute" if because else "undispute"
                await note(session, [f"{connection}/{id_}"], by, act, because=because)
            (found,) = await load(session, [(connection, id_)])
        return found


def _require_released(draft: Draft, posting: int) -> None:
    if draft.state is not DraftState.RELEASED or draft.posting != posting:
        raise Conflict(
            f"{draft.id} is {draft.state} at posting {draft.posting}: posting {posting} is over"
        )


async def _issue(
    session: AsyncConnection,
    evidence: Evidence,
    draft: Draft,
    invoice: Invoice,
    lines: Mapping[str, int],
    seen_at: datetime,
) -> None:
    pos = po_keys([draft])
    await lock_pos(session, pos)
    await move(session, members_of([draft]), Stage.RELEASED, Stage.INVOICED)
    await release_written_down(session, draft.id)
    issued = draft.model_copy(update={"state": DraftState.INVOICED})
    await put(session, [issued], ENGINE)
    record = invoice.record
    values = {
        **invoice.model_dump(include={"external_id", "number", "due", "period", "currency"}),
        **draft.model_dump(include={"legal_entity", "client_id", "client_po", "posting"}),
        **amounts(invoice),
        "connection": record.system,
        "id": record.id,
        "record_type": record.type,
        "draft": draft.id,
        "on": invoice.on or draft.on,
        "seen_at": seen_at,
    }
    await session.execute(_INSERT, values)
    await _put_lines(session, draft, invoice, lines)
    key = {"connection": record.system, "id": record.id}
    first = {"state": InvoiceState.ISSUED.value, "remaining": values["remaining"]}
    await note_change(session, key, 1, None, first)
    # What the client was billed stands, whatever the PO says: more is not let through after it.
    await count_pos(session, pos, lift=True)
    name = f"{record.system}/{record.id}"
    told: dict[str, object] = {"invoice": name, "number": invoice.number, "posting": draft.posting}
    told |= {"gross": invoice.gross.amount, "currency": invoice.currency}
    told["read_back"] = await keep(session, evidence, invoice, seen_at)
    await note(session, [draft.id, name], ENGINE, "posted", draft=draft.id, **told)


async def _put_lines(
    session: AsyncConnection, draft: Draft, invoice: Invoice, lines: Mapping[str, int]
) -> None:
    expected = {line.number: line.amount.amount for line in draft.live_lines}
    rows = []
    for position, issued in enumerate(invoice.lines, start=1):
        number = lines.get(issued.item, 0) if issued.item else 0
        rows.append(
            {
                "position": position,
                "number": number,
                "item": issued.item,
                "expected": expected.pop(number, Decimal(0)),
                "issued": issued.model_dump_json(),
            }
        )
    key = {"connection": invoice.record.system, "id": invoice.record.id}
    await session.execute(_INSERT_LINES, {**key, "rows": as_rows(rows)})


async def _locked(session: AsyncConnection, connection: str, id_: str) -> AnyRow:
    row = (await session.execute(_LOCK, {"connection": connection, "id": id_})).first()
    if row is None:
        raise NotFound(f"there is no invoice {connection}/{id_}")
    return row
