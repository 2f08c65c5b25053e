"""What each approved entry is worth, what it costs, and what holds it (DESIGN 5).

Pure: figures depend on the entries and the data handed in, and on no order. Each is rounded once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.deal import ContractLineType
from canonical.engagement import BillRate, ContractLine, Engagement, RatingMode
from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.money import Money
from canonical.people import Worker
from canonical.rating import Disposition, ExchangeRate, Rated, RateUsed
from canonical.standing import KnownExpense
from policies.arithmetic import product, sixtieths
from policies.costing import ONE, Costing, factor
from policies.expenses import duplicates, net_cost, rate_expense
from policies.lookups import Contracts, Exchange, Held, People
from policies.quantities import Corrections, check_quantity
from policies.schema import Policies

LATE, INTERCOMPANY = "late", "intercompany"


@dataclass(frozen=True)
class MasterData:
    """What rating looks up, each with the days on which it holds."""

    engagements: Sequence[Engagement]
    workers: Sequence[Worker]
    exchange_rates: Sequence[ExchangeRate]


@dataclass(frozen=True)
class Before:
    """What earlier runs and people have to say about the entries of a claim."""

    known_expenses: Sequence[KnownExpense] = ()
    """The project's expenses, oldest first; those of the claim may be among them."""
    corrected: Sequence[Entry] = ()
    """Entries that adjustments of the claim correct, with the adjustments made to them so far."""
    accepted: Collection[tuple[EntryRef, HoldReason]] = frozenset()
    """Holds that a person has looked at and released: `duplicate_expense`, `rate_mismatch`."""


def rate(
    entries: Sequence[Entry],
    master: MasterData,
    policies: Policies,
    period: str,
    before: Before | None = None,
) -> tuple[Rated, ...]:
    """Return each entry rated, or held with the reason, in the order given.

    Args:
        entries: approved; their order changes no figure.
        master: engagements (all versions), workers, exchange rates.
        policies: the bundle's: legal entities and transfer prices.
        period: the billing period that the entries go to, `YYYY-MM`; earlier service is `late`.
        before: expenses known, entries corrected, holds released.
    """
    rating = _Rating(entries, master, policies, period, before or Before())
    return tuple(rating.rated(entry) for entry in entries)


def bill_rate(
    line: ContractLine, person: str, role: str, employee_class: str, on: date
) -> BillRate | None:
    """Return the most specific rate in force, as `BillRate` orders them; None where none fits."""
    fitting = [
        each
        for each in line.rates
        if each.person in ("", person)
        and each.role in ("", role)
        and each.employee_class in ("", employee_class)
        and each.valid_from <= on
        and (each.valid_to is None or on <= each.valid_to)
    ]
    return max(fitting, key=lambda each: (_specificity(each), each.valid_from), default=None)


def _specificity(each: BillRate) -> tuple[bool, bool, bool]:
    return (bool(each.person), bool(each.role), bool(each.employee_class))


@dataclass(frozen=True)
class _Price:
    """An hourly price, and what it came from."""

    rate: RateUsed | None
    """None: there is no rate, and the hours are worth nothing."""
    multiplier: Decimal = ONE
    fx: ExchangeRate | None = None

    def worth(self, minutes: int) -> Decimal:
        """Minutes times the hourly price, not divided by 60 yet."""
        hourly = Decimal(0) if self.rate is None else self.rate.rate
        return product(minutes, hourly, self.multiplier)


