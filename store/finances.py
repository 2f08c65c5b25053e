"""What a deal came to in money, and what an invoice is made of, down to people and approvals."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableRef, Draft, DraftLine
from canonical.entries import Entry
from canonical.fees import Fee
from canonical.invoicing import DealFinances
from canonical.lifecycle import LOST, InvoicedLine, TrackedInvoice
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.rating import Rated
from store.database import AnyRow, Database
from store.errors import NotFound
from store.evidence import Cipher, Evidence
from store.invoice_rows import load, ref_of

_CURRENCY = text("""
    SELECT lines -> 0 ->> 'currency' AS currency FROM engagements
    WHERE id = :engagement ORDER BY effective_from LIMIT 1
""")

# What of the engagement is on each of its invoices: one may bill several deals.
_INVOICED = text("""
    SELECT invoice.connection, invoice.id, invoice.number, invoice.state, invoice.due,
        invoice.net, invoice.remaining, sum(line.amount) AS own,
        coalesce((SELECT sum(member.credited) FROM draft_members AS member
            JOIN draft_lines AS credited ON credited.draft = member.draft
                AND credited.number = member.number
            WHERE member.draft = invoice.draft AND member.live
                AND credited.engagement = :engagement), 0) AS credited
    FROM invoices AS invoice
    JOIN draft_lines AS line ON line.draft = invoice.draft AND line.state = 'in'
    WHERE line.engagement = :engagement AND invoice.currency = :currency
    GROUP BY invoice.connection, invoice.id, invoice.recorded_at
    ORDER BY invoice.recorded_at, invoice.id
""")
_UNBILLED = text("""
    SELECT coalesce(sum(waits.amount), 0) AS amount FROM (
        SELECT part.amount - coalesce(member.written_down, 0) AS amount
        FROM billing_runs AS run JOIN parts AS part USING (run_key)
        JOIN entry_versions AS version ON version.id = part.entry
        LEFT JOIN draft_members AS member ON member.part = part.id AND member.live
        WHERE run.engagement = :engagement AND part.disposition = 'to_bill'
            AND part.state IN ('placed', 'drafted', 'released') AND part.currency = :currency
            AND version.handed_over_at IS NOT NULL
            AND NOT EXISTS (SELECT FROM set_asides AS aside
                WHERE aside.part = part.id AND aside.kind = 'written_off')
        UNION ALL
        SELECT fee.amount - coalesce(member.written_down, 0)
        FROM fees AS fee LEFT JOIN draft_members AS member ON member.fee = fee.id AND member.live
        WHERE fee.engagement = :engagement AND fee.currency = :currency
            AND fee.state IN ('handed_over', 'drafted', 'released')
            AND NOT EXISTS (SELECT FROM set_asides AS aside
                WHERE aside.fee = fee.id AND aside.kind = 'written_off')
    ) AS waits
""")
_COST = text("""
    SELECT coalesce(sum(cost.amount), 0) AS amount, coalesce(bool_or(cost.currency <> :currency),
        false) AS foreign_
    FROM cost_track AS cost JOIN billing_runs AS run USING (run_key)
    JOIN entry_versions AS version ON version.id = cost.entry
    WHERE run.engagement = :engagement AND cost.state <> 'reversed'
        AND version.handed_over_at IS NOT NULL
""")

_PROJECTS = text("""
    SELECT DISTINCT line.engagement, engagement.psa, line.project_id FROM draft_lines AS line
    JOIN engagements AS engagement ON engagement.id = line.engagement
        AND engagement.project_id = line.project_id
    WHERE line.draft = :draft AND line.state = 'in'
    ORDER BY engagement.psa, line.project_id
