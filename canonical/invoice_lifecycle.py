"""Inputs, plan and messages of InvoiceLifecycle and of TellInvoice, its child."""

from datetime import datetime

from canonical.invoicing import Application, WriteFinances, WriteProjectFinances
from canonical.lifecycle import InvoiceState
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import StepRequest
from canonical.records import RecordRef
from canonical.saga import SagaPlan, SweepMode


class InvoiceKey(CanonicalModel):
    """An invoice in its issuing system."""

    connection: str
    invoice_id: str


class LifecycleInput(CanonicalModel):
    """Which invoice to follow; all but `of` is carried over continue-as-new."""

    of: InvoiceKey
    looks_asked: int = 0
    """Signals not looked at yet."""
    last_look: int = 0


class LookAgain(CanonicalModel):
    """Something about the invoice changed, or may have; what is true is read."""

    correlation_id: str = ""


class LookEnded(CanonicalModel):
    """A look tells the invoice's workflow how it ended."""

    number: int
    outcome: str
    state: InvoiceState | None = None
    due: datetime | None = None
    """When to look by ourselves: the day after the invoice is due."""


class OpenLook(CanonicalModel):
    """Asks for the number of the next look at an invoice."""

    of: InvoiceKey


class LookInput(CanonicalModel):
    """One look at an invoice, and telling what it brings."""

    of: InvoiceKey
    number: int
    sweep: SweepMode | None = None


class PlanLook(StepRequest):
    """Say where the invoice is mirrored and whose deals it bills."""

    invoice_id: str
    corrections: dict[str, str] = {}


class TellPlan(SagaPlan):
    """Who is asked and told."""

    of: InvoiceKey


class Look(StepRequest):
    """Read the invoice and note what is new."""

    invoice_id: str


class TellPayment(StepRequest):
    """Say in the PSA that a project's share of the invoice was paid, as far as it was."""

    of: InvoiceKey
    change: int
    """Number of the look that noted the payment."""
    mirror: RecordRef
    """The PSA's mirror of the share."""
    reference: str
    """Names payment and look: what was taken back and paid again is told again."""
    amount: Money
    """The share, net."""
    told_as: str
    """Name under which it is noted who was told."""


class Looked(CanonicalModel):
    """What a look brought, and who is told what."""

    change: int = 0
    """0: nothing is new."""
    state: InvoiceState
    due: datetime | None = None
    """When to look again by ourselves."""
    payments: tuple[TellPayment, ...] = ()
    finances: tuple[WriteFinances, ...] = ()
    projects: tuple[WriteProjectFinances, ...] = ()
    native_credits: tuple[Application, ...] = ()
