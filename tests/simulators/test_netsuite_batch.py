"""Batch operations of the NetSuite simulator on the wire (vendor page, section 4)."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.netsuite import VENDOR
from tests.simulators.netsuite_account import (
    RECORD,
    Body,
    at,
    charge,
    created,
    details,
    shown,
    signed,
)

LATER = {"Prefer": "respond-async"}
COLLECTION = "application/vnd.oracle.resource+json; type=collection"


@pytest.fixture(name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        await control.seed("time-small", count=4)
        yield control


@pytest.fixture(name="client")
async def make_client(stack: SimulatorStack, control: Control) -> AsyncIterator[httpx.AsyncClient]:
    async with signed(stack) as client:
        yield client


Outcome = tuple[int, str | None]
"""Status of an item and, when it failed, its error code."""


async def outcomes(client: httpx.AsyncClient, answer: httpx.Response) -> list[Outcome]:
    """Follow a job to the results of its tasks."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["Preference-Applied"] == "respond-async"
    job = (await client.get(answer.headers["Location"])).json()
    assert job["completed"] is True
    tasks = (await client.get(job["task"]["links"][0]["href"])).json()["items"]
    assert [task["id"] for task in tasks] == [str(n + 1) for n in range(len(tasks))]
    found: list[Outcome] = []
    for task in tasks:
        result = await client.get(task["links"][0]["href"])
        failed = result.status_code >= 400
        assert task["progress"] == ("failed" if failed else "succeeded")
        found.append((result.status_code, details(result)["o:errorCode"] if failed else None))
    assert job["progress"] == ("succeeded" if all(s < 400 for s, _ in found) else "failed")
    return found


def batch(*keys: str, **changes: JsonValue) -> Body:
    items: list[JsonValue] = [charge(externalId=key, **changes) for key in keys]
    return {"items": items}


