"""Reconciliation: what is compared, what is found, and what Reconcile says to its activities."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from canonical.extracts import ExtractKind
from canonical.ids import Role
from canonical.model import CanonicalModel


class FindingClass(StrEnum):
    """What kind of difference it is (DESIGN 4, Reconcile)."""

    ORPHAN = "orphan"
    """One side has a record that the other lacks."""
    TIMING_GAP = "timing_gap"
    """It changed just now, or something is under way for it: shown, and not queued."""
    MISMATCH = "mismatch"
    DUPLICATE = "duplicate"


class FindingCode(StrEnum):
    """What it is, as people call it."""

    NEVER_TOLD = "never_told"
    ENTRY_GONE = "entry_gone"
    ENTRY_CHANGED = "entry_changed"
    BILLED_OUTSIDE = "billed_outside"
    CHARGE_DELETED = "charge_deleted"
    UNKNOWN_CHARGE = "unknown_charge"
    CHARGE_UNBILLED = "charge_unbilled"
    CHARGES_FREED = "charges_freed"
    COST_DELETED = "cost_deleted"
    UNKNOWN_COST = "unknown_cost"
    AMOUNT_DIFFERS = "amount_differs"
    INVOICE_GONE = "invoice_gone"
    UNKNOWN_INVOICE = "unknown_invoice"
    STATUS_DIFFERS = "status_differs"
    BALANCE_DIFFERS = "balance_differs"
    MIRROR_GONE = "mirror_gone"
    MIRROR_DIFFERS = "mirror_differs"
    NATIVE_CREDIT = "native_credit"
    CREDIT_GONE = "credit_gone"
    UNAPPLIED_PAYMENT = "unapplied_payment"
    CLIENT_MISSING = "client_missing"
    CLIENT_MERGED = "client_merged"
    CLIENT_INACTIVE = "client_inactive"
    PROJECT_MISSING = "project_missing"
    DUPLICATE_PROJECT = "duplicate_project"
    LINK_MISSING = "link_missing"
    LINK_DIFFERS = "link_differs"
    # Of the conservation check.
    DISPOSITIONS_DIFFER = "dispositions_differ"
    PART_ASTRAY = "part_astray"
    LINE_DIFFERS = "line_differs"
    CAP_MISCOUNTED = "cap_miscounted"
    PO_MISCOUNTED = "po_miscounted"
    WIP_DIFFERS = "wip_differs"


class Healing(StrEnum):
    """What drives the product's own sagas to mend a difference; none of it writes to a vendor."""

    NONE = ""
    TELL = "tell"
    """Tell the project's billing period that these entries changed."""
    LOOK = "look"
    """Have the invoice looked at, as poll and webhooks do."""


CONSERVATION = "conservation"
"""The comparison of the store with itself."""


class FoundRow(CanonicalModel):
    """One record behind a finding, as it was seen."""

    system: str
    """A connection, or `dealthread`."""
    type: str
    id: str
    state: str = ""
    amount: Decimal | None = None
    currency: str = ""
    note: str = ""


class Candidate(CanonicalModel):
    """A difference that a comparison came to, before policy judges it."""

    id: int
    connection: str
    kind: str
    """What was compared: a kind of extract, or `conservation`."""
    code: FindingCode
    record_type: str
    record_id: str
    client_id: str = ""
    project_id: str = ""
    amount: Decimal | None = None
    """Money at stake."""
    currency: str = ""
    under_way: str = ""
    """What is under way for it, in words; empty: nothing."""
    waits: bool = False
    """A work item waits for it already."""
    changed_at: datetime | None = None
    """When either side last changed, where that is known."""
    rows: tuple[FoundRow, ...] = ()


class Finding(CanonicalModel):
    """A difference between systems; the same one is one finding over all runs."""

    id: int
    key: str
    psa: str
    legal_entity: str
    period: str
    comparison: str
    code: FindingCode
    class_: FindingClass
    system: str
    record_type: str
    record_id: str
    client_id: str
    project_id: str
    amount: Decimal | None
    currency: str
    explanation: str
    remedy: str
    rows: tuple[FoundRow, ...]
    opens: int
    """How often it was opened: it may come back."""
    work_item: str
    """Empty: nobody has to decide about it."""
    healing: Healing
    healed_as: str
    """What was done to mend it; empty: nothing. The next run tells whether it helped."""
    first_run: int
    last_run: int
    first_seen_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None = None

    @property
    def name(self) -> str:
        """How people name it."""
        return f"F{self.id}"


class Compared(CanonicalModel):
    """One comparison of a run: a system's records of one kind with what the store knows."""

    connection: str
    kind: str
    rows: int
    """Listed by the system."""
    differences: int


