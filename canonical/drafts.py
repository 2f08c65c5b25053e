"""Invoice drafts: what is to be invoiced, its review, and the billing queue (DESIGN 4).

A draft is a document with a content hash. People act on it while it is reviewed and queued; every
act makes a new version, and a release names the hash that it was given for. Amounts are net, in
the draft's currency, unless a field says gross; tax is an estimate until the issuing system's own.
"""

import hashlib
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

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
    priced_by: tuple[str, ...] = ()
    """Who imported the terms that price it: preparers too."""
    cycle: int = 1
    lead: str = ""
    """E-mail of who leads the project, as the PSA said last; empty: nobody is known."""
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


class WriteDownProposal(CanonicalModel):
    """Who would bill a line at how much less, and why; it stands until finance decides."""

    by: str
    amount: Money
    """How much less, net, positive."""
    because: str


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
    proposed: WriteDownProposal | None = None
    """The latest proposal; no part of the content, since the client is billed without it."""


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
    """Everybody who approved its time or milestones, imported the terms that price it, or changed
    it: none of them releases it."""
    family: str = ""
    """The draft that it was split from, or its own id, for good."""
    reviewer: str = ""
    delegate: str = ""
    review_until: datetime | None = None
    escalated: bool = False
    problems: tuple[str, ...] = ()
    """What preflight found and what blocks its release, in words that say who can mend it."""
    warnings: tuple[str, ...] = ()
    """What whoever releases it should know, and what blocks nothing."""
    proposed_write_down: Money | None = None
    """What is proposed to write down its lines by, together; None: nothing is."""
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
            },
            exclude={"lines": {"__all__": {"proposed"}}},
        )
        return hashlib.sha256(seen.encode()).hexdigest()
