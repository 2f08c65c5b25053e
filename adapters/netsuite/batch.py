"""Batches: up to 100 records of one type in one request, done by NetSuite as a job.

Sources: vendor page section 4 (batch 2026.1) and 4.4 (jobs, idempotency), the vendor's page "Batch
Operations" (media type; PUT upserts by external id). How the outcome of a single item is shown is
not on the page; connectors speak of one task a record. So what was written is read back by external
id, and tasks are asked only for reasons.
"""

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.auth import Method
from adapters.errors import (
    AdapterError,
    ContractBroken,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.http import VendorHttp
from adapters.netsuite.client import VENDOR, AlreadySubmitted
from adapters.netsuite.records import ROOT, checked_id, json_object
from adapters.wire import dump_json

JOBS: Final = "/services/rest/async/v1/job"
ITEMS_MAX: Final = 100
MEDIA_TYPE: Final = "application/vnd.oracle.resource+json; type=collection"
FIRST_WAIT_SECONDS: Final = 0.05
WAIT_SECONDS_MAX: Final = 2.0
REASONS_MAX: Final = 5
"""Refused items whose reason is read: each is a call, and a person needs only some."""

Item = Mapping[str, object]


@dataclass(frozen=True)
class Job:
    """A batch that NetSuite is done with."""

    id: str
    failed: bool
    """At least one item was refused."""
    earlier: bool = False
    """It was submitted before: what it did may have been changed since."""


@dataclass(frozen=True)
class Refusal:
    """Why an item was refused."""

    place: int
    """In the batch, from 0."""
    error: AdapterError


class Batches:
    """The batches of one account."""

    def __init__(self, http: VendorHttp, seconds: float) -> None:
        """Use an HTTP client that signs; `seconds` bound a batch from its submission to its end."""
        self._http = http
        self._seconds = seconds

    async def write(
        self, method: Method, type_: str, items: Sequence[Item], act: str, *, anew: bool = False
    ) -> Job:
        """Create (POST), upsert (PUT) or change (PATCH) records, and wait for the job.

        The idempotency key follows from what is sent, so a batch that was submitted before is
        followed, not submitted again. `anew` sends it again, whatever an earlier one came to.

        Raises:
            OutcomeUnknown: no answer came, or the job is still at work.
        """
        return await self._send(method, type_, act, {"items": list(items)}, None, anew)

    async def delete(self, type_: str, ids: Sequence[str], act: str) -> Job:
        """Delete records by internal id, and wait for the job; raises as `write` does."""
        listed = ",".join(map(checked_id, ids))
        return await self._send("DELETE", type_, act, None, {"ids": listed}, anew=True)

    async def refusals(self, job: Job, act: str) -> list[Refusal]:
        """Return why items were refused: the first few.

        Raises:
            OutcomeUnknown: NetSuite does not say, so what became of the items is open.
        """
        path = f"{JOBS}/{job.id}/task/"
        try:
            answer = await self._http.request("GET", path, operation=act, write=False)
            tasks = json_object(answer).get("items")
        except AdapterError as error:
            raise _unknown(f"The reasons cannot be read: {error.message}", act) from error
        found: list[Refusal] = []
        for place, task in enumerate(tasks if isinstance(tasks, list) else []):
            if isinstance(task, Mapping) and task.get("progress") == "failed":
                found.append(Refusal(place, await self._reason(job, str(task.get("id")), act)))
            if len(found) == REASONS_MAX:
                break
        return found

    async def _reason(self, job: Job, task: str, act: str) -> AdapterError:
        path = f"{JOBS}/{job.id}/task/{_checked_job(task)}/result"
        try:
            # As a write: the answer is that of the item's write, and its doubts are a write's.
            await self._http.request("GET", path, operation=act, write=True)
        except Rejected as error:
            return error
        except AdapterError as error:
            return _unknown(error.message, act)
        return ContractBroken("NetSuite says of one item that it failed and that it did not.")

    async def _send(
        self,
        method: Method,
        type_: str,
        act: str,
        body: Item | None,
        params: Mapping[str, str] | None,
        anew: bool,
    ) -> Job:
        ends = asyncio.get_running_loop().time() + self._seconds
        key = uuid.uuid4() if anew else _key_of(f"{method} {type_} {dump_json(body)}")
        headers = {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": str(key)}
        if body is not None:
            headers["Content-Type"] = MEDIA_TYPE
        try:
            answer = await self._http.request(
                method,
                f"{ROOT}/{type_}",
                operation=act,
                write=True,
                json=body,
                params=params,
                headers=headers,
            )
        except AlreadySubmitted as error:
            return await self._done(error.location, act, ends, earlier=True)
        return await self._done(answer.headers.get("Location", ""), act, ends)

    async def _done(self, location: str, act: str, ends: float, *, earlier: bool = False) -> Job:
        """Wait until the job is completed; what cannot be seen is not known."""
        try:
            id_ = _checked_job(location.rstrip("/").rpartition("/")[2])
        except ContractBroken as error:
            raise _unknown(error.message, act) from error
        now, wait = asyncio.get_running_loop().time, FIRST_WAIT_SECONDS
        while True:
            state = await self._state(id_, act)
            if state.get("completed") is True:
                return Job(id_, failed=state.get("progress") != "succeeded", earlier=earlier)
            if now() + wait > ends:
                raise _unknown(f"NetSuite is still at work on job {id_}.", act)
            await asyncio.sleep(wait)
            wait = min(wait * 2, WAIT_SECONDS_MAX)

    async def _state(self, id_: str, act: str) -> Mapping[str, object]:
        try:
            answer = await self._http.request("GET", f"{JOBS}/{id_}", operation=act, write=False)
            return json_object(answer)
        except (Transient, RateLimited):
            return {}
        except AdapterError as error:
            raise _unknown(f"The job cannot be read: {error.message}", act) from error


def _key_of(content: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, content)


def _checked_job(id_: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id_):
        raise ContractBroken(f"NetSuite named no job: {id_[:40]!r}.")
    return id_


def _unknown(what: str, act: str) -> OutcomeUnknown:
    return OutcomeUnknown(what, vendor=VENDOR, operation=act)
