"""Invoices as the systems that issue them have them: what is asked, and what they say (DESIGN 4).

One language for an ERP and for a billing engine. Amounts of requests are net; tax, number, period
and totals are the issuing system's own and read back. Bulk travels by reference: lines are filled
in by the activity from the store, and are empty in history.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from canonical.deal import Address
from canonical.engagement import BillingMethod
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import Dimensions, StepRequest
from canonical.records import RecordRef


class DraftMode(StrEnum):
    """Whether the system can hold an invoice that reaches neither ledger nor client."""

    NON_POSTING = "non_posting"
    NONE = "none"


class PostMode(StrEnum):
    """How an invoice gets into the ledger."""

    SYNC = "sync"
    """By a call of its own; the answer says that it is posted."""
    ASYNC = "async"
    """By a call of its own; posted some time after the answer."""
    IMPLICIT = "implicit"
    """By being created: that call is the pivot."""


class InvoicingTraits(CanonicalModel):
    """What an account of a vendor can do; read from its configuration, pinned by the plan."""

    draft: DraftMode
    post: PostMode
    voids: bool = False
    """An issued invoice can be voided through the API."""
    lines_max: int | None = None
    """Most lines of one invoice; None: the vendor names no limit that drafts reach."""


class Billee(StepRequest):
    """Have the client in a billing engine, to be billed there. A shared record."""

    client_key: str
    name: str
    billing_email: str = ""
    address: Address = Address()


class InvoiceLine(CanonicalModel):
    """One line to be invoiced; `quantity` times `unit_price`, rounded once, is `amount`."""

    item: str
    """Tells the lines of one invoice apart, for good; kept on the issuing system's line."""
    description: str = ""
    quantity: Decimal = Decimal(1)
    unit_price: Decimal
    """In the invoice's currency, with as many decimals as the rate has."""
    amount: Money
    """Net; negative for a deduction."""
    kind: str = "time"
    """`time`, `expense` or `fee`."""
    start: date | None = None
    """First day of service; the last one likewise."""
    end: date | None = None
    tax_category: str = ""
    project: RecordRef | None = None
    """The ERP's project."""
    charges: tuple[str, ...] = ()
    """External ids of the charges it is made of, all made ready; method `erp_charges` only."""
    dimensions: Dimensions = Dimensions()


class ProvisionInvoice(StepRequest):
    """An invoice with all its lines. Where the system has no drafts, this issues it."""

    method: BillingMethod
    client: RecordRef | None = None
    subsidiary: str = ""
    """ERP id of the legal entity; empty in a billing engine, whose account is one entity's."""
    currency: str
    lines: tuple[InvoiceLine, ...] = ()
    on: date
    """Invoice date; it decides the posting period."""
    payment_days: int = 30
    """Days from the invoice date until it is due."""
    title: str = ""
    client_po: str = ""
    since: date | None = None
    """No attempt was made before this day; shortens look-ups."""


class InvoiceStatus(StrEnum):
    """Where an invoice stands in the issuing system."""

    DRAFT = "draft"
    """Neither in the ledger nor with the client: waits for approval or to be finalized."""
    REJECTED = "rejected"
    """An approver of the issuing system refused it; not in the ledger."""
    OPEN = "open"
    """Issued, not settled."""
    SETTLED = "settled"
    """Nothing remains, by whatever."""
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Delivery(StrEnum):
    """What became of an invoice on its way to the client."""

    UNKNOWN = ""
    """Nobody said."""
    TRANSMITTED = "transmitted"
    REJECTED = "delivery_rejected"
    """It came back, or the client's portal or network refused it: to be sent again."""


class IssuedLine(CanonicalModel):
    """A line as the issuing system has it."""

    id: str
    item: str = ""
    """Ours; empty on a line that someone else made."""
    description: str = ""
    amount: Money
    """Net."""
    tax: Money
    """On top of the amount."""
    charges: tuple[str, ...] = ()
    """External ids of the charges that it bills."""


class ApplicationKind(StrEnum):
    """What takes something off what remains of an invoice."""

    PAYMENT = "payment"
    CREDIT = "credit"
    WRITE_OFF = "write_off"
    WITHHOLDING = "withholding"


class Application(CanonicalModel):
    """A payment or a credit applied to an invoice; `amount` is gross, negative when reversed."""

    id: str
    """Of the paying or crediting record."""
    kind: ApplicationKind
    amount: Money
    on: date
    reference: str = ""
    external_id: str = ""
    """Ours, on a credit note that Dealthread made; empty on a native one."""


class Invoice(CanonicalModel):
    """An invoice as the issuing system has it; tax, number and totals are its own."""

    record: RecordRef
    external_id: str = ""
    status: InvoiceStatus
    number: str = ""
    """Given when issued."""
    currency: str
    net: Money
    tax: Money
    gross: Money
    remaining: Money
    """Still to be paid, gross; negative when overpaid."""
    lines: tuple[IssuedLine, ...] = ()
    applications: tuple[Application, ...] = ()
    on: date | None = None
    due: date | None = None
    period: str = ""
    """Posting period by name; empty where the system keeps no ledger, or before it is posted."""
    client_id: str = ""
    """Of the issuing system; differs from the one asked for when clients were merged."""
    client_po: str = ""
    delivery: Delivery = Delivery.UNKNOWN
    """As the issuing system has it, where it keeps that."""
    delivery_word: str = ""
    """Its own word for that."""
    changed_at: datetime | None = None

    @property
    def issued(self) -> bool:
        """Whether it is, or was, in the ledger or with the client."""
        return self.status not in {InvoiceStatus.DRAFT, InvoiceStatus.REJECTED}


