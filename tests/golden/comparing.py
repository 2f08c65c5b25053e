"""Puts a hand-worked row and what Dealthread makes of the entry side by side, figure by figure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from canonical.entries import Entry
from canonical.money import Money
from canonical.rating import Part, Rated
from tests.golden.loading import workers

Figures = dict[str, str]

_COMPARED_FLAGS = ("late", "intercompany")


def expected(row: Mapping[str, str]) -> Figures:
    """Return the figures of a row that rates; amounts with their currency."""
    cost_currency = row["cost_currency"]
    figures = {
        "line": row["line"],
        "billing company": row["entity"],
        "billing method": "erp_charges",
        "minutes": row["minutes"] or "0",
        "billed minutes": row["billed_minutes"],
        "rate": _amount(row["rate"], row["currency"]),
        "rate source": row["rate_source"],
        "rate from": row["rate_from"],
        "multiplier": _number(row["multiplier"]),
        "base": row["base"],
        "amount": _amount(row["amount"], row["currency"]),
        "exchange rate": _number(row["fx"]),
        "psa_amount": _amount(row["psa_amount"], row["currency"]),
        "above ceiling": _amount(row["above_ceiling"], row["currency"]),
        "cost": _amount(row["cost"], cost_currency),
        "cost company": row["cost_entity"],
        "cost rate": _amount(row["cost_rate"], cost_currency),
        "cost rate source": _cost_source(row) if row["cost_rate"] else "",
        "cost exchange rate": _number(row["cost_fx"]),
        "intercompany": _between(row["ic_from"], row["ic_to"], row["ic_amount"], cost_currency),
        "hold": row["hold"],
        "flags": row["flags"],
        "warnings": row["warnings"],
    }
    for number in (1, 2, 3):
        figures[f"part {number}"] = _expected_part(row, f"p{number}")
    return figures


def found(rated: Rated, parts: Sequence[Part], warnings: Iterable[str]) -> Figures:
    """Return the same figures as Dealthread has them."""
    rate, cost, between = rated.rate, rated.cost, rated.intercompany
    figures = {
        "line": rated.line,
        "billing company": rated.legal_entity,
        "billing method": rated.billing_method.value if rated.billing_method else "",
        "minutes": str(rated.minutes),
        "billed minutes": str(rated.billed_minutes),
        "rate": _amount(str(rate.rate), rate.currency) if rate else "",
        "rate source": rate.source if rate else "",
        "rate from": rate.valid_from.isoformat() if rate and rate.valid_from else "",
        "multiplier": _number(str(rated.multiplier)),
        "base": rated.base.value,
        "amount": _money(rated.amount),
        "exchange rate": _number(str(rated.fx.rate)) if rated.fx else "",
        "psa_amount": _money(rated.psa_amount),
        "above ceiling": _money(rated.above_ceiling),
        "cost": _money(cost.amount) if cost else "",
        "cost company": cost.legal_entity if cost else "",
        "cost rate": _amount(str(cost.rate.rate), cost.rate.currency) if cost and cost.rate else "",
        "cost rate source": cost.rate.source if cost and cost.rate else "",
        "cost exchange rate": _number(str(cost.fx.rate)) if cost and cost.fx else "",
        "intercompany": ""
        if between is None
        else _between(
            between.from_entity,
            between.to_entity,
            str(between.amount.amount),
            between.amount.currency,
        ),
        "hold": rated.hold.value if rated.hold else "",
        "flags": ";".join(flag for flag in _COMPARED_FLAGS if flag in rated.flags),
        "warnings": ";".join(warnings),
    }
    for number in (1, 2, 3):
        figures[f"part {number}"] = ""
    for part in parts:
        figures[f"part {part.number}"] = _part(part)
    return figures


def differences(row: Mapping[str, str], actual: Figures, entry: Entry) -> list[str]:
    """Return what differs, a line each, under a heading that shows the hand's working."""
    wanted = expected(row)
    compared = wanted.keys() | actual.keys()
    if row["hold"]:
        compared &= {"hold", "amount", "part 1", "part 2", "part 3"}
        compared |= {"psa_amount"} if row["psa_amount"] else set()
        wanted["psa_amount"] = _amount(row["psa_amount"], entry.currency)
    told = [
        f"    {name}: by hand {wanted.get(name, '') or '-'}, Dealthread {actual.get(name) or '-'}"
        for name in sorted(compared)
        if not _same(name, wanted.get(name, ""), actual.get(name, ""))
    ]
    if not told:
        return []
    return [f"{row['entry']} ({row['why'] or row['kind']}; {row['working']})", *told]


def _same(name: str, wanted: str, actual: str) -> bool:
    """Compare two figures; of the caps that a part counts towards any one may be named."""
    if not name.startswith("part ") or "|" not in wanted:
        return wanted == actual
    figures, _, caps = wanted.rpartition(" ")
    return actual in {f"{figures} {cap}" for cap in (*caps.split("|"), caps)}


def _expected_part(row: Mapping[str, str], part: str) -> str:
    if not row[f"{part}_disposition"]:
        return ""
    amount = _amount(row[f"{part}_amount"], row["currency"])
    minutes, cap = row[f"{part}_minutes"], row[f"{part}_cap"]
    return f"{row[f'{part}_disposition']} {amount} {minutes} min {cap or '-'}"


def _part(part: Part) -> str:
    amount = _money(part.amount) or f"0 {part.amount.currency}"
    return f"{part.disposition.value} {amount} {part.minutes} min {part.cap or '-'}"


def _cost_source(row: Mapping[str, str]) -> str:
    return next(f"hcm:{worker.id}" for worker in workers() if worker.email == row["person"])


def _between(of: str, to: str, amount: str, currency: str) -> str:
    return f"{of} to {to} {_amount(amount, currency)}" if of else ""


def _money(money: Money | None) -> str:
    return _amount(str(money.amount), money.currency) if money else ""


def _amount(amount: str, currency: str) -> str:
    return f"{_number(amount)} {currency}" if amount else ""


def _number(number: str) -> str:
    """Return a number without needless zeros, so that 250 and 250.00 are the same."""
    return f"{Decimal(number).normalize():f}" if number else ""
