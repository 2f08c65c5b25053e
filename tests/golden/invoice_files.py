"""Reads what was worked out by hand about invoices; knows nothing of how they are made."""

import csv
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from canonical.client_pos import ClientPo
from canonical.engagement import Engagement
from canonical.entries import Entry
from canonical.invoicing import (
    Application,
    ApplicationKind,
    CreditNote,
    Invoice,
    InvoiceStatus,
    IssuedLine,
)
from canonical.money import Money
from canonical.records import RecordRef
from canonical.schedule_facts import ScheduleFact
from tests.golden.loading import HERE, entry_of, read, rows

FOLDER = HERE / "invoices"
ERP = "netsuite"
Row: TypeAlias = Mapping[str, str]


@cache
def table(name: str) -> tuple[Row, ...]:
    """Return the rows of one file, in order."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


def terms() -> Any:
    """Return what the contracts say about invoicing, and what people do."""
    return read("invoices/terms.yaml")


@cache
def draft_rows() -> dict[str, Row]:
    """Return the drafts by the name that the files give them."""
    return {row["draft"]: row for row in table("drafts")}


def lines_of(draft: str) -> dict[str, Row]:
    """Return the lines of one draft, by name."""
    return {row["line"]: row for row in table("lines") if row["draft"] == draft}


def moment(name: str) -> datetime:
    """Return when something happens."""
    found = TypeAdapter(datetime).validate_python(terms()["moments"][name])
    assert found.tzinfo is not None
    return found


def contracts() -> list[Engagement]:
    """Return every version of every contract, with its terms of invoicing."""
    return [_contract(each) for each in read("engagements.yaml")]


def _contract(contract: Mapping[str, Any]) -> Engagement:
    of_project = {
        "erp_client_id": f"C-{contract['client_id']}",
        "erp_project_id": f"P-{contract['project_id']}",
        **terms()["common"],
    }
    lines = [{**line, **of_project, **terms()["lines"][line["ref"]]} for line in contract["lines"]]
    return Engagement.model_validate({**contract, "lines": lines})


def entries() -> dict[str, list[Entry]]:
    """Return the month's entries by project, in claim order."""
    found: dict[str, list[Entry]] = {}
    for number, row in enumerate(rows()):
        notes = terms()["notes"].get(row["entry"], "")
        entry = entry_of(row, number).model_copy(update={"notes": notes})
        found.setdefault(entry.project_id, []).append(entry)
    return found


def client_pos() -> list[ClientPo]:
    """Return the purchase orders of clients."""
    return TypeAdapter(list[ClientPo]).validate_python(terms()["client_pos"])


def facts() -> list[tuple[str, str, ScheduleFact]]:
    """Return the facts of schedules, with engagement and contract line."""
    adapter: TypeAdapter[ScheduleFact] = TypeAdapter(ScheduleFact)
    own = ("engagement", "line")
    return [
        (
            each["engagement"],
            each["line"],
            adapter.validate_python({k: v for k, v in each.items() if k not in own}),
        )
        for each in terms()["facts"]
    ]


def money(amount: str, currency: str) -> Money:
    """Return an amount of a file."""
    return Money(amount=Decimal(amount), currency=currency)


# What the ERP would say, from the files alone.


def invoice_ref(draft: str) -> RecordRef:
    """Return the ERP's invoice of a draft."""
    return RecordRef(system=ERP, type="invoice", id=draft_rows()[draft]["invoice"])


def invoice(draft: str, on: date, numbers: Mapping[str, int], *, later: bool = False) -> Invoice:
    """Return an invoice as the ERP has it; `numbers` is how lines are numbered on it.

    `later`: with all that was paid and credited until the month is closed.
    """
    row = draft_rows()[draft]
    currency = row["currency"]
    applied = _applied(draft, currency) if later else ()
    remaining = row["remaining"] if later else row["erp_gross"]
    return Invoice(
        record=invoice_ref(draft),
        external_id=f"dt-{draft}",
        status=InvoiceStatus.OPEN if Decimal(remaining) else InvoiceStatus.SETTLED,
        number=f"INV-{row['invoice']}",
        currency=currency,
        net=money(row["erp_net"], currency),
        tax=money(row["erp_tax"], currency),
        gross=money(row["erp_gross"], currency),
        remaining=money(remaining, currency),
        on=on,
        due=date(2027, 1, 3),
        period="Dec 2026",
        applications=applied,
        lines=tuple(
            IssuedLine(
                id=f"{row['invoice']}-{numbers[name]}",
                item=str(numbers[name]),
                amount=money(line["released_net"], currency),
                tax=money(line["erp_tax"], currency),
            )
            for name, line in lines_of(draft).items()
            if line["state"] == "in"
        ),
    )


def credit_note(credit: str) -> CreditNote:
    """Return a credit note as the ERP has it."""
    row = next(each for each in table("credits") if each["credit"] == credit)
    currency = draft_rows()[row["draft"]]["currency"]
    return CreditNote(
        record=RecordRef(system=ERP, type="credit_note", id=row["note"]),
        external_id=f"dt-{credit}",
        invoice=invoice_ref(row["draft"]),
        number=f"CM-{row['note']}",
        net=money(row["note_net"], currency),
        tax=money(row["note_tax"], currency),
        gross=money(row["note_gross"], currency),
        on=date(2026, 12, 4),
    )


def _applied(draft: str, currency: str) -> tuple[Application, ...]:
    paid = [
        Application(
            id=each["id"],
            kind=ApplicationKind.PAYMENT,
            amount=money(each["amount"], currency),
            on=each["on"],
        )
        for each in terms()["payments"]
        if each["draft"] == draft
    ]
    names = dict.fromkeys(row["credit"] for row in table("credits") if row["draft"] == draft)
    notes = [credit_note(name) for name in names]
    credited = [
        Application(
            id=each.record.id,
            kind=ApplicationKind.CREDIT,
            amount=each.gross,
            on=date(2026, 12, 4),
            external_id=each.external_id,
        )
        for each in notes
    ]
    return (*paid, *credited)
