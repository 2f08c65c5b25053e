"""What an expense is to the client, and whether it was recorded twice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from canonical.engagement import ContractLine, ExpenseRule, ExpenseTreatment
from canonical.entries import Entry, EntryKind, EntryRef, HoldReason
from canonical.money import Money
from canonical.rating import ExchangeRate
from canonical.standing import KnownExpense
from policies.arithmetic import marked_up, product
from policies.costing import ONE, factor
from policies.lookups import Exchange, Held


@dataclass(frozen=True)
class RatedExpense:
    """An expense in the contract's currency."""

    amount: Money
    billable: bool
    above_ceiling: Money | None = None
    fx: ExchangeRate | None = None


def net_cost(entry: Entry) -> Money:
    """Return what an expense cost without the tax that is recovered, as incurred."""
    if entry.amount is None:
        raise ValueError(f"{entry.ref} has no amount")
    if entry.tax is None:
        return entry.amount
    return Money(amount=entry.amount.amount - entry.tax.amount, currency=entry.amount.currency)


def expense_rule(line: ContractLine, category: str) -> ExpenseRule | None:
    """Return the rule of a category, else that of any other category; None where neither is."""
    wanted = category.strip().casefold()
    rules = {rule.category.strip().casefold(): rule for rule in line.expense_rules}
    return rules.get(wanted) or rules.get("")


def rate_expense(entry: Entry, line: ContractLine, exchange: Exchange) -> RatedExpense:
    """Return what an expense comes to for the client, rounded once.

    Recharged: net of recoverable tax, at the rate of the service date, plus markup. Disbursed: the
    gross amount. Per diem: the contract's amount. What nobody bills is worth its net cost.

    Raises:
        Held: the contract says nothing of the category, or the currency cannot be converted.
    """
    rule = expense_rule(line, entry.category)
    if rule is None and entry.billable:
        text = (
            f"contract line {line.ref} has no rule for expenses of {entry.category or 'any kind'}"
        )
        raise Held(HoldReason.NO_RATE, f"{text}: the engagement's owner adds one")
    billable = entry.billable and rule is not None
    if rule is None or rule.treatment is ExpenseTreatment.NOT_BILLABLE or not billable:
        amount, fx = _converted(entry, net_cost(entry), ONE, line, exchange)
        return RatedExpense(amount, billable=False, fx=fx)
    if rule.per_diem is not None:
        sign = -1 if net_cost(entry).amount < 0 else 1
        amount, fx = Money.rounded(product(sign, rule.per_diem), line.currency), None
    elif rule.treatment is ExpenseTreatment.DISBURSEMENT:
        gross = entry.amount or net_cost(entry)
        amount, fx = _converted(entry, gross, ONE, line, exchange)
    else:
        markup = marked_up(rule.markup_percent)
        amount, fx = _converted(entry, net_cost(entry), markup, line, exchange)
    return RatedExpense(amount, billable=True, above_ceiling=_above(amount, rule), fx=fx)


def _converted(
    entry: Entry, amount: Money, markup: Decimal, line: ContractLine, exchange: Exchange
) -> tuple[Money, ExchangeRate | None]:
    fx = exchange.rate(amount.currency, line.currency, entry.service_date)
    return Money.rounded(product(amount.amount, factor(fx), markup), line.currency), fx


def _above(amount: Money, rule: ExpenseRule) -> Money | None:
    """Return the share above the ceiling; of a correction it has the correction's sign."""
    if rule.ceiling is None or abs(amount.amount) <= rule.ceiling:
        return None
    ceiling = Money.rounded(rule.ceiling, amount.currency).amount
    above = abs(amount.amount) - ceiling
    return Money(amount=above.copy_sign(amount.amount), currency=amount.currency)


def duplicates(
    entries: Iterable[Entry], known: Sequence[KnownExpense] = ()
) -> dict[EntryRef, EntryRef]:
    """Return the expenses that were recorded before, each with the earlier record.

    Twice is: the same receipt; or the same person, day, amount and currency, unless both have
    receipts and these differ. Known ones come first, in their order (one of them may be rated
    now: then only those before it count), then the others in the order of their approval.
    """
    here = {each.ref: _as_known(each) for each in entries if _can_repeat(each)}
    # Of one that is rated now, what it says now counts.
    ordered = [here.get(each.ref, each) for each in known]
    there = {each.ref for each in known}
    ordered += [each for ref, each in _by_approval(entries, here) if ref not in there]
    receipts: dict[str, EntryRef] = {}
    same: dict[tuple[str, date, Money], list[KnownExpense]] = {}
    found: dict[EntryRef, EntryRef] = {}
    for each in ordered:
        alike = same.setdefault((each.person_id, each.service_date, each.amount), [])
        earlier = receipts.get(each.receipt) if each.receipt else None
        earlier = earlier or next((o.ref for o in alike if _may_be_one(o, each)), None)
        if earlier is not None and each.ref in here:
            found[each.ref] = earlier
        if each.receipt:
            receipts.setdefault(each.receipt, each.ref)
        alike.append(each)
    return found


def _may_be_one(one: KnownExpense, other: KnownExpense) -> bool:
    return not one.receipt or not other.receipt or one.receipt == other.receipt


def _can_repeat(entry: Entry) -> bool:
    """Corrections take an expense back: they repeat nothing."""
    return entry.kind is EntryKind.EXPENSE and entry.amount is not None and not entry.adjusts


def _as_known(entry: Entry) -> KnownExpense:
    if entry.amount is None:
        raise ValueError(f"{entry.ref} has no amount")
    return KnownExpense(
        ref=entry.ref,
        person_id=entry.person_id or entry.person_email.lower(),
        service_date=entry.service_date,
        amount=entry.amount,
        receipt=entry.receipt,
    )


def _by_approval(
    entries: Iterable[Entry], wanted: dict[EntryRef, KnownExpense]
) -> list[tuple[EntryRef, KnownExpense]]:
    listed = sorted((each for each in entries if each.ref in wanted), key=claim_order)
    return [(each.ref, wanted[each.ref]) for each in listed]


def claim_order(entry: Entry) -> tuple[bool, str, int, str]:
    """Return the order of approval, then of ids: the same however entries are handed in."""
    at = entry.approved_at
    # In one zone ISO texts sort like the moments; without an approval time an entry comes last.
    stamp = "" if at is None else f"{at.timestamp():020.6f}"
    return (at is None, stamp, len(entry.id), entry.id)
