"""Invoice drafts: what is to be invoiced, its review, and the billing queue (DESIGN 4).

A draft is a document with a content hash. People act on it while it is reviewed and queued; every
act makes a new version, and a release names the hash that it was given for. Amounts are net, in
the draft's currency, unless a field says gross; tax is an estimate until the issuing system's own.
"""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from canonical.engagement import BillingMethod
from canonical.entries import EntryRef
from canonical.model import CanonicalModel
from canonical.money import Money
from canonical.provisioning import Dimensions


class BillableKind(StrEnum):
    """What a billable amount comes from."""

    PART = "part"
    """A `to_bill` part of a time entry, expense or adjustment."""
    FEE = "fee"
    """An amount that the contract itself makes due: a milestone or a scheduled line."""


class BillableRef(CanonicalModel):
    """One billable amount of the subledger."""

    kind: BillableKind
    id: int
    """The store's own."""


class Billable(CanonicalModel):
    """An amount that waits to be drafted, with everything that grouping and the line need."""

    ref: BillableRef
    engagement: str
    line: str
    """Ref of the contract line."""
    psa: str
    project_id: str
    client_id: str
    legal_entity: str
    erp: str
    """Connection that keeps the entity's books."""
    erp_project_id: str = ""
    erp_client_id: str = ""
    method: BillingMethod
    amount: Money
    period: str
    """Billing period `YYYY-MM` that it belongs to."""
    kind: str
    """`time`, `expense`, `adjustment`, `milestone` or `schedule`."""
    entry: EntryRef | None = None
    fee: str = ""
    """Of a fee: its item, `<psa>/<milestone id>` or the occurrence of the schedule."""
    charge: str = ""
    """External id of the charge in the ERP; several parts may share one."""
    minutes: int = 0
    """Billed minutes."""
    rate: Decimal | None = None
    """Per hour, contract currency, multiplier included."""
    person: str = ""
    """E-mail of who worked."""
    role: str = ""
    narrative: str = ""
    start: date
    end: date
    client_po: str = ""
    tax_category: str = ""
    dimensions: Dimensions = Dimensions()
    approved_by: tuple[str, ...] = ()
    """Who approved the time or the milestone: preparers, who never release it."""
    cycle: int = 1
    in_review: bool = False
    """A rebill: it is reviewed even where the client skips review."""


class DraftState(StrEnum):
    """Where a draft stands."""

    IN_REVIEW = "in_review"
    """With the project's manager."""
    QUEUED = "queued"
    """In the billing queue, for finance."""
    RELEASED = "released"
    """On its way into the issuing system; a proven refusal there queues it again."""
    INVOICED = "invoiced"
    REJECTED = "rejected"
    """Its lines are free again, or held, as the rejection said."""
    MERGED = "merged"
    """Into another draft."""
    EMPTY = "empty"
    """Every line was held, deferred, moved or written off."""


LIVE_STATES = frozenset({DraftState.IN_REVIEW, DraftState.QUEUED, DraftState.RELEASED})
"""States in which a draft holds its lines."""


class LineState(StrEnum):
    """Whether a line will be on the invoice."""

    IN = "in"
    HELD = "held"
    """Off this draft until somebody releases the hold."""
    DEFERRED = "deferred"
    """Off this draft; drafted again from `deferred_until` on."""
    WRITTEN_OFF = "written_off"
    MOVED = "moved"
    """To another draft, by a split or a merge."""


class DraftLine(CanonicalModel):
    """One line of a draft. `quantity` times `unit_price`, rounded once, is `amount`."""

    number: int
    """From 1 within the draft, for good."""
    kind: str
    """`time`, `expense`, `fee` or `write_down`."""
    engagement: str
    line: str
    """Ref of the contract line."""
    project_id: str
    erp_project_id: str = ""
    narrative: str
    original_narrative: str = ""
    """As it was drafted, where somebody edited it."""
    quantity: Decimal = Decimal(1)
    unit: str = "unit"
    """`hour`, `item` or `unit`."""
    unit_price: Decimal
    amount: Money
    """Net, after any write-down."""
    written_down: Money | None = None
    """Positive: how much less than the parts it bills; None where it is their sum."""
    start: date
    end: date
    tax_category: str = ""
    tax_percent: Decimal | None = None
    """Expected rate; None where the policy names none."""
    expected_tax: Money | None = None
    charge: str = ""
    dimensions: Dimensions = Dimensions()
    bills: tuple[BillableRef, ...] = ()
    state: LineState = LineState.IN
    because: str = ""
    deferred_until: date | None = None


