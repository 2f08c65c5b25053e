"""Credits: asked for, approved by another person, issued; a rebill opens the next billing cycle.

What a credit takes back is kept per billed amount. A part is credited once all that was billed of
it is; the caps that it took count every credit. After a rebill the same work is billable again, as
a part or a fee of the next cycle, to be reviewed whatever the client's terms.
"""

from datetime import date
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef
from canonical.invoicing import CreditNote, CreditReason
from canonical.lifecycle import CreditPart, DraftedCredit, LeftToCredit
from canonical.model import CanonicalModel
from canonical.money import Money
from store.audit import ENGINE
from store.billing_session import PoKey, begin, count_pos, lock_pos, note
from store.credit_left import left_to_credit, rests_of_projects
from store.credit_rows import Credited, reopen, take_back
from store.database import AnyRow, Database
from store.errors import Conflict, NotFound, SamePerson
from store.models import REASON_MAX
from store.subledger_session import as_rows

_INVOICE = text("""
    SELECT invoice.draft, invoice.currency, invoice.client_id, invoice.client_po
    FROM invoices AS invoice WHERE connection = :connection AND id = :id FOR UPDATE
""")
_MEMBERS = text("""
    SELECT member.id, member.number, member.part, member.fee,
        greatest(member.amount - member.written_down, 0) - coalesce((
            SELECT sum(asked.amount) FROM credit_parts AS asked
            JOIN credits AS credit ON credit.id = asked.credit AND credit.state <> 'refused'
            WHERE asked.member = member.id), 0) AS open
    FROM draft_members AS member WHERE member.draft = :draft AND member.live
    ORDER BY member.id FOR UPDATE OF member
""")
_INSERT = text("""
    INSERT INTO credits (id, connection, invoice, net, currency, asked_by, document)
    VALUES (:id, :connection, :invoice, :net, :currency, :asked_by, :document)
""")
_INSERT_PARTS = text("""
    INSERT INTO credit_parts (credit, number, item, member, amount, reason)
    SELECT :id, given.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(number integer, item text, member bigint, amount numeric, reason text)
""")
_GET = "SELECT * FROM credits WHERE id = :id"
_LOCK = text(f"{_GET} FOR UPDATE")
_ONE = text(_GET)
_OF_INVOICE = text("""
    SELECT * FROM credits WHERE connection = :connection AND invoice = :id ORDER BY asked_at, id
""")
_OF_NOTE = text("""
    SELECT * FROM credits WHERE state = 'credited' AND :name IN (note_number, note_id)
    ORDER BY credited_at, id
""")
_DECIDE = text("""
    UPDATE credits SET state = :state, approved_by = :approved_by, because = :because,
        document = :document
    WHERE id = :id
""")
_ISSUED = text("""
    UPDATE credits SET state = 'credited', note_id = :note_id, note_number = :number,
        note_net = :net, note_gross = :gross, note_on = :on, credited_at = now()
    WHERE id = :id
""")
_PARTS = text("""
    SELECT asked.id, asked.reason, asked.amount, asked.member, member.part, member.fee,
        member.amount AS billed,
        member.amount - member.written_down - member.credited AS open
    FROM credit_parts AS asked JOIN draft_members AS member ON member.id = asked.member
    WHERE asked.credit = :id ORDER BY asked.id
""")


class IssuedNote(CanonicalModel):
    """A credit note as it was read back."""

    id: str
    number: str
    net: Money
    gross: Money
    on: date | None = None


class CreditStanding(CanonicalModel):
    """A credit with where it stands."""

    credit: DraftedCredit
    state: str
    """`asked`, `approved`, `refused` or `credited`."""
    because: str = ""
    """Why it was refused."""
    note_id: str = ""
    note_number: str = ""
    note: IssuedNote | None = None
    opened: tuple[BillableRef, ...] = ()
    """What a rebill opened, just now."""


