"""What a draft bills, for its posting; and where an issued invoice is mirrored in PSAs."""

from datetime import date
from decimal import Decimal

from sqlalchemy import ForeignKeyConstraint, Table, text

from canonical.deal import Address
from canonical.draft_to_invoice import ConfirmShare
from canonical.drafts import BillableKind, BillableRef
from canonical.entries import EntryKind, EntryRef, HoldReason
from canonical.fees import Fee
from canonical.ids import opportunity_to_project_id
from canonical.invoice_lifecycle import InvoiceKey
from canonical.invoicing import ConfirmedEntries, ConfirmInvoice
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.opportunity import OpportunityToProjectPlan
from canonical.records import RecordRef
from store.audit import ENGINE
from store.database import Database
from store.models import _now, _text, metadata
from store.subledger_models import _currency, _number

invoice_mirrors = Table(
    "invoice_mirrors",
    metadata,
    *_text("connection", key=True),
    *_text("invoice", key=True),
    *_text("psa", key=True),
    *_text("project_id", key=True),
    *_text("record_type"),
    *_text("mirror"),
    _number("net"),
    *_currency(),
    # Ours, by which the mirror is found; empty: that of the invoice's posting.
    *_text("external_id", empty=True),
    _now("mirrored_at"),
    ForeignKeyConstraint(["connection", "invoice"], ["invoices.connection", "invoices.id"]),
)

_REBILLED = """
    coalesce((SELECT sum(asked.amount) FROM credit_parts AS asked
        JOIN credits AS credit ON credit.id = asked.credit AND credit.state = 'credited'
        WHERE asked.member = {0}.id AND asked.reason = 'rebill'{1}), 0)
        < {0}.amount - {0}.written_down
"""
"""Whether something of a member is not billed again. Deductions never are."""
_STAYS = f"(member.amount <= 0 OR {_REBILLED.format('member', '')})"
# A mirror that was made anew has no more what was billed again before that.
_STILL_ON_MIRROR = _REBILLED.format("billed", " AND credit.credited_at <= mirror.mirrored_at")
_MIRRORED_BEFORE = f"""
    EXISTS (SELECT FROM {{table}} AS earlier
        JOIN draft_members AS billed ON billed.{{column}} = earlier.id AND billed.live
        JOIN invoices AS invoice ON invoice.draft = billed.draft
        JOIN invoice_mirrors AS mirror ON mirror.connection = invoice.connection
            AND mirror.invoice = invoice.id AND mirror.project_id = :project
        WHERE {{same}} AND earlier.cycle < {{of}}.cycle AND {_STILL_ON_MIRROR})
"""
_ENTRY_MIRRORED = _MIRRORED_BEFORE.format(
    table="parts", column="part", of="part", same="earlier.entry = part.entry"
)
_FEE_MIRRORED = _MIRRORED_BEFORE.format(
    table="fees",
    column="fee",
    of="fee",
    same="earlier.source = fee.source AND earlier.item = fee.item",
)

# A posting held the entry, and somebody released it since.
_LET_GO = f"""
    EXISTS (SELECT FROM holds AS hold WHERE hold.source = version.source
        AND hold.kind = version.kind AND hold.entry_id = version.entry_id
        AND hold.owner = '{ENGINE}' AND hold.reason = '{HoldReason.BY_HAND.value}'
        AND hold.since > version.handed_over_at AND hold.released_at IS NOT NULL)
"""

_ENTRIES = text(f"""
    SELECT DISTINCT version.kind, version.entry_id, version.version, part.id AS part,
        coalesce(run.reservation, '') AS reservation, part.cycle > 1 AS again,
        {_LET_GO} AS let_go
    FROM draft_members AS member
    JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
    JOIN parts AS part ON part.id = member.part
    JOIN entry_versions AS version ON version.id = part.entry
    JOIN billing_runs AS run ON run.run_key = version.run_key
    WHERE member.draft = :draft AND member.live AND line.project_id = :project
        AND {_STAYS} AND NOT {_ENTRY_MIRRORED}
    ORDER BY version.kind, version.entry_id, part.id
""")  # noqa: S608 - constants

_FEES = text(f"""
    SELECT fee.id, fee.document, fee.cycle > 1 AS again FROM draft_members AS member
    JOIN draft_lines AS line ON line.draft = member.draft AND line.number = member.number
    JOIN fees AS fee ON fee.id = member.fee
    WHERE member.draft = :draft AND member.live AND line.project_id = :project
        AND fee.source = 'milestone' AND {_STAYS} AND NOT {_FEE_MIRRORED}
    ORDER BY fee.id
""")  # noqa: S608 - constants

_PSAS = text("""
    SELECT DISTINCT line.engagement, engagement.psa FROM draft_lines AS line
    JOIN engagements AS engagement ON engagement.id = line.engagement
    WHERE line.draft = :draft
""")

