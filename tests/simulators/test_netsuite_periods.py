"""Accounting periods and rates of the NetSuite simulator on the wire (vendor page, 5.12)."""

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
    charge,
    closed,
    created,
    details,
    queried,
    ready,
    ref,
    shown,
    signed,
)

CLOSED = "transaction date is not within an open accounting period"
LINE: Body = {"item": ref("410"), "quantity": 1, "rate": 100}
JOURNAL: list[JsonValue] = [
    {"account": ref("125"), "debit": 10},
    {"account": ref("126"), "credit": 10},
]
POSTINGS: list[tuple[str, Body, str]] = [
    ("charge", ready(), "chargeDate"),
    (
        "timeBill",
        {"employee": ref("103"), "customer": ref("7001"), "hours": 1, "approvalStatus": ref("3")},
        "tranDate",
    ),
    ("invoice", {"entity": ref("7001"), "item": {"items": [LINE]}}, "tranDate"),
    ("creditMemo", {"entity": ref("6001"), "item": {"items": [LINE]}}, "tranDate"),
    ("customerPayment", {"customer": ref("6001"), "payment": 5}, "tranDate"),
    ("journalEntry", {"subsidiary": ref("2"), "line": {"items": JOURNAL}}, "tranDate"),
    (
        "expenseReport",
        {
            "entity": ref("103"),
            "accountingApproval": True,
            "expense": {"items": [{"category": ref("1"), "amount": 20}]},
        },
        "tranDate",
    ),
]


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


