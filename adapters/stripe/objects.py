"""Stripe's objects by our key: read, list, search, write by idempotency key, delete.

Sources: vendor page sections 2 (idempotency), 4 (lists, search), 5.1 (deleted customers).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from adapters.errors import (
    ContractBroken,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Rejected,
    Transient,
    UndoRefused,
)
from adapters.http import Answer, VendorHttp
from adapters.stripe.client import VENDOR, KeySpent, is_replayed
from adapters.stripe.mapping import Form, checked_id, checked_key
from adapters.stripe.rows import Row, id_of, is_void, key_of, record
from adapters.wire import form_pairs
from canonical.ids import ExternalId
from canonical.records import UndoReceipt, UndoResult

PAGE: Final = 100
"""Rows of one answer at most (section 4)."""
PAGES_MAX: Final = 10_000
KEYS_MAX: Final = 20
"""Idempotency keys of one write: each stored failure of Stripe's own spends one for 24 hours."""

Standing = Callable[[Row | None], Awaitable[Row | None]]
"""Asks what an earlier call left: of the object of its stored answer, or by our key."""


class Objects:
    """The objects of one account."""

    def __init__(self, connection: str, http: VendorHttp, api_version: str) -> None:
        """Use an HTTP client that carries the key."""
        self.connection = connection
        self.http = http
        self._version = {"Stripe-Version": api_version}

    async def read(self, path: str, act: str, params: Mapping[str, str | int] | None = None) -> Row:
        """Return one object, or one page.

        Raises:
            NotFound: there is none, or it is deleted: Stripe then shows no more than its id.
        """
        answer = await self.http.request(
            "GET", path, operation=act, write=False, params=params, headers=self._version
        )
        if not isinstance(answer.json, dict):
            raise ContractBroken("Stripe answered without a JSON object.", raw=answer.text)
        if answer.json.get("deleted") is True:
            raise NotFound("The record was deleted.", vendor=VENDOR, operation=act)
        return answer.json

    async def read_if_any(self, path: str, act: str) -> Row | None:
        """Return one object, or None where there is none (any more)."""
        try:
            return await self.read(path, act)
        except NotFound:
            return None

    async def all(self, path: str, act: str, filters: Mapping[str, str | int]) -> list[Row]:
        """Return all objects of a list, as Stripe orders them: newest first.

        Raises:
            ContractBroken: the pages never end.
        """
        return [row async for page in self.pages(path, act, filters) for row in page]

    async def pages(
        self, path: str, act: str, filters: Mapping[str, str | int]
    ) -> AsyncIterator[list[Row]]:
        """Yield the pages of a list, one at a time, newest first; raises as `all` does."""
        after: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = await self.read(path, act, {"limit": PAGE, **filters, **after})
            new = rows_of(page)
            yield new
            if page.get("has_more") is not True:
                return
            if not new or id_of(new[-1]) == after.get("starting_after"):
                break
            after = {"starting_after": id_of(new[-1])}
        raise ContractBroken(f"The pages of {path} never end.", vendor=VENDOR, operation=act)

    async def carrying(
        self, path: str, key: ExternalId, filters: Mapping[str, str | int]
    ) -> list[Row]:
        """Return the objects of a list with our key, oldest first; void ones are gone."""
        rows = await self.all(path, f"look in {path.rpartition('/')[2]}", filters)
        return [row for row in reversed(rows) if key_of(row) == key and not is_void(row)]

    async def has_any(self, path: str, act: str, filters: Mapping[str, str | int]) -> bool:
        """Return whether a list has a row."""
        return bool(rows_of(await self.read(path, act, {"limit": 1, **filters})))

    async def search(self, path: str, act: str, query: str) -> list[Row]:
        """Return the first page of a search: what it misses may still be there (section 4)."""
        return rows_of(await self.read(f"{path}/search", act, {"query": query, "limit": PAGE}))

    async def write(self, path: str, form: Form, key: str, act: str, standing: Standing) -> Row:
        """Send a write by its key, once, and return the object as it is now.

        A key is spent once an earlier call by it has ended: its answer, a failure perhaps, is
        repeated for 24 hours, whatever became of the record. Then what stands is looked for, and
        only where nothing does, the next key of the same series is used: all attempts walk the
        same series, so that no two of them write by different keys at once.

        Raises:
            Transient: all keys of the series are spent.
        """
        for number in range(1, KEYS_MAX + 1):
            earlier: Row | None = None
            own = key if number == 1 else f"{key}.{number}"
            try:
                answer = await self._send(path, form, own, act)
            except KeySpent:
                pass
            else:
                earlier = _written(answer, act)
                if not is_replayed(answer.headers):
                    return earlier
            if (row := await standing(earlier)) is not None:
                return row
        raise Transient(
            f"{KEYS_MAX} earlier attempts failed at Stripe, which repeats their answers for a day.",
            vendor=VENDOR,
            operation=act,
        )

    async def _send(self, path: str, form: Form, key: str, act: str) -> Answer:
        return await self.http.request(
            "POST",
            path,
            operation=act,
            write=True,
            form=form_pairs(form),
            headers={**self._version, "Idempotency-Key": key},
        )

    async def delete(self, path: str, act: str) -> bool:
        """Delete an object; return whether it was there."""
        try:
            await self.http.request(
                "DELETE", path, operation=act, write=True, headers=self._version
            )
        except NotFound:
            return False
        return True


