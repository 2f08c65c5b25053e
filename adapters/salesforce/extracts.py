"""What a Salesforce org holds, listed: its won deals, with the ids that Dealthread wrote on them.

By SOQL, a page of 2,000 rows each, which is as many as one answer has (vendor page section 7), and
each a query for what comes after the last id, so that what changes meanwhile shifts no page.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from adapters.errors import ContractBroken, Unsupported
from adapters.salesforce.client import VENDOR
from adapters.salesforce.config import SalesforceConfig
from adapters.salesforce.mapping import ID_PATTERN, full_id, links_from
from adapters.salesforce.sources import Queries, Row
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope, ExtractState

Pages = AsyncIterator[tuple[ExtractRow, ...]]

ACT: Final = "list what is there"
ROWS_MAX: Final = 2_000
KINDS: Final = frozenset({ExtractKind.DEAL})
LINKS: Final = ("erp_client_id", "erp_project_id", "psa_project_id")
"""Of the fields that Dealthread owns those that name a record."""


class Listings:
    """The part of an adapter that lists."""

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return what Salesforce holds: deals."""
        return KINDS

    def extract(self: Queries, scope: ExtractScope) -> Pages:
        """Yield the rows of a scope, in the order of ids.

        Raises:
            Unsupported: Salesforce has no such records.
        """
        if scope.kind is not ExtractKind.DEAL:
            text = f"Salesforce has no records of the kind {scope.kind}."
            raise Unsupported(text, vendor=VENDOR, operation=ACT)
        return _deals(self, scope)


async def _deals(adapter: Queries, scope: ExtractScope) -> Pages:
    after = ""
    while True:
        rows = await adapter._query(deals_query(scope, adapter._config, after), ACT)
        if rows:
            yield tuple(deal_row(row, adapter._config) for row in rows)
        if len(rows) < ROWS_MAX:
            return
        after = str(rows[-1].get("Id"))


def deals_query(scope: ExtractScope, config: SalesforceConfig, after: str = "") -> str:
    """Return the SOQL of one page.

    Raises:
        ContractBroken: the last row of the page before has no id.
    """
    own = config.opportunity
    columns = ["Id", "Name", "AccountId", "SystemModstamp"]
    columns += [getattr(own, name) for name in LINKS]
    conditions = ["IsWon = true"]
    if scope.changed_since is not None:
        since = scope.changed_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions.append(f"SystemModstamp >= {since}")
    if after:
        if not re.fullmatch(ID_PATTERN, after):
            raise ContractBroken(f"Salesforce sent a deal without id: {after[:40]!r}.")
        conditions.append(f"Id > '{after}'")
    # The id was checked, the names against the configuration's pattern.
    where = " AND ".join(conditions)
    listed = ", ".join(columns)
    last = f"ORDER BY Id LIMIT {ROWS_MAX}"
    return " ".join(("SELECT", listed, "FROM Opportunity WHERE", where, last))


def deal_row(row: Row, config: SalesforceConfig) -> ExtractRow:
    """Return a deal with what its fields name.

    Raises:
        ContractBroken: it has no id, or no time of its last change.
    """
    id_, changed = str(row.get("Id") or ""), str(row.get("SystemModstamp") or "")
    if not id_:
        raise ContractBroken("Salesforce sent a deal without id.", raw=str(row))
    try:
        changed_at = datetime.fromisoformat(changed)
    except ValueError:
        raise ContractBroken(f"SystemModstamp is no time: {changed[:40]!r}.") from None
    written = links_from(row, config)
    links = [link for name in LINKS for link in _links(name, getattr(written, name) or "")]
    return ExtractRow(
        kind=ExtractKind.DEAL,
        id=full_id(id_),
        number=str(row.get("Name") or ""),
        client_id=full_id(str(row.get("AccountId") or "")),
        state=ExtractState.OPEN,
        links=tuple(links),
        changed_at=changed_at,
    )


def _links(name: str, value: str) -> list[str]:
    """Return what one field names: an id, or `NAME:id` pairs joined by `;`."""
    each = (part.strip().rpartition(":")[2] for part in value.split(";"))
    return [f"{name.removesuffix('_id')}:{id_}" for id_ in each if id_]