""")

_DRAFT = text("SELECT document FROM drafts WHERE id = :id")
_BILLED = text("""
    SELECT member.number, member.part, member.fee, member.amount, member.written_down,
        member.credited, part.cycle, part.number AS part_number, part.minutes,
        part.currency, rating.document AS rated, version.version, version.approved_at,
        posting.external_id AS charge, evidence.record, evidence.encrypted,
        fee.document AS fee_document, fee.currency AS fee_currency, fee.cycle AS fee_cycle,
        coalesce(part.run_key, fee.run) AS run
    FROM draft_members AS member
    LEFT JOIN parts AS part ON part.id = member.part
    LEFT JOIN ratings AS rating ON rating.entry = part.entry AND rating.cycle = part.cycle
    LEFT JOIN entry_versions AS version ON version.id = part.entry
    LEFT JOIN entry_evidence AS evidence ON evidence.entry = version.id
        AND evidence.reading = version.reading
    LEFT JOIN postings AS posting ON posting.id = part.posting
    LEFT JOIN fees AS fee ON fee.id = member.fee
    WHERE member.draft = :draft AND member.live
    ORDER BY member.number, member.part, member.fee
""")


class BilledProject(CanonicalModel):
    """A project that an invoice bills, with the deal that it belongs to."""

    engagement: str
    psa: str
    project_id: str


class TracedBill(CanonicalModel):
    """One amount that an invoice line bills, with all that proves it."""

    ref: BillableRef
    amount: Money
    """Whole, before any write-down."""
    written_down: Money
    credited: Money
    cycle: int = 1
    number: int = 1
    """Of the part."""
    minutes: int = 0
    charge: str = ""
    entry: Entry | None = None
    """As read when it was approved: who worked when, and who approved."""
    version: str = ""
    rated: Rated | None = None
    """Rate, its source, exchange rate."""
    fee: Fee | None = None
    """Of a milestone or scheduled line: approvals and evidence."""
    approved_at: datetime | None = None
    """When the entry was approved, as it was taken in; a fee has its own."""
    run: str = ""
    """Workflow id of the billing run, or of the saga that reserved the fee."""


class TracedLine(CanonicalModel):
    """An invoice line with the draft's line it came from, and what it bills."""

    invoiced: InvoicedLine
    drafted: DraftLine | None = None
    """None: somebody added the line in the issuing system."""
    bills: tuple[TracedBill, ...] = ()


class InvoiceTrace(CanonicalModel):
    """An invoice down to entries, people, approvals and rates."""

    invoice: TrackedInvoice
    draft: Draft
    """As it was released: by whom, with which hash and which policies."""
    lines: tuple[TracedLine, ...]


class DraftTrace(CanonicalModel):
    """A draft down to entries, people, approvals and rates; of an ended one nothing is billed."""

    draft: Draft
    bills: dict[int, tuple[TracedBill, ...]]
    """By number of the draft's line."""


