"""Hours and expenses to NetSuite's time and expense reports, and rows back; pure.

Sources: vendor page sections 5.5 (time), 5.7 (expenses). Unverified, since the page does not name
them: the columns of `timebill` and `employee`, all fields of `expenseReport`, and that time is
approved by the status it is written with.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from adapters.errors import ContractBroken, Invalid, MissingMapping
from adapters.netsuite.billing_mapping import (
    MEMO_MAX,
    listed,
    mapped_id,
    number_of,
    segments_of,
    subsidiary_of,
    text_of,
)
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.mapping import Row, currency_id
from adapters.netsuite.records import checked_external_id, checked_id
from canonical.billing import CostBatch, CostItem
from canonical.ids import ExternalId
from canonical.money import Money

APPROVED, REJECTED = "3", "4"
"""Approval statuses of time (section 5.5)."""
REVERSAL_SUFFIX: Final = "-r"


def employee_query(emails: Iterable[str]) -> str:
    """Return the SuiteQL for the employees with these e-mail addresses, in lower case."""
    return (
        "SELECT id, email, subsidiary, isinactive FROM employee "  # noqa: S608 - quoted literals
        f"WHERE LOWER(email) IN ({listed(emails)}) ORDER BY id"
    )


def employees_by_email(rows: Sequence[Row], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the employee of each e-mail address: the active one, where several have it.

    `wanted` says for each address which line needs it: an address itself is masked in messages.

    Raises:
        MissingMapping: nobody, or more than one, has an address; names address and line.
    """
    found: dict[str, str] = {}
    for email, line in sorted(wanted.items()):
        same = [row for row in rows if text_of(row, "email").lower() == email]
        active = [row for row in same if row.get("isinactive") != "T"]
        fit = active or same
        if len(fit) != 1:
            who = "nobody" if not fit else "more than one employee"
            raise MissingMapping(
                f"In NetSuite {who} has the e-mail address {email} of line {line}: correct the "
                "employee record there, or the user in the PSA.",
                field="person_email",
            )
        found[email] = text_of(fit[0], "id")
    return found


def time_query(external_ids: Sequence[str]) -> str:
    """Return the SuiteQL for time by our external ids, with all that taking it back needs.

    `cost` and `costcurrency` are what NetSuite makes of the hours (names unverified).
    """
    return (
        "SELECT id, externalid, employee, customer, item, subsidiary, department, class, location, "  # noqa: S608 - quoted literals
        "trandate, hours, approvalstatus, posted, cost, costcurrency FROM timebill "
        f"WHERE externalid IN ({listed(external_ids)}) ORDER BY id"
    )


def expense_query(external_ids: Sequence[str]) -> str:
    """Return the SuiteQL for expense reports by our external ids."""
    return (
        "SELECT id, externalid, recordtype, foreigntotal, currency FROM transaction "  # noqa: S608 - quoted literals
        f"WHERE externalid IN ({listed(external_ids)}) ORDER BY id"
    )


def time_body(
    external_id: ExternalId,
    item: CostItem,
    batch: CostBatch,
    employee: str,
    config: NetSuiteConfig,
) -> dict[str, object]:
    """Return hours as approved time that is not billable: the ERP computes its cost."""
    if not item.minutes:
        raise Invalid(f"{item.item} has neither minutes nor an amount.", field="minutes")
    return {
        "externalId": checked_external_id(external_id),
        "employee": {"id": employee},
        "customer": {"id": checked_id(batch.project.id)},
        "item": {"id": config.cost_item},
        "tranDate": item.on.isoformat(),
        "hours": clock(item.minutes),
        "timeType": {"id": "A"},
        "isBillable": False,
        "approvalStatus": {"id": APPROVED},
        "memo": item.description[:MEMO_MAX],
        **subsidiary_of(batch.subsidiary),
        **segments_of(item.dimensions),
    }


def expense_body(
    external_id: ExternalId,
    item: CostItem,
    amount: Money,
    batch: CostBatch,
    employee: str,
    config: NetSuiteConfig,
) -> dict[str, object]:
    """Return an expense as an approved report of one line: external ids belong to whole records.

    Names of the fields: unverified, the page only says that the record exists (section 5.7).

    Raises:
        MissingMapping: category or currency have no internal id in the configuration.
    """
    line: dict[str, object] = {
        "category": {
            "id": mapped_id(config.expense_categories, item.category, "expense_categories")
        },
        "expenseDate": item.on.isoformat(),
        "amount": amount.amount,
        "customer": {"id": checked_id(batch.project.id)},
        "isBillable": False,
        "memo": item.description[:MEMO_MAX],
        **segments_of(item.dimensions),
    }
    return {
        "externalId": checked_external_id(external_id),
        "entity": {"id": employee},
        "tranDate": item.on.isoformat(),
        "currency": {"id": currency_id(amount.currency, config)},
        "supervisorApproval": True,
        "accountingApproval": True,
        "memo": item.description[:MEMO_MAX],
        **subsidiary_of(batch.subsidiary),
        **segments_of(item.dimensions),
        "expense": {"items": [line]},
    }


def reversal_id(external_id: str) -> str:
    """Return the external id of the time that reverses other time."""
    return f"{external_id}{REVERSAL_SUFFIX}"


def is_reversal(external_id: str) -> bool:
    """Return whether this is the external id of a reversal; no key of ours ends like that."""
    return external_id.endswith(REVERSAL_SUFFIX)


def reversal_body(row: Row, on: date) -> dict[str, object]:
    """Return time that takes back posted time: the same hours, negative (unverified)."""
    body: dict[str, object] = {
        name: {"id": text_of(row, name)}
        for name in (
            "employee",
            "customer",
            "item",
            "subsidiary",
            "department",
            "class",
            "location",
        )
        if text_of(row, name)
    }
    return {
        **body,
        "externalId": checked_external_id(reversal_id(text_of(row, "externalid"))),
        "tranDate": on.isoformat(),
        "hours": clock(-minutes_from(row)),
        "timeType": {"id": "A"},
        "isBillable": False,
        "approvalStatus": {"id": APPROVED},
        "memo": f"Reversal of time {text_of(row, 'id')}",
    }


def clock(minutes: int) -> str:
    """Return minutes as NetSuite's `H:MM` (section 5.5), with a minus where they are negative."""
    sign = "-" if minutes < 0 else ""
    return f"{sign}{abs(minutes) // 60}:{abs(minutes) % 60:02d}"


def minutes_from(row: Row) -> int:
    """Return a row's hours in whole minutes, from `H:MM` or decimal hours."""
    text = text_of(row, "hours")
    if ":" in text:
        hours, _, rest = text.lstrip("-").partition(":")
        if not (hours.isdecimal() and rest.isdecimal()):
            raise ContractBroken(f"NetSuite sent strange hours {text[:20]!r}.")
        minutes = int(hours) * 60 + int(rest)
        return -minutes if text.startswith("-") else minutes
    return int((number_of(row, "hours") * 60).to_integral_value())
