"""The NetSuite simulator on the wire: records, rules, errors and faults (vendor page)."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.netsuite import VENDOR
from tests.simulators.netsuite_account import RECORD, Body, acme, details, id_of, signed

DEPENDENTS = "This record cannot be deleted because it has dependent records."


@pytest.fixture(name="stack")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="control")
async def make_control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        yield control


@pytest.fixture(name="client")
async def make_client(stack: SimulatorStack) -> AsyncIterator[httpx.AsyncClient]:
    async with signed(stack) as client:
        yield client


async def create(client: httpx.AsyncClient, kind: str, body: Body) -> str:
    return id_of(await client.post(f"{RECORD}/{kind}", json=body))


async def read(client: httpx.AsyncClient, path: str) -> Body:
    answer = await client.get(f"{RECORD}/{path}", params={"expandSubResources": "true"})
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def inner(body: Body, *path: str | int) -> JsonValue:
    value: JsonValue = body
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


class TestRecords:
    async def test_a_created_record_answers_with_its_location_and_no_body(
        self, stack: SimulatorStack, client: httpx.AsyncClient, control: Control
    ) -> None:
        answer = await client.post(f"{RECORD}/customer", json=acme(externalId="dt-1"))
        number = id_of(answer)
        url = f"{stack.urls['netsuite']}{RECORD}/customer/{number}"
        assert answer.headers["Location"] == url
        body = await read(client, "customer/eid:dt-1")
        assert (body["id"], body["externalId"]) == (number, "dt-1")
        assert body["subsidiary"] == {
            "links": [{"rel": "self", "href": f"{stack.urls['netsuite']}{RECORD}/subsidiary/2"}],
            "id": "2",
            "refName": "Dealthread Demo Holding : Dealthread Demo Inc.",
        }
        assert inner(body, "currencyList", "items", 0, "currency", "id") == "1"
        (call, _) = await control.calls("netsuite")
        assert (call["effect"], call["key"], call["status"]) == ("create", "dt-1", 204)

    async def test_fields_are_chosen_and_exclude_expansion(self, client: httpx.AsyncClient) -> None:
        number = await create(client, "customer", acme())
        url = f"{RECORD}/customer/{number}"
        answer = await client.get(url, params={"fields": "companyName,currencyList"})
        assert set(answer.json()) == {"links", "id", "companyName", "currencyList"}
        assert set(answer.json()["currencyList"]) == {"links"}
        both = await client.get(url, params={"fields": "email", "expandSubResources": "true"})
        assert both.status_code == 400
        assert details(both)["o:errorQueryParam"] == "fields"

    async def test_choices_are_objects_or_plain(self, client: httpx.AsyncClient) -> None:
        customer = await create(client, "customer", acme())
        body: Body = {"companyName": "P", "parent": {"id": customer}, "jobBillingType": {"id": "4"}}
        job = await create(client, "job", body)
        url = f"{RECORD}/job/{job}"
        assert (await client.get(url)).json()["jobBillingType"] == {
            "id": "4",
            "refName": "Time and Materials",
        }
        plain = await client.get(url, params={"simpleEnumFormat": "true"})
        assert plain.json()["jobBillingType"] == "4"

    async def test_an_upsert_creates_then_updates(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        url = f"{RECORD}/customer/eid:dt-2"
        first = id_of(await client.put(url, json=acme()))
        second = id_of(await client.put(url, json={"email": "new@acme.com"}))
        assert first == second
        body = await read(client, f"customer/{first}")
        assert (body["email"], body["companyName"]) == ("new@acme.com", "Acme Ltd")
        effects = [call["effect"] for call in await control.calls("netsuite")]
        assert effects == ["create", "update", "none"]
        assert (await client.put(f"{RECORD}/customer/{first}", json=acme())).status_code == 400

    async def test_patch_changes_what_is_sent_and_null_clears(
        self, client: httpx.AsyncClient
    ) -> None:
        number = await create(client, "customer", acme())
        url = f"{RECORD}/customer/{number}"
        answer = await client.patch(url, json={"email": None, "isInactive": True})
        assert id_of(answer) == number
        body = await read(client, f"customer/{number}")
        assert "email" not in body
        assert body["isInactive"] is True
        refused = await client.patch(url, json={"companyName": None})
        assert details(refused)["detail"] == (
            "Error while accessing a resource. Please enter value(s) for: Company Name."
        )

    async def test_delete_works_once_and_by_either_id(self, client: httpx.AsyncClient) -> None:
        await create(client, "customer", acme(externalId="dt-3"))
        assert (await client.delete(f"{RECORD}/customer/eid:dt-3")).status_code == 204
        again = await client.delete(f"{RECORD}/customer/eid:dt-3")
        assert again.status_code == 404
        assert details(again)["o:errorCode"] == "NONEXISTENT_ID"
        await create(client, "customer", acme(externalId="dt-3"))  # the key is free again

    async def test_an_address_is_appended_by_every_upsert_unless_replaced(
        self, client: httpx.AsyncClient
    ) -> None:
        line: Body = {"label": "HQ", "defaultBilling": True, "addressBookAddress": {"city": "Rome"}}
        body = acme(addressBook={"items": [line]})
        url = f"{RECORD}/customer/eid:dt-4"
        for _ in range(2):
            await client.put(url, json=body)
        lines = inner(await read(client, "customer/eid:dt-4"), "addressBook", "items")
        assert isinstance(lines, list)
        assert [inner({"x": line}, "x", "defaultBilling") for line in lines] == [False, True]
        await client.put(url, params={"replace": "addressBook"}, json=body)
        kept = inner(await read(client, "customer/eid:dt-4"), "addressBook", "items")
        assert isinstance(kept, list)
        assert len(kept) == 1
        own: Body = {"id": inner({"x": kept}, "x", 0, "id"), "label": "Main"}
        await client.patch(url, json={"addressBook": {"items": [own]}})
        (only,) = (await client.get(f"{url}/addressBook")).json()["items"]
        full = (await client.get(only["links"][0]["href"])).json()
        assert (full["label"], full["addressBookAddress"]["city"]) == ("Main", "Rome")


class TestRefusals:
    async def test_a_duplicate_external_id_is_refused_over_customers_and_jobs(
        self, client: httpx.AsyncClient
    ) -> None:
        await create(client, "customer", acme(externalId="dt-5"))
        job: Body = {"companyName": "P", "subsidiary": {"id": "2"}, "externalId": "dt-5"}
        for kind, body in (("customer", acme(externalId="dt-5")), ("job", job)):
            answer = await client.post(f"{RECORD}/{kind}", json=body)
            assert answer.status_code == 400
            assert details(answer) == {
                "detail": "Error while accessing a resource. This entity already exists.",
                "o:errorCode": "USER_ERROR",
            }
        await create(client, "department", {"name": "Other", "externalId": "dt-5"})

    async def test_an_entity_number_is_unique_and_made_up_where_none_is_sent(
        self, client: httpx.AsyncClient
    ) -> None:
        number = await create(client, "customer", acme())
        assert (await read(client, f"customer/{number}"))["entityId"] == f"CUST{number}"
        job: Body = {"companyName": "P", "subsidiary": {"id": "2"}, "entityId": f"CUST{number}"}
        answer = await client.post(f"{RECORD}/job", json=job)
        assert "This entity already exists." in details(answer)["detail"]

    @pytest.mark.parametrize(
        ("body", "code", "path", "text"),
        [
            (acme(terms={"id": "99"}), "INVALID_CONTENT", "terms", "Invalid Field Value 99"),
            (acme(terms={"externalId": "x"}), "INVALID_CONTENT", "terms", "Field Value x"),
            (acme(email="nobody"), "INVALID_CONTENT", "email", "Invalid Field Value nobody"),
            (acme(isInactive="yes"), "INVALID_CONTENT", "isInactive", "Invalid Field Value yes"),
            (acme(companyName="x" * 84), "USER_ERROR", "companyName", "( 83 ) of characters"),
            (acme(externalId="a/b"), "INVALID_CONTENT", "externalId", "Invalid Field Value a/b"),
            (acme(companyName=""), "USER_ERROR", None, "enter value(s) for: Company Name."),
            (acme(subsidiary=None), "USER_ERROR", None, "value(s) for: Primary Subsidiary."),
            (
                acme(isPerson=True),
                "USER_ERROR",
                None,
                "Please enter value(s) for: First Name, Last Name.",
            ),
            (
                acme(addressBook={"items": [{"addressBookAddress": {"country": {"id": "XX9"}}}]}),
                "INVALID_CONTENT",
                "addressBook.items[0].addressBookAddress.country",
                "Invalid Field Value XX9",
            ),
        ],
    )
    async def test_a_bad_body_is_refused_with_the_place_in_it(
        self, client: httpx.AsyncClient, body: Body, code: str, path: str | None, text: str
    ) -> None:
        answer = await client.post(f"{RECORD}/customer", json=body)
        assert answer.status_code == 400
        assert answer.json()["title"] == "Bad Request"
        found = details(answer)
        assert (found["o:errorCode"], found.get("o:errorPath")) == (code, path)
        assert text in found["detail"]

    async def test_an_unknown_field_warns_or_fails_as_the_header_says(
        self, client: httpx.AsyncClient
    ) -> None:
        body = acme(nickname="A")
        header = "X-NetSuite-PropertyNameValidation"
        lenient = await client.post(f"{RECORD}/customer", json=body)
        assert "nickname" in lenient.headers["Warning"]
        silent = await client.post(f"{RECORD}/customer", json=body, headers={header: "Ignore"})
        assert (silent.status_code, "Warning" in silent.headers) == (204, False)
        strict = await client.post(f"{RECORD}/customer", json=body, headers={header: "error"})
        assert details(strict)["o:errorPath"] == "nickname"

    async def test_addresses_verbs_and_media_types_are_checked(
        self, client: httpx.AsyncClient
    ) -> None:
        cases = [
            (await client.get(f"{RECORD}/Customer"), 400, "INVALID_REQUEST"),
            (await client.get(f"{RECORD}/customer/eid:a%20b"), 400, "INVALID_REQUEST"),
            (await client.get(f"{RECORD}/customer/4711"), 404, "NONEXISTENT_ID"),
            (await client.get(f"{RECORD}/invoice/4711"), 400, "USER_ERROR"),
            (await client.delete(f"{RECORD}/customer"), 405, "INVALID_REQUEST"),
            (await client.post(f"{RECORD}/customer", data={"a": "b"}), 415, "INVALID_REQUEST"),
            (await client.post(f"{RECORD}/job/1/!transform/invoice"), 404, "NONEXISTENT_ID"),
            (await client.post(f"{RECORD}/job/1/!attach/file/2"), 400, "INVALID_REQUEST"),
        ]
        for answer, status, code in cases:
            assert (answer.status_code, details(answer)["o:errorCode"]) == (status, code)
        broken = await client.post(
            f"{RECORD}/customer", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert details(broken)["o:errorCode"] == "INVALID_CONTENT"


class TestRules:
    async def test_a_project_needs_a_subsidiary_and_currency_of_its_customer(
        self, client: httpx.AsyncClient
    ) -> None:
        customer = await create(client, "customer", acme(externalId="dt-6"))
        body: Body = {"companyName": "P", "parent": {"externalId": "dt-6"}}
        for name, wanted in (("subsidiary", "3"), ("currency", "2")):
            answer = await client.post(f"{RECORD}/job", json={**body, name: {"id": wanted}})
            assert details(answer)["o:errorPath"] == name
        both: Body = {"entity": {"id": customer}, "subsidiary": {"id": "3"}}
        await create(client, "customerSubsidiaryRelationship", both)
        euro: Body = {"currencyList": {"items": [{"currency": {"id": "2"}}]}}
        await client.patch(f"{RECORD}/customer/{customer}", json=euro)
        job = await create(
            client, "job", {**body, "subsidiary": {"id": "3"}, "currency": {"id": "2"}}
        )
        found = await read(client, f"job/{job}")
        assert str(inner(found, "parent", "refName")).endswith("Acme Ltd")
        assert inner(found, "entityStatus", "id") == "2"

    async def test_a_location_of_another_subsidiary_is_refused(
        self, client: httpx.AsyncClient
    ) -> None:
        body: Body = {"companyName": "P", "subsidiary": {"id": "2"}, "department": {"id": "10"}}
        answer = await client.post(f"{RECORD}/job", json={**body, "location": {"id": "31"}})
        assert details(answer)["o:errorPath"] == "location"
        await create(client, "job", {**body, "location": {"id": "30"}, "class": {"id": "20"}})

    async def test_a_customer_in_use_cannot_be_deleted_but_inactivated(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        customer = await create(client, "customer", acme())
        job = await create(client, "job", {"companyName": "P", "parent": {"id": customer}})
        answer = await client.delete(f"{RECORD}/customer/{customer}")
        assert answer.status_code == 400
        assert details(answer) == {"detail": DEPENDENTS, "o:errorCode": "USER_ERROR"}
        off = await client.patch(f"{RECORD}/customer/{customer}", json={"isInactive": True})
        assert off.status_code == 204
        for path in (f"job/{job}", f"customer/{customer}"):
            assert (await client.delete(f"{RECORD}/{path}")).status_code == 204
        left = [row["type"] for row in await control.records("netsuite") if row["live"]]
        assert "customerSubsidiaryRelationship" not in left

    @pytest.mark.parametrize("kind", ["timeBill", "invoice", "projectTask"])
    async def test_what_a_person_books_on_a_project_makes_it_undeletable(
        self, client: httpx.AsyncClient, control: Control, kind: str
    ) -> None:
        customer = await create(client, "customer", acme())
        job = await create(client, "job", {"companyName": "P", "parent": {"id": customer}})
        fields: dict[str, Body] = {
            "timeBill": {"employee": "55", "customer": job, "hours": "7:30"},
            "invoice": {"entity": job, "item": {"items": [{"item": "410", "rate": 100}]}},
            "projectTask": {"title": "T", "project": job},
        }
        made = await control.put_record("netsuite", "default", kind, fields[kind])
        for path in (f"job/{job}", f"customer/{customer}"):
            answer = await client.delete(f"{RECORD}/{path}")
            assert details(answer)["detail"] == DEPENDENTS
        moved = await client.patch(f"{RECORD}/job/{job}", json={"subsidiary": {"id": "3"}})
        assert moved.status_code == 400
        await control.delete_record("netsuite", "default", kind, made["id"])
        assert (await client.delete(f"{RECORD}/job/{job}")).status_code == 204

    async def test_a_currency_and_subsidiary_in_use_stay_on_the_customer(
        self, client: httpx.AsyncClient
    ) -> None:
        euro: Body = {"items": [{"currency": {"id": "2"}}]}
        customer = await create(client, "customer", acme(currencyList=euro))
        related = await create(
            client,
            "customerSubsidiaryRelationship",
            {"entity": {"id": customer}, "subsidiary": {"id": "3"}, "externalId": "dt-7"},
        )
        job: Body = {"companyName": "P", "parent": {"id": customer}}
        job |= {"subsidiary": {"id": "3"}, "currency": {"id": "2"}}
        number = await create(client, "job", job)
        url = f"{RECORD}/customer/{customer}"
        dollar: Body = {"currencyList": {"items": [{"currency": {"id": "1"}}]}}
        query = {"replace": "currencyList"}
        assert (await client.patch(url, params=query, json=dollar)).status_code == 400
        relation = f"{RECORD}/customerSubsidiaryRelationship"
        assert details(await client.delete(f"{relation}/{related}"))["detail"] == DEPENDENTS
        for name in ("currency", "subsidiary"):
            assert (await client.patch(url, json={name: {"id": "4"}})).status_code == 400
        await client.delete(f"{RECORD}/job/{number}")
        assert (await client.patch(url, params=query, json=dollar)).status_code == 204
        assert (await client.delete(f"{relation}/eid:dt-7")).status_code == 204

    async def test_a_relationship_is_unique_fixed_and_the_primary_one_stays(
        self, client: httpx.AsyncClient
    ) -> None:
        customer = await create(client, "customer", acme())
        body: Body = {"entity": {"id": customer}, "subsidiary": {"id": "3"}}
        url = f"{RECORD}/customerSubsidiaryRelationship"
        first = id_of(await client.put(f"{url}/eid:dt-8", json=body))
        assert id_of(await client.put(f"{url}/eid:dt-8", json=body)) == first
        again = await client.post(url, json=body)
        assert "already exists" in details(again)["detail"]
        moved = await client.patch(f"{url}/{first}", json={"subsidiary": {"id": "4"}})
        assert details(moved)["o:errorPath"] == "subsidiary"
        query = {"q": f"entity EQUAL {customer} AND isPrimarySub IS true"}
        ((primary,),) = [(await client.get(url, params=query)).json()["items"]]
        assert (await client.delete(f"{url}/{primary['id']}")).status_code == 400

    async def test_an_invoice_posts_to_an_open_period_only(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        customer = await create(client, "customer", acme())
        line: Body = {"item": {"id": "410"}, "quantity": 2, "rate": 250.5}
        body: Body = {"entity": {"id": customer}, "item": {"items": [line]}}
        late = await client.post(f"{RECORD}/invoice", json={**body, "tranDate": "2026-06-30"})
        assert "transaction date is not within an open accounting period" in details(late)["detail"]
        number = await create(client, "invoice", {**body, "tranDate": "2026-11-30"})
        found = await read(client, f"invoice/{number}")
        assert (found["total"], inner(found, "status", "id")) == (501.0, "A")
        period = str(inner(found, "postingPeriod", "id"))
        assert inner(found, "postingPeriod", "refName") == "Nov 2026"
        await control.patch_record(
            "netsuite", "default", "accountingPeriod", period, {"arLocked": True}
        )
        assert (await client.delete(f"{RECORD}/invoice/{number}")).status_code == 400

    async def test_the_screen_has_the_same_rules(self, control: Control) -> None:
        with pytest.raises(ControlRefused, match=r"Please enter value\(s\) for: Primary Subsid"):
            await control.put_record("netsuite", "default", "customer", {"companyName": "A"})
        made = await control.put_record(
            "netsuite", "default", "customer", {"companyName": "A", "subsidiary": "2"}, "dt-9"
        )
        assert (made["key"], made["fields"]["currency"]) == ("dt-9", {"id": "1"})
        with pytest.raises(ControlRefused, match="no record type"):
            await control.put_record("netsuite", "default", "contact", {})


class TestFaults:
    async def test_each_answered_kind_has_netsuites_form(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        url = f"{RECORD}/customer/eid:dt-10"
        expected = {
            "reject": (400, "USER_ERROR", 0),
            "fail_before": (500, "UNEXPECTED_ERROR", 0),
            "expire_auth": (401, "INVALID_LOGIN", 0),
            "fail_after": (500, "UNEXPECTED_ERROR", 1),
        }
        for kind, (status, code, live) in expected.items():
            fault = await control.add_fault("netsuite", "default", {"key": "dt-10"}, kind)
            answer = await client.put(url, json=acme())
            assert (answer.status_code, details(answer)["o:errorCode"]) == (status, code)
            rows = await control.records("netsuite", key="dt-10")
            assert len([row for row in rows if row["live"]]) == live
            await control.clear_faults("netsuite", id=fault)

    async def test_a_refusal_can_be_worded_by_the_test(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        options: Body = {"status": 403, "code": "INSUFFICIENT_PERMISSION", "detail": "No."}
        await control.add_fault("netsuite", "default", {"method": "GET"}, "reject", options=options)
        answer = await client.get(f"{RECORD}/customer")
        assert (answer.status_code, details(answer)["detail"]) == (403, "No.")

    async def test_a_rate_limit_says_bad_request_and_no_retry_after(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.add_fault("netsuite", "default", {}, "rate_limit")
        answer = await client.get(f"{RECORD}/customer")
        assert answer.status_code == 429
        assert "Retry-After" not in answer.headers
        assert answer.json() == {
            "type": "https://tools.ietf.org/html/rfc6585#section-4",
            "title": "Bad Request",
            "status": 429,
            "o:errorCode": "USER_ERROR",
            "o:errorDetails": [
                {
                    "detail": "Concurrent request limit exceeded. Request blocked.",
                    "o:errorCode": "CONCURRENCY_LIMIT_EXCEEDED",
                }
            ],
        }

    @pytest.mark.parametrize(("kind", "live"), [("drop_before", 0), ("drop_after", 1)])
    async def test_a_dropped_write_leaves_its_effect_or_not(
        self, client: httpx.AsyncClient, control: Control, kind: str, live: int
    ) -> None:
        await control.add_fault("netsuite", "default", {"key": "dt-11"}, kind)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.put(f"{RECORD}/customer/eid:dt-11", json=acme())
        assert len(await control.records("netsuite", key="dt-11")) == live

    async def test_a_held_write_lands_late(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        fault = await control.add_fault("netsuite", "default", {"key": "dt-12"}, "hold")
        late = asyncio.create_task(client.put(f"{RECORD}/customer/eid:dt-12", json=acme()))
        await control.wait_for_fault("netsuite", "default", fault)
        assert await control.records("netsuite", key="dt-12") == []
        await control.release("netsuite")
        assert (await late).status_code == 204

    async def test_a_fault_on_a_key_meets_the_record_by_its_id_too(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        number = await create(client, "customer", acme(externalId="dt-13"))
        match: Body = {"key": "dt-13", "method": "DELETE"}
        await control.add_fault("netsuite", "default", match, "fail_before")
        assert (await client.delete(f"{RECORD}/customer/{number}")).status_code == 500

    async def test_a_stale_search_misses_what_a_read_finds(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.add_fault("netsuite", "default", {}, "stale_search")
        await create(client, "customer", acme(externalId="dt-14"))
        query = {"q": 'externalId IS "dt-14"'}
        assert (await client.get(f"{RECORD}/customer", params=query)).json()["totalResults"] == 0
        assert (await client.get(f"{RECORD}/customer/eid:dt-14")).status_code == 200
        await control.release("netsuite")
        assert (await client.get(f"{RECORD}/customer", params=query)).json()["totalResults"] == 1


class TestLimits:
    async def test_more_than_fifteen_at_once_are_refused(
        self, stack: SimulatorStack, client: httpx.AsyncClient, control: Control
    ) -> None:
        fault = await control.add_fault("netsuite", "default", {}, "hold", times=15)
        url = f"{RECORD}/customer"
        async with signed(stack) as crowd:
            held = [asyncio.create_task(crowd.get(url)) for _ in range(15)]
            await control.wait_for_fault("netsuite", "default", fault, hits=15)
            assert (await client.get(url)).status_code == 429
            await control.release("netsuite")
            assert {(await task).status_code for task in held} == {200}
        limits = await client.get("/services/rest/system/v1/governanceLimits")
        assert limits.json() == {
            "accountConcurrencyLimit": 15,
            "accountUnallocatedConcurrencyLimit": 15,
            "integrationLimitType": "accountLimit",
        }

    async def test_a_limit_per_minute_can_be_set_and_ends_with_the_minute(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        await control.clock(set="2026-12-01T10:00:00Z", freeze=True)
        change: Body = {"requestsPerMinute": 2}
        await control.patch_record("netsuite", "default", "governance", "1", change)
        statuses = [(await client.get(f"{RECORD}/term")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        await control.clock(advance_seconds=60)
        assert (await client.get(f"{RECORD}/term")).status_code == 200


class TestSeeds:
    async def test_standard_has_the_firm_and_the_customers_it_knows(
        self, client: httpx.AsyncClient, control: Control
    ) -> None:
        made = (await control.seed("standard"))["netsuite"]["customers"]
        assert isinstance(made, dict)
        assert {slug: len(ids) for slug, ids in made.items() if isinstance(ids, list)} == {
            "duplicate-client": 1,
            "ambiguous-client": 2,
            "other-subsidiary": 1,
            "terms-differ": 1,
        }
        alpen = await read(client, f"customer/{inner(made, 'other-subsidiary', 0)}")
        assert (alpen["companyName"], alpen["vatRegNumber"]) == (
            "Alpen Pharma AG",
            "CHE123456788MWST",
        )
        assert "externalId" not in alpen
        assert (inner(alpen, "subsidiary", "id"), inner(alpen, "currency", "id")) == ("3", "2")
        assert inner(alpen, "terms", "refName") == "NET30"
        expected = {
            "subsidiary/4": "Dealthread Demo KK",
            "department/12": "Managed Services",
            "classification/20": "Implementation",
            "location/31": "Berlin",
            "term/4": "NET60",
        }
        for path, name in expected.items():
            assert (await read(client, path))["name"] == name
        assert (await read(client, "currency/4"))["symbol"] == "JPY"

    async def test_bulk_is_quick_and_the_same_every_time(self, control: Control) -> None:
        started = time.perf_counter()
        for account in ("one", "two"):
            await control.seed("bulk", 1000, account=account)
        assert time.perf_counter() - started < 2
        one, two = [
            [(row["type"], row["id"]) for row in await control.records("netsuite", account)]
            for account in ("one", "two")
        ]
        assert one == two
        with pytest.raises(ControlRefused, match="standard, bulk, empty, time"):
            await control.seed("full")

    async def test_accounts_do_not_see_each_other(
        self, stack: SimulatorStack, client: httpx.AsyncClient, control: Control
    ) -> None:
        await create(client, "customer", acme(externalId="dt-15"))
        async with signed(stack, "other") as other:
            assert (await other.get(f"{RECORD}/customer/eid:dt-15")).status_code == 404
        assert await control.records("netsuite", "other", key="dt-15") == []
