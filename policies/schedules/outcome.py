"""Outcome fees: shares of an accepted gain over a baseline, between floor and cap.

The formula is a table of tiers and nothing that is executed. A measurement that is corrected is
billed as the difference to what its earlier value made.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal, localcontext

from canonical.money import Money
from canonical.schedule_facts import LineKind, MeasuredValue, ScheduleFact
from canonical.schedules import OutcomeTerms
from policies.arithmetic import DIGITS, product, share
from policies.schedules.amounts import ZERO, Lines, Service, Writer, plain


def outcome(
    terms: OutcomeTerms, facts: Sequence[ScheduleFact], writer: Writer, until: date
) -> Lines:
    """Yield the lines of measurements accepted, and known to be, before `until`."""
    measured = [
        (max(fact.recorded_on, fact.acceptance.on), fact)
        for fact in facts
        if isinstance(fact, MeasuredValue) and fact.acceptance is not None
    ]
    billed: dict[str, Decimal] = {}
    for day, fact in sorted(measured, key=lambda each: (each[0], each[1].recorded_on, each[1].id)):
        if day >= until:
            return
        others = sum((each for name, each in billed.items() if name != fact.name), start=ZERO)
        earned, basis = _earned(terms, fact, others, writer)
        before = billed.get(fact.name)
        billed[fact.name] = earned
        if before is not None:
            basis.append(("billed before", writer.words(before)))
        net = earned - (before or ZERO)
        if net:
            yield writer.write(
                f"outcome/{fact.name}/{fact.id}",
                LineKind.OUTCOME,
                net,
                day,
                _service(terms, fact),
                f"Outcome fee {fact.name}",
                basis,
                priced=_priced(terms, fact) if before is None else None,
            )


def _earned(
    terms: OutcomeTerms, fact: MeasuredValue, others: Decimal, writer: Writer
) -> tuple[Decimal, list[tuple[str, str]]]:
    """Return what a measurement earns in all, rounded once, and why."""
    gain = _gain(terms, fact)
    basis = [
        ("measured", plain(fact.value)),
        ("baseline", plain(terms.baseline)),
        (f"gain ({terms.gain_is} the baseline)", plain(gain)),
    ]
    tiers = tuple(_tiers(terms, gain, writer))
    basis += [(label, formula) for label, formula, _ in tiers]
    with localcontext(prec=DIGITS):
        exact = sum((worth for _, _, worth in tiers), start=ZERO)
    earned = Money.rounded(exact, terms.currency).amount
    basis.append(("earned", writer.words(earned)))
    if terms.floor is not None and earned < terms.floor:
        earned = terms.floor
        basis.append(("floor", writer.words(earned)))
    if terms.cap is not None and earned > terms.cap:
        earned = terms.cap
        basis.append(("cap", writer.words(earned)))
    if terms.total_cap is not None and others + earned > terms.total_cap:
        earned = max(terms.total_cap - others, ZERO)
        basis.append(("cap of all measurements", writer.words(terms.total_cap)))
        basis.append(("of which others have", writer.words(others)))
    if fact.acceptance is not None:
        accepted = fact.acceptance
        basis.append(("accepted", f"{accepted.on} by {accepted.by}, {accepted.document}"))
    return earned, basis


def _gain(terms: OutcomeTerms, fact: MeasuredValue) -> Decimal:
    """Return the gain over the baseline; negative: a loss."""
    gain = fact.value - terms.baseline
    return gain if terms.gain_is == "above" else -gain


def _tiers(
    terms: OutcomeTerms, gain: Decimal, writer: Writer
) -> Iterator[tuple[str, str, Decimal]]:
    """Yield what each tier adds: label, formula, exact worth."""
    for number, tier in enumerate(terms.tiers):
        following = (each.above for each in terms.tiers[number + 1 :] if each.fixed is None)
        if tier.fixed is not None:
            if gain >= tier.above:
                yield f"gain of {plain(tier.above)} reached", writer.words(tier.fixed), tier.fixed
            continue
        within = min(gain, next(following, gain)) - tier.above
        if within <= 0:
            continue
        label = f"gain above {plain(tier.above)}"
        if tier.percent is not None:
            formula = f"{plain(within)} x {plain(tier.percent)} %"
            yield label, formula, product(within, share(tier.percent))
        else:
            price = tier.per_unit or ZERO
            formula = f"{plain(within)} x {plain(price)} {terms.currency}"
            yield label, formula, product(within, price)


def _priced(terms: OutcomeTerms, fact: MeasuredValue) -> tuple[Decimal, Decimal] | None:
    """Return units and price where the first tier alone says it all; the writer checks."""
    price = terms.tiers[0].per_unit
    if len(terms.tiers) > 1 or price is None:
        return None
    return _gain(terms, fact) - terms.tiers[0].above, price


def _service(terms: OutcomeTerms, fact: MeasuredValue) -> Service:
    accepted = fact.acceptance.on if fact.acceptance is not None else fact.recorded_on
    end = fact.service_end or accepted
    return Service(min(fact.service_start or terms.start, end), end)
