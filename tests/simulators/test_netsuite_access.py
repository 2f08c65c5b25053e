"""The NetSuite simulator on the wire: sign-in, searches, SuiteQL, jobs, metadata (vendor page)."""

import time
from collections.abc import AsyncIterator

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.netsuite import VENDOR
from simulators.netsuite.record_types import RECORD_TYPES
from tests.simulators.netsuite_account import (
    LOGIN_TEXT,
    RECORD,
    SUITEQL,
    TOKEN,
    Body,
    acme,
    assertion,
    details,
    id_of,
    signed,
    token_form,
)

Rows = list[dict[str, JsonValue]]


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


@pytest.fixture(name="bare")
async def make_bare(stack: SimulatorStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.urls["netsuite"]) as client:
        yield client


class TestSignatures:
    @pytest.mark.parametrize(
        "override",
        [
            {"consumer_secret": "wrong"},
            {"token_secret": "wrong"},
            {"token_id": "wrong"},
            {"consumer_key": "wrong"},
            {"consumer_key": "dt-other"},
            {"realm": "9999999_SB1"},
            {"method": "HMAC-SHA1"},
            {"timestamp": "-1000"},
            {"timestamp": "1000"},
        ],
        ids=repr,
    )
    async def test_a_wrong_signature_is_an_invalid_login(
        self, stack: SimulatorStack, override: dict[str, str]
    ) -> None:
        if "timestamp" in override:  # seconds from now, which is not when tests are collected
            override = {"timestamp": str(int(time.time()) + int(override["timestamp"]))}
        async with signed(stack, "default", **override) as client:
            answer = await client.get(f"{RECORD}/customer")
        assert answer.status_code == 401
        assert answer.json()["title"] == "Unauthorized"
        assert answer.json()["type"].endswith("#sec10.4.2")
        found = details(answer)
        assert found["o:errorCode"] == "INVALID_LOGIN"
        assert found["detail"].startswith(LOGIN_TEXT)

    async def test_a_nonce_works_once(self, stack: SimulatorStack) -> None:
        async with signed(stack, "default", nonce="n1", timestamp=str(int(time.time()))) as client:
            answers = [await client.get(f"{RECORD}/customer") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 401]

    async def test_the_query_string_is_signed(self, stack: SimulatorStack) -> None:
        async with signed(stack) as client:
            request = client.build_request("GET", f"{RECORD}/customer?limit=5")
            assert client.auth is not None
            prepared = next(client.auth.sync_auth_flow(request))
            changed = httpx.Request(
                "GET", str(prepared.url).replace("limit=5", "limit=6"), headers=prepared.headers
            )
            answer = await client.send(changed, auth=None)
            query = {"q": 'companyName IS "A & B = ü%"', "limit": "5"}
            proper = await client.get(f"{RECORD}/customer", params=query)
        assert (answer.status_code, proper.status_code) == (401, 200)

    async def test_no_credentials_at_all_are_refused(self, bare: httpx.AsyncClient) -> None:
        for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer x"}):
            answer = await bare.get(f"{RECORD}/customer", headers=headers)
            assert details(answer)["o:errorCode"] == "INVALID_LOGIN"


