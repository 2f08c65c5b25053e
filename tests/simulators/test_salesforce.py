"""The Salesforce simulator on the wire: sign-in, versions, rows, upsert, rules, limits."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.salesforce import VENDOR
from simulators.salesforce.ids import full_id, with_checksum
from tests.simulators.salesforce_org import (
    CLIENT_1,
    DATA,
    DEAL_1,
    NAME,
    TOKEN,
    SignIn,
    assertion,
    create,
    error_of,
    live,
    query,
    read,
    secret_form,
    signing_in,
)


@pytest.fixture(name="stack", scope="module")
async def make_stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as stack:
        yield stack


@pytest.fixture(name="desk", scope="module")
async def make_desk(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as control:
        yield control


@pytest.fixture(name="control")
async def make_control(desk: Control) -> Control:
    await desk.reset()
    return desk


@pytest.fixture(name="sign_in")
async def make_sign_in(stack: SimulatorStack, control: Control) -> AsyncIterator[SignIn]:
    async with signing_in(stack) as sign_in:
        yield sign_in


@pytest.fixture(name="crm")
async def make_crm(sign_in: SignIn) -> httpx.AsyncClient:
    """An organisation without master data."""
    return await sign_in("default")


@pytest.fixture(name="deals")
async def make_deals(control: Control, sign_in: SignIn) -> httpx.AsyncClient:
    """An organisation with the firm's deals."""
    await control.seed("standard")
    return await sign_in("default")


class TestIds:
    def test_the_checksum_tells_which_letters_are_capitals(self) -> None:
        assert with_checksum("001000000000000") == "001000000000000AAA"
        assert with_checksum("001A00000000000") == "001A00000000000IAA"
        assert with_checksum("0015000000Gv7qJ") == "0015000000Gv7qJAAR"

    def test_both_forms_are_accepted_and_a_wrong_checksum_is_not(self) -> None:
        assert full_id(DEAL_1[:15]) == full_id(DEAL_1) == DEAL_1
        assert full_id(DEAL_1[:15] + "AAA") is None
        assert full_id("") is None


