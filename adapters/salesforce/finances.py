"""A deal's money as fields of the opportunity, and who asks that a client is not billed; pure.

Sources: vendor page section 5 (types on the wire). The queries are in `mapping`. That a case has
`Type`, `Reason`, `Subject`, `CaseNumber` and `IsClosed` is standard (unverified).
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from adapters.errors import ContractBroken, Invalid
from adapters.salesforce.config import BillingHolds, FinanceFields
from adapters.salesforce.mapping import TEXT_MAX, Row, amount_in
from canonical.invoicing import BillingHold, DealFinances
from canonical.money import Money

AMOUNTS: Final = ("invoiced", "outstanding", "overdue", "unbilled")
"""Currency fields; Salesforce keeps them in the currency of the row."""
CURRENCY: Final = "CurrencyIsoCode"
PERCENT_UNIT: Final = Decimal("0.01")


def columns(fields: FinanceFields) -> str:
    """Return the fields to read, as a comma list."""
    return ",".join((CURRENCY, *fields.model_dump().values()))


def finances_from(row: Row, fields: FinanceFields) -> DealFinances | None:
    """Return what was shown last, or None where nothing was; a cleared amount is zero.

    Raises:
        ContractBroken: a value is not what the field's type promises.
    """
    as_of = row.get(fields.as_of)
    if as_of is None:
        return None
    try:
        return DealFinances(
            **{name: _money(row, getattr(fields, name)) for name in AMOUNTS},
            margin_percent=amount_in(row, fields.margin_percent),
            status=str(row.get(fields.status) or ""),
            as_of=date.fromisoformat(str(as_of)),
        )
    except ValueError as error:
        raise ContractBroken(f"The deal's money is not readable: {error}") from error


def finances_to(finances: DealFinances, fields: FinanceFields) -> dict[str, object]:
    """Return the PATCH body: every field, so that the same again changes nothing.

    Raises:
        Invalid: the amounts are of several currencies, or the status is too long.
    """
    amounts: dict[str, Money] = {name: getattr(finances, name) for name in AMOUNTS}
    if len({money.currency for money in amounts.values()}) > 1:
        raise Invalid("A deal's money is of one currency, that of the deal.", field="finances")
    if len(finances.status) > TEXT_MAX:
        raise Invalid(
            f"{fields.status} takes {TEXT_MAX} characters, the value has {len(finances.status)}.",
            field=fields.status,
        )
    margin = finances.margin_percent
    return {
        **{getattr(fields, name): money.amount for name, money in amounts.items()},
        fields.margin_percent: (
            None if margin is None else margin.quantize(PERCENT_UNIT, ROUND_HALF_UP)
        ),
        fields.status: finances.status or None,
        fields.as_of: finances.as_of.isoformat(),
    }


def case_hold(row: Row, client_id: str) -> BillingHold:
    """Return an open case as a hold."""
    named = [str(row[name]) for name in ("Type", "Reason", "Subject") if row.get(name)]
    return BillingHold(
        client_id=client_id,
        source=f"Case/{row.get('Id')}",
        reason=f"Case {row.get('CaseNumber') or row.get('Id')}: {', '.join(named)}",
        since=_moment(row.get("CreatedDate")),
    )


def account_holds(
    rows: Iterable[Row], client_id: str, holds: BillingHolds
) -> tuple[BillingHold, ...]:
    """Return a hold where the checkbox is set; since when, Salesforce does not tell.

    Raises:
        ContractBroken: the field is no checkbox.
    """
    found = []
    for row in rows:
        value = row.get(holds.account_field)
        if not isinstance(value, bool):
            raise ContractBroken(f"Account.{holds.account_field} is no checkbox.")
        if value:
            reason = f"{holds.account_field} is set on the account"
            source = f"Account/{client_id}"
            found.append(BillingHold(client_id=client_id, source=source, reason=reason))
    return tuple(found)


def _money(row: Mapping[str, object], name: str) -> Money:
    return Money(amount=amount_in(row, name) or Decimal(0), currency=str(row.get(CURRENCY)))


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ContractBroken(f"CreatedDate is no time: {str(value)[:40]!r}.") from error