class _Rating:
    """Rates the entries of one claim."""

    def __init__(
        self,
        entries: Sequence[Entry],
        master: MasterData,
        policies: Policies,
        period: str,
        before: Before,
    ) -> None:
        self._contracts = Contracts(master.engagements)
        self._people = People(master.workers)
        self._exchange = Exchange(master.exchange_rates)
        self._costing = Costing(policies, self._exchange)
        self._period = period
        self._accepted = frozenset(before.accepted)
        self._duplicates = duplicates(entries, before.known_expenses)
        self._corrections = Corrections(entries, before.corrected)

    def rated(self, entry: Entry) -> Rated:
        """Return one entry rated, or held."""
        late = entry.service_date.strftime("%Y-%m") < self._period
        blank = Rated(
            ref=entry.ref,
            version=entry.version,
            minutes=entry.minutes or 0,
            flags=(LATE,) if late else (),
            adjusts=EntryRef(kind=EntryKind.TIME, id=entry.adjusts) if entry.adjusts else None,
        )
        try:
            check_quantity(entry)
            line = self._contracts.line(self._corrections.basis(entry))
        except Held as held:
            return blank.model_copy(update={"hold": held.reason, "hold_detail": held.detail})
        named = {
            "line": line.ref,
            "billing_method": line.billing_method,
            "legal_entity": line.legal_entity,
        }
        try:
            if entry.kind is EntryKind.EXPENSE:
                figures = self._expense(entry, line)
            elif entry.minutes is not None:
                figures = self._time(entry, line)
            else:
                figures = self._money(entry, line)
        except Held as held:
            figures = {"hold": held.reason, "hold_detail": held.detail}
            if isinstance(held, _Mismatch):
                figures["psa_amount"] = held.psa_amount
        if figures.get("intercompany") is not None:
            figures["flags"] = (*blank.flags, INTERCOMPANY)
        return blank.model_copy(update={**named, **figures})

    def _time(self, entry: Entry, line: ContractLine) -> dict[str, object]:
        basis = self._corrections.basis(entry)
        worker = self._people.of(basis)
        billed = self._corrections.billed_minutes(entry, line)
        base = _base(basis, line)
        free = base in {Disposition.COVERED_BY_FIXED_FEE, Disposition.NON_BILLABLE}
        price = self._price(basis, line, worker, free=free)
        amount = sixtieths(price.worth(billed), line.currency)
        cost = self._costing.of_time(basis, worker)
        psa_amount = self._psa_amount(basis, line, billed, free=free)
        if line.rating is RatingMode.COMPARE and not free:
            self._compare(basis, line, price, amount, psa_amount, billed)
        return {
            "billed_minutes": billed,
            "rate": price.rate,
            "multiplier": price.multiplier,
            "fx": price.fx,
            "amount": amount,
            "base": base,
            "cost": cost,
            "intercompany": self._costing.price_of_time(
                basis, cost, line.legal_entity, price.worth(billed), line.currency
            ),
            "psa_amount": psa_amount,
        }

    def _expense(self, entry: Entry, line: ContractLine) -> dict[str, object]:
        worker = self._people.of(entry)
        earlier = self._duplicates.get(entry.ref)
        if earlier is not None and not self._is_accepted(entry, HoldReason.DUPLICATE_EXPENSE):
            text = f"it looks like {earlier}, recorded before: the project manager decides"
            raise Held(HoldReason.DUPLICATE_EXPENSE, text)
        rated = rate_expense(entry, line, self._exchange)
        cost = self._costing.of_expense(entry, net_cost(entry), worker)
        base = Disposition.NON_BILLABLE
        if rated.billable:
            retained = line.type is ContractLineType.RETAINER
            base = Disposition.DRAWN_FROM_RETAINER if retained else Disposition.TO_BILL
        return {
            "amount": rated.amount,
            "above_ceiling": rated.above_ceiling,
            "fx": rated.fx,
            "base": base,
            "cost": cost,
            "intercompany": self._costing.price_of_expense(cost, line.legal_entity),
        }

    def _money(self, entry: Entry, line: ContractLine) -> dict[str, object]:
        """An adjustment in money: net, no hours, no cost."""
        given = net_cost(entry)
        basis = self._corrections.basis(entry)
        fx = self._exchange.rate(given.currency, line.currency, basis.service_date)
        return {
            "amount": Money.rounded(product(given.amount, factor(fx)), line.currency),
            "fx": fx,
            "base": _base(basis, line),
        }

    def _price(self, entry: Entry, line: ContractLine, worker: Worker, *, free: bool) -> _Price:
        """Return the hourly price by the line's mode.

        Raises:
            Held: there is none, and somebody is to pay for the hour.
        """
        if line.rating is RatingMode.PSA:
            price = self._psa_price(entry, line)
            missing = f"the PSA gives entry {entry.id} no bill rate: its admin sets it there"
        else:
            price = _contract_price(entry, line, worker)
            who = f"{entry.role or worker.role or 'no role'}, {worker.employee_class or 'no class'}"
            missing = (
                f"contract line {line.ref} has no rate for {worker.name} ({who}) on "
                f"{entry.service_date}: the engagement's owner adds it"
            )
        if price is not None:
            return price
        if not free:
            raise Held(HoldReason.NO_RATE, missing)
        return _Price(None)

    def _psa_price(self, entry: Entry, line: ContractLine) -> _Price | None:
        """The PSA's own rate, converted; the contract's multipliers are none of the PSA's."""
        if entry.psa_rate is None or not entry.psa_rate.is_finite() or entry.psa_rate < 0:
            return None
        fx = self._exchange.rate(entry.currency, line.currency, entry.service_date)
        hourly = product(entry.psa_rate, factor(fx))
        return _Price(RateUsed(rate=hourly, currency=line.currency, source="psa"), fx=fx)

    def _psa_amount(
        self, entry: Entry, line: ContractLine, billed: int, *, free: bool
    ) -> Money | None:
        """What the PSA's rate makes of the same minutes; None where it cannot be told."""
        try:
            price = self._psa_price(entry, line)
        except Held:
            if free or line.rating is RatingMode.CONTRACT:
                return None
            raise
        return None if price is None else sixtieths(price.worth(billed), line.currency)

    def _compare(
        self,
        entry: Entry,
        line: ContractLine,
        price: _Price,
        amount: Money,
        psa_amount: Money | None,
        billed: int,
    ) -> None:
        """Hold an entry that contract and PSA see differently, unless somebody accepted that."""
        apart = None if psa_amount is None else abs(amount.amount - psa_amount.amount)
        if self._is_accepted(entry, HoldReason.RATE_MISMATCH):
            return
        if apart is not None and apart <= line.tolerance:
            return
        hourly = price.rate.rate if price.rate is not None else 0
        source = price.rate.source if price.rate is not None else "no rate"
        times = "" if price.multiplier == 1 else f" x {price.multiplier}"
        ours = f"{billed} min x {hourly}{times} / 60 = {amount} ({source})"
        if psa_amount is None:
            theirs = "no rate at all"
        else:
            theirs = f"{billed} min x {entry.psa_rate} {entry.currency} / 60 = {psa_amount}"
        text = f"contract: {ours}; PSA: {theirs}; tolerated are {line.tolerance} {line.currency}"
        raise _Mismatch(f"{text}: the project manager corrects one of them", psa_amount)

    def _is_accepted(self, entry: Entry, reason: HoldReason) -> bool:
        return (entry.ref, reason) in self._accepted


