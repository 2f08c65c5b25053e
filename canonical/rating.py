"""What rating makes of an entry: its billing amount, its cost, and where each came from."""

from datetime import date
from decimal import Decimal
from enum import StrEnum

from canonical.engagement import BillingMethod
from canonical.entries import EntryRef, HoldReason
from canonical.model import CanonicalModel
from canonical.money import Money


class Disposition(StrEnum):
    """What becomes of a part of an approved entry (DESIGN 5)."""

    TO_BILL = "to_bill"
    COVERED_BY_FIXED_FEE = "covered_by_fixed_fee"
    DRAWN_FROM_RETAINER = "drawn_from_retainer"
    OVER_CAP = "over_cap"
    WRITTEN_OFF = "written_off"
    NON_BILLABLE = "non_billable"


class ExchangeRate(CanonicalModel):
    """How many units of `to_currency` one unit of `from_currency` is worth on a day."""

    from_currency: str
    to_currency: str
    rate: Decimal
    """At least 6 decimals."""
    valid_from: date
    source: str
    """System and record it was read from."""


class RateUsed(CanonicalModel):
    """An hourly rate with where it came from, for evidence."""

    rate: Decimal
    currency: str
    source: str
    """`contract:role=Principal`, `psa`, `hcm:E1003`, ..."""
    valid_from: date | None = None


class Cost(CanonicalModel):
    """What an entry costs its employing entity, in that entity's currency."""

    amount: Money
    legal_entity: str
    """Code of the company that employs the person."""
    rate: RateUsed | None = None
    """None for expenses."""
    fx: ExchangeRate | None = None


class Intercompany(CanonicalModel):
    """What the employing entity charges the billing entity for the hour (F10)."""

    from_entity: str
    to_entity: str
    amount: Money
    """Transfer price, in the employing entity's currency."""


class Part(CanonicalModel):
    """A share of an entry's rated amount with one disposition."""

    number: int
    """From 1 within the entry version and billing cycle."""
    disposition: Disposition
    amount: Money
    minutes: int = 0
    """Share of the billed minutes; the parts' minutes sum to the entry's."""
    cap: str = ""
    """Id of the cap that this part counts towards, or exceeds."""


class Rated(CanonicalModel):
    """One entry version, rated: amounts exact, each rounded once, half-up."""

    ref: EntryRef
    version: str
    line: str = ""
    """Ref of the contract line."""
    billing_method: BillingMethod | None = None
    legal_entity: str = ""
    """Code of the company that bills."""
    minutes: int = 0
    """As recorded."""
    billed_minutes: int = 0
    """After increments and minimum."""
    rate: RateUsed | None = None
    multiplier: Decimal = Decimal(1)
    amount: Money | None = None
    """Rated amount, net, contract currency; None while held."""
    base: Disposition = Disposition.TO_BILL
    """What the whole amount is before caps and retainers are applied."""
    above_ceiling: Money | None = None
    """Share of `amount` that an expense ceiling excludes: `over_cap` whatever the caps say."""
    fx: ExchangeRate | None = None
    cost: Cost | None = None
    intercompany: Intercompany | None = None
    psa_amount: Money | None = None
    """What the PSA makes of it, for comparison."""
    hold: HoldReason | None = None
    hold_detail: str = ""
    """In plain words, what is missing and who can mend it; with both derivations on a mismatch."""
    flags: tuple[str, ...] = ()
    """`late`, `intercompany`, ..."""
    adjusts: EntryRef | None = None
    """Of adjustments: the entry corrected, so that they give back what it took."""