class TestTokens:
    async def fetch(
        self, stack: SimulatorStack, bare: httpx.AsyncClient, account: str = "default"
    ) -> str:
        made = assertion(stack, account, time.time())
        answer = await bare.post(TOKEN, data=token_form(made))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["expires_in"], body["token_type"]) == (3600, "bearer")
        return str(body["access_token"])

    async def test_a_token_opens_its_account_until_it_expires(
        self, stack: SimulatorStack, bare: httpx.AsyncClient, control: Control
    ) -> None:
        token = await self.fetch(stack, bare)
        headers = {"Authorization": f"Bearer {token}"}
        id_of(await bare.post(f"{RECORD}/customer", json=acme(), headers=headers))
        await control.clock(advance_seconds=3601)
        late = await bare.get(f"{RECORD}/customer", headers=headers)
        assert (late.status_code, details(late)["o:errorCode"]) == (401, "INVALID_LOGIN")
        # A client whose own clock was not moved can still fetch a new one.
        headers = {"Authorization": f"Bearer {await self.fetch(stack, bare)}"}
        assert (await bare.get(f"{RECORD}/customer", headers=headers)).status_code == 200

    async def test_an_expired_token_is_void_and_a_new_one_works(
        self, stack: SimulatorStack, bare: httpx.AsyncClient, control: Control
    ) -> None:
        headers = {"Authorization": f"Bearer {await self.fetch(stack, bare)}"}
        await control.add_fault("netsuite", "default", {"path": "customer"}, "expire_auth")
        for _ in range(2):
            assert (await bare.get(f"{RECORD}/customer", headers=headers)).status_code == 401
        headers = {"Authorization": f"Bearer {await self.fetch(stack, bare)}"}
        assert (await bare.get(f"{RECORD}/customer", headers=headers)).status_code == 200

    async def test_a_mapped_rsa_certificate_signs_with_ps256_and_never_rs256(
        self, stack: SimulatorStack, bare: httpx.AsyncClient, control: Control
    ) -> None:
        private = rsa.generate_private_key(65537, 3072)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        fields: Body = {"publicKey": public.decode()}
        await control.put_record("netsuite", "default", "oauth2Certificate", fields, "mine")
        statuses = []
        for algorithm in ("PS256", "RS256"):
            made = assertion(
                stack, "default", time.time(), key=pem, algorithm=algorithm, kid="mine"
            )
            statuses.append((await bare.post(TOKEN, data=token_form(made))).status_code)
        assert statuses == [200, 400]

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"aud": "https://elsewhere.example/token"}, "invalid_grant"),
            ({"iat": int(time.time()) - 9000, "exp": int(time.time()) - 6000}, "invalid_grant"),
            ({"exp": int(time.time()) + 7200}, "invalid_grant"),
            ({"scope": ["restlets"]}, "invalid_grant"),
            ({"kid": "unknown"}, "invalid_client"),
        ],
    )
    async def test_a_bad_assertion_is_refused(
        self,
        stack: SimulatorStack,
        bare: httpx.AsyncClient,
        changes: dict[str, JsonValue],
        error: str,
    ) -> None:
        kid = changes.get("kid")
        claims = {name: value for name, value in changes.items() if name != "kid"}
        made = assertion(
            stack, "default", time.time(), kid=str(kid) if kid else None, changes=claims
        )
        answer = await bare.post(TOKEN, data=token_form(made))
        assert (answer.status_code, answer.json()) == (400, {"error": error})

    async def test_an_assertion_works_once_and_with_its_own_key_only(
        self, stack: SimulatorStack, bare: httpx.AsyncClient
    ) -> None:
        made = assertion(stack, "default", time.time())
        answers = [await bare.post(TOKEN, data=token_form(made)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 400]
        foreign = VENDOR.credentials("other")["private_key"]
        forged = assertion(stack, "default", time.time(), key=foreign)
        assert (await bare.post(TOKEN, data=token_form(forged))).json()["error"] == "invalid_grant"
        empty = await bare.post(TOKEN, data={"grant_type": "client_credentials"})
        assert empty.json() == {"error": "invalid_request"}

    async def test_faults_meet_the_token_endpoint(
        self, stack: SimulatorStack, bare: httpx.AsyncClient, control: Control
    ) -> None:
        form = token_form(assertion(stack, "acct-7", time.time()))
        expected = {"reject": (400, "invalid_grant"), "fail_before": (500, "server_error")}
        for kind, (status, error) in expected.items():
            await control.add_fault("netsuite", "acct-7", {"path": "token"}, kind)
            answer = await bare.post(TOKEN, data=form)
            assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.fixture(name="trio")
async def make_trio(client: httpx.AsyncClient) -> list[str]:
    """Three customers: Acme twice, of two subsidiaries, and Zeta."""
    line: Body = {"defaultBilling": True, "addressBookAddress": {"country": {"id": "DE"}}}
    bodies = [
        acme(externalId="dt-1"),
        acme(companyName="ACME 'Nord'", subsidiary={"id": "3"}, currency={"id": "2"}, email=None)
        | {"addressBook": {"items": [line]}},
        acme(companyName="Zeta", vatRegNumber="99", isInactive=True, creditLimit=5000.5),
    ]
    return [id_of(await client.post(f"{RECORD}/customer", json=body)) for body in bodies]


class TestCollections:
    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ('externalId IS "dt-1"', [0]),
            ("companyName IS zeta", [2]),
            ('companyName START_WITH "acme"', [0, 1]),
            ("companyName START_WITH_NOT Acme", [2]),
            ('companyName CONTAIN "Nord" OR vatRegNumber IS "99"', [1, 2]),
            ('email EMPTY OR companyName IS "Zeta" AND isInactive IS false', [1]),
            ('(email EMPTY OR companyName IS "Zeta") AND isInactive IS true', [2]),
            ("email EMPTY_NOT", [0, 2]),
            ("subsidiary EQUAL 3", [1]),
            ("subsidiary ANY_OF [3, 4]", [1]),
            ("creditLimit GREATER 5000", [2]),
            ("creditLimit BETWEEN [5000, 5001]", [2]),
            ("isInactive IS_NOT true", [0, 1]),
            ('lastModifiedDate AFTER "1/31/2020"', [0, 1, 2]),
            ('lastModifiedDate BEFORE "1/31/2020"', []),
        ],
    )
    async def test_a_filter_finds_what_it_says(
        self, client: httpx.AsyncClient, trio: list[str], q: str, found: list[int]
    ) -> None:
        answer = await client.get(f"{RECORD}/customer", params={"q": q})
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert [item["id"] for item in items] == [trio[n] for n in found]
        assert all(set(item) == {"links", "id"} for item in items)

    @pytest.mark.parametrize(
        "q",
        [
            "companyName",
            "companyName IS",
            'companyName IS "open',
            "nickname IS x",
            "companyName GREATER x",
            "subsidiary CONTAIN 3",
            "subsidiary EQUAL x",
            "isInactive IS perhaps",
            "lastModifiedDate ON 2026-01-31",
            "addressBook EMPTY",
            'companyName IS "a" XOR email EMPTY',
        ],
    )
    async def test_a_filter_that_makes_no_sense_is_refused(
        self, client: httpx.AsyncClient, q: str
    ) -> None:
        answer = await client.get(f"{RECORD}/customer", params={"q": q})
        assert answer.status_code == 400
        assert details(answer)["o:errorCode"] == "INVALID_PARAMETER"
        assert details(answer)["o:errorQueryParam"] == "q"

    async def test_pages_are_linked_until_the_last(
        self, client: httpx.AsyncClient, trio: list[str]
    ) -> None:
        url = f"{RECORD}/customer"
        seen: list[str] = []
        address: str | None = f"{url}?limit=2&q=companyName EMPTY_NOT"
        while address is not None:
            page = (await client.get(address)).json()
            seen += [item["id"] for item in page["items"]]
            links = {link["rel"]: link["href"] for link in page["links"]}
            assert page["hasMore"] is ("next" in links)
            assert (page["count"], page["totalResults"]) == (len(page["items"]), 3)
            address = links.get("next")
        assert seen == trio
        for params in ({"limit": "1001"}, {"limit": "0"}, {"limit": "2", "offset": "1"}):
            answer = await client.get(url, params=params)
            assert details(answer)["o:errorCode"] == "INVALID_PARAMETER"


