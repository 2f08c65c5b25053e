"""Kantata's objects by our key: create, find, delete; and the two look-ups before a create.

Sources: vendor page sections 3 (lists), 5 (external references), 6.3 (undo), 8.1 and 9 (filters).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from adapters.errors import (
    ContractBroken,
    MissingMapping,
    NotFound,
    OutcomeUnknown,
    Rejected,
    UndoRefused,
)
from adapters.http import VendorHttp
from adapters.kantata.client import VENDOR, Listing, Row, id_of, listing
from adapters.kantata.config import KantataConfig
from adapters.kantata.mapping import checked_id
from canonical.records import RecordRef, UndoReceipt, UndoResult

API: Final = "/api/v1"
PAGE: Final = 200
"""Rows of one answer at most (section 3)."""
PAGES_MAX: Final = 5_000
REFUSALS: Final = frozenset({403, 422})
"""Statuses by which a delete is refused for good; why is told in words only (section 4)."""

USED_BY: Final[Mapping[str, Mapping[str, str]]] = {
    "time_entries": {"on_my_account": "false", "from_archived_workspaces": "true"},
    "expenses": {"on_my_account": "false"},
    "invoices": {},
}
"""What must not go with a project -> filters that show all of it (sections 6.3, 8.1, 9, 10.2)."""


class Records:
    """The objects of one account."""

    def __init__(self, connection: str, config: KantataConfig, http: VendorHttp) -> None:
        """Use an HTTP client that carries the token."""
        self.connection = connection
        self.http = http
        self._config = config
        self._card_currencies: dict[str, str] = {}

    def record(self, type_: str, row: Row) -> RecordRef:
        """Return the canonical name of an object."""
        return RecordRef(system=self.connection, type=type_, id=id_of(row))

    async def create(
        self, collection: str, body: Mapping[str, object], act: str, include: str = ""
    ) -> Listing:
        """Create one object, or several in bulk; all or none.

        Raises:
            OutcomeUnknown: no usable answer came, or our key is there already.
        """
        answer = await self.http.request(
            "POST",
            f"{API}/{collection}",
            operation=act,
            write=True,
            json=body,
            params={"include": include} if include else None,
        )
        try:
            made = listing(answer)
        except ContractBroken as error:
            # It was answered with success, so something may well be there.
            raise OutcomeUnknown(f"The answer to the create is unusable: {error}") from error
        if not made.rows:
            raise OutcomeUnknown(f"Kantata says that it created nothing in {collection}.")
        return made

    async def find(
        self,
        collection: str,
        refs: Sequence[str],
        filters: Mapping[str, str] | None = None,
        include: str = "",
        service: str = "",
    ) -> Listing:
        """Return the objects that carry our references: in the references' order, oldest first.

        Unknown filters are ignored silently (section 3), so the references are compared here too.
        `service` is that of the references, the usual one where it is left out.

        Raises:
            ContractBroken: there are more rows than our references can have.
        """
        service = service or self._config.key_service
        found = await self.page(
            collection,
            {
                "external_reference_service_name": service,
                "external_reference_service_model_refs": ",".join(refs),
                "include": ",".join(filter(None, ("external_references", include))),
                "include_archived": "true",
                "order": "created_at:asc",
                **(filters or {}),
            },
            f"look for {collection.replace('_', ' ')}",
        )
        carried = {
            str(row.get("subject_id")): str(row.get("service_model_ref"))
            for row in found.included("external_references").values()
            if row.get("service_name") == service
        }
        places = {ref: place for place, ref in enumerate(refs)}
        ours = [row for row in found.rows if carried.get(id_of(row)) in places]
        if len(found.rows) < found.count:
            raise ContractBroken(
                f"Kantata found {found.count} {collection} for our keys: it ignored the filter."
            )
        ours.sort(key=lambda row: places[carried[id_of(row)]])
        return replace(found, rows=tuple(ours), refs=carried)

    async def page(self, collection: str, params: Mapping[str, str], act: str) -> Listing:
        """Return the first page of a list; raises as `listing` does."""
        answer = await self.http.request(
            "GET",
            f"{API}/{collection}",
            operation=act,
            write=False,
            params={"per_page": PAGE, **params},
        )
        return listing(answer)

    async def pages(
        self, collection: str, params: Mapping[str, str], act: str
    ) -> AsyncIterator[Listing]:
        """Yield the pages of a list to its end (section 3)."""
        seen = 0
        for number in range(1, PAGES_MAX + 1):
            page = await self.page(collection, {**params, "page": str(number)}, act)
            yield page
            seen += len(page.rows)
            if not page.rows or seen >= page.count:
                return
        raise ContractBroken(f"Kantata's list of {collection} does not end.")

    async def named(
        self, collection: str, ids: Sequence[str], params: Mapping[str, str], act: str
    ) -> Listing:
        """Return the objects with these ids that exist, 200 a call, as one list (section 3)."""
        rows: list[Row] = []
        maps: dict[str, dict[str, object]] = {}
        for start in range(0, len(ids), PAGE):
            chunk = [checked_id(id_) for id_ in ids[start : start + PAGE]]
            found = await self.page(collection, {**params, "only": ",".join(chunk)}, act)
            rows += [row for row in found.rows if id_of(row) in chunk]
            for name, objects in found.maps.items():
                if isinstance(objects, Mapping):
                    maps.setdefault(name, {}).update(objects)
        return Listing(tuple(rows), len(rows), maps)

    async def remove(self, collection: str, rows: Sequence[Row], type_: str) -> UndoReceipt:
        """Delete objects; one that is gone already is as good.

        Raises:
            UndoRefused: Kantata refuses to delete one of them.
        """
        removed = [row for row in rows if await self._undo(collection, row, type_)]
        result = UndoResult.REMOVED if removed else UndoResult.ABSENT
        record = self.record(type_, rows[0]) if rows else None
        return UndoReceipt(result=result, record=record)

    async def _undo(self, collection: str, row: Row, type_: str) -> bool:
        try:
            return await self.delete(collection, id_of(row), f"remove the {type_}")
        except Rejected as error:
            if error.status not in REFUSALS:
                raise
            raise refused(error.message, type_, id_of(row), error) from error

    async def delete(self, collection: str, id_: str, act: str) -> bool:
        """Delete an object; return whether it was there."""
        try:
            await self.http.request(
                "DELETE", f"{API}/{collection}/{checked_id(id_)}", operation=act, write=True
            )
        except NotFound:
            return False
        return True

    async def refuse_if_used(self, projects: Sequence[Row]) -> None:
        """Raise UndoRefused where something was booked on one of the projects.

        Whether Kantata itself would refuse to delete them is not documented, and a project that
        is deleted takes everything with it, for good (section 6.3).
        """
        ids = ",".join(map(id_of, projects))
        for collection, filters in USED_BY.items() if projects else ():
            words = collection.replace("_", " ")
            found = await self.page(
                collection,
                {"workspace_id": ids, **filters, "per_page": "1"},
                f"look for {words} on the project",
            )
            if found.rows:
                raise refused(f"The project has {words}.", "project", id_of(projects[0]))

    async def references(
        self, subject: RecordRef, service: str, subject_type: str = "Workspace"
    ) -> tuple[Row, ...]:
        """Return the references of one service that a subject has: one, or none (section 5).

        Raises:
            ContractBroken: the filter was ignored, so that they may be on a later page.
        """
        id_ = checked_id(subject.id)
        found = await self.page(
            "external_references",
            {"subject_type": subject_type, "subject_id": id_},
            f"read the {subject.type}'s references",
        )
        ours = tuple(
            row
            for row in found.rows
            if row.get("service_name") == service and str(row.get("subject_id")) == id_
        )
        if not ours and len(found.rows) < found.count:
            raise ContractBroken("Kantata sent the references of other subjects as well.")
        return ours

    async def user_id(self, email: str) -> str:
        """Return the id of the user with this e-mail address (filter: section 6.5, unverified).

        Raises:
            MissingMapping: there is none, or the user is disabled.
        """
        found = await self.page(
            "users",
            {"on_my_account": "true", "by_email_address": email},
            "look for the project manager",
        )
        for row in found.rows:
            is_same = str(row.get("email_address", "")).casefold() == email.casefold()
            if is_same and row.get("disabled") is not True:
                return id_of(row)
        if len(found.rows) < found.count:
            raise ContractBroken("Kantata ignored the filter by e-mail address.")
        raise MissingMapping(
            "The project manager of the deal is no user of Kantata: correct the e-mail address, "
            "or invite the person.",
            field="project_manager_email",
        )

    async def group_named(self, name: str) -> str | None:
        """Return the id of the workspace group with this name, in any case, if a search finds it.

        That the list can be searched is unverified; a name that is not found says nothing.
        """
        found = await self.page("workspace_groups", {"search": name}, "look who has the name")
        same = (row for row in found.rows if str(row.get("name")).casefold() == name.casefold())
        return next((id_of(row) for row in same), None)

    async def check_rate_card(self, id_: str, currency: str) -> None:
        """See that a rate card has the currency of the contract.

        The card's currency rules and the project's own is ignored (section 6.2): the wrong card
        would bill in the wrong currency without a word. A card's currency never changes, so it is
        asked once.

        Raises:
            MissingMapping: it has another currency, or there is no such card.
        """
        if id_ not in self._card_currencies:
            self._card_currencies[id_] = await self._card_currency(id_)
        if self._card_currencies[id_] != currency:
            raise MissingMapping(
                f"The rate card {id_} is in {self._card_currencies[id_]}, the contract in "
                f"{currency}: correct the rate cards of the policy bundle.",
                field="rate_card",
            )

    async def _card_currency(self, id_: str) -> str:
        try:
            answer = await self.http.request(
                "GET",
                f"{API}/rate_cards/{checked_id(id_, 'rate_card')}",
                operation="read the rate card",
                write=False,
            )
        except NotFound as error:
            raise MissingMapping(
                f"Kantata has no rate card {id_}: correct the rate cards of the policy bundle.",
                field="rate_card",
            ) from error
        rows = listing(answer).rows
        return str(rows[0].get("currency", "")) if rows else ""


def refused(why: str, type_: str, id_: str, error: Rejected | None = None) -> UndoRefused:
    """Return the error for a delete that cannot be, by Kantata's word or by our own."""
    return UndoRefused(
        why,
        vendor=VENDOR,
        operation=f"remove the {type_}",
        status=error.status if error else None,
        vendor_code=error.vendor_code if error else None,
        request_id=error.request_id if error else None,
        record_type=type_,
        record_id=id_,
    )
