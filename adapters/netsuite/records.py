"""The record service and SuiteQL in the terms of the ports: find, upsert, change, remove.

Source: vendor page section 4. Every id is checked before it becomes part of a URL.
"""

import re
from collections.abc import Mapping
from typing import Final

from adapters.errors import ContractBroken, Invalid, NotFound, OutcomeUnknown, UndoRefused
from adapters.http import Answer, VendorHttp
from adapters.netsuite.client import VENDOR, HasDependents
from canonical.ids import ExternalId
from canonical.records import RecordRef, UndoReceipt, UndoResult

ROOT: Final = "/services/rest/record/v1"
SUITEQL: Final = "/services/rest/query/v1/suiteql"
ROWS_MAX: Final = 1000
"""NetSuite's own maximum for one page (section 4.3)."""
PAGES_MAX: Final = 50


class RecordService:
    """One account's records."""

    def __init__(self, connection: str, http: VendorHttp) -> None:
        """Use an HTTP client that signs by itself."""
        self.connection = connection
        self.http = http

    async def query(self, query: str, operation: str) -> list[Mapping[str, object]]:
        """Return up to 1000 rows of a SuiteQL query (`Prefer: transient` is mandatory, 4.3)."""
        answer = await self.http.request(
            "POST",
            SUITEQL,
            operation=operation,
            write=False,
            params={"limit": ROWS_MAX, "offset": 0},
            headers={"Prefer": "transient"},
            json={"q": query},
        )
        return _rows(answer)

    async def query_all(self, query: str, operation: str) -> list[Mapping[str, object]]:
        """Return all rows of a query that orders by a unique column (section 4.3).

        Raises:
            ContractBroken: there are more than a sensible question has.
        """
        rows: list[Mapping[str, object]] = []
        for page in range(PAGES_MAX):
            answer = await self.http.request(
                "POST",
                SUITEQL,
                operation=operation,
                write=False,
                params={"limit": ROWS_MAX, "offset": page * ROWS_MAX},
                headers={"Prefer": "transient"},
                json={"q": query},
            )
            rows += _rows(answer)
            if json_object(answer).get("hasMore") is not True:
                return rows
        raise ContractBroken(
            f"NetSuite has more than {PAGES_MAX * ROWS_MAX} rows for one question."
        )

    async def read(
        self, type_: str, id_: str, operation: str, params: Mapping[str, str]
    ) -> Mapping[str, object]:
        """Return one record by its internal id.

        Raises:
            NotFound: there is none.
        """
        answer = await self.http.request(
            "GET", record_path(type_, id_), operation=operation, write=False, params=params
        )
        return json_object(answer)

    async def find(self, type_: str, external_id: ExternalId, kind: str) -> RecordRef | None:
        """Return the record with an external id, inactive ones too."""
        try:
            answer = await self.http.request(
                "GET",
                external_path(type_, external_id),
                operation=f"look for the {kind}",
                write=False,
                params={"fields": "id"},
            )
        except NotFound:
            return None
        return self.record(kind, json_object(answer).get("id"))

    async def upsert(
        self,
        type_: str,
        external_id: ExternalId,
        body: dict[str, object],
        kind: str,
        operation: str,
    ) -> RecordRef:
        """Create by external id, or complete the same record; the id stands in Location alone."""
        # A repeated upsert would append the address again (section 4, sublist update).
        replace = {"replace": "addressBook"} if "addressBook" in body else None
        answer = await self.http.request(
            "PUT",
            external_path(type_, external_id),
            operation=operation,
            write=True,
            params=replace,
            json=body,
        )
        try:
            return self.record(kind, answer.headers.get("Location", "").rpartition("/")[2])
        except ContractBroken as error:
            # It was written: the look by external id will tell which record it is.
            raise OutcomeUnknown(str(error), vendor=VENDOR, operation=operation) from error

    async def change(
        self,
        type_: str,
        id_: str,
        body: dict[str, object],
        operation: str,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Change the fields and lines sent of one record by its internal id."""
        await self.http.request(
            "PATCH",
            record_path(type_, id_),
            operation=operation,
            write=True,
            params=params,
            json=body,
        )

    async def remove(
        self,
        type_: str,
        external_id: ExternalId,
        record: RecordRef | None,
        inactive: dict[str, object] | None,
    ) -> UndoReceipt:
        """Delete the record; where others hang on it, write `inactive` instead.

        Raises:
            UndoRefused: it cannot be deleted, and there is no `inactive` to write.
        """
        path = external_path(type_, external_id)
        try:
            await self.http.request("DELETE", path, operation=f"remove the {type_}", write=True)
        except NotFound:
            return UndoReceipt(result=UndoResult.ABSENT)
        except (HasDependents, Invalid) as error:
            if inactive is None:
                raise refused(error, type_, record.id if record else external_id) from error
            if not isinstance(error, HasDependents):
                raise
            await self.http.request(
                "PATCH", path, operation=f"deactivate the {type_}", write=True, json=inactive
            )
            return UndoReceipt(
                result=UndoResult.DEACTIVATED,
                record=record,
                residue=f"the {type_} is in use: deactivated instead of deleted",
            )
        return UndoReceipt(result=UndoResult.REMOVED, record=record)

    def record(self, kind: str, id_: object) -> RecordRef:
        """Return an internal id as a record of ours.

        Raises:
            ContractBroken: it is no internal id.
        """
        if not isinstance(id_, str) or not re.fullmatch(r"[0-9]{1,18}", id_):
            raise ContractBroken(f"NetSuite gave no id for the {kind}: {str(id_)[:40]!r}.")
        return RecordRef(system=self.connection, type=kind, id=id_)


def record_path(type_: str, id_: str) -> str:
    """Return the path of a record by its internal id."""
    return f"{ROOT}/{type_}/{checked_id(id_)}"


def external_path(type_: str, external_id: ExternalId) -> str:
    """Return the path of a record by its external id: letters, digits, `_`, `-` (section 4)."""
    return f"{ROOT}/{type_}/eid:{checked_external_id(external_id)}"


def checked_external_id(external_id: str) -> str:
    """Return an external id, or raise `Invalid`: letters, digits, `_` and `-` only (section 4)."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", external_id):
        raise Invalid(
            f"{external_id[:40]!r} is no external id for NetSuite.",
            vendor=VENDOR,
            operation="check the external id",
            field="external_id",
        )
    return external_id


def checked_id(id_: str) -> str:
    """Return an internal id, or raise `Invalid`: digits only (section 2)."""
    if not re.fullmatch(r"[0-9]{1,18}", id_):
        raise Invalid(
            f"{id_[:40]!r} is no NetSuite id: digits only.",
            vendor=VENDOR,
            operation="check the id",
            field="record",
        )
    return id_


def refused(error: Exception, record_type: str, record_id: str) -> UndoRefused:
    """Return NetSuite's refusal to take something back."""
    return UndoRefused(
        str(error), vendor=VENDOR, operation="undo", record_type=record_type, record_id=record_id
    )


def _rows(answer: Answer) -> list[Mapping[str, object]]:
    items = json_object(answer).get("items")
    if not isinstance(items, list):
        raise ContractBroken("SuiteQL answered without items.", raw=answer.text)
    return [row for row in items if isinstance(row, Mapping)]


def json_object(answer: Answer) -> Mapping[str, object]:
    """Return the answer's JSON object, or raise `ContractBroken`."""
    if not isinstance(answer.json, Mapping):
        raise ContractBroken("NetSuite answered without a JSON object.", raw=answer.text)
    return answer.json
