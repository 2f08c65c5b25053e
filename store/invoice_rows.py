"""Issued invoices as rows: several are read in as many statements as one."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.drafts import BillableKind, BillableRef
from canonical.invoicing import Application, ApplicationKind, IssuedLine
from canonical.lifecycle import InvoicedLine, InvoiceState, SettledBy, TrackedInvoice
from canonical.money import Money
from canonical.records import RecordRef
from store.database import AnyRow
from store.subledger_session import as_rows

InvoiceKey = tuple[str, str]
"""Connection and id of an invoice."""

_GIVEN = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(connection text, invoice text)
"""
_INVOICES = text(f"""
    SELECT invoice.*, ARRAY(SELECT DISTINCT line.engagement FROM draft_lines AS line
        WHERE line.draft = invoice.draft AND line.state = 'in' ORDER BY 1) AS engagements
    FROM invoices AS invoice JOIN {_GIVEN}
        ON invoice.connection = given.connection AND invoice.id = given.invoice
    ORDER BY invoice.recorded_at, invoice.connection, invoice.id
""")  # noqa: S608 - a constant
_LINES = text(f"""
    SELECT line.* FROM invoice_lines AS line JOIN {_GIVEN} USING (connection, invoice)
    ORDER BY line.position
""")  # noqa: S608 - a constant
_MEMBERS = text(f"""
    SELECT invoice.connection, invoice.id AS invoice, member.number, member.part, member.fee,
        member.credited
    FROM invoices AS invoice JOIN {_GIVEN}
        ON invoice.connection = given.connection AND invoice.id = given.invoice
    JOIN draft_members AS member ON member.draft = invoice.draft AND member.live
    ORDER BY member.number, member.part, member.fee
""")  # noqa: S608 - a constant
_APPLICATIONS = text(f"""
    SELECT connection, invoice, application AS id, sum(amount) AS amount,
        (array_agg(kind ORDER BY change DESC))[1] AS kind,
        (array_agg("on" ORDER BY change DESC))[1] AS "on",
        (array_agg(reference ORDER BY change DESC))[1] AS reference,
        (array_agg(external_id ORDER BY change DESC))[1] AS external_id
    FROM invoice_applications JOIN {_GIVEN} USING (connection, invoice)
    GROUP BY connection, invoice, application HAVING sum(amount) <> 0 ORDER BY min(id)
""")  # noqa: S608 - a constant


async def load(session: AsyncConnection, keys: Iterable[InvoiceKey]) -> tuple[TrackedInvoice, ...]:
    """Return invoices whole, oldest first; unknown ones are missing."""
    rows = as_rows({"connection": connection, "invoice": id_} for connection, id_ in keys)
    invoices = (await session.execute(_INVOICES, {"rows": rows})).all()
    lines = _grouped((await session.execute(_LINES, {"rows": rows})).all())
    members = _grouped((await session.execute(_MEMBERS, {"rows": rows})).all())
    applied = _grouped((await session.execute(_APPLICATIONS, {"rows": rows})).all())
    found = []
    for row in invoices:
        key = (str(row.connection), str(row.id))
        found.append(_invoice(row, lines.get(key, []), members.get(key, []), applied.get(key, [])))
    return tuple(found)


def application(row: AnyRow, currency: str) -> Application:
    """Return what stands of a payment or credit."""
    return Application(
        id=row.id,
        kind=ApplicationKind(row.kind),
        amount=Money(amount=row.amount, currency=currency),
        on=row.on,
        reference=row.reference,
        external_id=row.external_id,
    )


def ref_of(row: AnyRow) -> BillableRef:
    """Return what a member bills."""
    if row.part is not None:
        return BillableRef(kind=BillableKind.PART, id=row.part)
    return BillableRef(kind=BillableKind.FEE, id=row.fee)


def _grouped(rows: Iterable[AnyRow]) -> dict[InvoiceKey, list[AnyRow]]:
    found: dict[InvoiceKey, list[AnyRow]] = {}
    for row in rows:
        found.setdefault((row.connection, row.invoice), []).append(row)
    return found


def _invoice(
    row: AnyRow, lines: Sequence[AnyRow], members: Sequence[AnyRow], applied: Sequence[AnyRow]
) -> TrackedInvoice:
    money = {
        name: Money(amount=getattr(row, name), currency=row.currency)
        for name in ("net", "tax", "gross", "remaining")
    }
    values = {
        **row._mapping,
        **money,
        "record": RecordRef(system=row.connection, type=row.record_type, id=row.id),
        "state": InvoiceState(row.state),
        "settled_by": SettledBy(row.settled_by),
        "applications": tuple(application(each, row.currency) for each in applied),
        "engagements": tuple(row.engagements),
        "lines": tuple(_lines(lines, members, row.currency)),
    }
    return TrackedInvoice.model_validate(values)


def _lines(
    lines: Sequence[AnyRow], members: Sequence[AnyRow], currency: str
) -> Iterable[InvoicedLine]:
    by_number: dict[int, list[AnyRow]] = {}
    for member in members:
        by_number.setdefault(member.number, []).append(member)
    for line in lines:
        # A line that the issuing system cut in several is told of by the first of them.
        own = by_number.pop(line.number, [])
        yield InvoicedLine(
            number=line.number,
            item=line.item,
            issued=IssuedLine.model_validate_json(line.issued),
            expected=Money(amount=line.expected, currency=currency),
            bills=tuple(ref_of(member) for member in own),
            credited=Money(
                amount=sum((member.credited for member in own), Decimal(0)), currency=currency
            ),
        )
