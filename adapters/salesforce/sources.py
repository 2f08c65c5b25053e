"""Opportunities for a backfill: won ones by their close date, page by page in the order of ids.

Sources: vendor page sections 7 (SOQL), 9 (fields of the deal).
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol

from adapters.errors import ContractBroken, Invalid, Rejected, Unsupported
from adapters.salesforce.client import VENDOR
from adapters.salesforce.conditions import soql_condition
from adapters.salesforce.config import SalesforceConfig
from adapters.salesforce.mapping import ID_PATTERN, full_id
from canonical.backfill import BackfillKind, SourcePage, SourceRecord, SourceWindow
from canonical.money import Money

PAGE: Final = 200
ACT: Final = "list opportunities"
MALFORMED: Final = frozenset(
    {"INVALID_FIELD", "INVALID_QUERY_FILTER_OPERATOR", "INVALID_TYPE", "MALFORMED_QUERY"}
)
"""Codes by which a query is refused (section 4); here only what was typed can be wrong."""

Row = Mapping[str, object]


class Queries(Protocol):
    """What the adapter offers its parts."""

    _config: SalesforceConfig
    _connection: str

    async def _query(self, soql: str, operation: str) -> list[Row]: ...


class OpportunitySource:
    """The part of an adapter that lists won opportunities."""

    async def page_records(self: Queries, window: SourceWindow, after: str = "") -> SourcePage:
        """Return 200 won opportunities closed in the window, by id; `after` is the last id.

        Raises:
            Unsupported: Salesforce has opportunities alone.
            Invalid: the condition is none, or Salesforce does not know a field of it.
        """
        if window.kind is not BackfillKind.OPPORTUNITIES:
            raise Unsupported(
                f"{self._connection} has opportunities, no {window.kind}.",
                vendor=VENDOR,
                operation=ACT,
            )
        query = opportunities_query(window, self._config, after)
        try:
            rows = await self._query(query, ACT)
        except Rejected as error:
            if error.vendor_code not in MALFORMED or not window.where:
                raise
            raise _not_understood(error) from error
        records = tuple(record_from(row, self._config) for row in rows)
        return SourcePage(
            records=records, next=str(rows[-1].get("Id")) if len(rows) == PAGE else ""
        )


def _not_understood(error: Rejected) -> Invalid:
    """Return the refusal of a condition, without the excerpt of a query that nobody typed."""
    why = error.message.rpartition(":Column:")[2].partition("\n")[2] or error.message
    return Invalid(
        f"The condition can't be used: {' '.join(why.split())}",
        vendor=VENDOR,
        operation=ACT,
        field="where",
    )


def opportunities_query(window: SourceWindow, config: SalesforceConfig, after: str = "") -> str:
    """Return the SOQL of one page.

    Raises:
        Invalid: the condition is none, or `after` is no id.
    """
    own = config.opportunity
    columns = ("Id", "CloseDate", "Amount", "CurrencyIsoCode", "SystemModstamp")
    conditions = [
        "IsWon = true",
        f"CloseDate >= {window.since.isoformat()}",
        f"CloseDate <= {window.until.isoformat()}",
    ]
    if typed := soql_condition(window.where):
        conditions.append(f"({typed})")
    if after:
        if not re.fullmatch(ID_PATTERN, after):
            raise Invalid("The place to go on from is no id.", vendor=VENDOR, operation=ACT)
        conditions.append(f"Id > '{after}'")
    listed = ", ".join((*columns, own.psa_project_id, own.erp_project_id))
    # The condition was written anew from what was understood of it, the id checked, the names by
    # the configuration's pattern.
    where = " AND ".join(conditions)
    return " ".join(
        ("SELECT", listed, "FROM Opportunity WHERE", where, f"ORDER BY Id LIMIT {PAGE}")
    )


def record_from(row: Row, config: SalesforceConfig) -> SourceRecord:
    """Return an opportunity as a record.

    Raises:
        ContractBroken: it has neither id nor close date.
    """
    id_, closed = str(row.get("Id") or ""), str(row.get("CloseDate") or "")
    try:
        day = date.fromisoformat(closed)
    except ValueError:
        raise ContractBroken("Salesforce sent an opportunity without close date.") from None
    own = config.opportunity
    named = [str(row[name]) for name in (own.psa_project_id, own.erp_project_id) if row.get(name)]
    linked = f"the CRM names project {', '.join(named)}, which no saga of ours made"
    return SourceRecord(
        id=full_id(id_),
        target=full_id(id_),
        on=day,
        amount=_amount(row),
        version=str(row.get("SystemModstamp") or ""),
        linked=linked if named else "",
    )


def _amount(row: Row) -> Money | None:
    """Return the amount; None where the deal has none that is money: its own plan will tell."""
    if row.get("Amount") is None:
        return None
    try:
        amount = Decimal(str(row["Amount"]))
        return Money.rounded(amount, str(row.get("CurrencyIsoCode") or ""))
    except (InvalidOperation, ValueError):
        return None
