"""A small firm's November, for tests of rating: entries, a contract, people and exchange rates."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from canonical.deal import ContractLineType
from canonical.engagement import (
    BillRate,
    Cap,
    ContractLine,
    Engagement,
    ExpenseRule,
)
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.money import Money
from canonical.people import Worker
from canonical.rating import Disposition, ExchangeRate, Rated
from canonical.standing import CapStanding, RetainerStanding
from policies.bundle import load_bundle
from policies.rating import Before, MasterData, rate
from policies.schema import Policies

PSA = "kantata"
PROJECT = "501"
PERIOD = "2026-11"
DAY = date(2026, 11, 10)
JANUARY = date(2026, 1, 1)
MAYA, LUCA, AIKO = (f"{who}@example.com" for who in ("maya.chen", "luca.rossi", "aiko.tanaka"))


def money(amount: str | int | Decimal, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def policies(**changes: Any) -> Policies:
    """Return the default bundle's policies, with fields of `billing` replaced."""
    default = load_bundle().policies
    return default.model_copy(update={"billing": default.billing.model_copy(update=changes)})


def worker(email: str, entity: str, cost: str | None, currency: str, **changes: Any) -> Worker:
    values: dict[str, Any] = {
        "id": f"E-{email[:4]}",
        "name": email.split("@")[0],
        "email": email,
        "role": "Consultant",
        "employee_class": "regular",
        "legal_entity": entity,
        "cost_rate": None if cost is None else Decimal(cost),
        "cost_currency": currency if cost is not None else "",
        "valid_from": JANUARY,
    }
    return Worker(**(values | changes))


WORKERS = (
    worker(MAYA, "US", "95.00", "USD", role="Principal", employee_class="senior"),
    worker(LUCA, "DE", "62.50", "EUR"),
    worker(AIKO, "JP", "7800", "JPY"),
)


def fx(pair: str, value: str, since: date = JANUARY) -> ExchangeRate:
    source, target = pair.split(">")
    return ExchangeRate(
        from_currency=source,
        to_currency=target,
        rate=Decimal(value),
        valid_from=since,
        source=f"netsuite:{pair}",
    )


RATES = (
    fx("EUR>USD", "1.085000"),
    fx("USD>EUR", "0.921659"),
    fx("EUR>JPY", "163.157895"),
    fx("JPY>EUR", "0.006129"),
)


def line(**changes: Any) -> ContractLine:
    values: dict[str, Any] = {
        "ref": "L1",
        "type": ContractLineType.TIME_AND_MATERIALS,
        "currency": "USD",
        "legal_entity": "US",
        "task_ids": ("1",),
        "rates": (BillRate(rate=Decimal("200.00"), valid_from=JANUARY),),
        "expense_rules": (ExpenseRule(),),
    }
    return ContractLine(**(values | changes))


def engagement(*lines: ContractLine, **changes: Any) -> Engagement:
    values: dict[str, Any] = {
        "id": "salesforce/006",
        "client_id": "apex",
        "psa": PSA,
        "project_id": PROJECT,
        "effective_from": JANUARY,
        "lines": lines,
    }
    return Engagement(**(values | changes))


def entry(id_: int | str = 1, minutes: int | None = 60, **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "source": PSA,
        "kind": EntryKind.TIME,
        "id": str(id_),
        "project_id": PROJECT,
        "task_id": "1",
        "person_id": "3",
        "person_email": MAYA,
        "service_date": DAY,
        "minutes": minutes,
        "currency": "USD",
        "approved": True,
        "approved_at": datetime(2026, 11, 20, tzinfo=UTC)
        + timedelta(seconds=int(id_) if str(id_).isdigit() else 0),
    }
    return Entry(**(values | changes))


def expense(id_: int | str, amount: str, currency: str = "USD", **changes: Any) -> Entry:
    given: dict[str, Any] = {"kind": EntryKind.EXPENSE, "currency": currency, "category": "Travel"}
    return entry(id_, None, amount=money(amount, currency), **(given | changes))


def adjustment(id_: int | str, of: str, minutes: int | None = None, **changes: Any) -> Entry:
    return entry(id_, minutes, **({"kind": EntryKind.ADJUSTMENT, "adjusts": of} | changes))


def rated(
    *entries: Entry,
    contract: Sequence[Engagement] | ContractLine | None = None,
    workers: Sequence[Worker] = WORKERS,
    rates: Sequence[ExchangeRate] = RATES,
    before: Before | None = None,
    firm: Policies | None = None,
) -> tuple[Rated, ...]:
    """Rate entries of November."""
    if contract is None:
        contract = line()
    versions = (engagement(contract),) if isinstance(contract, ContractLine) else contract
    master = MasterData(versions, workers, rates)
    return rate(entries, master, firm or policies(), PERIOD, before)


def claim(number: int, amount: str | Decimal | None, **changes: Any) -> Rated:
    """Return an entry as rating leaves it, for allocation."""
    values: dict[str, Any] = {
        "ref": EntryRef(kind=EntryKind.TIME, id=str(number)),
        "version": f"v{number}",
        "line": "L1",
        "legal_entity": "US",
        "billed_minutes": 60,
        "amount": None if amount is None else money(amount),
        "base": Disposition.TO_BILL,
    }
    return Rated(**(values | changes))


def cap(
    amount: str | Decimal,
    consumed: str | Decimal = "0",
    *,
    line: str = "L1",
    settled: str | Decimal | None = None,
    currency: str = "USD",
    **changes: Any,
) -> CapStanding:
    terms: dict[str, Any] = {"id": "CAP", "amount": money(amount, currency)}
    done = Decimal(consumed)
    return CapStanding(
        id=1,
        cap=Cap(**(terms | changes)),
        line=line,
        consumed=done,
        settled=done if settled is None else Decimal(settled),
    )


def retainer(
    balance: str | Decimal, settled: str | Decimal = "0", overage: str = "to_bill"
) -> RetainerStanding:
    return RetainerStanding(
        id=1, line="L1", balance=money(balance), settled=Decimal(settled), overage=overage
    )
