"""What an entry costs its employing entity, and what that entity charges the billing one (F10)."""

from decimal import Decimal

from canonical.entries import Entry, HoldReason
from canonical.money import Money
from canonical.people import Worker
from canonical.rating import Cost, ExchangeRate, Intercompany, RateUsed
from policies.arithmetic import marked_up, product, share, sixtieths
from policies.billing_schema import TransferBase, TransferRule
from policies.lookups import Exchange, Held
from policies.schema import Policies

ONE = Decimal(1)


def factor(fx: ExchangeRate | None) -> Decimal:
    """Return what an amount is multiplied with to convert it; one where nothing is converted."""
    return ONE if fx is None else fx.rate


class Costing:
    """Costs and transfer prices by the firm's entities; exact, each rounded once."""

    def __init__(self, policies: Policies, exchange: Exchange) -> None:
        self._policies = policies
        self._exchange = exchange

    def of_time(self, entry: Entry, worker: Worker) -> Cost:
        """Return the cost of the minutes as recorded, at the worker's rate of the service date.

        Raises:
            Held: the HCM keeps no cost rate, or no entity of ours employs the worker.
        """
        currency = self._currency(worker)
        if worker.cost_rate is None or not worker.cost_currency:
            text = f"the HCM keeps no cost rate for {worker.name} on {entry.service_date}"
            raise Held(HoldReason.NO_COST_RATE, f"{text}: HR enters it there")
        fx = self._exchange.rate(worker.cost_currency, currency, entry.service_date)
        return Cost(
            amount=sixtieths(product(entry.minutes or 0, worker.cost_rate, factor(fx)), currency),
            legal_entity=worker.legal_entity,
            rate=RateUsed(
                rate=worker.cost_rate,
                currency=worker.cost_currency,
                source=f"hcm:{worker.id}",
                valid_from=worker.valid_from,
            ),
            fx=fx,
        )

    def of_expense(self, entry: Entry, net: Money, worker: Worker) -> Cost:
        """Return an expense's cost: net of recoverable tax, in the employing entity's currency.

        Raises:
            Held: there is no exchange rate, or no entity of ours employs the worker.
        """
        currency = self._currency(worker)
        fx = self._exchange.rate(net.currency, currency, entry.service_date)
        return Cost(
            amount=Money.rounded(product(net.amount, factor(fx)), currency),
            legal_entity=worker.legal_entity,
            fx=fx,
        )

    def price_of_time(
        self, entry: Entry, cost: Cost, biller: str, worth: Decimal, currency: str
    ) -> Intercompany | None:
        """Return the transfer price of hours; None within one entity.

        Args:
            entry: with the minutes as recorded.
            cost: what they cost the employing entity.
            biller: code of the entity that bills.
            worth: billed minutes times bill rate, not yet divided by 60 and not rounded: a price
                is rounded once, at its own end.
            currency: of the bill rate.

        Raises:
            Held: that currency cannot be converted into the employing entity's.
        """
        rule = self._rule(cost.legal_entity, biller)
        if rule is None:
            return None
        own = cost.amount.currency
        if rule.of is TransferBase.BILL_RATE:
            fx = self._exchange.rate(currency, own, entry.service_date)
            base = product(worth, factor(fx))
        else:
            hourly = cost.rate.rate if cost.rate is not None else Decimal(0)
            base = product(entry.minutes or 0, hourly, factor(cost.fx))
        amount = sixtieths(product(base, share(rule.percent), marked_up(rule.markup_percent)), own)
        return Intercompany(from_entity=cost.legal_entity, to_entity=biller, amount=amount)

    def price_of_expense(self, cost: Cost, biller: str) -> Intercompany | None:
        """Return what an expense is passed on for: its cost, without markup."""
        if self._rule(cost.legal_entity, biller) is None:
            return None
        return Intercompany(from_entity=cost.legal_entity, to_entity=biller, amount=cost.amount)

    def _rule(self, employer: str, biller: str) -> TransferRule | None:
        if employer == biller:
            return None
        return self._policies.billing.intercompany.rule(employer, biller)

    def _currency(self, worker: Worker) -> str:
        entity = self._policies.legal_entities.get(worker.legal_entity)
        if entity is None:
            known = ", ".join(sorted(self._policies.legal_entities))
            text = (
                f"{worker.name} is employed by {worker.legal_entity or 'no company'} in the HCM, "
                f"which is none of {known}: HR corrects it there"
            )
            raise Held(HoldReason.UNKNOWN_PERSON, text)
        return entity.currency