class TestBatches:
    async def test_each_item_of_a_post_has_its_own_outcome(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        body = batch("b-1", "b-2", "b-2")
        headers = {**LATER, "Content-Type": COLLECTION}
        answer = await client.post(f"{RECORD}/charge", json=body, headers=headers)
        assert await outcomes(client, answer) == [(204, None), (204, None), (400, "USER_ERROR")]
        (call,) = [c for c in await control.calls("netsuite") if c["method"] == "POST"]
        assert [effect["key"] for effect in call["effects"]] == ["b-1", "b-2"]

    async def test_a_result_gives_the_location_of_its_record(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=LATER)
        result = await client.get(f"{answer.headers['Location']}/task/1/result")
        body = (await client.get(result.headers["Location"])).json()
        assert body["externalId"] == "b-1"

    async def test_an_upsert_creates_and_updates(self, client: httpx.AsyncClient) -> None:
        await created(client, "charge", charge(externalId="b-1"))
        body = batch("b-1", "b-2", rate=200)
        answer = await client.put(f"{RECORD}/charge", json=body, headers=LATER)
        assert await outcomes(client, answer) == [(204, None)] * 2
        for key in ("b-1", "b-2"):
            assert (await shown(client, f"charge/eid:{key}"))["amount"] == 1500.0

    async def test_a_patch_names_its_records_by_either_id(self, client: httpx.AsyncClient) -> None:
        number = await created(client, "charge", charge(externalId="b-1"))
        await created(client, "charge", charge(externalId="b-2"))
        stage: Body = {"id": "READY_FOR_BILLING"}
        items: list[JsonValue] = [
            {"id": number, "stage": stage},
            {"externalId": "b-2", "stage": stage},
            {"externalId": "b-9", "stage": stage},
        ]
        answer = await client.patch(f"{RECORD}/charge", json={"items": items}, headers=LATER)
        assert await outcomes(client, answer) == [
            (204, None),
            (204, None),
            (404, "NONEXISTENT_ID"),
        ]
        assert at(await shown(client, "charge/eid:b-2"), "stage", "id") == "READY_FOR_BILLING"

    async def test_several_are_read_and_deleted_by_their_ids(
        self, client: httpx.AsyncClient
    ) -> None:
        ids = [await created(client, "charge", charge(externalId=f"b-{n}")) for n in range(2)]
        query = {"ids": f"{ids[0]},eid:b-1,4711", "expandRecords": "true"}
        read = await client.get(f"{RECORD}/charge", params=query, headers=LATER)
        first = await client.get(f"{read.headers['Location']}/task/1/result")
        assert (first.json()["externalId"], first.json()["amount"]) == ("b-0", 1350.0)
        expected = [(200, None), (200, None), (404, "NONEXISTENT_ID")]
        assert await outcomes(client, read) == expected
        gone = await client.delete(f"{RECORD}/charge", params={"ids": ",".join(ids)}, headers=LATER)
        assert await outcomes(client, gone) == [(204, None)] * 2
        assert (await client.get(f"{RECORD}/charge")).json()["totalResults"] == 0

    async def test_what_is_no_batch_is_refused_at_once(self, client: httpx.AsyncClient) -> None:
        url, too_many = f"{RECORD}/charge", batch(*(f"b-{n}" for n in range(101)))
        cases = [
            (await client.post(url, json=batch("b-1")), 400, "INVALID_REQUEST"),
            (await client.put(url, json=batch("b-1")), 400, "INVALID_REQUEST"),
            (await client.delete(url, params={"ids": "1"}), 400, "INVALID_REQUEST"),
            (await client.post(url, json=too_many, headers=LATER), 400, "INVALID_CONTENT"),
            (await client.put(url, json={"items": []}, headers=LATER), 400, "INVALID_CONTENT"),
            (await client.delete(url), 405, "INVALID_REQUEST"),
        ]
        for answer, status, code in cases:
            assert (answer.status_code, details(answer)["o:errorCode"]) == (status, code)
        assert (await client.get(url)).json()["totalResults"] == 0

    async def test_a_key_used_again_leads_to_the_first_job(self, client: httpx.AsyncClient) -> None:
        headers = {**LATER, "X-NetSuite-Idempotency-Key": "5f0c"}
        first = await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=headers)
        again = await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=headers)
        assert (again.status_code, details_code(again)) == (400, "IDEMPOTENCY_ERROR")
        assert again.headers["Location"] == first.headers["Location"]
        assert (await client.get(f"{RECORD}/charge")).json()["totalResults"] == 1

    async def test_a_job_is_late_where_the_account_says_so(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.clock(set="2026-11-21T10:00:00Z", freeze=True)
        change: Body = {"asyncDelaySeconds": 30}
        await control.patch_record("netsuite", "default", "governance", "1", change)
        answer = await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=LATER)
        job = answer.headers["Location"]
        assert (await client.get(job)).json()["progress"] == "pending"
        assert (await client.get(f"{job}/task/1/result")).status_code == 404
        await control.clock(advance_seconds=31)
        assert await outcomes(client, answer) == [(204, None)]


def details_code(answer: httpx.Response) -> str:
    return str(answer.json()["o:errorDetails"][0]["o:errorCode"])


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "status", "live"),
        [("fail_before", 500, 0), ("fail_after", 500, 2), ("rate_limit", 429, 0)],
    )
    async def test_a_fault_on_any_items_key_meets_the_whole_batch(
        self,
        client: httpx.AsyncClient,
        control: Control,
        kind: str,
        status: int,
        live: int,
    ) -> None:
        await control.add_fault("netsuite", "default", {"key": "b-2"}, kind)
        body = batch("b-1", "b-2")
        answer = await client.post(f"{RECORD}/charge", json=body, headers=LATER)
        assert answer.status_code == status
        assert (await client.get(f"{RECORD}/charge")).json()["totalResults"] == live

    async def test_after_a_drop_the_key_still_leads_to_the_job(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        headers = {**LATER, "X-NetSuite-Idempotency-Key": "5f0d"}
        await control.add_fault("netsuite", "default", {"key": "b-1"}, "drop_after")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=headers)
        again = await client.post(f"{RECORD}/charge", json=batch("b-1"), headers=headers)
        assert details_code(again) == "IDEMPOTENCY_ERROR"
        job = (await client.get(again.headers["Location"])).json()
        assert job["progress"] == "succeeded"

    async def test_a_rejection_by_key_refuses_this_item_alone(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.add_fault("netsuite", "default", {"key": "b-2"}, "reject")
        body = batch("b-1", "b-2", "b-3")
        answer = await client.post(f"{RECORD}/charge", json=body, headers=LATER)
        assert await outcomes(client, answer) == [(204, None), (400, "USER_ERROR"), (204, None)]