class TestSuiteQL:
    async def run(self, client: httpx.AsyncClient, q: str, **params: str) -> httpx.Response:
        return await client.post(
            SUITEQL, params=params, json={"q": q}, headers={"Prefer": "transient"}
        )

    async def rows(self, client: httpx.AsyncClient, q: str) -> Rows:
        answer = await self.run(client, q)
        assert answer.status_code == 200, answer.text
        items: Rows = answer.json()["items"]
        assert all(item.pop("links") == [] for item in items)
        return items

    async def test_values_are_texts_and_empty_columns_are_left_out(
        self, client: httpx.AsyncClient, trio: list[str]
    ) -> None:
        q = (
            "SELECT id, CompanyName AS Name, email, isinactive, creditlimit, terms, "
            "BUILTIN.DF(terms) AS shown FROM customer ORDER BY id DESC"
        )
        zeta, nord, first = await self.rows(client, q)
        assert zeta == {
            "id": trio[2],
            "name": "Zeta",
            "email": "ap@acme.com",
            "isinactive": "T",
            "creditlimit": "5000.5",
            "terms": "2",
            "shown": "NET30",
        }
        assert "email" not in nord
        assert (first["isinactive"], "creditlimit" in first) == ("F", False)

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ("externalid = 'dt-1'", [0]),
            ("externalid <> 'dt-1'", []),
            ("externalid IS NULL", [1, 2]),
            ("UPPER(companyname) LIKE 'ACME%'", [0, 1]),
            ("companyname LIKE 'ACME%'", [1]),
            ("companyname = 'ACME ''Nord'''", [1]),
            ("vatregnumber IN ('99', '98') OR email IS NULL", [1, 2]),
            ("NOT (email = 'ap@acme.com')", []),
            ("companyname NOT LIKE '%e%'", [1]),
            ("creditlimit > '5000' AND creditlimit <= 5000.5", [2]),
            ("currency = 2 AND (isinactive = 'F' OR id < 0)", [1]),
            ("datecreated >= TO_DATE('2020-01-31', 'YYYY-MM-DD') AND id NOT IN (0)", [0, 1, 2]),
            ("datecreated < '1/31/2020'", []),
        ],
    )
    async def test_conditions_follow_sql(
        self, client: httpx.AsyncClient, trio: list[str], where: str, found: list[int]
    ) -> None:
        rows = await self.rows(client, f"SELECT id FROM customer WHERE {where}")
        assert [row["id"] for row in rows] == [trio[n] for n in found]

    async def test_tables_join_through_their_references(
        self, client: httpx.AsyncClient, trio: list[str]
    ) -> None:
        q = """
            SELECT c.id, s.name AS entity, cur.symbol, a.country
            FROM customer c
            JOIN customersubsidiaryrelationship r ON r.entity = c.id
            INNER JOIN subsidiary s ON s.id = r.subsidiary
            JOIN customercurrencybalance b ON b.customer = c.id
            JOIN currency cur ON cur.id = b.currency
            LEFT JOIN customeraddressbook ab ON ab.entity = c.id AND ab.defaultbilling = 'T'
            LEFT JOIN customeraddressbookentityaddress a ON a.nkey = ab.addressbookaddress
            WHERE c.isinactive = 'F' ORDER BY c.id
        """
        assert await self.rows(client, q) == [
            {"id": trio[0], "entity": "Dealthread Demo Inc.", "symbol": "USD"},
            {"id": trio[1], "entity": "Dealthread Demo GmbH", "symbol": "EUR", "country": "DE"},
        ]

    async def test_periods_and_counts(self, client: httpx.AsyncClient) -> None:
        q = (
            "SELECT periodname, startdate, arlocked FROM accountingperiod "
            "WHERE isquarter = 'F' AND isyear = 'F' AND startdate = '3/1/2026'"
        )
        row: Body = {"periodname": "Mar 2026", "startdate": "3/1/2026", "arlocked": "T"}
        assert await self.rows(client, q) == [row]
        assert await self.rows(client, "SELECT COUNT(*) AS n FROM term") == [{"n": "4"}]

    async def test_results_are_paged(self, client: httpx.AsyncClient) -> None:
        answer = await self.run(client, "SELECT id FROM term ORDER BY id", limit="3", offset="3")
        page = answer.json()
        assert (page["count"], page["hasMore"], page["totalResults"]) == (1, False, 4)
        assert page["items"] == [{"links": [], "id": "4"}]

    @pytest.mark.parametrize(
        ("q", "reason"),
        [
            ("SELEC id FROM customer", "Invalid or unsupported search"),
            ("SELECT id FROM customer WHERE", "Invalid or unsupported search"),
            ("DELETE FROM customer", "Invalid or unsupported search"),
            ("SELECT id FROM customer WHERE id = 'abc'", "Invalid or unsupported search"),
            ("SELECT id FROM customers", "Record 'customers' was not found"),
            ("SELECT nickname FROM customer", "Field 'nickname' for record 'customer'"),
            ("SELECT x.id FROM customer c", "Unknown identifier 'x'"),
        ],
    )
    async def test_what_is_no_suiteql_is_refused(
        self, client: httpx.AsyncClient, trio: list[str], q: str, reason: str
    ) -> None:
        answer = await self.run(client, q)
        assert answer.status_code == 400
        assert details(answer)["o:errorCode"] == "INVALID_PARAMETER"
        assert f"Search error occurred: {reason}" in details(answer)["detail"]

    async def test_prefer_transient_is_mandatory(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(SUITEQL, json={"q": "SELECT id FROM term"})
        assert (answer.status_code, details(answer)["o:errorHeader"]) == (400, "Prefer")


class TestAsynchronous:
    async def test_a_job_replays_the_answer(self, client: httpx.AsyncClient) -> None:
        headers = {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": "k-1"}
        url = f"{RECORD}/customer"
        answer = await client.post(url, json=acme(externalId="dt-1"), headers=headers)
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
        job = answer.headers["Location"]
        first, second = [(await client.get(job)).json() for _ in range(2)]
        assert (first["progress"], first["completed"]) == ("pending", False)
        assert (second["progress"], second["completed"]) == ("succeeded", True)
        task = (await client.get(f"{job}/task/1")).json()
        result = await client.get(task["links"][0]["href"])
        assert id_of(result)
        again = await client.post(url, json=acme(), headers=headers)
        assert (again.status_code, again.headers["Location"]) == (400, job)
        assert again.json()["title"] == "Conflict"
        assert again.json()["o:errorDetails"][0]["o:errorCode"] == "IDEMPOTENCY_ERROR"

    async def test_a_failed_job_holds_the_refusal(self, client: httpx.AsyncClient) -> None:
        headers = {"Prefer": "respond-async"}
        job = (await client.delete(f"{RECORD}/customer/1", headers=headers)).headers["Location"]
        assert (await client.get(f"{job}/task/1")).json()["progress"] == "failed"
        result = await client.get(f"{job}/task/1/result")
        assert details(result)["o:errorCode"] == "NONEXISTENT_ID"

    async def test_an_idempotency_key_means_nothing_on_a_plain_call(
        self, client: httpx.AsyncClient
    ) -> None:
        headers = {"X-NetSuite-Idempotency-Key": "k-2"}
        ids = {
            id_of(await client.post(f"{RECORD}/customer", json=acme(), headers=headers))
            for _ in range(2)
        }
        assert len(ids) == 2


async def test_the_catalogue_describes_the_types(client: httpx.AsyncClient) -> None:
    url = f"{RECORD}/metadata-catalog"
    names = {item["name"] for item in (await client.get(url)).json()["items"]}
    assert {"customer", "job", "customerSubsidiaryRelationship", "classification"} <= names
    schema = await client.get(f"{url}/job", headers={"Accept": "application/schema+json"})
    assert schema.headers["Content-Type"] == "application/schema+json"
    found = schema.json()["properties"]
    assert found["custentity_dealthread_psa_project"]["type"] == "string"
    assert found["companyName"]["x-ns-filterable"] is True
    wrong = await client.get(f"{url}/nothing")
    assert wrong.status_code == 400


async def test_every_record_type_has_a_schema(client: httpx.AsyncClient) -> None:
    headers = {"Accept": "application/schema+json"}
    for kind in RECORD_TYPES:
        answer = await client.get(f"{RECORD}/metadata-catalog/{kind}", headers=headers)
        assert (answer.status_code, answer.json()["title"]) == (200, kind)
