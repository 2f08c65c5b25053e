"""Invoices kept by a billing engine beside the ERP: what is asked of it, and what it says.

An invoice there is a draft until it is issued; its lines are made on it, never pending, so that
no other invoice of the engine can pick them up. Bulk travels by reference: lines are filled in by
the activity from the store, and are empty in history.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.deal import Address
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef


class EngineCustomer(StepRequest):
    """Have the client in the billing engine. A shared record."""

    client_key: str
    name: str
    billing_email: str = ""
    address: Address = Address()


class EngineLine(CanonicalModel):
    """One line to be invoiced; `quantity` times `unit_amount`, rounded once, is `amount`."""

    item: str
    """Tells the lines of one invoice apart; kept on the engine's line."""
    description: str = ""
    quantity: Decimal = Decimal(1)
    unit_amount: Decimal | None = None
    """Price of one unit in the invoice's currency, with as many decimals as the rate has."""
    amount: Money
    """Net; negative for a deduction."""
    start: date | None = None
    """First day of service; the last one likewise."""
    end: date | None = None
    tax_category: str = ""


class DraftInvoice(StepRequest):
    """A draft invoice with all its lines; nothing reaches the client or the ledger by it."""

    client: RecordRef | None = None
    currency: str
    lines: tuple[EngineLine, ...] = ()
    payment_days: int = 30
    """Days from issue until it is due."""
    on: date | None = None
    """Invoice date; None for the day of issue."""
    title: str = ""
    client_po: str = ""
    since: date | None = None
    """No attempt was made before this day; shortens look-ups."""


class EngineInvoiceStatus(StrEnum):
    """Where an invoice stands in the engine."""

    DRAFT = "draft"
    OPEN = "open"
    """Issued, not settled."""
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class EngineInvoiceLine(CanonicalModel):
    """A line as the engine has it."""

    id: str
    item: str = ""
    """Ours; empty on a line that someone else made."""
    description: str = ""
    amount: Money
    tax: Money
    """On top of the amount."""


class EngineInvoice(CanonicalModel):
    """An invoice as the engine has it; tax and totals are the engine's own."""

    record: RecordRef
    external_id: str = ""
    status: EngineInvoiceStatus
    number: str = ""
    """Given at issue."""
    currency: str
    subtotal: Money
    tax: Money
    total: Money
    paid: Money
    remaining: Money
    """Still to be paid, credits taken off."""
    lines: tuple[EngineInvoiceLine, ...] = ()
    issued_on: date | None = None
    due: date | None = None


class CreditReason(StrEnum):
    """Why something is credited (DESIGN 4, InvoiceLifecycle)."""

    REBILL = "rebill"
    CONCESSION = "concession"
    SERVICE_CREDIT = "service_credit"
    CANCELLED = "cancelled"


class Settlement(StrEnum):
    """Where that part of a credit goes which the client has paid already."""

    BALANCE = "balance"
    """The client's balance in the engine: taken off the next invoice."""
    ELSEWHERE = "elsewhere"
    """Paid back or settled outside the engine."""


class EngineCreditLine(CanonicalModel):
    """A part of an invoice line to be credited; `amount` is net and positive."""

    item: str
    amount: Money


class CreditInvoice(StepRequest):
    """A credit note on an issued invoice."""

    invoice: RecordRef | None = None
    lines: tuple[EngineCreditLine, ...] = ()
    reason: CreditReason
    memo: str = ""
    settlement: Settlement = Settlement.BALANCE


class EngineCredit(CanonicalModel):
    """A credit note as the engine has it."""

    record: RecordRef
    external_id: str = ""
    invoice: RecordRef
    number: str = ""
    voided: bool = False
    subtotal: Money
    tax: Money
    total: Money