class Draft(CanonicalModel):
    """A draft in one version."""

    id: str
    """Also the workflow id: `invoice-draft/<entity>/<bill-to>/<currency>/<group>/<period>/<n>`."""
    version: int = 1
    state: DraftState
    legal_entity: str
    client_id: str
    """Of the CRM; who buys."""
    bill_to: str
    """ERP client id of who is billed."""
    connection: str
    """Issuing system: the ERP, or the billing engine."""
    erp: str
    method: BillingMethod
    currency: str
    group: str
    """What the grouping policy put together: `project:5001`, `po:PO-77`, `client`, `line:...`."""
    period: str
    client_po: str = ""
    payment_days: int = 30
    on: date
    """Intended invoice date."""
    title: str = ""
    lines: tuple[DraftLine, ...]
    preparers: tuple[str, ...] = ()
    """Everybody who approved its time or milestones, or changed it: none of them releases it."""
    family: str = ""
    """The draft that it was split from, or its own id: limits count siblings together."""
    reviewer: str = ""
    delegate: str = ""
    review_until: datetime | None = None
    escalated: bool = False
    problems: tuple[str, ...] = ()
    """What preflight found and what blocks its release, in words that say who can mend it."""
    proposed_write_down: Money | None = None
    returned: str = ""
    """Why the issuing system refused it the last time."""
    released_by: str = ""
    released_at: datetime | None = None
    released_hash: str = ""
    posting: int = 0
    """Counts its releases: number of the posting saga."""
    bundle: str = ""
    """Hash of the policies that it was made with."""

    @property
    def live_lines(self) -> tuple[DraftLine, ...]:
        """The lines that will be invoiced."""
        return tuple(line for line in self.lines if line.state is LineState.IN)

    @property
    def net(self) -> Money:
        """Sum of the lines that will be invoiced."""
        total = sum((line.amount.amount for line in self.live_lines), Decimal(0))
        return Money(amount=total, currency=self.currency)

    @property
    def expected_tax(self) -> Money:
        """Estimated tax of those lines."""
        taxes = (line.expected_tax.amount for line in self.live_lines if line.expected_tax)
        return Money(amount=sum(taxes, Decimal(0)), currency=self.currency)

    @property
    def gross(self) -> Money:
        """Net and estimated tax: what limits of release are compared with."""
        return self.net + self.expected_tax

    @property
    def content_hash(self) -> str:
        """SHA-256 over all that the client would see or pay; any change of it voids a release."""
        seen = self.model_copy(update={"lines": self.live_lines}).model_dump_json(
            include={
                *("id", "legal_entity", "client_id", "bill_to", "connection", "method"),
                *("currency", "client_po", "payment_days", "on", "title", "lines"),
            }
        )
        return hashlib.sha256(seen.encode()).hexdigest()


# What people do to a draft. Each act says who; the answer says whether it was taken.


class DraftAct(CanonicalModel):
    """What every act says."""

    by: str
    because: str = ""


class Review(DraftAct):
    """The project's manager is done: the draft goes to the billing queue."""

    act: Literal["review"] = "review"


class EditNarrative(DraftAct):
    """Word a line anew; the original is kept."""

    act: Literal["edit"] = "edit"
    line: int
    narrative: Annotated[str, Field(min_length=1, max_length=2_000)]


class HoldLines(DraftAct):
    """Take lines off the draft until somebody releases them."""

    act: Literal["hold"] = "hold"
    lines: tuple[int, ...]


class DeferLines(DraftAct):
    """Take lines off the draft until a day."""

    act: Literal["defer"] = "defer"
    lines: tuple[int, ...]
    until: date


class ProposeWriteDown(DraftAct):
    """The project's manager proposes to bill a line at less; finance decides."""

    act: Literal["propose_write_down"] = "propose_write_down"
    line: int
    amount: Money
    """How much less, net, positive."""


class WriteDown(DraftAct):
    """Bill a line at less than its parts; the difference is written off with the reason."""

    act: Literal["write_down"] = "write_down"
    line: int
    amount: Money
    """How much less, net, positive; the whole line: it is written off."""


class Split(DraftAct):
    """Move lines to a draft of their own, which limits count together with this one."""

    act: Literal["split"] = "split"
    lines: tuple[int, ...]


class Merge(DraftAct):
    """Take another draft of the same client, entity, currency and PO into this one."""

    act: Literal["merge"] = "merge"
    other: str


class Reject(DraftAct):
    """Give the draft up; its lines are free to be drafted again, or held."""

    act: Literal["reject"] = "reject"
    hold: bool = True


class Release(DraftAct):
    """Let the draft become an invoice, exactly as its content hash says."""

    act: Literal["release"] = "release"
    content_hash: str


class Delegate(DraftAct):
    """Let somebody else review."""

    act: Literal["delegate"] = "delegate"
    to: str


