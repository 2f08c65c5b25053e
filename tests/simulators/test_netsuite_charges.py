"""Charges and time of the NetSuite simulator on the wire (vendor page, 5.5 and 5.6)."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import Clock, SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.netsuite import VENDOR
from simulators.netsuite.statement import parse_statement
from simulators.netsuite.suiteql import run_statement
from tests.simulators.netsuite_account import (
    RECORD,
    Body,
    at,
    charge,
    created,
    details,
    id_of,
    queried,
    ready,
    ref,
    shown,
    signed,
)

HOLD = "HOLD_FOR_BILLING"


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


class TestCharges:
    async def test_an_upserted_charge_is_priced_placed_and_on_hold(
        self, client: httpx.AsyncClient
    ) -> None:
        url = f"{RECORD}/charge/eid:part-1"
        first = id_of(await client.put(url, json=charge()))
        assert id_of(await client.put(url, json=charge())) == first
        body = await shown(client, "charge/eid:part-1")
        assert (body["amount"], at(body, "stage", "id"), at(body, "use", "id")) == (
            1350.0,
            "HOLD_FOR_BILLING",
            "Actual",
        )
        assert (at(body, "subsidiary", "id"), at(body, "currency", "id")) == ("2", "1")
        again = await client.post(f"{RECORD}/charge", json=charge(externalId="part-1"))
        assert "This record already exists." in details(again)["detail"]

    @pytest.mark.parametrize(
        ("job", "quantity", "rate", "amount"),
        [
            ("7001", 0.116667, 250, 29.17),
            ("7001", 1, 0.125, 0.13),
            ("7001", -1, 0.125, -0.13),
            ("7004", 0.333333, 30000.5, 10000),
        ],
    )
    async def test_the_amount_is_rounded_half_up_to_the_currencys_minor_units(
        self, client: httpx.AsyncClient, job: str, quantity: float, rate: float, amount: float
    ) -> None:
        number = await created(client, "charge", charge(job, quantity=quantity, rate=rate))
        assert (await shown(client, f"charge/{number}"))["amount"] == amount

    async def test_a_sent_amount_is_kept_until_quantity_or_rate_changes(
        self, client: httpx.AsyncClient
    ) -> None:
        number = await created(client, "charge", charge(amount=1349.99))
        url = f"{RECORD}/charge/{number}"
        await client.patch(url, json={"memo": "x"})
        assert (await shown(client, f"charge/{number}"))["amount"] == 1349.99
        await client.patch(url, json={"quantity": 8})
        assert (await shown(client, f"charge/{number}"))["amount"] == 1440.0

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            ({"currency": ref("2")}, "currency"),
            ({"subsidiary": ref("3")}, "subsidiary"),
            ({"location": ref("31")}, "location"),
            ({"billTo": ref("9999")}, "billTo"),
            ({"chargeType": ref("9")}, "chargeType"),
            ({"stage": ref("LATER")}, "stage"),
            ({"billingItem": None}, None),
            ({"rate": None}, None),
        ],
    )
    async def test_what_does_not_fit_the_project_is_refused(
        self, client: httpx.AsyncClient, changes: Body, place: str | None
    ) -> None:
        answer = await client.post(f"{RECORD}/charge", json=charge(**changes))
        assert (answer.status_code, details(answer).get("o:errorPath")) == (400, place)

    async def test_a_billed_charge_keeps_its_stage_and_cannot_go(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await created(client, "charge", ready(externalId="part-2"))
        run = await control.put_record(
            "netsuite", "default", "billingRun", {"job": "7001", "tranDate": "2026-11-30"}
        )
        body = await shown(client, f"charge/{number}")
        assert (at(body, "invoice", "id"), body["invoiceLine"]) == (run["id"], 1)
        url = f"{RECORD}/charge/{number}"
        held = await client.patch(url, json={"stage": ref("HOLD_FOR_BILLING")})
        assert details(held)["o:errorPath"] == "stage"
        gone = await client.delete(url)
        assert "dependent records" in details(gone)["detail"]
        with pytest.raises(ControlRefused, match="has been billed"):
            await control.patch_record("netsuite", "default", "charge", number, {"rate": 1})
        assert (await client.put(f"{RECORD}/charge/eid:part-2", json=ready())).status_code == 204
        assert (await client.patch(url, json={"memo": "why"})).status_code == 204

    async def test_people_edit_and_delete_what_is_not_billed(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await created(client, "charge", charge())
        await control.patch_record("netsuite", "default", "charge", number, {"rate": 200})
        assert (await shown(client, f"charge/{number}"))["amount"] == 1500.0
        await control.delete_record("netsuite", "default", "charge", number)
        assert (await client.get(f"{RECORD}/charge/{number}")).status_code == 404

    async def test_a_project_with_charges_is_in_use(self, client: httpx.AsyncClient) -> None:
        await created(client, "charge", charge())
        assert "dependent" in details(await client.delete(f"{RECORD}/job/7001"))["detail"]
        assert (await client.delete(f"{RECORD}/job/7002")).status_code == 204

    async def test_suiteql_finds_charges_by_a_thousand_keys(
        self, client: httpx.AsyncClient
    ) -> None:
        for n in range(3):
            await created(client, "charge", charge(externalId=f"part-{n}", rate=100 + n))
        keys = ", ".join(f"'part-{n}'" for n in range(1000))
        q = (
            "SELECT c.externalid, c.amount, c.stage, c.billto, c.invoice, j.externalid AS job "
            "FROM charge c JOIN job j ON j.id = c.billto "
            f"WHERE c.externalid IN ({keys}) ORDER BY c.externalid"
        )
        rows = await queried(client, q)
        assert [row["externalid"] for row in rows] == ["part-0", "part-1", "part-2"]
        assert rows[0] == {
            "externalid": "part-0",
            "amount": "750",
            "stage": "HOLD_FOR_BILLING",
            "billto": "7001",
            "job": "TIME-PROJECT-0001",
        }
        by_job = await queried(client, "SELECT id FROM charge WHERE billto = 7001 AND rate > 100")
        assert len(by_job) == 2

    @pytest.mark.parametrize(
        "q",
        [
            "SELECT id FROM charge WHERE externalid = 'part-1'",
            "SELECT id FROM charge WHERE externalid IN ('part-1', 'part-9') AND rate > 1",
            "SELECT id FROM charge WHERE billto = 7001",
            "SELECT c.id FROM charge c JOIN job j ON j.id = c.billto WHERE j.externalid = 'TIME-1'",
            "SELECT j.id FROM job j JOIN charge c ON c.billto = j.id WHERE j.id = 7001",
        ],
    )
    async def test_a_query_by_key_or_project_never_looks_at_all_records(
        self, monkeypatch: pytest.MonkeyPatch, q: str
    ) -> None:
        account = VENDOR.new_account("scan", Clock())
        VENDOR.seed(account, "time-small", 4, 1)
        job = account.store.get("job", "7001")
        assert job is not None
        account.store.set_key(job, "TIME-1")
        fields: Body = {"billTo": "7001", "billingItem": "301", "rate": 180, "stage": HOLD}
        VENDOR.screen_create(account, "charge", fields, "part-1")

        def refuse(kind: str, search: bool = False) -> None:
            pytest.fail(f"looked at every {kind}")

        monkeypatch.setattr(account.store, "list", refuse)
        assert run_statement(account, parse_statement(q)).count == 1


def entry(**changes: JsonValue) -> Body:
    return {
        "employee": ref("104"),
        "customer": ref("7001"),
        "item": ref("301"),
        "tranDate": "2026-11-20",
        "hours": "7:30",
        "isBillable": False,
        **changes,
    }


class TestTime:
    @pytest.mark.parametrize(
        ("sent", "read"),
        [("7:30", "7:30"), (7.5, "7:30"), ("0.25", "0:15"), ("-1:07", "-1:07"), (0.116667, "0:07")],
    )
    async def test_hours_come_as_clock_time_or_decimal(
        self, client: httpx.AsyncClient, sent: JsonValue, read: str
    ) -> None:
        number = await created(client, "timeBill", entry(hours=sent))
        assert (await shown(client, f"timeBill/{number}"))["hours"] == read

    async def test_hours_of_another_form_are_refused(self, client: httpx.AsyncClient) -> None:
        for hours in ("7h", "7:75", "", None):
            answer = await client.post(f"{RECORD}/timeBill", json=entry(hours=hours))
            assert answer.status_code == 400

    @pytest.mark.parametrize(
        ("employee", "cost", "currency"),
        [("103", 712.5, "1"), ("104", 468.75, "2"), ("105", 58500.0, "4")],
    )
    async def test_cost_is_in_the_currency_of_the_employing_entity(
        self, client: httpx.AsyncClient, employee: str, cost: float, currency: str
    ) -> None:
        number = await created(client, "timeBill", entry(employee=ref(employee)))
        body = await shown(client, f"timeBill/{number}")
        assert (body["cost"], at(body, "costCurrency", "id")) == (cost, currency)

    async def test_an_approved_entry_is_locked_until_it_is_rejected(
        self, client: httpx.AsyncClient
    ) -> None:
        number = await created(client, "timeBill", entry(externalId="time-1"))
        url = f"{RECORD}/timeBill/eid:time-1"
        answer = await client.post(f"{url}/@approve")
        assert (answer.status_code, answer.json()["id"]) == (200, number)
        assert details(await client.post(f"{url}/@approve"))["o:errorCode"] == "USER_ERROR"
        assert (await client.patch(url, json={"hours": "8:00"})).status_code == 400
        assert (await client.delete(url)).status_code == 400
        assert (await client.put(url, json=entry())).status_code == 204
        assert (await client.post(f"{url}/@reject")).status_code == 200
        assert at(await shown(client, "timeBill/eid:time-1"), "approvalStatus", "id") == "4"
        assert (await client.delete(url)).status_code == 204

    async def test_posted_time_is_taken_back_by_its_negative_alone(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await created(client, "timeBill", entry(approvalStatus=ref("3")))
        await control.patch_record("netsuite", "default", "timeBill", number, {"posted": True})
        url = f"{RECORD}/timeBill/{number}"
        assert (await client.post(f"{url}/@reject")).status_code == 400
        assert "posted" in details(await client.delete(url))["detail"]
        reverse = await created(client, "timeBill", entry(hours="-7:30"))
        assert (await shown(client, f"timeBill/{reverse}"))["cost"] == -468.75
        ignored = await client.patch(f"{RECORD}/timeBill/{reverse}", json={"posted": True})
        assert ignored.status_code == 204
        assert (await shown(client, f"timeBill/{reverse}"))["posted"] is False

    async def test_actions_are_those_of_time_alone(self, client: httpx.AsyncClient) -> None:
        number = await created(client, "timeBill", entry())
        for path in (f"timeBill/{number}/@void", "customer/6001/@approve"):
            answer = await client.post(f"{RECORD}/{path}")
            assert (answer.status_code, details(answer)["o:errorCode"]) == (400, "INVALID_REQUEST")

    async def test_people_are_found_by_address(self, client: httpx.AsyncClient) -> None:
        q = (
            "SELECT id, email, subsidiary, laborcost FROM employee "
            "WHERE email IN ('maya.chen@example.com', 'aiko.tanaka@example.com') ORDER BY id"
        )
        assert await queried(client, q) == [
            {"id": "103", "email": "maya.chen@example.com", "subsidiary": "2", "laborcost": "95"},
            {
                "id": "105",
                "email": "aiko.tanaka@example.com",
                "subsidiary": "4",
                "laborcost": "7800",
            },
        ]