class Finances:
    """Questions about money; nothing here changes any."""

    def __init__(self, database: Database, cipher: Cipher | None = None) -> None:
        self._database = database
        self._evidence = Evidence(cipher)

    async def of_deal(self, engagement: str, on: date) -> DealFinances:
        """Return what a deal came to, as of a day, in the currency of its first contract line.

        Of an invoice that bills several deals, each has its share of what remains, by net.

        Raises:
            NotFound: there is no such engagement.
        """
        async with self._database.transaction() as session:
            key = {"engagement": engagement}
            currency = (await session.execute(_CURRENCY, key)).scalar()
            if currency is None:
                raise NotFound(f"there is no engagement {engagement}")
            values = {**key, "currency": currency}
            rows = (await session.execute(_INVOICED, values)).all()
            unbilled = Decimal((await session.execute(_UNBILLED, values)).scalar_one())
            cost = (await session.execute(_COST, values)).one()
        counted = [row for row in rows if row.state not in LOST]
        invoiced = sum((row.own - row.credited for row in counted), Decimal(0))
        open_ = [(row, _share(row, currency)) for row in counted]
        overdue = (amount for row, amount in open_ if row.due is not None and row.due < on)
        return DealFinances(
            invoiced=Money(amount=invoiced, currency=currency),
            outstanding=_total((amount for _, amount in open_), currency),
            overdue=_total(overdue, currency),
            unbilled=Money(amount=unbilled, currency=currency),
            margin_percent=None if cost.foreign_ else _margin(invoiced + unbilled, cost.amount),
            status=_status(rows),
            as_of=on,
        )

    async def projects(self, draft: str) -> tuple[BilledProject, ...]:
        """Return the projects that a draft, or the invoice that it became, bills."""
        rows = await self._database.rows(_PROJECTS, {"draft": draft})
        return tuple(BilledProject.model_validate(dict(row._mapping)) for row in rows)

    async def invoice_trace(self, connection: str, id_: str) -> InvoiceTrace:
        """Return an invoice with every line down to what it bills.

        Raises:
            NotFound: no draft became that invoice.
        """
        async with self._database.transaction() as session:
            found = await load(session, [(connection, id_)])
            if not found:
                raise NotFound(f"there is no invoice {connection}/{id_}")
            (invoice,) = found
            traced = await self._traced(session, invoice.draft)
        bills = dict(traced.bills)
        drafted = {line.number: line for line in traced.draft.lines}
        lines = tuple(
            TracedLine(
                invoiced=line,
                drafted=drafted.get(line.number),
                bills=bills.pop(line.number, ()),
            )
            for line in invoice.lines
        )
        return InvoiceTrace(invoice=invoice, draft=traced.draft, lines=lines)

    async def draft_trace(self, id_: str) -> DraftTrace:
        """Return a draft with what each of its lines bills.

        Raises:
            NotFound: there is none of that id.
        """
        async with self._database.transaction() as session:
            return await self._traced(session, id_)

    async def _traced(self, session: AsyncConnection, draft: str) -> DraftTrace:
        row = (await session.execute(_DRAFT, {"id": draft})).first()
        if row is None:
            raise NotFound(f"there is no draft {draft}")
        bills: dict[int, list[TracedBill]] = {}
        for each in await session.execute(_BILLED, {"draft": draft}):
            bills.setdefault(each.number, []).append(self._bill(each))
        return DraftTrace(
            draft=Draft.model_validate_json(row.document),
            bills={number: tuple(members) for number, members in bills.items()},
        )

    def _bill(self, row: AnyRow) -> TracedBill:
        currency = row.currency or row.fee_currency
        values: dict[str, object] = {
            name: Money(amount=getattr(row, name), currency=currency)
            for name in ("amount", "written_down", "credited")
        }
        values |= {"ref": ref_of(row), "run": row.run or ""}
        if row.part is None:
            values |= {"cycle": row.fee_cycle, "fee": Fee.model_validate_json(row.fee_document)}
            return TracedBill.model_validate(values)
        values |= {
            name: getattr(row, name) for name in ("cycle", "minutes", "version", "approved_at")
        }
        values |= {
            "number": row.part_number,
            "charge": row.charge or "",
            "entry": self._evidence.open(row.record, row.encrypted),
            "rated": Rated.model_validate_json(row.rated),
        }
        return TracedBill.model_validate(values)


def _share(row: AnyRow, currency: str) -> Decimal:
    """Return the engagement's share of what remains to be paid of an invoice."""
    if not row.net or row.own == row.net:
        return Decimal(row.remaining)
    return Money.rounded(row.remaining * row.own / row.net, currency).amount


def _total(amounts: Iterable[Decimal], currency: str) -> Money:
    return Money(amount=sum(amounts, Decimal(0)), currency=currency)


def _margin(revenue: Decimal, cost: Decimal) -> Decimal | None:
    if not revenue:
        return None
    return (100 * (revenue - cost) / revenue).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def _status(rows: Sequence[AnyRow]) -> str:
    if not rows:
        return ""
    last = rows[-1]
    words = str(last.state).replace("_", " ")
    return f"{last.number or last.id}: {words}"
