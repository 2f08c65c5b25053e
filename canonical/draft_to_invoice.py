"""Inputs, plan and messages of AssembleDrafts, DraftToInvoice and PostInvoice.

Lines are bulk: they stay in the store, and requests name the draft that they belong to.
"""

from datetime import date, datetime

from canonical.drafts import BillableRef, DraftState
from canonical.engagement import BillingMethod
from canonical.invoice_lifecycle import InvoiceKey
from canonical.invoicing import Billee, InvoicingTraits
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode

INVOICE_GONE = "invoice_gone"
"""Reason of a posting that waits since its invoice was deleted in the issuing system."""

# Assembling.


class AssembleDrafts(CanonicalModel):
    """Make drafts of what is due; empty fields mean all."""

    psa: str = ""
    project_id: str = ""
    client_id: str = ""
    everything: bool = False
    """Also what is not due yet, because somebody asked for it."""
    after: str = ""
    """Client up to which an earlier pass has come."""


class Assembled(CanonicalModel):
    """The drafts that were made."""

    drafts: tuple[str, ...] = ()
    more: bool = False
    """There was more than one pass takes."""
    after: str = ""
    """Client up to which it came."""


# The draft.


class DraftInput(CanonicalModel):
    """Which draft to look after."""

    draft: str


class DraftStanding(CanonicalModel):
    """Where a draft stands, as its workflow needs to know."""

    state: DraftState
    title: str = ""
    client_id: str = ""
    legal_entity: str = ""
    project_codes: tuple[str, ...] = ()
    connection: str = ""
    review_until: datetime | None = None
    """The deadline; None: there is none, or it has passed and people are told."""
    version: int = 0
    posting: int = 0
    content_hash: str = ""
    invoice: InvoiceKey | None = None
    """Once it is invoiced."""
    summary: str = ""
    """Markdown for the Web UI: lines, totals, what blocks it, who has to act."""


class EscalateReview(CanonicalModel):
    """The review's deadline has passed: delegate or finance may review, and are told."""

    draft: str
    version: int = 0
    """Which version's deadline; 0: whichever it is."""


class PostingEnded(CanonicalModel):
    """A posting tells its draft how it ended."""

    posting: int
    outcome: str
    because: str = ""
    withdrawn: tuple[BillableRef, ...] = ()
    """What may not be billed any more."""


class DraftResult(CanonicalModel):
    """How a draft ended."""

    draft: str
    state: DraftState


# The posting.


class PostingInput(CanonicalModel):
    """Which release of which draft to post."""

    draft: str
    connection: str
    """The issuing system."""
    posting: int
    correlation_id: str = ""
    sweep: SweepMode | None = None


class PostingRequest(StepRequest):
    """A request about one released draft."""

    draft: str
    posting: int


class PlanPosting(PostingRequest):
    """Read the released draft, and say who is asked for what."""

    corrections: dict[str, str] = {}


class ProjectShare(CanonicalModel):
    """What a draft bills of one PSA project."""

    psa: str
    project_id: str
    net: Money


class PostInvoicePlan(SagaPlan):
    """Everything that a posting knows before it writes."""

    draft: str
    posting: int
    content_hash: str
    issuer: str
    """Connection of the system that issues the invoice."""
    traits: InvoicingTraits
    method: BillingMethod
    erp: str
    client: RecordRef | None = None
    """In the issuing system; None where it is provisioned by this saga."""
    billee: Billee | None = None
    """Of a billing engine: the client to have there."""
    subsidiary: str = ""
    currency: str
    on: date
    payment_days: int = 30
    client_po: str = ""
    net: Money
    shares: tuple[ProjectShare, ...] = ()
    charges: int = 0
    """How many charges are made ready."""


class VerifyDraft(PostingRequest):
    """Look in the PSA again: is what it bills still approved and reserved?"""

    project_id: str


class CheckTerms(PostingRequest):
    """Look in the ERP again: is the period open, is the client active, is it still the same?"""

    subsidiary: str
    on: date
    client: RecordRef | None = None


class Verification(CanonicalModel):
    """Why a released draft may not be posted; nothing in the usual case."""

    reasons: tuple[str, ...] = ()
    withdrawn: tuple[BillableRef, ...] = ()


class ReadyCharges(PostingRequest):
    """Let the ERP bill the charges of the draft."""


class IssueInvoice(PostingRequest):
    """The invoice; its lines are loaded from the store."""

    method: BillingMethod
    client: RecordRef | None = None
    subsidiary: str = ""
    currency: str
    on: date
    payment_days: int = 30
    client_po: str = ""
    title: str = ""


class PostDraftInvoice(PostingRequest):
    """Issue the invoice that stands as a draft in the issuing system."""

    invoice: RecordRef


class ReadBack(PostingRequest):
    """Read the invoice until number, date, period, tax and total are there, and agree."""

    invoice: RecordRef
    content_hash: str
    client: RecordRef | None = None
    """Whom it was issued to; None in histories from before this was compared."""


class Posted(CanonicalModel):
    """The invoice as it was read back and noted."""

    invoice: RecordRef
    number: str
    on: date
    period: str = ""
    net: Money
    tax: Money
    gross: Money
    tax_differs: bool = False
    """Beyond tolerance: a person looks, nothing waits for it."""
    expected_tax: Money | None = None
    """What the draft expected, where that differs beyond tolerance."""


class ConfirmShare(PostingRequest):
    """Say in the PSA that a project's share is invoiced."""

    project_id: str
    invoice: RecordRef
    number: str
    on: date
    payment_days: int = 30
    net: Money
