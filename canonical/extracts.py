"""What a connected system holds, listed row by row to be compared with the subledger."""

from datetime import date, datetime
from enum import StrEnum

from canonical.model import CanonicalModel
from canonical.money import Money

Day = date
"""`date` by a name that the field `date` does not hide."""


class ExtractKind(StrEnum):
    """What one extract lists."""

    DEAL = "deal"
    """Won deals, by the CRM, with the ids that Dealthread wrote on them."""
    CLIENT = "client"
    PROJECT = "project"
    ENTRY = "entry"
    """Approved time, expenses and adjustments, by the PSA."""
    CHARGE = "charge"
    """Billing lines on hold, ready or invoiced, by the ERP or the billing engine."""
    COST = "cost"
    """Project cost as it was posted for an entry; what was reversed is voided, and the reversal is
    no row of its own."""
    INVOICE = "invoice"
    CREDIT = "credit"
    PAYMENT = "payment"


class ExtractState(StrEnum):
    """Where a record stands, in words that no vendor owns."""

    OPEN = "open"
    """A client or project in use; a deal that is won; an entry approved and not billed; an invoice
    unpaid."""
    RESERVED = "reserved"
    """An entry on a draft of the PSA; a charge on an invoice that is not issued."""
    ON_HOLD = "on_hold"
    READY = "ready"
    BILLED = "billed"
    """An entry or charge that an issued invoice holds."""
    DRAFT = "draft"
    """An invoice or credit that is not posted."""
    PART_PAID = "part_paid"
    PAID = "paid"
    """An invoice without a balance; a payment or credit that is applied in full."""
    UNAPPLIED = "unapplied"
    """A payment or credit of which a part belongs to no invoice."""
    VOIDED = "voided"
    """A document that was voided, cancelled or rejected; a charge that will never be billed; a cost
    that was reversed or rejected."""
    INACTIVE = "inactive"
    """A client or project that is archived, closed or merged into another."""


class ExtractScope(CanonicalModel):
    """Which records an extract lists; an empty filter filters nothing."""

    kind: ExtractKind
    subsidiary: str = ""
    """The ERP's id of the company; a PSA has none, and lists all."""
    since: date | None = None
    """First day by the record's own date (work, posting or issue), inclusive."""
    until: date | None = None
    """Last day, inclusive. Clients, projects and deals are listed whatever it is: what links them
    has to hold for good."""
    changed_since: datetime | None = None
    """Only what changed since, as far as the system can tell: others may be among them."""


class ExtractRow(CanonicalModel):
    """One record of a connected system."""

    kind: ExtractKind
    id: str
    """The system's own id; of an entry `<kind>/<id>`, as entries are named everywhere."""
    external_id: str = ""
    """Our key, where the record carries one."""
    number: str = ""
    """What people call it: an invoice's number, a client's name, a project's title."""
    client_id: str = ""
    """The system's id of the client; of a merged client the one it was merged into."""
    project_id: str = ""
    subsidiary: str = ""
    date: Day | None = None
    state: ExtractState
    amount: Money | None = None
    """Net; of a payment or credit the whole of it; None where the record has no amount."""
    gross: Money | None = None
    """Of an invoice or credit with its tax, where the system tells it apart from the net."""
    left: Money | None = None
    """What is unpaid of an invoice, or unapplied of a payment or credit; with tax."""
    minutes: int | None = None
    """Of time and its cost; then an entry has no amount, as what it is worth is rated here."""
    version: str = ""
    """Of an entry: the hash of its content, as the subledger names versions."""
    links: tuple[str, ...] = ()
    """External ids of our records that it notes (`Dealthread` cross references); of a deal each
    after what it names: `erp_client:`, `erp_project:` or `psa_project:`."""
    invoice_id: str = ""
    """The system's invoice that holds an entry or charge, or that a credit or payment is for;
    empty where a payment is for several."""
    changed_at: datetime | None = None
