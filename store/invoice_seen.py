"""What one look at an invoice comes to: differences to what is known, noted once."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.invoicing import Application, ApplicationKind, Invoice
from canonical.lifecycle import LOST, InvoiceState, SettledBy, TrackedInvoice
from canonical.money import Money
from store.audit import ENGINE
from store.billing_session import note
from store.database import AnyRow
from store.subledger_session import as_rows

_INSERT_CHANGE = text("""
    INSERT INTO invoice_changes (connection, invoice, change, before, state, remaining)
    VALUES (:connection, :id, :change, :before, :state, :remaining)
""")
_INSERT_APPLICATIONS = text("""
    INSERT INTO invoice_applications (connection, invoice, change, application, kind, amount, "on",
        reference, external_id)
    SELECT :connection, :id, :change, given.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS given(application text, kind text, amount numeric, "on" date, reference text,
            external_id text)
""")

_SEEN = ("number", "due", "period", "net", "tax", "gross", "remaining")


def amounts(invoice: Invoice) -> dict[str, object]:
    """Return an invoice's sums as columns."""
    return {name: getattr(invoice, name).amount for name in ("net", "tax", "gross", "remaining")}


def facts(
    row: AnyRow, invoice: Invoice | None, state: InvoiceState, settled_by: SettledBy
) -> dict[str, object]:
    """Return the columns as this look has them; one that is gone or voided keeps its amounts.

    What was billed by it is known by them; nobody owes it any more.
    """
    seen: dict[str, object] = {name: getattr(row, name) for name in _SEEN}
    if state in LOST:
        seen["remaining"] = Decimal(0)
    elif invoice is not None:
        seen |= {**amounts(invoice), "due": invoice.due or row.due}
        seen |= {"number": invoice.number or row.number, "period": invoice.period or row.period}
    return {**seen, "state": state.value, "settled_by": settled_by.value}


def differences(known: TrackedInvoice, invoice: Invoice) -> list[Application]:
    """Return what was applied since, and as negative amounts what was taken back."""
    stood = {each.id: each for each in known.applications}
    stands: dict[str, Application] = {}
    for each in invoice.applications:
        before = stands.get(each.id)
        whole = each.amount if before is None else before.amount + each.amount
        stands[each.id] = each.model_copy(update={"amount": whole})
    found = []
    for id_ in dict.fromkeys([*stands, *stood]):
        now, then = stands.get(id_), stood.get(id_)
        amount = (now.amount.amount if now else Decimal(0)) - (
            then.amount.amount if then else Decimal(0)
        )
        told = now or then
        if amount and told is not None:
            money = Money(amount=amount, currency=known.currency)
            found.append(told.model_copy(update={"amount": money}))
    return found


def is_native(application: Application, our_notes: frozenset[str]) -> bool:
    """Whether a credit is none that Dealthread made."""
    return (
        application.kind is ApplicationKind.CREDIT
        and not application.external_id
        and application.id not in our_notes
    )


async def note_change(
    session: AsyncConnection,
    key: Mapping[str, str],
    number: int,
    before: InvoiceState | None,
    seen: Mapping[str, object],
    changes: Sequence[Application] = (),
) -> None:
    """Put a change down, with what was applied or taken back by it."""
    values = {
        **key,
        "change": number,
        "before": before.value if before else "",
        "state": seen["state"],
        "remaining": seen["remaining"],
    }
    await session.execute(_INSERT_CHANGE, values)
    rows = [
        {
            "application": each.id,
            "kind": each.kind.value,
            "amount": each.amount.amount,
            "on": each.on,
            "reference": each.reference,
            "external_id": each.external_id,
        }
        for each in changes
    ]
    if rows:
        values = {**key, "change": number, "rows": as_rows(rows)}
        await session.execute(_INSERT_APPLICATIONS, values)
    applied = [{"id": each.id, "kind": each.kind, "amount": each.amount.amount} for each in changes]
    subject = f"{key['connection']}/{key['id']}"
    state = {"state": seen["state"], "remaining": seen["remaining"], "change": number}
    await note(session, [subject], ENGINE, "observe", **state, applied=applied)