class _Mismatch(Held):
    """Contract and PSA disagree."""

    def __init__(self, detail: str, psa_amount: Money | None) -> None:
        super().__init__(HoldReason.RATE_MISMATCH, detail)
        self.psa_amount = psa_amount


def _contract_price(entry: Entry, line: ContractLine, worker: Worker) -> _Price | None:
    role = entry.role or worker.role
    found = bill_rate(
        line, entry.person_email.lower(), role, worker.employee_class, entry.service_date
    )
    if found is None:
        return None
    criteria = {
        "person": found.person,
        "role": found.role,
        "employee_class": found.employee_class,
    }
    named = ",".join(f"{name}={value}" for name, value in criteria.items() if value)
    rate_used = RateUsed(
        rate=found.rate,
        currency=line.currency,
        source=f"contract:{named or 'everybody'}",
        valid_from=found.valid_from,
    )
    multipliers = {"overtime": line.multipliers.overtime, "travel": line.multipliers.travel}
    return _Price(rate_used, multipliers.get(entry.category.strip().casefold(), ONE))


def _base(entry: Entry, line: ContractLine) -> Disposition:
    """Return what time is before caps and retainers are applied."""
    if not entry.billable:
        return Disposition.NON_BILLABLE
    if line.type is ContractLineType.TIME_AND_MATERIALS:
        return Disposition.TO_BILL
    if line.type is ContractLineType.RETAINER:
        return Disposition.DRAWN_FROM_RETAINER
    return Disposition.COVERED_BY_FIXED_FEE