_MIRRORED = text("""
    INSERT INTO invoice_mirrors (connection, invoice, psa, project_id, record_type, mirror, net,
        currency, external_id)
    VALUES (:connection, :invoice, :psa, :project, :type, :mirror, :net, :currency, :external_id)
    ON CONFLICT (connection, invoice, psa, project_id) DO UPDATE
    SET mirror = excluded.mirror, net = excluded.net, external_id = excluded.external_id,
        mirrored_at = CASE WHEN invoice_mirrors.mirror = excluded.mirror
            THEN invoice_mirrors.mirrored_at ELSE now() END
""")

_UNMIRRORED = text("""
    DELETE FROM invoice_mirrors WHERE connection = :connection AND invoice = :invoice
        AND psa = :psa AND project_id = :project
""")

_MIRRORS = text("""
    SELECT psa, project_id, record_type, mirror, net, currency, external_id FROM invoice_mirrors
    WHERE connection = :connection AND invoice = :invoice ORDER BY psa, project_id
""")


_PAYMENTS = text("""
    SELECT paid.change, paid.application, paid.amount, paid."on", invoice.currency,
        ARRAY(SELECT delivery.system FROM invoice_deliveries AS delivery
            WHERE delivery.connection = paid.connection AND delivery.invoice = paid.invoice
                AND delivery.change = paid.change) AS told
    FROM invoice_applications AS paid
    JOIN invoices AS invoice ON invoice.connection = paid.connection AND invoice.id = paid.invoice
    WHERE paid.connection = :connection AND paid.invoice = :invoice AND paid.kind = 'payment'
    ORDER BY paid.id
""")


_CREDITED_GROSS = text("""
    SELECT coalesce(sum(note_gross), 0) AS gross FROM credits
    WHERE connection = :connection AND invoice = :invoice AND state = 'credited'
""")


class SourceEntry(CanonicalModel):
    """An entry that a draft bills a part of."""

    ref: EntryRef
    version: str
    reservation: str
    """The PSA's record that reserved it for its billing run; empty: none did."""
    again: bool = False
    """A rebill: the mirror of its first invoice was taken back, or never made."""
    let_go: bool = False
    """A posting found something wrong with it, and a person has let it be billed since."""
    bills: BillableRef

    @property
    def reserved_by(self) -> frozenset[str]:
        """Ids of the PSA's records that may reserve it now; empty: none has to.

        Who deletes its reservation in the PSA frees it there. Once a person has looked at that, it
        is billed without: the mirror of its invoice takes it in. What is billed again is free once
        its mirror was taken back, and still reserved where it never had one.
        """
        free = self.again or self.let_go
        return frozenset({self.reservation, ""} if free else {self.reservation})


class SourceMilestone(CanonicalModel):
    """A milestone that a draft bills."""

    milestone_id: str
    amount: Money
    again: bool = False
    """A rebill, which may be of a part of the milestone."""
    bills: BillableRef


class Sources(CanonicalModel):
    """What a draft bills of one project.

    A rebill is there once the mirror of what it replaces was taken back; until then the PSA has
    its entries on that mirror.
    """

    entries: tuple[SourceEntry, ...] = ()
    milestones: tuple[SourceMilestone, ...] = ()

    def confirmation(self, request: ConfirmShare) -> ConfirmInvoice:
        """Return what the PSA is told of the issued invoice."""
        by_reservation: dict[str, dict[EntryKind, dict[str, None]]] = {}
        for each in self.entries:
            kinds = by_reservation.setdefault(each.reservation, {})
            kinds.setdefault(each.ref.kind, {})[each.ref.id] = None
        return ConfirmInvoice(
            connection=request.connection,
            item=request.item,
            project=RecordRef(system=request.connection, type="project", id=request.project_id),
            number=request.number,
            on=request.on,
            payment_days=request.payment_days,
            net=request.net,
            entries=tuple(
                ConfirmedEntries(
                    reservation=RecordRef(
                        system=request.connection, type="reservation", id=reservation
                    ),
                    entry_ids=tuple(kinds.get(EntryKind.TIME, ())),
                    expense_ids=tuple(kinds.get(EntryKind.EXPENSE, ())),
                    adjustment_ids=tuple(kinds.get(EntryKind.ADJUSTMENT, ())),
                )
                for reservation, kinds in sorted(by_reservation.items())
            ),
            milestone_ids=tuple(each.milestone_id for each in self.milestones),
        )


class MirroredShare(CanonicalModel):
    """The mirror of an invoice's share of a project, in its PSA."""

    psa: str
    project_id: str
    record: RecordRef
    net: Money
    external_id: str = ""
    """Ours, where it was made anew; empty: that of the invoice's posting."""


class NotedPayment(CanonicalModel):
    """A payment of an invoice, or what was taken back of one, as it was noted."""

    change: int
    """Number of the look that noted it."""
    application: str
    """Id of the payment in the issuing system."""
    amount: Money
    """Gross; negative when taken back."""
    on: date
    told: frozenset[str] = frozenset()
    """Names of those who were told."""