class TestClosedPeriods:
    @pytest.mark.parametrize(("kind", "body", "name"), POSTINGS, ids=[row[0] for row in POSTINGS])
    async def test_nothing_posts_to_a_closed_one(
        self, client: httpx.AsyncClient, control: Control, kind: str, body: Body, name: str
    ) -> None:
        url = f"{RECORD}/{kind}"
        early = await client.post(url, json={**body, name: "2026-10-31"})
        assert (early.status_code, details(early)["o:errorCode"]) == (400, "USER_ERROR")
        assert CLOSED in details(early)["detail"]
        await created(client, kind, {**body, name: "2026-11-30"})
        await closed(control, "210")
        late = await client.post(url, json={**body, name: "2026-11-30"})
        assert CLOSED in details(late)["detail"]
        await created(client, kind, {**body, name: "2026-12-01"})

    async def test_a_day_without_a_period_is_closed(self, client: httpx.AsyncClient) -> None:
        body = {**POSTINGS[2][1], "tranDate": "2031-01-01"}
        assert CLOSED in details(await client.post(f"{RECORD}/invoice", json=body))["detail"]

    async def test_a_charge_on_hold_and_open_time_need_no_open_one(
        self, client: httpx.AsyncClient
    ) -> None:
        held = await created(client, "charge", charge(chargeDate="2026-10-31"))
        answer = await client.patch(
            f"{RECORD}/charge/{held}", json={"stage": ref("READY_FOR_BILLING")}
        )
        assert CLOSED in details(answer)["detail"]
        time = {**POSTINGS[1][1], "tranDate": "2026-10-31", "approvalStatus": ref("1")}
        number = await created(client, "timeBill", time)
        approved = await client.post(f"{RECORD}/timeBill/{number}/@approve")
        assert CLOSED in details(approved)["detail"]

    async def test_the_locks_close_for_receivables_or_payables_alone(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        lock: Body = {"arLocked": True}
        await control.patch_record("netsuite", "default", "accountingPeriod", "210", lock)
        refused = []
        for kind, body, name in POSTINGS:
            answer = await client.post(f"{RECORD}/{kind}", json={**body, name: "2026-11-30"})
            if answer.status_code == 400:
                refused.append(kind)
        assert refused == ["charge", "invoice", "creditMemo", "customerPayment"]

    async def test_a_vendors_bill_asks_for_the_lock_of_payables(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        vendor = await created(
            client, "vendor", {"companyName": "Rail AG", "entityId": "Rail", "subsidiary": ref("3")}
        )
        body: Body = {"entity": ref(vendor), "item": {"items": [LINE]}, "tranDate": "2026-11-30"}
        for lock, status in (("arLocked", 204), ("apLocked", 400)):
            change: Body = {lock: True}
            await control.patch_record("netsuite", "default", "accountingPeriod", "210", change)
            answer = await client.post(f"{RECORD}/vendorBill", json=body)
            assert answer.status_code == status

    async def test_closing_sets_the_locks_and_opening_lifts_them(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        q = "SELECT closed, arlocked, aplocked, alllocked FROM accountingperiod WHERE id = 211"
        await closed(control, "211")
        assert set((await queried(client, q))[0].values()) == {"T"}
        opened: Body = {"closed": False}
        await control.patch_record("netsuite", "default", "accountingPeriod", "211", opened)
        assert set((await queried(client, q))[0].values()) == {"F"}

    async def test_what_was_posted_stays_as_it_was(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        body = {**POSTINGS[2][1], "tranDate": "2026-11-30", "externalId": "inv-1"}
        await created(client, "invoice", body)
        await closed(control, "210")
        url = f"{RECORD}/invoice/eid:inv-1"
        item: Body = {"item": {"items": [{**LINE, "rate": 200}]}}
        for answer in (
            await client.delete(url),
            await client.patch(url, json={"tranDate": "2026-12-05"}),
            await client.put(url, json=item, params={"replace": "item"}),
        ):
            assert CLOSED in details(answer)["detail"]
        assert (await client.patch(url, json={"memo": "late note"})).status_code == 204
        same: Body = {"item": {"items": [LINE]}}
        repeated = await client.put(url, json=same, params={"replace": "item"})
        assert repeated.status_code == 204


class TestSeeds:
    async def test_months_are_numbered_from_200_and_closed_before_november(
        self, client: httpx.AsyncClient
    ) -> None:
        q = (
            "SELECT id, periodname, startdate, enddate, closed, arlocked FROM accountingperiod "
            "WHERE isquarter = 'F' AND isyear = 'F' ORDER BY id"
        )
        rows = await queried(client, q)
        assert [row["id"] for row in rows] == [str(n) for n in range(200, 224)]
        assert (rows[0]["periodname"], rows[23]["enddate"]) == ("Jan 2026", "12/31/2027")
        shut = [row["id"] for row in rows if row["closed"] == "T" and row["arlocked"] == "T"]
        assert shut == [str(n) for n in range(200, 210)]

    async def test_rates_are_read_by_day_and_pair(self, client: httpx.AsyncClient) -> None:
        q = (
            "SELECT exchangerate, BUILTIN.DF(transactioncurrency) AS source FROM currencyrate "
            "WHERE basecurrency = 1 AND effectivedate = TO_DATE('2026-11-01', 'YYYY-MM-DD') "
            "ORDER BY transactioncurrency"
        )
        rows = await queried(client, q)
        assert [row["exchangerate"] for row in rows] == ["1.085", "1.27", "0.00665", "3.25"]
        assert rows[3]["source"] == "Kuwaiti Dinar"
        q = "SELECT averagerate FROM consolidatedexchangerate WHERE fromsubsidiary = 3"
        assert len(await queried(client, f"{q} AND postingperiod = 210")) == 1

    async def test_time_projects_have_their_currency_and_entity(
        self, client: httpx.AsyncClient
    ) -> None:
        q = "SELECT id, externalid, customer, subsidiary, currency FROM job ORDER BY id"
        rows = await queried(client, q)
        assert rows[2] == {
            "id": "7003",
            "externalid": "TIME-PROJECT-0003",
            "customer": "6003",
            "subsidiary": "3",
            "currency": "3",
        }
        parent = (await shown(client, "job/eid:TIME-PROJECT-0004"))["parent"]
        assert isinstance(parent, dict)
        assert parent["id"] == "6004"