class TestSignIn:
    async def test_a_signed_assertion_gets_a_token_and_nothing_that_tells_its_life(
        self, stack: SimulatorStack, crm: httpx.AsyncClient
    ) -> None:
        # simple-salesforce sends exp as text, others five minutes ahead
        for expiry in (str(int(time.time()) + 180), int(time.time()) + 300):
            answer = await crm.post(TOKEN, data=assertion("default", exp=expiry))
            assert answer.status_code == 200
            body = answer.json()
            assert body["instance_url"] == stack.urls[NAME]
            assert body["token_type"] == "Bearer"
            assert not {"expires_in", "refresh_token"} & set(body)
            organization, user = body["id"].split("/")[-2:]
            assert (organization[:3], user[:3]) == ("00D", "005")
            assert "Sforce-Limit-Info" not in answer.headers

    @pytest.mark.parametrize(
        ("claims", "key_of", "error", "text"),
        [
            ({"iss": "3MVG9other"}, None, "invalid_client_id", "client identifier invalid"),
            ({}, "stranger", "invalid_grant", "invalid assertion"),
            ({"aud": "https://example.com"}, None, "invalid_grant", "audience is invalid"),
            ({"exp": 1_000_000}, None, "invalid_grant", "expired authorization code"),
            (
                {"sub": "x@example.com"},
                None,
                "invalid_grant",
                "user hasn't approved this consumer",
            ),
        ],
    )
    async def test_a_wrong_assertion_is_refused_in_the_vendors_words(
        self,
        crm: httpx.AsyncClient,
        claims: dict[str, object],
        key_of: str | None,
        error: str,
        text: str,
    ) -> None:
        answer = await crm.post(TOKEN, data=assertion("default", key_of, **claims))
        assert answer.status_code == 400
        assert answer.json() == {"error": error, "error_description": text}

    async def test_client_credentials_come_as_basic_or_as_form(
        self, crm: httpx.AsyncClient
    ) -> None:
        form = secret_form("default")
        by_form = await crm.post(TOKEN, data=form, headers={"Authorization": ""})
        by_basic = await crm.post(
            TOKEN,
            data={"grant_type": "client_credentials"},
            auth=(form["client_id"], form["client_secret"]),
        )
        assert (by_form.status_code, by_basic.status_code) == (200, 200)
        assert by_form.json()["issued_at"].isdecimal()

    async def test_wrong_secrets_grants_and_hosts_are_refused(self, crm: httpx.AsyncClient) -> None:
        form = secret_form("default")
        wrong = await crm.post(TOKEN, data={**form, "client_secret": "no"})
        assert wrong.json()["error"] == "invalid_client"
        assert (await crm.post(TOKEN, data={**form, "client_id": "no"})).json()[
            "error"
        ] == "invalid_client_id"
        grant = await crm.post(TOKEN, data={"grant_type": "password"})
        assert grant.json()["error"] == "unsupported_grant_type"
        login = await crm.post(TOKEN, data=form, headers={"Host": "login.salesforce.com"})
        assert login.json()["error_description"] == "request not supported on this domain"

    async def test_an_inactive_user_gets_no_token(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        (user,) = await control.records(NAME, type="User")
        await control.patch_record(NAME, "default", "User", user["id"], {"IsActive": False})
        answer = await crm.post(TOKEN, data=assertion("default"))
        assert (answer.status_code, answer.json()["error"]) == (400, "inactive_user")

    async def test_missing_garbage_and_revoked_tokens_are_an_expired_session(
        self, stack: SimulatorStack, crm: httpx.AsyncClient
    ) -> None:
        expired = (401, "INVALID_SESSION_ID", "Session expired or invalid")
        own = crm.headers["Authorization"]
        for header in ("", "Bearer x", "Bearer 00D!AQ.1.2", own + "x"):
            answer = await crm.get(f"{DATA}/limits", headers={"Authorization": header})
            assert error_of(answer) == expired
            assert "Sforce-Limit-Info" not in answer.headers
        revoked = await crm.post(
            "/services/oauth2/revoke", data={"token": own.removeprefix("Bearer ")}
        )
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert error_of(await crm.get(f"{DATA}/limits")) == expired

    async def test_a_token_lives_two_hours_after_its_last_use(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        for _ in range(3):
            await control.clock(advance_seconds=7000)
            assert (await crm.get(f"{DATA}/limits")).status_code == 200
        await control.clock(advance_seconds=7300)
        assert (await crm.get(f"{DATA}/limits")).status_code == 401
        # and the client, whose clock did not move, can sign in anew
        assert (await crm.post(TOKEN, data=assertion("default"))).status_code == 200


class TestVersions:
    async def test_versions_are_public_and_resources_are_listed(
        self, stack: SimulatorStack, crm: httpx.AsyncClient
    ) -> None:
        async with httpx.AsyncClient(base_url=stack.urls[NAME], trust_env=False) as stranger:
            for path in ("/services/data", "/services/data/"):
                versions = (await stranger.get(path)).json()
                assert versions[0]["version"] < versions[-1]["version"] == "68.0"
                assert {
                    "label": "Summer '26",
                    "url": DATA,
                    "version": "67.0",
                } in versions
        for path in (DATA, f"{DATA}/"):
            assert (await crm.get(path)).json()["sobjects"] == f"{DATA}/sobjects"

    async def test_retired_and_unknown_versions_and_paths(self, crm: httpx.AsyncClient) -> None:
        assert error_of(await crm.get("/services/data/v29.0/limits"))[:2] == (
            410,
            "UNSUPPORTED_API_VERSION",
        )
        for path in ("/services/data/v9.0/limits", f"{DATA}/nothing", "/nowhere"):
            assert (await crm.get(path)).status_code == 404
        assert error_of(await crm.put(f"{DATA}/sobjects/Account"))[:2] == (
            405,
            "METHOD_NOT_ALLOWED",
        )

    async def test_the_version_asked_is_the_version_of_links(self, crm: httpx.AsyncClient) -> None:
        body = {"Name": "A"}
        answer = await crm.post("/services/data/v59.0/sobjects/Account/", json=body)
        assert answer.headers["Location"].startswith("/services/data/v59.0/sobjects/Account/001")


class TestRows:
    async def test_create_read_update_and_delete(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        body = {"Name": "Acme", "BillingCountryCode": "DE", "ERP_Key__c": "C-1"}
        made = await crm.post(f"{DATA}/sobjects/Account/", json=body)
        assert made.status_code == 201
        record_id = made.json()["id"]
        assert made.json() == {"id": record_id, "success": True, "errors": []}
        assert made.headers["Location"] == f"{DATA}/sobjects/Account/{record_id}"
        row = await read(crm, "account", record_id[:15])
        assert row["attributes"] == {
            "type": "Account",
            "url": f"{DATA}/sobjects/Account/{record_id}",
        }
        assert (row["Id"], row["BillingCountry"], row["Phone"]) == (record_id, "Germany", None)
        changed = await crm.patch(f"{DATA}/sobjects/Account/{record_id}", json={"Phone": "1"})
        assert (changed.status_code, changed.content) == (204, b"")
        assert (await crm.delete(f"{DATA}/sobjects/Account/{record_id}")).status_code == 204
        again = await crm.delete(f"{DATA}/sobjects/Account/{record_id}")
        assert error_of(again) == (404, "ENTITY_IS_DELETED", "entity is deleted")
        effects = [
            (call["effect"], call["key"])
            for call in await control.calls(NAME)
            if call["effect"] != "none"
        ]
        assert effects == [("create", "C-1"), ("update", "C-1"), ("delete", "C-1")]

    @pytest.mark.parametrize(
        ("fields", "code", "text"),
        [
            ({}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]"),
            ({"Name": " "}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]"),
            ({"Name": "A", "X": 1}, "INVALID_FIELD", "No such column 'X' on sobject of type"),
            ({"Name": "A", "Id": "001"}, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create"),
            ({"Name": "A", "CreatedDate": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE", "CreatedDate"),
            ({"Name": "A" * 256}, "STRING_TOO_LONG", "(max length=255)"),
            ({"Name": 5}, "JSON_PARSER_ERROR", "Cannot deserialize instance of string"),
            (
                {"Name": "A", "CurrencyIsoCode": "XXX"},
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                "bad value for restricted picklist field: XXX",
            ),
            ({"Name": "A", "BillingCountryCode": "ZZ"}, "FIELD_INTEGRITY_EXCEPTION", "country"),
            ({"Name": "A", "Billing_Email__c": "x"}, "INVALID_EMAIL_ADDRESS", "invalid email"),
            ({"Name": "A", "ParentId": "nonsense"}, "MALFORMED_ID", "id value of incorrect type"),
            (
                {"Name": "A", "ParentId": with_checksum("001DX0000009999")},
                "INVALID_CROSS_REFERENCE_KEY",
                "invalid cross reference id",
            ),
            (
                {"Name": "A", "Parent": {"ERP_Key__c": "C-0"}},
                "INVALID_FIELD",
                "Foreign key external ID: C-0 not found for field ERP_Key__c in entity Account",
            ),
        ],
    )
    async def test_wrong_fields_are_refused(
        self,
        control: Control,
        crm: httpx.AsyncClient,
        fields: dict[str, JsonValue],
        code: str,
        text: str,
    ) -> None:
        answer = await crm.post(f"{DATA}/sobjects/Account", json=fields)
        status, found, message = error_of(answer)
        assert (status, found) == (400, code)
        assert text in message
        assert await control.records(NAME, type="Account") == []

    async def test_numbers_and_dates_are_checked(self, deals: httpx.AsyncClient) -> None:
        path = f"{DATA}/sobjects/Opportunity/{DEAL_1}"
        for fields, code in (
            ({"Contract_Amount__c": 1e17}, "NUMBER_OUTSIDE_VALID_RANGE"),
            ({"Contract_Amount__c": "much"}, "JSON_PARSER_ERROR"),
            ({"CloseDate": "2026-02-30"}, "JSON_PARSER_ERROR"),
            ({"CloseDate": None}, "REQUIRED_FIELD_MISSING"),
            ({"IsWon": False}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
            ({"ContactId": None}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ):
            assert error_of(await deals.patch(path, json=fields))[:2] == (400, code)
        assert error_of(await deals.patch(path, content=b"{"))[:2] == (400, "JSON_PARSER_ERROR")
        text = await deals.patch(path, content=b"{}", headers={"Content-Type": "text/plain"})
        assert text.status_code == 415
        fields_of = await deals.get(path, params={"fields": "Id,Nope"})
        assert error_of(fields_of)[:2] == (400, "INVALID_FIELD")
        one = await deals.get(path, params={"fields": "Name"})
        assert set(one.json()) == {"attributes", "Name"}

    async def test_an_unknown_row_and_an_unknown_object(self, crm: httpx.AsyncClient) -> None:
        unknown = with_checksum("006DX0000000077")
        answer = await crm.get(f"{DATA}/sobjects/Opportunity/{unknown}")
        text = f"Provided external ID field does not exist or is not accessible: {unknown}"
        assert error_of(answer) == (404, "NOT_FOUND", text)
        answer = await crm.get(f"{DATA}/sobjects/Nothing/describe")
        assert error_of(answer) == (404, "NOT_FOUND", "The requested resource does not exist")

    async def test_objects_that_only_set_up_makes_are_read_only(
        self, crm: httpx.AsyncClient
    ) -> None:
        answer = await crm.post(f"{DATA}/sobjects/OpportunityStage", json={"MasterLabel": "x"})
        assert error_of(answer)[:2] == (405, "METHOD_NOT_ALLOWED")
        (org,) = await query(crm, "SELECT Id, IsSandbox FROM Organization")
        answer = await crm.delete(f"{DATA}/sobjects/Organization/{org['Id']}")
        assert answer.status_code == 405

    async def test_describe_tells_custom_fields_and_stages(self, crm: httpx.AsyncClient) -> None:
        body = (await crm.get(f"{DATA}/sobjects/Opportunity/describe")).json()
        fields = {field["name"]: field for field in body["fields"]}
        assert fields["ERP_Project_Id__c"]["custom"]
        assert (fields["ERP_Project_Id__c"]["length"], fields["Name"]["length"]) == (255, 120)
        assert not fields["IsWon"]["updateable"]
        assert fields["Ext__c"]["externalId"]
        assert fields["Ext__c"]["unique"]
        assert fields["AccountId"]["referenceTo"] == ["Account"]
        assert "Closed Won" in [entry["value"] for entry in fields["StageName"]["picklistValues"]]
        names = [child["relationshipName"] for child in body["childRelationships"]]
        assert "OpportunityLineItems" in names
        everything = (await crm.get(f"{DATA}/sobjects")).json()["sobjects"]
        assert {"Account", "Contact", "Product2", "User"} <= {row["name"] for row in everything}

    async def test_what_changed_in_a_window(self, control: Control, crm: httpx.AsyncClient) -> None:
        await control.clock(set="2026-06-01T12:00:00Z", freeze=True)
        client = await create(crm, "Account", Name="A")
        gone = await create(crm, "Account", Name="B")
        await crm.delete(f"{DATA}/sobjects/Account/{gone}")
        window = {"start": "2026-06-01T11:00:00Z", "end": "2026-06-01T13:00:00+00:00"}
        found = (await crm.get(f"{DATA}/sobjects/Account/updated/", params=window)).json()
        assert found["ids"] == [client]
        lost = (await crm.get(f"{DATA}/sobjects/Account/deleted/", params=window)).json()
        assert [row["id"] for row in lost["deletedRecords"]] == [gone]


class TestUpsert:
    PATH = f"{DATA}/sobjects/Account/ERP_Key__c/C%2F1"

    async def test_it_creates_once_and_then_updates(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        made = await crm.patch(self.PATH, json={"Name": "Acme"})
        record_id = made.json()["id"]
        ok = {"id": record_id, "success": True, "errors": []}
        assert (made.status_code, made.json()) == (201, {**ok, "created": True})
        again = await crm.patch(self.PATH, json={"Phone": "1"})
        assert (again.status_code, again.json()) == (200, {**ok, "created": False})
        old = await crm.patch(self.PATH.replace("v67", "v45"), json={"Phone": "2"})
        assert (old.status_code, old.content) == (204, b"")
        (row,) = await control.records(NAME, type="Account")
        assert (row["key"], row["fields"]["Phone"]) == ("C/1", "2")
        assert (await crm.get(self.PATH.replace("C%", "c%"))).json()["Id"] == record_id
        assert (await crm.delete(self.PATH)).status_code == 204
        assert (await crm.get(self.PATH)).status_code == 404

    async def test_what_it_refuses(self, crm: httpx.AsyncClient) -> None:
        in_body = await crm.patch(self.PATH, json={"Name": "A", "ERP_Key__c": "C/1"})
        assert error_of(in_body)[:2] == (400, "INVALID_FIELD")
        no_key = await crm.patch(f"{DATA}/sobjects/Account/Phone/1", json={"Name": "A"})
        text = "Provided external ID field does not exist or is not accessible: Phone"
        assert error_of(no_key) == (404, "NOT_FOUND", text)
        only = await crm.patch(f"{self.PATH}?updateOnly=true", json={"Name": "A"})
        assert only.status_code == 404
        assert (await crm.patch(self.PATH, json={})).status_code == 400

    async def test_a_unique_key_is_refused_and_names_the_holder(
        self, crm: httpx.AsyncClient
    ) -> None:
        holder = await create(crm, "Account", Name="A", ERP_Key__c="K")
        answer = await crm.post(f"{DATA}/sobjects/Account", json={"Name": "B", "ERP_Key__c": "k"})
        text = f"duplicate value found: ERP_Key__c duplicates value on record with id: {holder}"
        assert error_of(answer) == (400, "DUPLICATE_VALUE", text)

    async def test_a_key_that_is_not_unique_can_be_held_by_several(
        self, crm: httpx.AsyncClient
    ) -> None:
        ids = [await create(crm, "Account", Name=name, Legacy_Key__c="L") for name in ("A", "B")]
        for method in ("GET", "PATCH", "DELETE"):
            body = {"Phone": "1"} if method == "PATCH" else None
            path = f"{DATA}/sobjects/Account/Legacy_Key__c/L"
            answer = await crm.request(method, path, json=body)
            assert answer.status_code == 300
            assert answer.json() == [f"{DATA}/sobjects/Account/{name}" for name in ids]

    async def test_simultaneous_upserts_make_one_row(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        answers = await asyncio.gather(
            *(crm.patch(self.PATH, json={"Name": "Acme"}) for _ in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
        assert len(await control.records(NAME, type="Account")) == 1


class TestConditions:
    async def test_an_unmodified_since_in_the_past_stops_a_write(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        path = f"{DATA}/sobjects/Opportunity/{DEAL_1}"
        seen = (await deals.get(path)).headers["Last-Modified"]
        await control.clock(advance_seconds=10)
        same = {"If-Modified-Since": seen}
        assert (await deals.get(path, headers=same)).status_code == 304
        guard = {"If-Unmodified-Since": seen}
        body = {"NextStep": "call"}
        assert (await deals.patch(path, json=body, headers=guard)).status_code == 204
        late = await deals.patch(path, json=body, headers=guard)
        assert late.status_code == 412
        assert (await deals.get(path, headers=same)).status_code == 200
        bad = await deals.patch(path, json=body, headers={"If-Unmodified-Since": "yesterday"})
        assert bad.status_code == 400

    async def test_only_accounts_have_tags(self, deals: httpx.AsyncClient) -> None:
        path = f"{DATA}/sobjects/Account/{CLIENT_1}"
        tag = (await deals.get(path)).headers["ETag"]
        assert (await deals.get(path, headers={"If-None-Match": tag})).status_code == 304
        match = {"If-Match": f'"other", {tag}'}
        assert (await deals.patch(path, json={"Phone": "1"}, headers=match)).status_code == 204
        assert (await deals.patch(path, json={"Phone": "2"}, headers=match)).status_code == 412
        deal = f"{DATA}/sobjects/Opportunity/{DEAL_1}"
        assert "ETag" not in (await deals.get(deal)).headers
        wrong = {"If-Match": '"other"'}
        assert (await deals.patch(deal, json={}, headers=wrong)).status_code == 204


class TestRules:
    async def new_deal(self, crm: httpx.AsyncClient, **more: JsonValue) -> str:
        fields: dict[str, JsonValue] = {
            "Name": "D",
            "StageName": "Prospecting",
            "CloseDate": "2026-12-01",
        }
        return await create(crm, "Opportunity", **{**fields, **more})

    async def entry(self, crm: httpx.AsyncClient, code: str, currency: str = "USD") -> str:
        where = f"ProductCode = '{code}' AND CurrencyIsoCode = '{currency}'"
        (row,) = await query(crm, f"SELECT Id FROM PricebookEntry WHERE {where}")
        return str(row["Id"])

    async def test_the_stage_decides_whether_it_is_won(self, deals: httpx.AsyncClient) -> None:
        deal = await self.new_deal(deals, Amount=1000)
        row = await read(deals, "Opportunity", deal)
        assert (row["IsWon"], row["Probability"], row["ExpectedRevenue"]) == (False, 10.0, 100.0)
        path = f"{DATA}/sobjects/Opportunity/{deal}"
        await deals.patch(path, json={"StageName": "Closed Won"})
        row = await read(deals, "Opportunity", deal)
        assert (row["IsWon"], row["IsClosed"], row["Probability"]) == (True, True, 100.0)
        wrong = await deals.patch(path, json={"StageName": "Nearly"})
        assert error_of(wrong)[1] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"

    async def test_lines_sum_up_and_a_written_amount_is_ignored(
        self, deals: httpx.AsyncClient
    ) -> None:
        deal = await self.new_deal(deals)
        line: dict[str, JsonValue] = {
            "OpportunityId": deal,
            "PricebookEntryId": await self.entry(deals, "CONS-TM"),
            "Quantity": 2,
        }
        first = await create(deals, "OpportunityLineItem", **line, UnitPrice=100)
        await create(deals, "OpportunityLineItem", **line, TotalPrice=50)
        path = f"{DATA}/sobjects/Opportunity/{deal}"
        assert (await deals.patch(path, json={"Amount": 7})).status_code == 204
        row = await read(deals, "Opportunity", deal)
        assert (row["Amount"], row["HasOpportunityLineItem"]) == (250.0, True)
        assert row["Pricebook2Id"] is not None
        for fields in ({"Pricebook2Id": None}, {"CurrencyIsoCode": "EUR"}):
            refused = await deals.patch(path, json=fields)
            assert error_of(refused)[1] == "FIELD_INTEGRITY_EXCEPTION"
        shown = await read(deals, "OpportunityLineItem", first)
        assert (shown["ProductCode"], shown["TotalPrice"]) == ("CONS-TM", 200.0)
        await deals.delete(f"{DATA}/sobjects/OpportunityLineItem/{first}")
        assert (await read(deals, "Opportunity", deal))["Amount"] == 50.0

    async def test_what_a_line_must_have(self, deals: httpx.AsyncClient) -> None:
        deal = await self.new_deal(deals)
        usd, eur = [await self.entry(deals, "CONS-TM", money) for money in ("USD", "EUR")]
        line: dict[str, JsonValue] = {"OpportunityId": deal, "Quantity": 1}
        for fields, code in (
            ({"PricebookEntryId": usd}, "REQUIRED_FIELD_MISSING"),
            ({"UnitPrice": 1}, "REQUIRED_FIELD_MISSING"),
            (
                {"PricebookEntryId": usd, "UnitPrice": 1, "TotalPrice": 1},
                "FIELD_INTEGRITY_EXCEPTION",
            ),
            ({"PricebookEntryId": eur, "UnitPrice": 1}, "FIELD_INTEGRITY_EXCEPTION"),
        ):
            answer = await deals.post(
                f"{DATA}/sobjects/OpportunityLineItem", json={**line, **fields}
            )
            assert error_of(answer)[:2] == (400, code)

    async def test_schedules_make_the_price_of_their_line(self, deals: httpx.AsyncClient) -> None:
        deal = await self.new_deal(deals)
        lines = {}
        for code in ("IMPL-FF", "CONS-TM"):
            entry = await self.entry(deals, code)
            lines[code] = await create(
                deals,
                "OpportunityLineItem",
                OpportunityId=deal,
                PricebookEntryId=entry,
                Quantity=1,
                UnitPrice=100,
            )
        row: dict[str, JsonValue] = {
            "Type": "Revenue",
            "ScheduleDate": "2027-01-31",
            "Revenue": 60,
            "OpportunityLineItemId": lines["IMPL-FF"],
        }
        for _ in range(2):
            await create(deals, "OpportunityLineItemSchedule", **row)
        line = await read(deals, "OpportunityLineItem", lines["IMPL-FF"])
        assert (line["HasRevenueSchedule"], line["TotalPrice"]) == (True, 120.0)
        assert (await read(deals, "Opportunity", deal))["Amount"] == 220.0
        path = f"{DATA}/sobjects/OpportunityLineItem/{lines['IMPL-FF']}"
        assert (await deals.patch(path, json={"UnitPrice": 5})).status_code == 400
        other = {**row, "OpportunityLineItemId": lines["CONS-TM"]}
        path = f"{DATA}/sobjects/OpportunityLineItemSchedule"
        assert error_of(await deals.post(path, json=other))[1] == "FIELD_INTEGRITY_EXCEPTION"

    async def test_a_won_customer_and_a_sold_product_stay(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        answer = await deals.delete(f"{DATA}/sobjects/Account/{CLIENT_1}")
        status, code, text = error_of(answer)
        assert (status, code) == (400, "DELETE_FAILED")
        assert "Northwind Robotics – ERP rollout" in text
        (product,) = await query(deals, "SELECT Id FROM Product2 WHERE ProductCode = 'CONS-TM'")
        answer = await deals.delete(f"{DATA}/sobjects/Product2/{product['Id']}")
        assert error_of(answer)[1] == "DELETE_FAILED"
        # a customer without won deals goes, and takes its deals, lines and schedules along
        before = len(live(await control.records(NAME), "OpportunityLineItem"))
        lost = with_checksum("001DT0000000019")
        assert (await deals.delete(f"{DATA}/sobjects/Account/{lost}")).status_code == 204
        rows = await control.records(NAME)
        assert with_checksum("006DT0000000019") not in [r["id"] for r in live(rows, "Opportunity")]
        assert len(live(rows, "OpportunityLineItem")) == before - 1

    async def test_the_duplicate_rule_warns_and_can_be_passed(
        self, deals: httpx.AsyncClient
    ) -> None:
        path, body = f"{DATA}/sobjects/Account", {"Name": "NORTHWIND  robotics!"}
        answer = await deals.post(path, json=body)
        assert error_of(answer) == (400, "DUPLICATES_DETECTED", "Use one of these records?")
        result = answer.json()[0]["duplicateResult"]
        assert result["allowSave"]
        (match,) = result["matchResults"][0]["matchRecords"]
        assert match["record"]["Id"] == CLIENT_1
        header = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
        assert (await deals.post(path, json=body, headers=header)).status_code == 201

    async def test_a_blocking_duplicate_rule_cannot_be_passed(
        self, stack: SimulatorStack, deals: httpx.AsyncClient
    ) -> None:
        stack.world.account(NAME, "default").extra["duplicate_rule"] = "block"
        header = {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
        body = {"Name": "Northwind Robotics"}
        answer = await deals.post(f"{DATA}/sobjects/Account", json=body, headers=header)
        assert not answer.json()[0]["duplicateResult"]["allowSave"]


class TestLimits:
    async def test_every_answer_tells_the_usage(self, crm: httpx.AsyncClient) -> None:
        first = await crm.get(f"{DATA}/limits/")
        assert first.headers["Sforce-Limit-Info"] == "api-usage=1/100000"
        assert first.json()["DailyApiRequests"] == {"Max": 100000, "Remaining": 99999}
        second = await crm.get(f"{DATA}/sobjects/Account/x")
        assert second.headers["Sforce-Limit-Info"] == "api-usage=2/100000"

    async def test_the_daily_limit_is_a_403_until_the_window_rolls(
        self, stack: SimulatorStack, control: Control, crm: httpx.AsyncClient
    ) -> None:
        stack.world.account(NAME, "default").extra.update(
            {"api_requests_max": 1, "session_seconds": 200_000}
        )
        assert (await crm.get(f"{DATA}/limits")).status_code == 200
        answer = await crm.get(f"{DATA}/limits")
        assert error_of(answer) == (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        )
        assert "Retry-After" not in answer.headers
        await control.clock(advance_seconds=25 * 3600)
        assert (await crm.get(f"{DATA}/limits")).status_code == 200

    async def test_too_many_at_once_are_refused(
        self, stack: SimulatorStack, control: Control, crm: httpx.AsyncClient
    ) -> None:
        stack.world.account(NAME, "default").extra["concurrent_requests_max"] = 1
        fault = await control.add_fault(NAME, "default", {"path": "/query"}, "hold")
        text = "SELECT COUNT() FROM Account"
        held = asyncio.create_task(crm.get(f"{DATA}/query", params={"q": text}))
        await control.wait_for_fault(NAME, "default", fault)
        answer = await crm.get(f"{DATA}/limits")
        assert error_of(answer)[2] == "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
        await control.release(NAME)
        assert (await held).json()["totalSize"] == 0