class ClientFacts(CanonicalModel):
    """A client as its deal described it."""

    name: str = ""
    billing_email: str = ""
    address: Address = Address()


class DraftSources:
    """Reads what drafts bill, and keeps where invoices are mirrored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, draft: str, project_id: str) -> Sources:
        """Return the entries and milestones that a draft bills of a project."""
        values = {"draft": draft, "project": project_id}
        entries = await self._database.rows(_ENTRIES, values)
        fees = await self._database.rows(_FEES, values)
        return Sources(
            entries=tuple(
                SourceEntry(
                    ref=EntryRef(kind=EntryKind(row.kind), id=row.entry_id),
                    version=row.version,
                    reservation=row.reservation,
                    again=row.again,
                    let_go=row.let_go,
                    bills=BillableRef(kind=BillableKind.PART, id=row.part),
                )
                for row in entries
            ),
            milestones=tuple(_milestone(row.id, row.document, again=row.again) for row in fees),
        )

    async def psas(self, draft: str) -> dict[str, str]:
        """Return the PSA of each engagement that a draft bills."""
        rows = await self._database.rows(_PSAS, {"draft": draft})
        return {row.engagement: row.psa for row in rows}

    async def client(self, engagement: str) -> ClientFacts:
        """Return who buys, as the engagement's deal said; nothing where it was imported."""
        crm, _, deal = engagement.partition("/")
        rows = await self._database.rows(
            text(
                "SELECT plan_json FROM saga_generations WHERE workflow_id = :id AND plan_json <> ''"
            ),
            {"id": opportunity_to_project_id(crm, deal)},
        )
        for row in rows:
            plan = OpportunityToProjectPlan.model_validate_json(row.plan_json)
            for each in plan.clients:
                return ClientFacts(
                    name=each.name, billing_email=each.billing_email, address=each.address
                )
        return ClientFacts()

    async def invoice_of(self, draft: str) -> InvoiceKey | None:
        """Return the invoice that a draft became, if it did."""
        query = text("SELECT connection, id FROM invoices WHERE draft = :draft")
        row = await self._database.first(query, {"draft": draft})
        return None if row is None else InvoiceKey(connection=row.connection, invoice_id=row.id)

    async def mirrored(
        self,
        invoice: RecordRef,
        psa: str,
        project_id: str,
        mirror: RecordRef,
        net: Money,
        external_id: str = "",
    ) -> None:
        """Remember where a project's share of an invoice is mirrored; twice is as good as once."""
        values = {
            "connection": invoice.system,
            "invoice": invoice.id,
            "psa": psa,
            "project": project_id,
            "type": mirror.type,
            "mirror": mirror.id,
            "net": net.amount,
            "currency": net.currency,
            "external_id": external_id,
        }
        async with self._database.transaction() as session:
            await session.execute(_MIRRORED, values)

    async def unmirrored(self, invoice: RecordRef, psa: str, project_id: str) -> None:
        """Forget the mirror of a share that was taken back; twice is as good as once."""
        values = {
            "connection": invoice.system,
            "invoice": invoice.id,
            "psa": psa,
            "project": project_id,
        }
        await self._database.run(_UNMIRRORED, values)

    async def mirrors(self, invoice: RecordRef) -> tuple[MirroredShare, ...]:
        """Return the mirrors of an invoice."""
        values = {"connection": invoice.system, "invoice": invoice.id}
        return tuple(
            MirroredShare(
                psa=row.psa,
                project_id=row.project_id,
                record=RecordRef(system=row.psa, type=row.record_type, id=row.mirror),
                net=Money(amount=Decimal(row.net), currency=row.currency),
                external_id=row.external_id,
            )
            for row in await self._database.rows(_MIRRORS, values)
        )

    async def credited_gross(self, invoice: RecordRef) -> Decimal:
        """Return the gross that credits took off an invoice."""
        values = {"connection": invoice.system, "invoice": invoice.id}
        row = await self._database.first(_CREDITED_GROSS, values)
        return Decimal(row.gross) if row is not None else Decimal(0)

    async def payments(self, invoice: RecordRef) -> tuple[NotedPayment, ...]:
        """Return what was paid on an invoice and taken back, in the order it was noted."""
        values = {"connection": invoice.system, "invoice": invoice.id}
        return tuple(
            NotedPayment(
                change=row.change,
                application=row.application,
                amount=Money(amount=row.amount, currency=row.currency),
                on=row.on,
                told=frozenset(row.told),
            )
            for row in await self._database.rows(_PAYMENTS, values)
        )


def _milestone(fee_id: int, document: str, *, again: bool) -> SourceMilestone:
    fee = Fee.model_validate_json(document)
    return SourceMilestone(
        milestone_id=fee.item.partition("/")[2],
        amount=fee.amount,
        again=again,
        bills=BillableRef(kind=BillableKind.FEE, id=fee_id),
    )
