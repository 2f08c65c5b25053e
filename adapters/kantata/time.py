"""Reading Kantata's time entries, expenses and time adjustments, whole and exactly as they are.

Sources: vendor page sections 3 (lists), 8 (time), 9 (expenses), 10.2 (invoices). Lists hide other
people's entries and archived projects by default; filters that a list does not know are ignored
silently, so those that show everything are sent to each.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from adapters.kantata import time_mapping as mapping
from adapters.kantata.approvers import Approvers
from adapters.kantata.client import Listing, Row, id_of
from adapters.kantata.mapping import checked_id
from adapters.kantata.records import PAGE, Records
from canonical.entries import Entry, EntryKind, EntryRef

EVERYTHING: Final[Mapping[str, str]] = {
    "on_my_account": "false",
    "from_archived_workspaces": "true",
    "include_archived": "true",
    # Offset paging over a changing list repeats or skips rows least in this order (section 3).
    "order": "created_at:asc",
}


@dataclass(frozen=True)
class _Collection:
    """Where entries of a kind are listed, and what has to come with them."""

    path: str
    include: str
    submissions: str = ""
    """Collection of what they are approved on."""
    ids: str = ""
    """Field of a submission that names them."""


COLLECTIONS: Final[Mapping[EntryKind, _Collection]] = {
    EntryKind.TIME: _Collection(
        "time_entries", "user,role,active_submission", "timesheet_submissions", "time_entry_ids"
    ),
    EntryKind.EXPENSE: _Collection(
        "expenses",
        "user,role,active_submission,workspace,expense_category,active_invoice",
        "expense_report_submissions",
        "expense_ids",
    ),
    EntryKind.ADJUSTMENT: _Collection("time_adjustments", "user,role,active_invoice"),
}
"""Includes that a list does not know are ignored; that an expense has `active_invoice` and
`workspace` is unverified."""
SUBJECT_KINDS: Final[Mapping[str, EntryKind]] = {
    "timesheet": EntryKind.TIME,
    "expense_report": EntryKind.EXPENSE,
    "time_entry": EntryKind.TIME,
    "expense": EntryKind.EXPENSE,
    "adjustment": EntryKind.ADJUSTMENT,
}


@dataclass
class _LookedUp:
    """What rows do not say themselves: which invoice has them, which entry they correct."""

    invoices: dict[EntryRef, str] = field(default_factory=dict)
    corrected: dict[str, str] = field(default_factory=dict)


class TimeReading:
    """The entries of one account."""

    def __init__(self, records: Records, approvers: Approvers | None = None) -> None:
        """Use the account's records; it remembers approvers of its own where none are given."""
        self._records = records
        self._approvers = approvers or Approvers(records)

    async def read(self, refs: Sequence[EntryRef]) -> tuple[Entry, ...]:
        """Return those of the entries that exist, in the order asked for; 200 a call."""
        found: list[Entry] = []
        for kind, collection in COLLECTIONS.items():
            wanted = list(dict.fromkeys(checked_id(ref.id) for ref in refs if ref.kind is kind))
            for start in range(0, len(wanted), PAGE):
                chunk = wanted[start : start + PAGE]
                params = {"only": ",".join(chunk), "include": collection.include}
                page = await self._page(collection.path, params, "read entries")
                found += await self._entries(kind, page)
        known = {entry.ref: entry for entry in await self._approvers.named(found)}
        return tuple(known[ref] for ref in dict.fromkeys(refs) if ref in known)

    async def of_project(
        self, project_id: str, updated_since: datetime | None
    ) -> AsyncIterator[tuple[Entry, ...]]:
        """Yield pages of a project's entries, each entry once.

        An approval changes its submission and perhaps not the entries on it, so entries of changed
        submissions are read too.
        """
        filters = {"workspace_id": checked_id(project_id, "project")}
        if updated_since is not None:
            filters["updated_after"] = updated_since.isoformat()
        seen: set[EntryRef] = set()
        for kind, collection in COLLECTIONS.items():
            params = {**filters, "include": collection.include}
            async for page in self.pages(collection.path, params, "list entries"):
                fresh = [
                    entry for entry in await self._entries(kind, page) if entry.ref not in seen
                ]
                seen.update(entry.ref for entry in fresh)
                if fresh:
                    yield await self._approvers.named(fresh)
            if updated_since is not None and collection.submissions:
                approved = await self._on_changed_submissions(kind, collection, filters)
                missed = [ref for ref in approved if ref not in seen]
                seen.update(missed)
                if entries := await self.read(missed):
                    yield entries

    async def everywhere(
        self, kind: EntryKind, params: Mapping[str, str], act: str
    ) -> AsyncIterator[tuple[list[Entry], Listing]]:
        """Yield the entries of a kind in all projects, page by page, with the page itself.

        Their approvers are user ids yet, as nobody asks for names in bulk.
        """
        async for page in self.pages(COLLECTIONS[kind].path, params, act):
            yield await self._entries(kind, page), page

    async def _on_changed_submissions(
        self, kind: EntryKind, collection: _Collection, filters: Mapping[str, str]
    ) -> list[EntryRef]:
        params = {**filters, "include": collection.path}
        refs: list[EntryRef] = []
        async for page in self.pages(collection.submissions, params, "list submissions"):
            for row in page.rows:
                refs += [EntryRef(kind=kind, id=id_) for id_ in _ids(row, collection.ids)]
        return list(dict.fromkeys(refs))

    async def work_page(
        self, kind: EntryKind, params: Mapping[str, str]
    ) -> tuple[tuple[Entry, ...], int, int]:
        """Return one page of entries, how many rows it has, and how many there are in all."""
        collection = COLLECTIONS[kind]
        asked = {"include": collection.include, **params}
        page = await self._page(collection.path, asked, "list approved work")
        entries = await self._entries(kind, page)
        return await self._approvers.named(entries), len(page.rows), page.count

    async def of_submission(self, subject_type: str, subject_id: str) -> tuple[Entry, ...]:
        """Return the entries of a timesheet or expense report, or the one entry that is named."""
        kind = SUBJECT_KINDS.get(subject_type)
        if kind is None:
            return ()
        collection = COLLECTIONS[kind]
        if subject_type not in {"timesheet", "expense_report"}:
            return await self.read([EntryRef(kind=kind, id=checked_id(subject_id))])
        found = await self._page(
            collection.submissions,
            {"only": checked_id(subject_id), "include": collection.path},
            "read a submission",
        )
        ids = [id_ for row in found.rows for id_ in _ids(row, collection.ids)]
        return await self.read([EntryRef(kind=kind, id=id_) for id_ in ids])

    def pages(self, path: str, params: Mapping[str, str], act: str) -> AsyncIterator[Listing]:
        """Yield the pages of a list to its end, hidden rows too."""
        return self._records.pages(path, {**EVERYTHING, **params}, act)

    async def _page(self, path: str, params: Mapping[str, str], act: str) -> Listing:
        return await self._records.page(path, {**EVERYTHING, **params}, act)

    async def _entries(self, kind: EntryKind, page: Listing) -> list[Entry]:
        """Return a page's entries, whose approvers have to be named yet."""
        known = _LookedUp()
        hidden = [
            row for row in page.rows if mapping.is_reserved(row) and not mapping.reservation_id(row)
        ]
        if hidden:
            known.invoices = await self._invoices_of(hidden)
        if kind is EntryKind.ADJUSTMENT:
            unnamed = [row for row in page.rows if not row.get("time_entry_id")]
            known.corrected = await self._corrected_by(unnamed)
        return [
            mapping.entry_from(
                kind,
                row,
                page,
                self._records.connection,
                invoice=known.invoices.get(EntryRef(kind=kind, id=id_of(row)), ""),
                adjusts=known.corrected.get(id_of(row), ""),
            )
            for row in page.rows
        ]

    async def _invoices_of(self, rows: Iterable[Row]) -> dict[EntryRef, str]:
        """Return which invoice has which expense or adjustment: they say only that one has."""
        params = {
            "workspace_id": ",".join(sorted({str(row.get("workspace_id")) for row in rows})),
            "include": "expenses,time_adjustments",
        }
        found: dict[EntryRef, str] = {}
        async for page in self.pages("invoices", params, "look for the invoices of entries"):
            for invoice in page.rows:
                if invoice.get("status") != "cancelled":
                    found |= dict.fromkeys(mapping.reserved_entries(invoice), id_of(invoice))
        return found

    async def _corrected_by(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return the time entry that each adjustment corrects.

        An adjustment names project, person, task and date, but no entry (section 8.3). Where
        nothing was logged then, none is named.
        """
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            place = (str(row.get("workspace_id")), str(row.get("user_id")))
            groups.setdefault(place, []).append(row)
        corrected: dict[str, str] = {}
        for (project, user), own in groups.items():
            days = sorted(mapping.day_of(row, "original_date") for row in own)
            params = {
                "workspace_id": checked_id(project, "project"),
                "user_id": checked_id(user, "person"),
                "date_performed_between": f"{days[0].isoformat()}:{days[-1].isoformat()}",
            }
            entries: list[Row] = []
            async for page in self.pages("time_entries", params, "look for corrected entries"):
                entries += page.rows
            corrected |= {id_of(row): _match(row, entries) for row in own}
        return corrected


def _match(adjustment: Row, entries: Iterable[Row]) -> str:
    """Return the oldest entry that has the minutes: the same one however others are billed."""
    same = [
        row
        for row in entries
        if str(row.get("date_performed")) == str(adjustment.get("original_date"))
        and str(row.get("user_id")) == str(adjustment.get("user_id"))
        and str(row.get("story_id")) == str(adjustment.get("story_id"))
    ]
    same.sort(key=lambda row: (len(id_of(row)), id_of(row)))  # ids are numbers that grow
    enough = [
        row for row in same if _minutes(row, "time_in_minutes") >= -_minutes(adjustment, "time")
    ]
    return id_of((enough or same)[0]) if same else ""


def _minutes(row: Row, name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0


def _ids(row: Row, name: str) -> list[str]:
    ids = row.get(name)
    return [str(id_) for id_ in ids] if isinstance(ids, list) else []
