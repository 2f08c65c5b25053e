"""Inputs, plan and messages of CreditInvoice.

The lines of a credit are bulk: they stay in the store, and requests name the credit.
"""

from datetime import date
from enum import StrEnum

from canonical.draft_to_invoice import ConfirmShare
from canonical.ids import credit_id
from canonical.invoice_lifecycle import InvoiceKey
from canonical.invoicing import CreditReason
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode


class CreditedAmount(CanonicalModel):
    """How much of one invoiced line somebody wants credited; net and positive."""

    line: int
    amount: Money


class AskedCredit(CanonicalModel):
    """A credit as a person asks for it."""

    of: InvoiceKey
    number: int
    """Counts the credits asked for on the invoice, from 1; the store gives it."""
    lines: tuple[CreditedAmount, ...] = ()
    """Empty: everything that is left of the invoice."""
    reason: CreditReason
    because: str
    """In a person's words; also on the credit note, as its memo."""
    asked_by: str
    on: date | None = None
    """Day of the credit note; None: the day on which it is issued."""
    void: bool = False
    """The whole invoice is voided instead of credited: only where the entity's policy allows it."""
    explains: str = ""
    """Id of a credit that stands: made in the issuing system, and explained by a person. Nothing
    is issued then; the PSA is told of it."""

    @property
    def credit(self) -> str:
        """Id of the credit: also the workflow's."""
        return self.explains or credit_id(self.of.connection, self.of.invoice_id, self.number)


class CreditInput(CanonicalModel):
    """Which credit to carry to a credit note."""

    asked: AskedCredit
    correlation_id: str = ""
    sweep: SweepMode | None = None


class PlanCredit(StepRequest):
    """Work out what the credit takes back, and who is asked for what."""

    asked: AskedCredit
    corrections: dict[str, str] = {}


class CreditPlan(SagaPlan):
    """Everything that a credit knows before it writes."""

    credit: str
    invoice: RecordRef
    number: str
    """The invoice's."""
    net: Money
    erp: str
    """Connection that keeps the entity's books."""
    legal_entity: str
    subsidiary: str = ""
    respond_seconds: float
    """How long an approver has before the work item escalates."""


class OpenCredit(StepRequest):
    """Put the credit down, so that nothing is credited twice while it waits."""

    asked: AskedCredit
    credit: str
    net: Money
    """As planned: if something else is left by now, nothing is put down."""


class CheckCreditPeriod(StepRequest):
    """Look in the ERP: is the period of the credit note open?"""

    legal_entity: str
    subsidiary: str
    on: date | None = None


class CheckCreditable(StepRequest):
    """Look in the issuing system: is as much left of the invoice?"""

    invoice: RecordRef
    net: Money
    void: bool = False


class CreditDay(CanonicalModel):
    """The day that a credit note would have, and why it may not."""

    on: date
    reasons: tuple[str, ...] = ()


class Creditable(CanonicalModel):
    """Why an invoice may not be credited by as much; nothing in the usual case."""

    reasons: tuple[str, ...] = ()


class IssueCredit(StepRequest):
    """The credit note; its lines are loaded from the store."""

    credit: str
    invoice: RecordRef
    on: date
    void: bool = False
    """There is none: the invoice is voided."""


class NoteCredit(StepRequest):
    """Read the credit note, or the voided invoice, back and count it."""

    credit: str
    invoice: RecordRef
    on: date
    void: bool = False


class CountExplained(StepRequest):
    """See that a credit of the issuing system is counted: from there on there is only forward."""

    credit: str


class SeeFreed(StepRequest):
    """See which mirrors a credit of the issuing system makes wrong."""

    invoice: RecordRef


class FreedShare(CanonicalModel):
    """A project's share of the invoice, of which something was credited: its mirror goes."""

    psa: str
    project_id: str
    mirror: RecordRef
    net: Money
    """As it was mirrored."""
    confirmed_as: str
    """The mirror's external id."""
    rest: ConfirmShare | None = None
    """What is mirrored instead; None: all of it is billed again."""


class Freed(CanonicalModel):
    """The mirrors that a credit makes wrong."""

    shares: tuple[FreedShare, ...] = ()


class CreditNoted(CanonicalModel):
    """The credit note as it was read back and counted."""

    note: RecordRef
    number: str = ""
    net: Money
    tax: Money
    gross: Money
    opened: int = 0
    """Amounts that wait to be billed again."""
    freed: tuple[FreedShare, ...] = ()


class CancelMirror(StepRequest):
    """Take the mirror of a share out of the PSA."""

    invoice: RecordRef
    project_id: str
    mirror: RecordRef
    on: date
    net: Money
    confirmed_as: str


class CreditVerb(StrEnum):
    """What a second person may do about a credit."""

    APPROVE = "approve"
    REFUSE = "refuse"


class DecideCredit(CanonicalModel):
    """A second person's decision about a credit that waits for it."""

    credit: str
    verb: CreditVerb
    by: str
    because: str = ""


class CreditAnswer(CanonicalModel):
    """Whether an ask or a decision was taken, and why not."""

    credit: str
    taken: bool
    reasons: tuple[str, ...] = ()
    """Of one that was taken: what it still waits for."""
    state: str = ""
    """Of the credit: `asked`, `approved`, `refused` or `credited`."""
    net: Money | None = None