def standing(
    objects: Objects, ours: Callable[[], Awaitable[list[Row]]], collection: str
) -> Standing:
    """Return what asks for a record that an earlier call made: by its id, or by our key."""

    async def stands(earlier: Row | None) -> Row | None:
        if earlier is None:
            rows = await ours()
            return rows[0] if rows else None
        row = await objects.read_if_any(
            path_of(collection, id_of(earlier)), f"look in {collection}"
        )
        return None if row is None or is_void(row) else row

    return stands


async def void(objects: Objects, path: str, external_id: ExternalId, type_: str) -> UndoReceipt:
    """Void an invoice or a credit note; in the wrong state Stripe says 400, and it is read again.

    Raises:
        UndoRefused: Stripe will not, and it is not void.
    """
    words = type_.replace("_", " ")

    async def voided(_earlier: Row | None = None) -> Row | None:
        row = await objects.read(path, f"read the {words}")
        return row if is_void(row) else None

    key, act = f"{checked_key(external_id)}.void", f"void the {words}"
    try:
        row = await objects.write(f"{path}/void", {}, key, act, voided)
    except Invalid as error:
        there = await voided()
        if there is None:
            raise refused(error.message, type_, path.rpartition("/")[2], error) from error
        row = there
    return UndoReceipt(result=UndoResult.REVERSED, record=record(row, type_, objects.connection))


def path_of(collection: str, id_: str) -> str:
    """Return the path of an object."""
    return f"/v1/{collection}/{checked_id(id_)}"


def rows_of(page: Row) -> list[Row]:
    """Return the rows of a list or of a search.

    Raises:
        ContractBroken: it is neither.
    """
    data = page.get("data")
    if not isinstance(data, list):
        raise ContractBroken("Stripe answered without a list.", vendor=VENDOR, raw=str(page)[:500])
    return [row for row in data if isinstance(row, dict)]


def refused(why: str, type_: str, id_: str, error: Rejected | None = None) -> UndoRefused:
    """Return the error for an undo that cannot be, by Stripe's word or by our own."""
    return UndoRefused(
        why,
        vendor=VENDOR,
        operation=f"take back the {type_}",
        status=error.status if error else None,
        vendor_code=error.vendor_code if error else None,
        request_id=error.request_id if error else None,
        record_type=type_,
        record_id=id_,
    )


def _written(answer: Answer, act: str) -> Row:
    if isinstance(answer.json, dict) and isinstance(answer.json.get("id"), str):
        return answer.json
    # It was answered with success, so something may well be there.
    raise OutcomeUnknown(
        "Stripe answered the write without an object.", vendor=VENDOR, operation=act
    )
