"""Charges, periods and rates to NetSuite JSON and SuiteQL, and rows back; pure.

Sources: vendor page sections 4.3 (SuiteQL), 5.6 (charge), 5.12 (periods and rates). The page names
no columns of `charge` and `currencyrate`: those asked for are unverified, and the connection check
asks these very queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from adapters.errors import ContractBroken, MissingMapping
from adapters.netsuite.config import DATE_FORMATS, NetSuiteConfig
from adapters.netsuite.mapping import Row, currency_id, literal
from adapters.netsuite.records import checked_external_id, checked_id
from canonical.billing import AccountingPeriod, Charge, ChargeBatch, ChargeStage
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.rating import ExchangeRate

STAGES: Final[Mapping[str, ChargeStage]] = {
    "HOLD_FOR_BILLING": ChargeStage.HOLD,
    "READY_FOR_BILLING": ChargeStage.READY,
    "NON_BILLABLE": ChargeStage.NON_BILLABLE,
}
STAGE_NAMES: Final[Mapping[ChargeStage, str]] = {stage: name for name, stage in STAGES.items()}
MEMO_MAX: Final = 999
"""Of a memo or description (unverified)."""
LOCKS: Final = ("closed", "arlocked", "aplocked", "alllocked")


# Periods and rates.


def period_query(since: date, until: date | None) -> str:
    """Return the SuiteQL for the posting periods that end on or after `since`, in their order.

    Those that begin after `until` are left out. Quarters, years and adjustment periods are too.
    """
    begins = f"AND startdate <= {day_literal(until)} " if until is not None else ""
    return (
        f"SELECT id, periodname, startdate, enddate, {', '.join(LOCKS)} FROM accountingperiod "  # noqa: S608 - dates only
        f"WHERE isquarter = 'F' AND isyear = 'F' AND isadjust = 'F' {begins}"
        f"AND enddate >= {day_literal(since)} ORDER BY startdate"
    )


def period_from(row: Row, config: NetSuiteConfig) -> AccountingPeriod:
    """Return a posting period; any lock closes it, as one kind of posting or another needs it."""
    if row.get("closed") not in {"T", "F"}:
        raise ContractBroken("NetSuite does not say whether a period is closed.")
    return AccountingPeriod(
        id=text_of(row, "id"),
        name=text_of(row, "periodname"),
        start=day_from(row, "startdate", config),
        end=day_from(row, "enddate", config),
        open=all(row.get(lock) != "T" for lock in LOCKS),
    )


def rate_query(currencies: Iterable[str], since: date, until: date) -> str:
    """Return the SuiteQL for the rates between currencies (internal ids), effective in a range."""
    ids = ", ".join(checked_id(id_) for id_ in currencies)
    return (
        "SELECT id, transactioncurrency, basecurrency, exchangerate, effectivedate "  # noqa: S608 - checked ids
        f"FROM currencyrate WHERE transactioncurrency IN ({ids}) AND basecurrency IN ({ids}) "
        f"AND effectivedate >= {day_literal(since)} "
        f"AND effectivedate <= {day_literal(until)} ORDER BY id"
    )


def rates_in_force(
    rows: Sequence[Row], since: date, connection: str, config: NetSuiteConfig
) -> tuple[ExchangeRate, ...]:
    """Return the rates that begin after `since`, and of each pair the last one before."""
    kept: list[ExchangeRate] = []
    before: dict[tuple[str, str], ExchangeRate] = {}
    for row in rows:
        rate = _rate_from(row, connection, config)
        if rate is None:
            continue
        pair = (rate.from_currency, rate.to_currency)
        if rate.valid_from > since:
            kept.append(rate)
        elif pair not in before or rate.valid_from >= before[pair].valid_from:
            before[pair] = rate
    found = [*before.values(), *kept]
    found.sort(key=lambda each: (each.from_currency, each.to_currency, each.valid_from))
    return tuple(found)


def _rate_from(row: Row, connection: str, config: NetSuiteConfig) -> ExchangeRate | None:
    source, target = text_of(row, "transactioncurrency"), text_of(row, "basecurrency")
    if source == target:
        return None
    return ExchangeRate(
        from_currency=currency_code(source, config),
        to_currency=currency_code(target, config),
        rate=number_of(row, "exchangerate"),
        valid_from=day_from(row, "effectivedate", config),
        source=f"{connection}:currencyRate/{text_of(row, 'id')}",
    )


# Charges.


def charge_query(external_ids: Sequence[str]) -> str:
    """Return the SuiteQL for charges by our external ids."""
    return (
        "SELECT id, externalid, amount, currency, stage, invoice FROM charge "  # noqa: S608 - quoted literals
        f"WHERE externalid IN ({listed(external_ids)}) ORDER BY id"
    )


def charge_body(
    external_id: ExternalId, charge: Charge, batch: ChargeBatch, config: NetSuiteConfig
) -> dict[str, object]:
    """Return the charge to post on hold, with quantity, rate and the amount that they give.

    Raises:
        MissingMapping: its kind or its currency has no internal id in the configuration.
    """
    return {
        "externalId": checked_external_id(external_id),
        "billTo": {"id": checked_id(batch.project.id)},
        "billingItem": {"id": mapped_id(config.charge_items, charge.kind, "charge_items")},
        "chargeType": {"id": mapped_id(config.charge_types, charge.kind, "charge_types")},
        "quantity": charge.quantity,
        "rate": charge.rate,
        "amount": charge.amount.amount,
        "currency": {"id": currency_id(charge.amount.currency, config)},
        "chargeDate": charge.on.isoformat(),
        "stage": {"id": "HOLD_FOR_BILLING"},
        "use": {"id": "Actual"},
        "description": charge.description[:MEMO_MAX],
        **subsidiary_of(batch.subsidiary),
        **segments_of(charge.dimensions),
    }


def stage_from(row: Row) -> ChargeStage:
    """Return a charge's stage.

    Raises:
        ContractBroken: it is none that the page names.
    """
    stage = STAGES.get(text_of(row, "stage"))
    if stage is None:
        raise ContractBroken(f"NetSuite has an unknown stage {text_of(row, 'stage')!r}.")
    return stage


# What all have.


def money_from(row: Row, amount: str, currency: str, config: NetSuiteConfig) -> Money:
    """Return an amount of a row.

    Raises:
        ContractBroken: it is finer than its currency, or missing.
    """
    code = currency_code(text_of(row, currency), config)
    try:
        return Money(amount=number_of(row, amount), currency=code)
    except ValueError as error:
        raise ContractBroken(f"NetSuite sent a strange {amount}: {error}") from error


def currency_code(id_: str, config: NetSuiteConfig) -> str:
    """Return the ISO code of an internal id.

    Raises:
        MissingMapping: the configuration names no such currency.
    """
    for code, known in config.currencies.items():
        if known == id_:
            return code
    raise MissingMapping(
        f"NetSuite's currency {id_!r} has no code under settings.currencies.", field="currencies"
    )


def day_from(row: Row, name: str, config: NetSuiteConfig) -> date:
    """Return a date: SuiteQL writes it in the account's format (section 4.3).

    Raises:
        ContractBroken: it is in another format than the configuration says.
    """
    text = text_of(row, name)
    for form in (DATE_FORMATS[config.date_format], "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day of the books
        except ValueError:
            continue
    raise ContractBroken(
        f"NetSuite's date {text[:20]!r} is not in the format {config.date_format}: correct "
        "settings.date_format."
    )


def day_literal(value: date) -> str:
    """Return the SuiteQL for a day."""
    return f"TO_DATE('{value.isoformat()}', 'YYYY-MM-DD')"


def listed(values: Iterable[str]) -> str:
    """Return values as the literals of an IN list."""
    return ", ".join(literal(value) for value in values)


def mapped_id(ids: Mapping[str, str], name: str, setting: str) -> str:
    """Return the internal id of a name.

    Raises:
        MissingMapping: the setting has none.
    """
    if name not in ids:
        raise MissingMapping(f"{name!r} has no id under settings.{setting}.", field=setting)
    return ids[name]


def subsidiary_of(id_: str) -> dict[str, object]:
    """Return the field for a subsidiary, where there is one."""
    return {"subsidiary": {"id": checked_id(id_)}} if id_ else {}


def segments_of(dimensions: Dimensions) -> dict[str, object]:
    """Return the fields for the dimensions that there are (section 5.4)."""
    named = {
        "department": dimensions.department,
        "class": dimensions.business_class,
        "location": dimensions.location,
    }
    return {name: {"id": checked_id(id_)} for name, id_ in named.items() if id_}


def number_of(row: Row, name: str) -> Decimal:
    """Return an exact number of a row.

    Raises:
        ContractBroken: it is none.
    """
    value = row.get(name)
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ContractBroken(f"NetSuite sent no number for {name}.") from error
    if not number.is_finite():
        raise ContractBroken(f"NetSuite sent no number for {name}.")
    return number


def text_of(row: Row, name: str) -> str:
    """Return a value of a row as text; SuiteQL leaves null columns out."""
    value = row.get(name)
    return "" if value is None else str(value)