class InvoiceChange(CanonicalModel):
    """An invoice that changed since a time; says so, and no more."""

    record: RecordRef
    external_id: str = ""
    changed_at: datetime


class CreditReason(StrEnum):
    """Why something is credited (DESIGN 4, InvoiceLifecycle)."""

    REBILL = "rebill"
    """Opens a new billing cycle for those parts, in review; the others re-open nothing."""
    CONCESSION = "concession"
    SERVICE_CREDIT = "service_credit"
    CANCELLED = "cancelled"


class Settlement(StrEnum):
    """Where that part of a credit goes which the client has paid already."""

    BALANCE = "balance"
    """The client's balance in the issuing system: taken off the next invoice."""
    ELSEWHERE = "elsewhere"
    """Paid back or settled outside."""


class CreditLine(CanonicalModel):
    """A part of an invoice line to be credited; `amount` is net and positive."""

    item: str
    amount: Money
    reason: CreditReason


class ProvisionCredit(StepRequest):
    """A credit note on an issued invoice, dated in an open period."""

    invoice: RecordRef | None = None
    lines: tuple[CreditLine, ...] = ()
    on: date
    memo: str = ""
    settlement: Settlement = Settlement.BALANCE


class CreditNote(CanonicalModel):
    """A credit note as the issuing system has it."""

    record: RecordRef
    external_id: str = ""
    invoice: RecordRef
    number: str = ""
    voided: bool = False
    net: Money
    tax: Money
    gross: Money
    on: date | None = None


# The PSA's side.


class PsaMilestone(CanonicalModel):
    """A billing milestone as the PSA has it, with the evidence of its approval."""

    record: RecordRef
    project_id: str
    title: str
    amount: Money
    """Net; negative for a deduction."""
    due: date | None = None
    external_ref: str = ""
    """`<contract line>/<CRM milestone id>`, written when Dealthread provisioned it."""
    position: int = 0
    """Place in the PSA's own order, from 1."""
    approved: bool = False
    """By the rule of the connection: its story completed, its date reached, or a field."""
    approved_by: str = ""
    """E-mail of who completed it; empty where the PSA does not say."""
    approved_at: datetime | None = None
    acceptance: str = ""
    """The document, or the note, by which the client accepted; empty: none."""
    eligible: str = ""
    """What Dealthread wrote back: empty, `eligible` or the draft's or invoice's name."""
    invoiced_on: str = ""
    """PSA invoice that it is on, cancelled ones aside."""


class ConfirmedEntries(CanonicalModel):
    """Entries of one reservation that an invoice bills."""

    reservation: RecordRef
    entry_ids: tuple[str, ...] = ()
    expense_ids: tuple[str, ...] = ()
    adjustment_ids: tuple[str, ...] = ()


class ConfirmInvoice(StepRequest):
    """Say in the PSA that these entries and milestones are invoiced, at the invoice's net."""

    project: RecordRef
    number: str
    """The issuing system's invoice number."""
    on: date
    payment_days: int = 30
    net: Money
    """Of this project's lines; a difference to the PSA's own valuation gets a line of its own."""
    entries: tuple[ConfirmedEntries, ...] = ()
    """Filled in by the activity; empty in history."""
    milestone_ids: tuple[str, ...] = ()


class PsaInvoice(CanonicalModel):
    """The PSA's mirror of an invoice, for one project."""

    record: RecordRef
    number: str = ""
    net: Money
    draft: bool = False
    paid: Money


class RecordPayment(StepRequest):
    """Say in the PSA that something was paid on a mirrored invoice; once by `reference`."""

    invoice: RecordRef
    amount: Money
    reference: str
    """Names the payment in the issuing system; two payments never share one."""


# The CRM's side.


class DealFinances(CanonicalModel):
    """What the CRM shows of a deal's money; amounts in the deal's currency, gross where said."""

    invoiced: Money
    """Net, credits taken off."""
    outstanding: Money
    """Gross, issued and not settled."""
    overdue: Money
    """Gross, of that."""
    unbilled: Money
    """Net, approved and to be billed, on no invoice yet."""
    margin_percent: Decimal | None = None
    """Of what was invoiced and is unbilled, over cost; None where cost is in another currency."""
    status: str = ""
    """Of the latest invoice, in words."""
    as_of: date


class WriteFinances(StepRequest):
    """Show a deal's money in the CRM."""

    deal_id: str
    finances: DealFinances


class WriteProjectFinances(StepRequest):
    """Show what a deal came to on its project in the PSA."""

    project: RecordRef
    finances: DealFinances


class BillingHold(CanonicalModel):
    """Somebody asks that a client is not billed for now: an open case, or a field."""

    client_id: str
    source: str
    """Record that says so, as `<type>/<id>`."""
    reason: str = ""
    since: datetime | None = None
