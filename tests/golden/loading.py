"""Reads the golden month's files as canonical models; knows nothing of how they are rated."""

import csv
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from canonical.engagement import Engagement
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.money import Money
from canonical.people import Worker
from canonical.rating import ExchangeRate
from canonical.standing import KnownExpense

HERE = Path(__file__).parent
PSA = "kantata"


def rows() -> list[dict[str, str]]:
    """Return the hand-worked rows, in claim order."""
    with (HERE / "month.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def entry_of(row: dict[str, str], number: int) -> Entry:
    """Return the entry of a row as the PSA would have it; `number` makes the claim order."""
    currency = row["entry_currency"]
    minutes, incurred = row["minutes"], row["incurred"]
    return Entry(
        source=PSA,
        kind=EntryKind(row["kind"]),
        id=row["entry"],
        project_id=row["project"],
        task_id=row["task"],
        person_id=row["person"].split("@")[0],
        person_email=row["person"],
        role=row["role"],
        service_date=datetime.fromisoformat(row["service_date"]).date(),
        minutes=int(minutes) if minutes else None,
        amount=Money(amount=Decimal(incurred), currency=currency) if incurred else None,
        tax=Money(amount=Decimal(row["tax"]), currency=currency) if row["tax"] else None,
        category=row["category"],
        billable=row["billable"] == "yes",
        psa_rate=Decimal(row["psa_rate"]) if row["psa_rate"] else None,
        currency=currency,
        receipt=row["receipt"],
        approved=True,
        approved_by="pm@example.com",
        approved_at=datetime(2026, 11, 30, 9, tzinfo=UTC) + timedelta(seconds=number),
        adjusts=row["adjusts"],
    )


@cache
def engagements() -> list[Engagement]:
    """Return every version of every contract."""
    return TypeAdapter(list[Engagement]).validate_python(read("engagements.yaml"))


@cache
def workers() -> list[Worker]:
    """Return every version of every person."""
    return TypeAdapter(list[Worker]).validate_python(read("people.yaml"))


@cache
def exchange_rates() -> list[ExchangeRate]:
    """Return the exchange rates."""
    return TypeAdapter(list[ExchangeRate]).validate_python(read("exchange_rates.yaml"))


def known_expenses(project: str) -> list[KnownExpense]:
    """Return the expenses of a project that earlier runs have seen."""
    return [
        KnownExpense(
            ref=EntryRef(kind=EntryKind.EXPENSE, id=each["id"]),
            person_id=each["person"].split("@")[0],
            service_date=each["service_date"],
            amount=Money(amount=Decimal(each["amount"]), currency=each["currency"]),
            receipt=each["receipt"],
        )
        for each in read("policy.yaml")["known_expenses"]
        if each["project_id"] == project
    ]


@cache
def read(name: str) -> Any:
    """Return a YAML file's content."""
    return YAML(typ="safe").load((HERE / name).read_text(encoding="utf-8"))