class ReconciliationRun(CanonicalModel):
    """One run over a scope; of the conservation check the scope is empty."""

    id: int
    psa: str
    legal_entity: str
    period: str
    asked_by: str
    heal: bool
    state: str
    compared: tuple[Compared, ...]
    failed: dict[str, str]
    """By connection: why it could not be listed; what it holds was not compared."""
    began_at: datetime
    ended_at: datetime | None
    found: dict[str, int] = {}
    """Findings that this run was the last to see, by class."""

    @property
    def name(self) -> str:
        """How people name it."""
        return f"R{self.id}"


# What the workflow says to its activities.


class ReconcileInput(CanonicalModel):
    """Compare the systems of one legal entity over one billing period."""

    legal_entity: str
    period: str
    """`YYYY-MM`."""
    psa: str = ""
    """The PSA's connection; empty: the one of the policies."""
    connections: tuple[str, ...] = ()
    """Compare these systems alone; none: all."""
    heal: bool = False
    tolerance_seconds: float | None = None
    """How fresh a difference may be to pass as a gap of timing; None: as policy says."""
    asked_by: str = ""


class ScopedConnection(CanonicalModel):
    """A system that takes part in a run."""

    connection: str
    role: Role
    queue: str
    subsidiary: str = ""
    """The legal entity's id there; empty where the system has none."""


class ReconcilePlan(CanonicalModel):
    """A run that was opened, and whom it asks."""

    run: int
    psa: str
    legal_entity: str
    period: str
    since: date
    until: date
    connections: tuple[ScopedConnection, ...]
    heal: bool = False
    tolerance_seconds: float


class ExtractRows(CanonicalModel):
    """List what a system holds into the run's scratch."""

    run: int
    of: ScopedConnection
    since: date
    until: date


class ListedKind(CanonicalModel):
    """A kind that was listed whole."""

    kind: ExtractKind
    rows: int


class Extracted(CanonicalModel):
    """What of a system lies in the run's scratch now."""

    connection: str
    kinds: tuple[ListedKind, ...]


class CompareRows(CanonicalModel):
    """Compare what was listed with the store."""

    plan: ReconcilePlan
    listed: tuple[Extracted, ...]


class ComparedRows(CanonicalModel):
    """What was compared; `lost`: the scratch is gone, and everything has to be listed anew."""

    compared: tuple[Compared, ...] = ()
    lost: bool = False


class JudgeCandidates(CanonicalModel):
    """Turn the differences of a run into findings, and close those that are no more."""

    plan: ReconcilePlan
    compared: tuple[Compared, ...]
    failed: dict[str, str] = {}


class Judged(CanonicalModel):
    """What a run found."""

    findings: int
    queued: int
    """Work items that were opened."""
    closed: int
    """Findings of earlier runs that are no more."""


class HealFindings(CanonicalModel):
    """Mend what can be mended safely, among what the run found."""

    plan: ReconcilePlan


class Healed(CanonicalModel):
    """How many findings were given to the product's own sagas."""

    healed: int = 0
    refused: int = 0


class Reconciled(CanonicalModel):
    """How a run ended."""

    run: int
    findings: int
    queued: int
    closed: int
    healed: int = 0
    refused: int = 0
    failed: dict[str, str] = {}


class ListDue(CanonicalModel):
    """Asks which legal entities and periods are reconciled by the Schedule tonight."""

    psa: str = ""
    """The PSA's connection; empty: the one of the policies."""
    legal_entities: tuple[str, ...] = ()
    """None: all."""


class DueReconciliations(CanonicalModel):
    """One after another, so that a night's runs ask the vendors in turn."""

    runs: tuple[ReconcileInput, ...]


class ReconciledNightly(CanonicalModel):
    """What a night's runs came to."""

    ended: int = 0
    failed: tuple[str, ...] = ()
    """Ids of those that did not end, or that somebody had begun before."""


class CheckConservation(CanonicalModel):
    """Compare the store with itself: nothing that was approved is lost, or counted twice."""


class ConservationChecked(CanonicalModel):
    """What the check came to."""

    run: int
    findings: int
    closed: int


class Balance(CanonicalModel):
    """What became of the work of one client, legal entity and currency; all net.

    `rated` is the sum of its dispositions; `to_bill` is billed, queued, held or written off.
    """

    client_id: str
    legal_entity: str
    currency: str
    entries: int
    rated: Decimal
    """What entries were rated, once each."""
    placed: dict[str, Decimal]
    """By disposition."""
    reopened: Decimal
    """Credited to be billed again, in further cycles."""
    fees: Decimal
    """What contracts made due by themselves: milestones and schedules."""
    to_bill: Decimal
    """Of entries, re-opened, and fees."""
    billed: Decimal
    queued: Decimal
    """On its way: placed, drafted or released."""
    held: Decimal
    written_off: Decimal
    """Of what was to be billed, on drafts."""
    difference: Decimal
    """Of `rated` and its dispositions; zero, always."""
