"""The Salesforce simulator on the wire: SOQL, composites, faults, seeds, messages."""

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pytest
from aiohttp import web
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.salesforce import VENDOR
from simulators.salesforce.ids import with_checksum
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


class TestSoql:
    async def ids(self, crm: httpx.AsyncClient, where: str) -> list[int]:
        rows = await query(crm, f"SELECT Id FROM Opportunity WHERE {where} ORDER BY Id")
        return [int(str(row["Id"])[12:15]) for row in rows]

    async def test_parents_and_children_in_one_read(self, deals: httpx.AsyncClient) -> None:
        (row,) = await query(
            deals,
            "SELECT Id, Account.Id, Account.Name, Account.Parent.Name, Owner.Email,"
            " (SELECT ProductCode, TotalPrice, PricebookEntry.Product2.Family"
            " FROM OpportunityLineItems WHERE Quantity = 1 ORDER BY TotalPrice DESC LIMIT 1),"
            " (SELECT Id FROM OpportunityContactRoles)"
            " FROM Opportunity WHERE Seed_Slug__c = 'MIXED-JP'",
        )
        account = row["Account"]
        assert isinstance(account, dict)
        assert account["attributes"]["url"] == f"{DATA}/sobjects/Account/{account['Id']}"
        assert (account["Name"], account["Parent"]) == ("Sakura Denki", None)
        lines = row["OpportunityLineItems"]
        assert isinstance(lines, dict)
        assert (lines["totalSize"], lines["done"]) == (1, True)
        (line,) = lines["records"]
        assert (line["ProductCode"], line["TotalPrice"]) == ("CONS-TM", 12_000_000.0)
        assert line["PricebookEntry"]["Product2"]["Family"] == "Consulting"
        # nothing below is null, not an empty list
        assert row["OpportunityContactRoles"] is None

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ("Seed_Slug__c IN ('tm-us', 'no-end')", [1, 18]),
            ("Id = '006DT0000000002'", [2]),
            ("Id IN ('006DT0000000002YAA') AND IsWon = true", [2]),
            ("IsWon = false OR (Amount > 2000000 AND NOT CurrencyIsoCode = 'JPY')", [19, 23]),
            ("Name LIKE '%phase%' OR Name LIKE 'NORTHWIND%'", [1, 22]),
            ("Seed_Slug__c LIKE 'not_won'", [19]),
            ("Seed_Slug__c LIKE 'not\\_won'", []),
            ("Contract_Signed_Date__c = null", [11, 20]),
            ("Contract_Signed_Date__c != null AND Contract_End__c = NULL", [18]),
            ("Signature_Waiver_Until__c >= 2027-01-31", [20]),
            ("Signature_Waiver_Until__c > 2027-01-31", []),
            ("CreatedDate = TODAY AND Amount < 0", [15]),
            ("CreatedDate < 2026-01-01T00:00:00Z", []),
            ("CloseDate = THIS_YEAR AND Account.BillingCountryCode = 'EE'", [9]),
            (
                "CreatedDate = LAST_N_DAYS:1 AND Id NOT IN ('006DT0000000003') AND Amount=60000",
                [12],
            ),
            ("Account.Name = 'Albion Foods'", [3]),
            ("Id IN (SELECT OpportunityId FROM OpportunityLineItem WHERE Quantity > 1)", [4]),
            ("AccountId = '001DT0000000001' AND Payment_Terms__c <> 'NET60'", [1, 22]),
        ],
    )
    async def test_conditions(
        self, control: Control, sign_in: SignIn, where: str, expected: list[int]
    ) -> None:
        await control.clock(set="2026-11-20T12:00:00Z")
        await control.seed("standard")
        assert await self.ids(await sign_in("default"), where) == expected

    async def test_order_limit_offset_and_counts(self, deals: httpx.AsyncClient) -> None:
        text = "select Id, Amount from Opportunity order by Amount desc nulls last limit 2 offset 1"
        rows = await query(deals, text)
        assert [row["Amount"] for row in rows] == [2_500_000.0, 300_000.0 + 150_000.0]
        text = "SELECT Seed_Slug__c FROM Opportunity ORDER BY Signature_Waiver_Until__c"
        (row,) = await query(deals, f"{text} NULLS LAST LIMIT 1")
        assert row["Seed_Slug__c"] == "waiver"
        text = "SELECT Name FROM Account WHERE Tax_Id__c = null OR Tax_Id__c LIKE 'EE%'"
        rows = await query(deals, f"{text} ORDER BY Tax_Id__c")
        assert [row["Name"] for row in rows] == ["Meridian Group", "Baltic Timber"]
        answer = await deals.get(f"{DATA}/query", params={"q": "SELECT COUNT() FROM Opportunity"})
        assert answer.json() == {"totalSize": 23, "done": True, "records": []}
        (row,) = await query(deals, "SELECT COUNT(Id), COUNT(Tax_Id__c) taxed FROM Account")
        assert row == {"attributes": {"type": "AggregateResult"}, "expr0": 22, "taxed": 21}

    async def test_text_with_quotes_and_any_script_is_found(self, crm: httpx.AsyncClient) -> None:
        name = "O'Neill \\ שלום 🚀"
        await create(crm, "Account", Name=name)
        escaped = name.replace("\\", "\\\\").replace("'", "\\'")
        (row,) = await query(crm, f"SELECT Name FROM Account WHERE Name = '{escaped}'")
        assert row["Name"] == name

    async def test_deleted_rows_are_in_query_all_only(self, crm: httpx.AsyncClient) -> None:
        gone = await create(crm, "Account", Name="A")
        await crm.delete(f"{DATA}/sobjects/Account/{gone}")
        text = "SELECT Id FROM Account WHERE IsDeleted = true"
        assert await query(crm, text) == []
        assert [row["Id"] for row in await query(crm, text, "queryAll")] == [gone]

    @pytest.mark.parametrize(
        ("text", "code", "message"),
        [
            ("SELECT Id FRM Account", "MALFORMED_QUERY", "ERROR at Row:1:Column:11"),
            ("SELECT Id FROM Account WHERE", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
            ("SELECT Id FROM Account WHERE Name = 'x", "MALFORMED_QUERY", "unexpected token"),
            ("SELECT Id FROM Account WHERE Id='' AND Id='' OR Id=''", "MALFORMED_QUERY", "'OR'"),
            ("SELECT Id, Id FROM Account", "MALFORMED_QUERY", "duplicate field selected: Id"),
            ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY", "LIMIT"),
            ("SELECT Name, COUNT(Id) FROM Account", "MALFORMED_QUERY", "grouped or aggregated"),
            ("SELECT Nope FROM Account", "INVALID_FIELD", "No such column 'Nope' on entity"),
            ("SELECT Nope.Id FROM Account", "INVALID_FIELD", "Didn't understand relationship"),
            ("SELECT Id FROM Nope__c", "INVALID_TYPE", "sObject type 'Nope__c' is not supported"),
            (
                "SELECT Id, (SELECT Id FROM Nope) FROM Account",
                "INVALID_TYPE",
                "relationship 'Nope'",
            ),
            ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD", "be enclosed in quotes"),
            (
                "SELECT Id FROM Opportunity WHERE CloseDate = '2026-01-01'",
                "INVALID_FIELD",
                "must be of type date and should not be enclosed in quotes",
            ),
            (
                "SELECT Id FROM Opportunity WHERE CreatedDate > 2026-01-01",
                "INVALID_FIELD",
                "must be of type dateTime",
            ),
            (
                "SELECT Id FROM Account WHERE Description = 'x'",
                "INVALID_FIELD",
                "can not be filtered",
            ),
            (
                "SELECT Id FROM Account WHERE Id = 'x'",
                "INVALID_QUERY_FILTER_OPERATOR",
                "invalid ID field: x",
            ),
            (
                "SELECT Id FROM Account WHERE Id LIKE '001%'",
                "INVALID_QUERY_FILTER_OPERATOR",
                "invalid operator",
            ),
            ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
            ("", "MALFORMED_QUERY", "query string"),
        ],
    )
    async def test_wrong_queries_are_refused(
        self, crm: httpx.AsyncClient, text: str, code: str, message: str
    ) -> None:
        status, found, said = error_of(await crm.get(f"{DATA}/query/", params={"q": text}))
        assert (status, found) == (400, code)
        assert message in said

    async def test_pages_follow_a_snapshot_for_two_days(
        self, control: Control, sign_in: SignIn, stack: SimulatorStack
    ) -> None:
        await control.seed("bulk", count=450)
        stack.world.account(NAME, "default").extra["session_seconds"] = 1_000_000
        crm = await sign_in("default")
        ask = {"q": "SELECT Id FROM Opportunity"}
        header = {"Sforce-Query-Options": "batchSize=200"}
        page = (await crm.get(f"{DATA}/query", params=ask, headers=header)).json()
        assert (page["totalSize"], page["done"], len(page["records"])) == (450, False, 200)
        first = page["nextRecordsUrl"]
        assert first.startswith(f"{DATA}/query/01g")
        assert first.endswith("-200")
        seen = [row["Id"] for row in page["records"]]
        later = with_checksum("006DB0000000450")
        await crm.delete(f"{DATA}/sobjects/Opportunity/{later}")
        while not page["done"]:
            page = (await crm.get(page["nextRecordsUrl"])).json()
            seen += [row["Id"] for row in page["records"]]
        assert "nextRecordsUrl" not in page
        assert len(set(seen)) == 450
        await control.clock(advance_seconds=2 * 86400 + 60)
        for path in (first, f"{DATA}/query/01gXX0000000000-200"):
            assert error_of(await crm.get(path))[:2] == (400, "INVALID_QUERY_LOCATOR")


class TestComposite:
    DEAL = f"{DATA}/sobjects/Opportunity/{DEAL_1}"
    UPSERT = f"{DATA}/sobjects/Account/ERP_Key__c/C-1"

    async def send(
        self, crm: httpx.AsyncClient, *parts: dict[str, JsonValue], whole: bool
    ) -> list[tuple[int, JsonValue]]:
        body = {"allOrNone": whole, "compositeRequest": list(parts)}
        answer = await crm.post(f"{DATA}/composite/", json=body)
        assert answer.status_code == 200, answer.text
        return [(p["httpStatusCode"], p["body"]) for p in answer.json()["compositeResponse"]]

    async def test_parts_refer_to_earlier_ones_and_hold_together(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        ask = quote("SELECT Id FROM Product2 WHERE ProductCode = 'CONS-TM'")
        answers = await self.send(
            deals,
            {
                "method": "PATCH",
                "url": self.UPSERT,
                "referenceId": "acc",
                "body": {"Name": "Acme"},
            },
            {
                "method": "PATCH",
                "url": self.DEAL,
                "referenceId": "opp",
                "body": {"AccountId": "@{acc.id}"},
            },
            {"method": "GET", "url": f"{DATA}/query?q={ask}", "referenceId": "found"},
            {
                "method": "GET",
                "url": f"{DATA}/sobjects/Product2/@{{found.records[0].Id}}?fields=Name",
                "referenceId": "product",
            },
            whole=True,
        )
        assert [status for status, _ in answers] == [201, 204, 200, 200]
        assert answers[1][1] is None
        made = answers[0][1]
        assert isinstance(made, dict)
        assert (await read(deals, "Opportunity", DEAL_1))["AccountId"] == made["id"]
        call = (await control.calls(NAME))[-2]
        assert [effect["effect"] for effect in call["effects"]] == ["create", "update"]

    async def test_one_failing_part_takes_all_back(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        before = await control.records(NAME)
        parts: list[dict[str, JsonValue]] = [
            {
                "method": "PATCH",
                "url": self.UPSERT,
                "referenceId": "acc",
                "body": {"Name": "Acme"},
            },
            {"method": "PATCH", "url": self.DEAL, "referenceId": "bad", "body": {"Nope": 1}},
            {"method": "GET", "url": self.DEAL, "referenceId": "last"},
        ]
        answers = await self.send(deals, *parts, whole=True)
        assert [status for status, _ in answers] == [400, 400, 400]
        codes = [body[0]["errorCode"] for _, body in answers if isinstance(body, list)]  # type: ignore[call-overload, index]
        assert codes == ["PROCESSING_HALTED", "INVALID_FIELD", "PROCESSING_HALTED"]
        assert await control.records(NAME) == before
        assert (await control.calls(NAME))[-1]["effects"] == []
        answers = await self.send(deals, *parts, whole=False)
        assert [status for status, _ in answers] == [201, 400, 200]

    async def test_what_depends_on_a_failed_part_is_halted(self, deals: httpx.AsyncClient) -> None:
        answers = await self.send(
            deals,
            {
                "method": "POST",
                "url": f"{DATA}/sobjects/Account",
                "referenceId": "acc",
                "body": {},
            },
            {
                "method": "PATCH",
                "url": self.DEAL,
                "referenceId": "opp",
                "body": {"AccountId": "@{acc.id}"},
            },
            {
                "method": "PATCH",
                "url": self.DEAL,
                "referenceId": "lost",
                "body": {"AccountId": "@{nobody.id}"},
            },
            whole=False,
        )
        codes = [body[0]["errorCode"] for _, body in answers if isinstance(body, list)]  # type: ignore[call-overload, index]
        assert codes == ["REQUIRED_FIELD_MISSING", "PROCESSING_HALTED", "INVALID_API_INPUT"]

    @pytest.mark.parametrize(
        "parts",
        [
            [{"method": "GET", "url": "/services/data/v67.0/limits", "referenceId": "1a"}],
            [{"method": "GET", "url": "https://example.com/", "referenceId": "a"}],
            [{"method": "GET", "url": "/services/data/v67.0/limits", "referenceId": "a"}] * 2,
            [
                {"method": "GET", "url": "/services/data/v67.0/limits", "referenceId": f"a{n}"}
                for n in range(26)
            ],
            [
                {"method": "GET", "url": "/services/data/v67.0/query?q=x", "referenceId": f"a{n}"}
                for n in range(6)
            ],
        ],
    )
    async def test_a_malformed_envelope_is_a_400(
        self, crm: httpx.AsyncClient, parts: list[dict[str, str]]
    ) -> None:
        answer = await crm.post(f"{DATA}/composite", json={"compositeRequest": parts})
        assert error_of(answer)[:2] == (400, "INVALID_API_INPUT")

    async def test_batch_parts_are_independent_until_told_to_halt(
        self, deals: httpx.AsyncClient
    ) -> None:
        rows: list[JsonValue] = [
            {"method": "PATCH", "url": f"v67.0/sobjects/Opportunity/{DEAL_1}", "richInput": {}},
            {"method": "GET", "url": "v67.0/nothing"},
            {"method": "GET", "url": "v67.0/limits"},
        ]
        for halts, last in ((False, 200), (True, 412)):
            body = {"batchRequests": rows, "haltOnError": halts}
            answer = (await deals.post(f"{DATA}/composite/batch", json=body)).json()
            assert answer["hasErrors"]
            assert [row["statusCode"] for row in answer["results"]] == [204, 404, last]

    async def test_each_graph_holds_or_falls_alone(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        graphs = [
            {
                "graphId": name,
                "compositeRequest": [
                    {
                        "method": "POST",
                        "url": f"{DATA}/sobjects/Account",
                        "referenceId": f"r{n}",
                        "body": body,
                    }
                    for n, body in enumerate(bodies)
                ],
            }
            for name, bodies in (("g1", [{"Name": "A"}]), ("g2", [{"Name": "B"}, {}]))
        ]
        answer = await crm.post(f"{DATA}/composite/graph", json={"graphs": graphs})
        assert [g["isSuccessful"] for g in answer.json()["graphs"]] == [True, False]
        names = [row["fields"]["Name"] for row in await control.records(NAME, type="Account")]
        assert names == ["A"]


class TestCollections:
    PATH = f"{DATA}/composite/sobjects"

    def rows(self, *names: str | None) -> list[dict[str, JsonValue]]:
        return [
            {"attributes": {"type": "Account"}, **({"Name": name} if name else {})}
            for name in names
        ]

    async def test_each_row_has_its_result(self, control: Control, crm: httpx.AsyncClient) -> None:
        body = {"allOrNone": False, "records": self.rows("A", None, "C")}
        answer = await crm.post(self.PATH, json=body)
        assert answer.status_code == 200
        good, bad, last = answer.json()
        assert (good["success"], last["success"]) == (True, True)
        assert bad == {
            "success": False,
            "errors": [
                {
                    "statusCode": "REQUIRED_FIELD_MISSING",
                    "message": "Required fields are missing: [Name]",
                    "fields": ["Name"],
                }
            ],
        }
        changes = [
            {"attributes": {"type": "Account"}, "id": good["id"], "Phone": "1"},
            {"attributes": {"type": "Account"}, "Phone": "1"},
        ]
        answer = await crm.patch(self.PATH, json={"records": changes})
        assert [row["success"] for row in answer.json()] == [True, False]
        assert answer.json()[1]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
        names = {"ids": f"{good['id']},{with_checksum('001DX0000009999')}", "fields": "Phone"}
        found = (await crm.get(f"{self.PATH}/Account", params=names)).json()
        assert (found[0]["Phone"], found[1]) == ("1", None)

    async def test_all_or_none_takes_the_innocent_rows_back(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        body = {"allOrNone": True, "records": self.rows("A", None)}
        answer = await crm.post(self.PATH, json=body)
        codes = [row["errors"][0]["statusCode"] for row in answer.json()]
        assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
        assert await control.records(NAME, type="Account") == []
        made = (await crm.post(self.PATH, json={"records": self.rows("A", "B")})).json()
        ids = [row["id"] for row in made]
        names = {"ids": ",".join([*ids, with_checksum("001DX0000009999")]), "allOrNone": "true"}
        answer = await crm.delete(self.PATH, params=names)
        assert [row["success"] for row in answer.json()] == [False] * 3
        assert len(live(await control.records(NAME), "Account")) == 2
        names["allOrNone"] = "false"
        answer = await crm.delete(self.PATH, params=names)
        assert [row["success"] for row in answer.json()] == [True, True, False]

    async def test_upsert_by_external_id(self, crm: httpx.AsyncClient) -> None:
        path = f"{self.PATH}/Account/ERP_Key__c"
        records = [{**row, "ERP_Key__c": f"K{n}"} for n, row in enumerate(self.rows("A", "B"))]
        for created in (True, False):
            answer = await crm.patch(path, json={"allOrNone": True, "records": records})
            assert [row["created"] for row in answer.json()] == [created, created]

    async def test_two_hundred_rows_are_the_most(self, crm: httpx.AsyncClient) -> None:
        body = {"records": self.rows(*(f"A{n}" for n in range(201)))}
        assert error_of(await crm.post(self.PATH, json=body))[:2] == (400, "EXCEEDED_ID_LIMIT")
        kinds = ["Account", "Contact"] * 6
        rows = [{"attributes": {"type": kind}} for kind in kinds]
        answer = await crm.post(self.PATH, json={"records": rows})
        assert error_of(answer)[:2] == (400, "EXCEEDED_MAX_TYPES_LIMIT")


class TestFaults:
    PATH = f"{DATA}/sobjects/Opportunity/{DEAL_1}"

    @pytest.mark.parametrize(
        ("kind", "options", "expected", "changed"),
        [
            ("reject", {}, (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION"), False),
            ("reject", {"errorCode": "ENTITY_IS_LOCKED"}, (400, "ENTITY_IS_LOCKED"), False),
            ("reject", {"errorCode": "UNABLE_TO_LOCK_ROW"}, (400, "UNABLE_TO_LOCK_ROW"), False),
            ("fail_before", {}, (503, "SERVER_UNAVAILABLE"), False),
            ("fail_after", {}, (500, "UNKNOWN_EXCEPTION"), True),
            ("rate_limit", {}, (403, "REQUEST_LIMIT_EXCEEDED"), False),
            ("expire_auth", {}, (401, "INVALID_SESSION_ID"), False),
        ],
    )
    async def test_each_kind_has_the_vendors_form(
        self,
        control: Control,
        deals: httpx.AsyncClient,
        kind: str,
        options: dict[str, JsonValue],
        expected: tuple[int, str],
        changed: bool,
    ) -> None:
        match: dict[str, JsonValue] = {"method": "PATCH", "key": DEAL_1}
        await control.add_fault(NAME, "default", match, kind, options=options)
        answer = await deals.patch(self.PATH, json={"ERP_Customer_Id__c": "9"})
        assert error_of(answer)[:2] == expected
        if options.get("errorCode") == "UNABLE_TO_LOCK_ROW":
            assert answer.json()[0]["message"].endswith(f"or 1 records: {DEAL_1}")
        (row,) = [row for row in await control.records(NAME) if row["id"] == DEAL_1]
        assert (row["fields"].get("ERP_Customer_Id__c") == "9") is changed
        after = 401 if kind == "expire_auth" else 204
        again = await deals.patch(self.PATH, json={"ERP_Customer_Id__c": "9"})
        assert again.status_code == after

    async def test_drops_and_pages_of_maintenance(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        for kind, value in (("drop_before", None), ("drop_after", "9")):
            await control.add_fault(NAME, "default", {"method": "PATCH"}, kind)
            with pytest.raises(httpx.RemoteProtocolError):
                await deals.patch(self.PATH, json={"ERP_Customer_Id__c": "9"})
            row = await read(deals, "Opportunity", DEAL_1)
            assert row["ERP_Customer_Id__c"] == value
        await control.add_fault(
            NAME, "default", {"method": "GET"}, "fail_before", options={"html": True}
        )
        page = await deals.get(self.PATH)
        assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html")

    async def test_a_stale_search_misses_what_a_read_shows(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {}, "stale_search", type="Account")
        made = await create(crm, "Account", Name="A", ERP_Key__c="K")
        text = "SELECT Id FROM Account WHERE ERP_Key__c = 'K'"
        assert await query(crm, text) == []
        assert (await read(crm, "Account", made))["Name"] == "A"
        await control.release(NAME)
        assert len(await query(crm, text)) == 1

    async def test_sign_ins_meet_faults_in_their_own_form(
        self, control: Control, crm: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {"path": "token"}, "rate_limit")
        answer = await crm.post(TOKEN, data=assertion("default"))
        assert (answer.status_code, answer.json()["error"]) == (400, "rate_limit_exceeded")

    async def test_a_rejection_in_a_composite_stands_in_its_part(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        await control.add_fault(NAME, "default", {"path": "composite$", "key": DEAL_1}, "reject")
        parts = [
            {"method": "GET", "url": self.PATH, "referenceId": "old"},
            {"method": "PATCH", "url": self.PATH, "referenceId": "new", "body": {}},
        ]
        body = {"allOrNone": True, "compositeRequest": parts}
        answer = await deals.post(f"{DATA}/composite", json=body)
        assert answer.status_code == 200
        codes = [part["body"][0]["errorCode"] for part in answer.json()["compositeResponse"]]
        assert codes == ["PROCESSING_HALTED", "FIELD_CUSTOM_VALIDATION_EXCEPTION"]


class TestAccounts:
    async def test_they_share_nothing(self, control: Control, sign_in: SignIn) -> None:
        one, two = await sign_in("one"), await sign_in("two")
        made = await create(one, "Account", Name="A", ERP_Key__c="K")
        assert (await two.get(f"{DATA}/sobjects/Account/{made}")).status_code == 404
        assert await create(two, "Account", Name="A", ERP_Key__c="K") == made
        assert await control.records(NAME, "default", type="Account") == []
        organizations = {
            str((await query(crm, "SELECT Id FROM Organization"))[0]["Id"]) for crm in (one, two)
        }
        assert len(organizations) == 2
        keys = {VENDOR.credentials(name)["private_key"] for name in ("one", "two")}
        assert len(keys) == 2

    async def test_a_reset_ends_sessions(self, control: Control, crm: httpx.AsyncClient) -> None:
        await control.reset("default")
        assert (await crm.get(f"{DATA}/limits")).status_code == 401


class TestSeeds:
    async def test_the_standard_deals_are_as_the_firm_has_them(
        self, deals: httpx.AsyncClient
    ) -> None:
        rows = await query(
            deals,
            "SELECT Id, Seed_Slug__c, IsWon, Amount, Contract_Amount__c, AccountId,"
            " (SELECT TotalPrice, Legal_Entity__c FROM OpportunityLineItems)"
            " FROM Opportunity ORDER BY Id",
        )
        assert [str(row["Id"])[12:15] for row in rows] == [f"{n:03}" for n in range(1, 24)]
        by_slug = {row["Seed_Slug__c"]: row for row in rows}
        for row in rows:
            lines = row["OpportunityLineItems"]
            assert isinstance(lines, dict)
            total = sum(Decimal(str(line["TotalPrice"])) for line in lines["records"])
            assert total == Decimal(str(row["Amount"]))
            mismatch = row["Seed_Slug__c"] == "amount-mismatch"
            assert (row["Amount"] == row["Contract_Amount__c"]) is not mismatch
            assert row["IsWon"] is (row["Seed_Slug__c"] != "not-won")
        assert by_slug["second-deal"]["AccountId"] == by_slug["tm-us"]["AccountId"] == CLIENT_1

    async def test_what_makes_each_special_deal_special(self, deals: httpx.AsyncClient) -> None:
        rows = await query(deals, "SELECT FIELDS(ALL) FROM Opportunity LIMIT 200")
        deal = {str(row["Seed_Slug__c"]): row for row in rows}
        assert deal["tm-us"]["Project_Manager_Email__c"] == "maya.chen@example.com"
        assert deal["terms-differ"]["Payment_Terms__c"] == "NET60"
        assert deal["missing-mapping"]["Delivery_Template__c"] == "quantum"
        assert deal["unsigned"]["Contract_Signed_Date__c"] is None
        assert deal["change-order"]["Deal_Kind__c"] == "Change Order"
        assert deal["incomplete"]["Contract_Start__c"] is None
        assert deal["bad-currency"]["CurrencyIsoCode"] == "EUX"
        assert deal["negative-amount"]["Amount"] == -5000.0
        assert len(str(deal["long-name"]["Name"])) == 10_000
        assert deal["no-end"]["Contract_End__c"] is None
        assert deal["waiver"]["Signature_Waiver_Until__c"] == "2027-01-31"
        assert deal["high-value"]["Amount"] == 2_500_000.0

    async def test_milestones_are_schedules(self, deals: httpx.AsyncClient) -> None:
        rows = await query(
            deals,
            "SELECT Revenue FROM OpportunityLineItemSchedule WHERE Type = 'Revenue' AND"
            f" OpportunityLineItem.OpportunityId = '{with_checksum('006DT0000000002')}'"
            " ORDER BY ScheduleDate",
        )
        assert [row["Revenue"] for row in rows] == [75_000.0, 100_000.0, 75_000.0]

    async def test_a_thousand_deals_take_about_a_second(
        self, control: Control, sign_in: SignIn
    ) -> None:
        started = time.perf_counter()
        made = await control.seed("bulk", count=1000)
        assert time.perf_counter() - started < 3
        ids = made[NAME]["deals"]
        assert isinstance(ids, dict)
        assert ids["bulk-0001"] == with_checksum("006DB0000000001")
        crm = await sign_in("default")
        answer = await crm.get(f"{DATA}/query", params={"q": "SELECT COUNT() FROM Opportunity"})
        assert answer.json()["totalSize"] == 1000

    async def test_empty_has_master_data_only_and_unknown_ones_are_named(
        self, control: Control, sign_in: SignIn
    ) -> None:
        await control.seed("empty")
        crm = await sign_in("default")
        rows = await query(crm, "SELECT ProductCode FROM Product2")
        codes = [str(row["ProductCode"]) for row in rows]
        assert codes == ["CONS-TM", "IMPL-FF", "ADV-RET", "MSP-MON", "OUT-FEE"]
        assert await query(crm, "SELECT Id FROM Opportunity") == []
        with pytest.raises(ControlRefused, match="standard, bulk, empty"):
            await control.seed("full")


class TestScreen:
    async def test_people_meet_the_same_rules(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        deal = with_checksum("006DT0000000019")
        won: dict[str, JsonValue] = {"StageName": "Closed Won"}
        row = await control.patch_record(NAME, "default", "Opportunity", deal, won)
        assert row["fields"]["IsWon"] is True
        with pytest.raises(ControlRefused, match="DELETE_FAILED"):
            await control.delete_record(NAME, "default", "Account", CLIENT_1)
        name: dict[str, JsonValue] = {"Name": "Northwind Robotics"}
        made = await control.put_record(NAME, "default", "Account", name, key="K")
        assert (made["key"], made["fields"]["ERP_Key__c"]) == ("K", "K")


class TestOutboundMessages:
    ACK = (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        '<soapenv:Body><notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
        "<Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>"
    )

    async def test_they_are_sent_until_acknowledged_and_twice_on_demand(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        bodies: list[str] = []

        async def listen(request: web.Request) -> web.Response:
            bodies.append(await request.text())
            assert request.content_type == "text/xml"
            return web.Response(text=self.ACK if len(bodies) > 1 else "busy")

        app = web.Application()
        app.router.add_post("/hook", listen)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
            wish: dict[str, JsonValue] = {"url": url, "ids": [DEAL_1], "retry_seconds": 0}
            told = await control.emit(NAME, "default", {**wish, "times": 2})
        finally:
            await runner.cleanup()
        assert (told["messages"], told["acknowledged"], told["attempts"]) == (2, 2, 3)
        assert len(set(bodies)) == 1
        root = ElementTree.fromstring(bodies[0])
        soap = "{http://soap.sforce.com/2005/09/outbound}"
        fields = "{urn:sobject.enterprise.soap.sforce.com}"
        assert [entry.text for entry in root.iter(f"{fields}Id")] == [DEAL_1]
        assert [entry.text for entry in root.iter(f"{fields}StageName")] == ["Closed Won"]
        (notification,) = root.iter(f"{soap}Notification")
        assert notification.findtext(f"{soap}Id") == told["notification_ids"][0]  # type: ignore[index]

    async def test_unknown_deals_are_named(
        self, control: Control, deals: httpx.AsyncClient
    ) -> None:
        with pytest.raises(ControlRefused, match="no opportunity 'x'"):
            await control.emit(NAME, "default", {"url": "http://127.0.0.1:1/", "ids": ["x"]})