class CreditStore:
    """Credits on issued invoices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_credit(self, credit: DraftedCredit) -> CreditStanding:
        """Put down that somebody asks for a credit; the same again is that one.

        Raises:
            NotFound: there is no such invoice.
            Conflict: it takes back something that the invoice does not bill, or more than that,
                other credits counted; or another credit has that id.
        """
        async with self._database.transaction() as session:
            await begin(session, "open_credit")
            record = credit.invoice
            key = {"connection": record.system, "id": record.id}
            invoice = (await session.execute(_INVOICE, key)).first()
            if invoice is None:
                raise NotFound(f"there is no invoice {record.system}/{record.id}")
            known = (await session.execute(_LOCK, {"id": credit.id})).first()
            if known is not None:
                return _same(known, credit)
            rows = await _part_rows(session, credit, invoice)
            values = {
                "id": credit.id,
                "connection": record.system,
                "invoice": record.id,
                "net": credit.net.amount,
                "currency": credit.net.currency,
                "asked_by": credit.asked_by,
                "document": credit.model_dump_json(),
            }
            await session.execute(_INSERT, values)
            await session.execute(_INSERT_PARTS, {"id": credit.id, "rows": as_rows(rows)})
            facts = {"net": credit.net.amount, "currency": credit.net.currency}
            reasons = sorted({line.reason.value for line in credit.lines})
            subjects = [credit.id, _subject(credit)]
            await note(session, subjects, credit.asked_by, "ask_credit", **facts, reasons=reasons)
        return CreditStanding(credit=credit, state="asked")

    async def approve_credit(self, id_: str, *, by: str) -> CreditStanding:
        """Approve a credit as a second person; again by the same person: nothing changes.

        Raises:
            NotFound: there is no such credit.
            SamePerson: who asked for it cannot approve it.
            Conflict: it was decided on already.
        """
        async with self._database.transaction() as session:
            await begin(session, "approve_credit")
            row = await _locked(session, id_)
            credit = DraftedCredit.model_validate_json(row.document)
            if row.state == "approved" and row.approved_by == by:
                return _standing(row)
            _require(row, "asked")
            same = by.casefold() == credit.asked_by.casefold()
            act = "approve_credit_refused" if same else "approve_credit"
            await note(session, [id_, _subject(credit)], by, act)
            if not same:
                approved = credit.model_copy(update={"approved_by": by})
                await _decide(session, approved, "approved")
        if same:
            raise SamePerson(f"{by} asked for {id_}: somebody else approves it")
        return CreditStanding(credit=approved, state="approved")

    async def refuse_credit(self, id_: str, *, by: str, because: str) -> CreditStanding:
        """Give a credit up that is not issued; what it would have taken back is free again.

        Raises:
            NotFound: there is no such credit.
            Conflict: it is issued.
        """
        async with self._database.transaction() as session:
            await begin(session, "refuse_credit")
            row = await _locked(session, id_)
            credit = DraftedCredit.model_validate_json(row.document)
            if row.state != "refused":
                _require(row, "asked", "approved")
                await _decide(
                    session, credit.model_copy(update={"approved_by": ""}), "refused", because
                )
                await note(session, [id_, _subject(credit)], by, "refuse_credit", because=because)
                row = await _locked(session, id_)
        return _standing(row)

    async def credited(self, id_: str, issued: CreditNote) -> CreditStanding:
        """Put down that an approved credit was issued, as read back; again: nothing changes.

        Parts and fees whose whole amount is taken back are credited, and so are their caps and
        the client PO. What the reason `rebill` names is opened in its next billing cycle.

        Raises:
            NotFound: there is no such credit.
            Conflict: it is not approved, was issued as another note, or an adjustment that is not
                handed over yet counts on what it would give back of a cap.
        """
        async with self._database.transaction() as session:
            await begin(session, "credited")
            invoice = await _invoice_of(session, id_)
            row = await _locked(session, id_)
            credit = DraftedCredit.model_validate_json(row.document)
            if row.state == "credited":
                if row.note_id != issued.record.id:
                    raise Conflict(f"{id_} was issued as {row.note_id}")
                return _standing(row)
            _require(row, "approved")
            _same_net(credit, issued)
            parts = [_credited(each) for each in await session.execute(_PARTS, {"id": id_})]
            pos = [PoKey(invoice.client_id, invoice.client_po)]
            await lock_pos(session, pos)
            opened = await reopen(session, id_, [each for each in parts if each.rebill])
            await take_back(session, parts, opened)
            await _put_note(session, id_, issued)
            await count_pos(session, pos)
            facts = {"note": issued.record.id, "number": issued.number}
            names = [f"{ref.kind}:{ref.id}" for ref in opened.values()]
            subjects = [id_, _subject(credit), f"{credit.invoice.system}/{issued.record.id}"]
            await note(session, subjects, ENGINE, "credited", **facts, opened=names)
            row = await _locked(session, id_)
        return _standing(row).model_copy(update={"opened": tuple(opened.values())})

    async def get_credit(self, id_: str) -> CreditStanding:
        """Return one credit.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._database.first(_ONE, {"id": id_})
        if row is None:
            raise NotFound(f"there is no credit {id_}")
        return _standing(row)

    async def of_invoice(self, connection: str, id_: str) -> tuple[CreditStanding, ...]:
        """Return the credits on an invoice, oldest first, refused ones too."""
        rows = await self._database.rows(_OF_INVOICE, {"connection": connection, "id": id_})
        return tuple(_standing(row) for row in rows)

    async def of_note(self, name: str) -> tuple[CreditStanding, ...]:
        """Return the issued credits whose note has that number, or that id: one per system."""
        return tuple(_standing(row) for row in await self._database.rows(_OF_NOTE, {"name": name}))

    async def left(self, connection: str, id_: str) -> tuple[LeftToCredit, ...]:
        """Return what an invoice bills with what credits took of it, line by line."""
        return await left_to_credit(self._database, connection, id_)

    async def rests(self, connection: str, id_: str) -> dict[str, Decimal | None]:
        """Return the net that credits left of projects; None: all of one is billed again."""
        return await rests_of_projects(self._database, connection, id_)


