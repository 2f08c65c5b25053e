"""The facts of a thread as the store tells them: one model for each kind of row."""

from datetime import date, datetime
from decimal import Decimal

from canonical.model import CanonicalModel


class ThreadContract(CanonicalModel):
    """A version of a contract, for one project."""

    id: str
    psa: str
    project_id: str
    effective_from: date
    client_id: str
    title: str
    lines: tuple["ThreadContractLine", ...]


class ThreadContractLine(CanonicalModel):
    """What of a contract line others are linked by."""

    ref: str
    title: str = ""
    type: str = ""
    currency: str = ""
    legal_entity: str = ""
    billing_method: str = ""
    value: "ThreadValue | None" = None
    client_po: str = ""
    erp: str = ""
    erp_project_id: str = ""
    erp_client_id: str = ""


class ThreadValue(CanonicalModel):
    """An amount as a contract line keeps it."""

    amount: Decimal
    currency: str


class ThreadSpan(CanonicalModel):
    """Days in which a project's work belongs to the thread; None: without end."""

    psa: str
    project_id: str
    first: date | None = None
    after: date | None = None
    """The first day that does not belong to it any more."""


class ThreadSaga(CanonicalModel):
    """The latest generation of a saga."""

    workflow_id: str
    saga: str
    generation: int
    state: str
    outcome: str | None = None
    correlation_id: str = ""
    plan_json: str = ""
    """Of a saga that provisions a deal."""


class ThreadRecord(CanonicalModel):
    """A record that a deal's saga made or uses in a connected system."""

    workflow_id: str
    step: str
    position: int
    system: str
    record_type: str
    record_id: str
    outcome: str
    undone: bool


class ThreadTotal(CanonicalModel):
    """How many entries of one kind are in one state."""

    kind: str
    state: str
    entries: int
    minutes: int


class ThreadMoney(CanonicalModel):
    """What became of the rated amounts of entries of one kind."""

    kind: str
    disposition: str
    currency: str
    amount: Decimal


class ThreadEntry(CanonicalModel):
    """An entry as its standing version has it."""

    id: int
    """Of the version, in the store."""
    source: str
    kind: str
    entry_id: str
    project_id: str
    person_id: str
    submission_id: str
    service_date: date
    minutes: int | None
    amount: Decimal | None
    currency: str
    state: str
    run_key: str | None
    line: str | None
    held: str
    """Why it waits, in the store's words; empty: it does not."""
    person: str = ""
    approved_by: str = ""
    """As the approved record says."""


class ThreadPart(CanonicalModel):
    """A part of an entry, with where it went."""

    entry: int
    cycle: int
    disposition: str
    amount: Decimal
    currency: str
    state: str
    run_key: str
    charge: str | None
    draft: str | None


class ThreadCharge(CanonicalModel):
    """A charge in the ERP."""

    external_id: str
    run_key: str
    amount: Decimal
    currency: str
    state: str
    connection: str


class ThreadFee(CanonicalModel):
    """A milestone, or an occurrence of a schedule."""

    source: str
    item: str
    cycle: int
    engagement: str
    line: str
    psa: str
    project_id: str
    amount: Decimal
    currency: str
    state: str
    period: str
    run: str
    narrative: str
    held: str
    draft: str | None


class ThreadRun(CanonicalModel):
    """A billing run."""

    run_key: str
    psa: str
    project_id: str
    period: str
    number: int
    state: str
    entries: int
    reservation: str


class ThreadDraft(CanonicalModel):
    """A draft, with the engagements and projects that it bills."""

    id: str
    state: str
    client_id: str
    client_po: str
    legal_entity: str
    period: str
    currency: str
    net: Decimal
    gross: Decimal
    posting: int
    projects: tuple[str, ...]
    runs: tuple[str, ...]


class ThreadInvoice(CanonicalModel):
    """An issued invoice."""

    connection: str
    id: str
    draft: str
    number: str
    on: date
    currency: str
    net: Decimal
    tax: Decimal
    gross: Decimal
    remaining: Decimal
    state: str


class ThreadApplied(CanonicalModel):
    """What stands of one payment, credit or write-off on one invoice."""

    connection: str
    invoice: str
    application: str
    kind: str
    amount: Decimal
    currency: str
    on: date
    reference: str


class ThreadCredit(CanonicalModel):
    """A credit that somebody asked for."""

    id: str
    connection: str
    invoice: str
    state: str
    net: Decimal
    currency: str
    note_id: str | None
    note_number: str
    reasons: tuple[str, ...]
    again: tuple[str, ...]
    """Drafts that bill again what it took back."""


class ThreadMirror(CanonicalModel):
    """The PSA's own invoice of a share of an issued one."""

    connection: str
    invoice: str
    psa: str
    project_id: str
    mirror: str
    net: Decimal
    currency: str


class ThreadPo(CanonicalModel):
    """A client's purchase order."""

    client_id: str
    number: str
    amount: Decimal
    currency: str
    basis: str
    taken: Decimal


class ThreadWorkItem(CanonicalModel):
    """A work item of one of the thread's sagas."""

    id: str
    workflow_id: str
    kind: str
    step: str
    reason: str
    state: str
    opened_at: datetime
