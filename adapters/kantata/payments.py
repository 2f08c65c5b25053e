"""Recording in Kantata that a mirrored invoice was paid.

A payment that names an invoice always has the invoice's own amount, whatever was sent (the
documentation of `POST /external_payments`): Kantata knows invoices that are paid and invoices that
are not. So a part of the amount is noted on the project, without the invoice, and the payment that
completes it settles the invoice and takes the place of those notes. There is no field for a
reference: it is kept in the message, by which it is found again.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from adapters.errors import ContractBroken, Invalid, Rejected, Unsupported
from adapters.kantata import confirmation_mapping as mapping
from adapters.kantata.client import VENDOR, Row, id_of, listing
from adapters.kantata.mapping import CANCELLED, PAID, checked_id
from adapters.kantata.records import API, Records
from canonical.invoicing import RecordPayment
from canonical.money import Money, minor_digits
from canonical.records import RecordRef

INVOICE: Final = "invoice: "
REFERENCE: Final = "reference: "
ACT: Final = "record the payment"


@dataclass(frozen=True)
class Recorded:
    """What Kantata has of the payments of one invoice."""

    invoice: Row
    settling: tuple[Row, ...]
    """Payments of the invoice itself, oldest first."""
    notes: tuple[Row, ...]
    """Parts that were noted on the project."""

    @property
    def is_paid(self) -> bool:
        """Whether Kantata takes no further payment of the invoice."""
        return self.invoice.get("status") == PAID

    def by(self, reference: str) -> Row | None:
        """Return the payment that carries a reference."""
        every = (*self.settling, *self.notes)
        return next((row for row in every if reference in references_in(row)), None)


class Payments:
    """The payments on the mirrors of one account."""

    def __init__(self, records: Records) -> None:
        """Use the account's records."""
        self._records = records

    async def find(self, request: RecordPayment) -> RecordRef | None:
        """Return the payment with this reference.

        Of an invoice that is paid it is the settling one, whoever recorded it: there is nothing
        left to record.

        Raises:
            NotFound: there is no such invoice.
        """
        held = await self._recorded(request)
        row = held.by(one_line(request.reference))
        if row is None and held.is_paid and held.settling:
            row = held.settling[0]
        return None if row is None else self._records.record("payment", row)

    async def record(self, request: RecordPayment) -> RecordRef:
        """Record the payment once.

        Raises:
            Unsupported: it is a reversal.
            Rejected: the invoice is a draft, cancelled, or in another currency.
        """
        if request.amount.amount < 0:
            raise Unsupported(
                "Kantata takes no negative payments: delete the payment that was reversed from the "
                f"mirror {request.invoice.id} there, by hand, and skip this.",
                vendor=VENDOR,
                operation=ACT,
            )
        if not request.amount.amount:
            raise Invalid("A payment of nothing cannot be recorded.", field="amount")
        held = await self._recorded(request)
        reference = one_line(request.reference)
        row = held.by(reference)
        if row is None and held.is_paid:
            row = held.settling[0] if held.settling else None
        if row is None:
            row = await self._pay(request, held, reference)
        if row.get("invoice_id") is not None:
            await self._drop(held.notes)
        return self._records.record("payment", row)

    async def forget(self, invoice_id: str) -> None:
        """Delete the parts that were noted of a mirror; it is about to be cancelled."""
        await self._drop((await self._of(invoice_id)).notes)

    async def _pay(self, request: RecordPayment, held: Recorded, reference: str) -> Row:
        left = self._left(request, held)
        if request.amount.amount < left.amount:
            return await self._create(request, held, (reference,), settles=False)
        noted = tuple(each for row in held.notes for each in references_in(row))
        return await self._create(request, held, (*noted, reference), settles=True)

    def _left(self, request: RecordPayment, held: Recorded) -> Money:
        """Return what remains, noted parts taken off.

        Raises:
            Rejected: the invoice cannot be paid.
        """
        row = held.invoice
        if row.get("draft") is True or row.get("status") == CANCELLED:
            raise Rejected(
                f"The mirror {id_of(row)} is a draft, or cancelled, in Kantata: it cannot be paid."
            )
        balance = mapping.balance_of(row)
        if balance.currency != request.amount.currency:
            raise Rejected(
                f"The payment is in {request.amount.currency}, the mirror in {balance.currency}."
            )
        digits = minor_digits(balance.currency) or 0
        noted = sum(Decimal(mapping.cents_of(each)).scaleb(-digits) for each in held.notes)
        return Money(amount=balance.amount - noted, currency=balance.currency)

    async def _create(
        self, request: RecordPayment, held: Recorded, references: tuple[str, ...], *, settles: bool
    ) -> Row:
        invoice = id_of(held.invoice)
        lines = [f"{INVOICE}{invoice}", *(f"{REFERENCE}{each}" for each in references)]
        body: dict[str, object] = {
            "workspace_id": project_of(held.invoice),
            "amount_in_cents": request.amount.minor_units,
            "message": "\n".join(lines),
        }
        if settles:
            body["invoice_id"] = invoice
        made = await self._records.create("external_payments", {"external_payment": body}, ACT)
        return made.rows[0]

    async def _drop(self, notes: tuple[Row, ...]) -> None:
        """Delete noted parts: a settling payment stands for them, or their mirror goes."""
        for row in notes:
            act = "take back a part that was noted"
            await self._records.delete("external_payments", id_of(row), act)

    async def _recorded(self, request: RecordPayment) -> Recorded:
        return await self._of(request.invoice.id)

    async def _of(self, invoice_id: str) -> Recorded:
        invoice = checked_id(invoice_id, "invoice")
        answer = await self._records.http.request(
            "GET", f"{API}/invoices/{invoice}", operation="read the mirror", write=False
        )
        rows = listing(answer).rows
        if not rows:
            raise ContractBroken("Kantata does not show the invoice.", raw=answer.text)
        params = {"workspace_id": project_of(rows[0]), "order": "created_at:asc"}
        act = "look for the payment"
        pages = self._records.pages("external_payments", params, act)
        payments = [row async for page in pages for row in page.rows]
        return Recorded(
            invoice=rows[0],
            settling=tuple(row for row in payments if str(row.get("invoice_id")) == invoice),
            notes=tuple(
                row
                for row in payments
                if row.get("invoice_id") is None and f"{INVOICE}{invoice}" in lines_of(row)
            ),
        )


def one_line(reference: str) -> str:
    """Return a reference as it stands in a message."""
    return " ".join(reference.split())


def lines_of(row: Row) -> list[str]:
    """Return the lines of a payment's message."""
    return str(row.get("message") or "").splitlines()


def references_in(row: Row) -> tuple[str, ...]:
    """Return the references that a payment stands for; it may be several."""
    own = [line for line in lines_of(row) if line.startswith(REFERENCE)]
    return tuple(line.removeprefix(REFERENCE) for line in own)


def project_of(invoice: Row) -> str:
    """Return the project of an invoice; a mirror has one.

    Raises:
        ContractBroken: Kantata does not say.
    """
    ids = invoice.get("workspace_ids")
    if not isinstance(ids, list) or not ids:
        raise ContractBroken(f"Kantata does not say whose invoice {id_of(invoice)} is.")
    return checked_id(str(ids[0]), "project")
