"""Currencies, rounding and tax: amounts are integers in minor units of the currency."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.stripe.errors import invalid
from simulators.stripe.state import Fields

_CODES = (
    "aed ars aud bgn bhd bif brl cad chf clp cop czk djf dkk eur gbp gnf hkd huf idr ils inr isk"
    " jod jpy kes kmf krw kwd mad mga mxn myr nok nzd omr pen php pln pyg qar ron rwf sar sek sgd"
    " thb tnd try twd uah ugx usd uyu vnd vuv xaf xof xpf zar"
)
CURRENCIES = frozenset(_CODES.split())
THREE_DECIMALS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
"""Cards take them only with a last digit of 0 [doc: currencies]; zero-decimal ones need no rule."""

_NOT_TAXED = {"exempt": "customer_exempt", "reverse": "reverse_charge"}


@dataclass(frozen=True, slots=True)
class Tax:
    """Tax on one line by one rate."""

    rate: str
    amount: int
    taxable: int
    inclusive: bool
    reason: str

    def view(self) -> Fields:
        """Return it as `taxes` and `total_taxes` show it."""
        return {
            "amount": self.amount,
            "tax_behavior": "inclusive" if self.inclusive else "exclusive",
            "tax_rate_details": {"tax_rate": self.rate},
            "taxability_reason": self.reason,
            "taxable_amount": self.taxable,
            "type": "tax_rate_details",
        }


def currency_of(given: str) -> str:
    """Return a currency in lower case.

    Raises:
        Refusal: there is no such currency.
    """
    code = given.lower()
    if code not in CURRENCIES:
        raise invalid(f"Invalid currency: {code}.", "currency")
    return code


def rounded(value: Decimal) -> int:
    """Round to whole minor units, half away from zero."""
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def taxes_on(amount: int, rates: Sequence[Record], tax_exempt: str) -> list[Tax]:
    """Return the tax on a line by each rate, rounded line by line.

    An amount with inclusive rates is first freed of all of them.
    """
    reason = _NOT_TAXED.get(tax_exempt, "not_available")
    shares = [(rate, Decimal(str(rate.fields["percentage"])) / 100) for rate in rates]
    if tax_exempt in _NOT_TAXED:
        shares = [(rate, Decimal(0)) for rate, _ in shares]
    inside = sum((share for rate, share in shares if rate.fields["inclusive"]), Decimal(0))
    net = Decimal(amount) / (1 + inside)
    return [
        Tax(rate.id, rounded(net * share), rounded(net), bool(rate.fields["inclusive"]), reason)
        for rate, share in shares
    ]


def rates_of(account: Account, ids: Sequence[str], param: str = "tax_rates") -> list[Record]:
    """Return tax rates by id.

    Raises:
        Refusal: there is no such rate.
    """
    found = []
    for id_ in ids:
        record = account.store.get("tax_rate", id_)
        if record is None:
            raise invalid(f"No such tax rate: '{id_}'", param, "resource_missing")
        found.append(record)
    return found


def summed(taxes: Sequence[Tax]) -> list[JsonValue]:
    """Return the totals by rate, in the order in which the rates first come."""
    totals: dict[str, Tax] = {}
    for tax in taxes:
        before = totals.get(tax.rate)
        amount = tax.amount + (before.amount if before else 0)
        taxable = tax.taxable + (before.taxable if before else 0)
        totals[tax.rate] = Tax(tax.rate, amount, taxable, tax.inclusive, tax.reason)
    return [tax.view() for tax in totals.values()]