class Returned(DraftAct):
    """The issuing system refused, proven by read-back: back to the queue. An act of the engine."""

    act: Literal["returned"] = "returned"
    posting: int
    withdrawn: tuple[BillableRef, ...] = ()
    """What may not be billed any more: those lines are held."""


class Recheck(DraftAct):
    """Look again at POs, holds and periods. An act of the engine, or of a person."""

    act: Literal["recheck"] = "recheck"


AnyAct = Annotated[
    Review
    | EditNarrative
    | HoldLines
    | DeferLines
    | ProposeWriteDown
    | WriteDown
    | Split
    | Merge
    | Reject
    | Release
    | Delegate
    | Returned
    | Recheck,
    Field(discriminator="act"),
]


class ActOnDraft(CanonicalModel):
    """An act on a draft, as the workflow is sent it; `id` makes it repeatable."""

    id: str
    draft: str
    act: AnyAct


class DraftAnswer(CanonicalModel):
    """Whether an act was taken, and why not; both are in the audit trail."""

    taken: bool
    reasons: tuple[str, ...] = ()
    """Why not: each names what to change or who may."""
    state: DraftState
    content_hash: str
    posting: int = 0
    made: tuple[str, ...] = ()
    """Drafts that the act made: each needs its own workflow."""
    ended: tuple[str, ...] = ()
    """Other drafts that the act ended."""


# Client purchase orders.


class PoBasis(StrEnum):
    """What the amount of a client PO limits."""

    NET = "net"
    GROSS = "gross"


class PoLine(CanonicalModel):
    """A line of a client PO; without contract lines it is for any."""

    number: str
    amount: Money
    contract_lines: tuple[str, ...] = ()


class ClientPo(CanonicalModel):
    """The client's purchase order: consumed like a cap, checked before release."""

    client_id: str
    number: str
    amount: Money
    basis: PoBasis = PoBasis.NET
    valid_from: date
    valid_to: date | None = None
    projects: tuple[str, ...] = ()
    """PSA projects that it is for; empty: any of the client's."""
    lines: tuple[PoLine, ...] = ()
    replaces: str = ""
    """Number of the PO that it replaces: lines not released yet move to this one."""


class PoStanding(CanonicalModel):
    """A client PO with what was taken of it, in its own basis."""

    po: ClientPo
    drafted: Money
    released: Money
    invoiced: Money
    credited: Money

    @property
    def left(self) -> Money:
        """What may still be released."""
        taken = self.released.amount + self.invoiced.amount - self.credited.amount
        return Money(amount=self.po.amount.amount - taken, currency=self.po.amount.currency)


# Fees: amounts that the contract itself makes due.


class FeeSource(StrEnum):
    """What makes a fee due."""

    MILESTONE = "milestone"
    SCHEDULE = "schedule"


class FeeState(StrEnum):
    """Where a fee stands; `handed_over` and beyond as for parts."""

    RESERVED = "reserved"
    HANDED_OVER = "handed_over"
    DRAFTED = "drafted"
    RELEASED = "released"
    INVOICED = "invoiced"
    CREDITED = "credited"
    RETURNED = "returned"
    """Given back before it was invoiced: un-approved, or rolled back."""


class Fee(CanonicalModel):
    """A milestone or a scheduled line that is being billed; once per billing cycle."""

    source: FeeSource
    item: str
    """`<psa>/<milestone id>`, or the occurrence of the schedule."""
    engagement: str
    line: str
    psa: str
    project_id: str
    client_id: str
    amount: Money
    period: str
    sequence: int = 0
    """Place among the milestones of its contract line, from 1; 0: none."""
    quantity: Decimal = Decimal(1)
    unit_price: Decimal
    narrative: str
    start: date
    end: date
    on: date
    """When it is to be invoiced."""
    approved_by: tuple[str, ...] = ()
    approved_at: datetime | None = None
    acceptance: str = ""
    evidence: str = ""
    """The record as read, or the derivation, as JSON."""
    cycle: int = 1


class FeeStanding(CanonicalModel):
    """What is known of one fee of a contract line."""

    id: int
    fee: Fee
    state: FeeState
    run: str = ""
    """Workflow id of the saga that reserved it."""
    invoice: str = ""
    paid: bool = False


class ContractStanding(CanonicalModel):
    """What has been taken of a contract line's value, and by what; net, contract currency."""

    engagement: str
    line: str
    reserved: Money
    drafted: Money
    invoiced: Money
    credited: Money
    fees: tuple[FeeStanding, ...] = ()
    """In sequence order."""

    @property
    def taken(self) -> Money:
        """Everything that counts against the contract's value."""
        total = self.reserved.amount + self.drafted.amount + self.invoiced.amount
        return Money(amount=total - self.credited.amount, currency=self.invoiced.currency)