async def _part_rows(
    session: AsyncConnection, credit: DraftedCredit, invoice: AnyRow
) -> list[dict[str, object]]:
    """Find what each part of a credit takes back, and refuse more than is left of it."""
    members = {
        (row.number, _ref(row)): row
        for row in await session.execute(_MEMBERS, {"draft": invoice.draft})
    }
    left = {row.id: row.open for row in members.values()}
    rows: list[dict[str, object]] = []
    for line in credit.lines:
        total = sum((part.amount.amount for part in line.parts), Decimal(0))
        if total != line.amount.amount or line.amount.currency != invoice.currency:
            raise Conflict(f"{credit.id}, line {line.line}: {line.amount} is not its parts' sum")
        for part in line.parts:
            member = members.get((line.line, part.bills))
            if member is None:
                what = f"{part.bills.kind} {part.bills.id}"
                raise Conflict(f"line {line.line} of the invoice does not bill {what}")
            left[member.id] -= part.amount.amount
            if left[member.id] < 0:
                raise Conflict(_too_much(line.line, part, left[member.id]))
            rows.append(
                {
                    "number": line.line,
                    "item": line.item,
                    "member": member.id,
                    "amount": part.amount.amount,
                    "reason": line.reason.value,
                }
            )
    return rows


def _too_much(line: int, part: CreditPart, left: Decimal) -> str:
    open_ = Money(amount=part.amount.amount + left, currency=part.amount.currency)
    what = f"{part.bills.kind} {part.bills.id}"
    return f"line {line}: {open_} of {what} can be credited, not {part.amount}"


def _same_net(credit: DraftedCredit, issued: CreditNote) -> None:
    if issued.net != credit.net:
        raise Conflict(f"{credit.id} is over {credit.net}, the note {issued.number} {issued.net}")


async def _invoice_of(session: AsyncConnection, id_: str) -> AnyRow:
    row = (await session.execute(_ONE, {"id": id_})).first()
    if row is None:
        raise NotFound(f"there is no credit {id_}")
    key = {"connection": row.connection, "id": row.invoice}
    return (await session.execute(_INVOICE, key)).one()


async def _locked(session: AsyncConnection, id_: str) -> AnyRow:
    row = (await session.execute(_LOCK, {"id": id_})).first()
    if row is None:
        raise NotFound(f"there is no credit {id_}")
    return row


async def _decide(
    session: AsyncConnection, credit: DraftedCredit, state: str, because: str = ""
) -> None:
    values = {
        "id": credit.id,
        "state": state,
        "approved_by": credit.approved_by,
        "because": because[:REASON_MAX],
        "document": credit.model_dump_json(),
    }
    await session.execute(_DECIDE, values)


async def _put_note(session: AsyncConnection, id_: str, issued: CreditNote) -> None:
    values = {
        "id": id_,
        "note_id": issued.record.id,
        "number": issued.number,
        "net": issued.net.amount,
        "gross": issued.gross.amount,
        "on": issued.on,
    }
    await session.execute(_ISSUED, values)


def _require(row: AnyRow, *states: str) -> None:
    if row.state not in states:
        raise Conflict(f"{row.id} is {row.state}")


def _same(row: AnyRow, credit: DraftedCredit) -> CreditStanding:
    known = _standing(row)
    if known.credit.model_copy(update={"approved_by": credit.approved_by}) != credit:
        raise Conflict(f"{credit.id} is another credit")
    return known


def _standing(row: AnyRow) -> CreditStanding:
    return CreditStanding(
        credit=DraftedCredit.model_validate_json(row.document),
        state=row.state,
        because=row.because,
        note_id=row.note_id or "",
        note_number=row.note_number,
        note=_note(row) if row.note_id and row.note_net is not None else None,
    )


def _note(row: AnyRow) -> IssuedNote:
    net, gross = (
        Money(amount=each, currency=row.currency) for each in (row.note_net, row.note_gross)
    )
    return IssuedNote(id=row.note_id, number=row.note_number, net=net, gross=gross, on=row.note_on)


def _credited(row: AnyRow) -> Credited:
    return Credited(
        id=row.id,
        member=row.member,
        ref=_ref(row),
        amount=row.amount,
        billed=row.billed,
        rebill=row.reason == CreditReason.REBILL,
    )


def _ref(row: AnyRow) -> BillableRef:
    kind = BillableKind.FEE if row.part is None else BillableKind.PART
    return BillableRef(kind=kind, id=row.fee if row.part is None else row.part)


def _subject(credit: DraftedCredit) -> str:
    return f"{credit.invoice.system}/{credit.invoice.id}"
