"""What a NetSuite account holds, listed: clients, projects, charges, cost, invoices, settlements.

By SuiteQL, 1,000 rows a page, each page a query for what comes after the last id: so the limit of
100,000 rows to a query (vendor page section 4.3) bounds nothing, and what changes meanwhile shifts
no page. What a page needs beside, tax lines for example, is asked for page by page.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Final

from adapters.errors import Unsupported
from adapters.netsuite import extract_mapping as mapping
from adapters.netsuite import extract_queries as queries
from adapters.netsuite.billing_mapping import text_of
from adapters.netsuite.client import VENDOR
from adapters.netsuite.config import NetSuiteConfig
from adapters.netsuite.cost_mapping import is_reversal, reversal_id
from adapters.netsuite.mapping import Row
from adapters.netsuite.posting import chunks
from adapters.netsuite.records import ROWS_MAX, RecordService
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope

Pages = AsyncIterator[tuple[ExtractRow, ...]]
Query = Callable[[ExtractScope, int, NetSuiteConfig], str]

ACT: Final = "list what is there"
INVOICE, CREDIT, PAYMENT = "CustInvc", "CustCred", "CustPymt"
"""Codes of transaction types (section 4.3)."""
KINDS: Final = frozenset(ExtractKind) - {ExtractKind.ENTRY, ExtractKind.DEAL}


class Listings:
    """The part of an adapter that lists; it sets what this works with."""

    _config: NetSuiteConfig
    _records: RecordService

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return what NetSuite holds: all but the PSA's entries and the CRM's deals."""
        return KINDS

    def extract(self, scope: ExtractScope) -> Pages:
        """Yield the rows of a scope, in the order of ids.

        Raises:
            Unsupported: NetSuite has no such records.
        """
        listings = {
            ExtractKind.CLIENT: self._list_clients,
            ExtractKind.PROJECT: self._list_projects,
            ExtractKind.CHARGE: self._list_charges,
            ExtractKind.COST: self._list_costs,
            ExtractKind.INVOICE: self._list_invoices,
            ExtractKind.CREDIT: self._list_credits,
            ExtractKind.PAYMENT: self._list_payments,
        }
        if scope.kind not in listings:
            text = f"NetSuite has no records of the kind {scope.kind}."
            raise Unsupported(text, vendor=VENDOR, operation=ACT)
        return listings[scope.kind](scope)

    async def _list_clients(self, scope: ExtractScope) -> Pages:
        async for rows in self._pages(queries.client_query, scope):
            yield tuple(mapping.client_row(row, scope.subsidiary, self._config) for row in rows)

    async def _list_projects(self, scope: ExtractScope) -> Pages:
        async for rows in self._pages(queries.project_query, scope):
            yield tuple(mapping.project_row(row, self._config) for row in rows)

    async def _list_charges(self, scope: ExtractScope) -> Pages:
        async for rows in self._pages(queries.charge_query, scope):
            yield tuple(mapping.charge_row(row, self._config) for row in rows)

    async def _list_costs(self, scope: ExtractScope) -> Pages:
        async for rows in self._pages(queries.time_query, scope):
            gone = await self._reversed(rows)
            yield tuple(
                mapping.time_row(row, text_of(row, "externalid") in gone, self._config)
                for row in rows
                if not is_reversal(text_of(row, "externalid"))
            )
        async for rows in self._pages(queries.report_query, scope):
            yield tuple(mapping.report_row(row, self._config) for row in rows)

    async def _list_invoices(self, scope: ExtractScope) -> Pages:
        async for rows in self._documents(INVOICE, scope):
            taxes = await self._taxes(rows)
            yield tuple(
                mapping.invoice_row(row, taxes.get(text_of(row, "id"), Decimal(0)), self._config)
                for row in rows
            )

    async def _list_credits(self, scope: ExtractScope) -> Pages:
        async for rows in self._documents(CREDIT, scope):
            taxes, applied = await self._taxes(rows), await self._applied(rows)
            yield tuple(
                mapping.credit_row(
                    row, taxes.get(id_, Decimal(0)), applied.get(id_, ()), self._config
                )
                for row, id_ in ((row, text_of(row, "id")) for row in rows)
            )

    async def _list_payments(self, scope: ExtractScope) -> Pages:
        async for rows in self._documents(PAYMENT, scope):
            applied = await self._applied(rows)
            yield tuple(
                mapping.payment_row(row, applied.get(text_of(row, "id"), ()), self._config)
                for row in rows
            )

    def _documents(self, type_: str, scope: ExtractScope) -> AsyncIterator[Sequence[Row]]:
        return self._pages(partial(queries.document_query, type_), scope)

    async def _pages(self, query: Query, scope: ExtractScope) -> AsyncIterator[Sequence[Row]]:
        """Yield the pages of a listing, each after the last id of the one before."""
        after = 0
        while True:
            rows = await self._records.query(query(scope, after, self._config), ACT)
            if rows:
                after = int(self._records.record(scope.kind, rows[-1].get("id")).id)
                yield rows
            if len(rows) < ROWS_MAX:
                return

    async def _reversed(self, rows: Sequence[Row]) -> set[str]:
        """Return the external ids of the time that other time takes back; only posted time is."""
        posted = [text_of(row, "externalid") for row in rows if row.get("posted") == "T"]
        found: set[str] = set()
        for chunk in chunks([id_ for id_ in posted if not is_reversal(id_)]):
            answer = await self._records.query(queries.reversed_query(chunk), ACT)
            there = {text_of(row, "externalid") for row in answer}
            found |= {id_ for id_ in chunk if reversal_id(id_) in there}
        return found

    async def _taxes(self, rows: Sequence[Row]) -> dict[str, Decimal]:
        ids = [text_of(row, "id") for row in rows]
        answer = await self._records.query_all(queries.tax_query(ids), ACT)
        return mapping.sums_by(answer, "transaction")

    async def _applied(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """Return by document the invoices that it is applied to."""
        ids = [text_of(row, "id") for row in rows]
        found: dict[str, list[str]] = {}
        for row in await self._records.query_all(queries.applied_query(ids), ACT):
            invoices = found.setdefault(text_of(row, "nextdoc"), [])
            if (id_ := text_of(row, "previousdoc")) not in invoices:
                invoices.append(id_)
        return found
