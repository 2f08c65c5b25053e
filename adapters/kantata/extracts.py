"""What a Kantata account holds, listed: clients, projects, approved work and invoices.

Lists give 200 rows a call (vendor page section 3). Clients, projects and invoices are asked for in
the order of their creation, so that what changes meanwhile shifts no page. Filters that a list does
not know are ignored silently, so that days and approval are looked at here once more. `GET
/workspaces` has a limit of its own (section 4): a 429 ends the extract, and the caller comes back.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from typing import Final

from adapters.errors import Unsupported
from adapters.kantata import extract_mapping as mapping
from adapters.kantata.client import VENDOR, Listing, Row, id_of
from adapters.kantata.config import KantataConfig
from adapters.kantata.confirmation_mapping import cents_of
from adapters.kantata.mapping import checked_id
from adapters.kantata.records import Records
from adapters.kantata.time import COLLECTIONS, TimeReading
from canonical.entries import Entry, EntryKind
from canonical.extracts import ExtractKind, ExtractRow, ExtractScope

Pages = AsyncIterator[tuple[ExtractRow, ...]]

ACT: Final = "list what is there"
KINDS: Final = frozenset(
    {ExtractKind.CLIENT, ExtractKind.PROJECT, ExtractKind.ENTRY, ExtractKind.INVOICE}
)
DAYS: Final[Mapping[EntryKind, str]] = {
    EntryKind.TIME: "date_performed_between",
    EntryKind.EXPENSE: "date_between",
    EntryKind.ADJUSTMENT: "original_date_between",
}
"""Filters by the day of the work (sections 8.1, 9); that adjustments have one is unverified."""
EARLIEST: Final = date(1970, 1, 1)
LATEST: Final = date(2999, 12, 31)
"""Stand for a side of a window that is open."""


class Listings:
    """The part of an adapter that lists; it sets what this works with."""

    _config: KantataConfig
    _records: Records
    _time: TimeReading

    def extract_kinds(self) -> frozenset[ExtractKind]:
        """Return what Kantata holds; it keeps neither charges nor credits."""
        return KINDS

    def extract(self, scope: ExtractScope) -> Pages:
        """Yield the rows of a scope; a change since is asked of all but entries.

        An approval changes the timesheet and perhaps not the entries on it (section 8.2), so
        entries are told from each other by their day alone.

        Raises:
            Unsupported: Kantata has no such records.
        """
        match scope.kind:
            case ExtractKind.CLIENT:
                return self._list_clients(scope)
            case ExtractKind.PROJECT:
                return self._list_projects(scope)
            case ExtractKind.ENTRY:
                return self._list_entries(scope)
            case ExtractKind.INVOICE:
                return self._list_invoices(scope)
            case _:
                text = f"Kantata has no records of the kind {scope.kind}."
                raise Unsupported(text, vendor=VENDOR, operation=ACT)

    async def _list_clients(self, scope: ExtractScope) -> Pages:
        async for page in self._pages("workspace_groups", scope):
            refs = mapping.references_in(page)
            rows = (mapping.client_row(row, refs, self._config) for row in page.rows)
            yield tuple(row for row in rows if row is not None)

    async def _list_projects(self, scope: ExtractScope) -> Pages:
        async for page in self._pages("workspaces", scope, {"include_archived": "true"}):
            refs = mapping.references_in(page)
            yield tuple(mapping.project_row(row, refs, self._config) for row in page.rows)

    async def _list_entries(self, scope: ExtractScope) -> Pages:
        invoices = _Holders(self._records)
        for kind, collection in COLLECTIONS.items():
            params = {"include": f"{collection.include},active_invoice"}
            if window := _window(scope):
                params[DAYS[kind]] = window
            if collection.submissions:
                params["approved"] = "true"
            async for entries, page in self._time.everywhere(kind, params, ACT):
                fit = [
                    entry
                    for entry in entries
                    if entry.approved and _is_in(entry.service_date, scope)
                ]
                held = await invoices.of(fit, page)
                yield tuple(mapping.entry_row(each, held.get(each.reservation_id)) for each in fit)

    async def _list_invoices(self, scope: ExtractScope) -> Pages:
        window = _window(scope)
        params = {"within_dates": window} if window else {}
        async for page in self._pages("invoices", scope, params):
            paid = await self._paid_on(page.rows)
            refs = mapping.references_in(page)
            rows = (
                mapping.invoice_row(row, paid.get(id_of(row), 0), refs, self._config)
                for row in page.rows
            )
            yield tuple(row for row in rows if _is_in(row.date, scope))

    async def _paid_on(self, invoices: Iterable[Row]) -> dict[str, int]:
        """Return what was paid on invoices, in minor units, by their id.

        One list of payments for the projects of all that may have some: whether it can be asked
        for by several invoices is not documented.
        """
        issued = [row for row in invoices if mapping.is_draft(row) is False]
        projects = sorted({str(id_) for row in issued for id_ in mapping.projects_of(row)})
        ids = {id_of(row) for row in issued}
        paid: dict[str, int] = {}
        if not projects:
            return paid
        params = {"workspace_id": ",".join(projects), "order": "created_at:asc"}
        async for page in self._records.pages("external_payments", params, ACT):
            for row in page.rows:
                invoice = str(row.get("invoice_id"))
                if invoice in ids:
                    paid[invoice] = paid.get(invoice, 0) + cents_of(row)
        return paid

    def _pages(
        self, collection: str, scope: ExtractScope, filters: Mapping[str, str] | None = None
    ) -> AsyncIterator[Listing]:
        params = {"include": "external_references", "order": "created_at:asc", **(filters or {})}
        if scope.changed_since is not None:
            params["updated_after"] = scope.changed_since.isoformat()
        return self._records.pages(collection, params, ACT)


class _Holders:
    """Which of the invoices that entries sit on are drafts, each asked for once at most."""

    def __init__(self, records: Records) -> None:
        """Use the account's records."""
        self._records = records
        self._drafts: dict[str, bool | None] = {}

    async def of(self, entries: Iterable[Entry], page: Listing) -> dict[str, bool | None]:
        """Return by invoice whether it is a draft; what a page includes is not asked for."""
        for row in page.included("invoices").values():
            self._drafts[id_of(row)] = mapping.is_draft(row)
        named = {entry.reservation_id for entry in entries} - {""}
        unknown = sorted(checked_id(id_, "invoice") for id_ in named - self._drafts.keys())
        found = await self._records.named("invoices", unknown, {}, ACT)
        self._drafts |= {id_of(row): mapping.is_draft(row) for row in found.rows}
        return {id_: self._drafts.get(id_) for id_ in named}


def _window(scope: ExtractScope) -> str:
    """Return the filter of a window, empty where it is open on both sides."""
    if scope.since is None and scope.until is None:
        return ""
    return f"{scope.since or EARLIEST}:{scope.until or LATEST}"


def _is_in(day: date | None, scope: ExtractScope) -> bool:
    return day is None or (scope.since or EARLIEST) <= day <= (scope.until or LATEST)
