"""The `netsuite` package, unchanged but for its host name, against the simulator."""

import ssl
import warnings
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path

import pytest
import trustme

from simulators.kit import SimulatorStack
from simulators.netsuite import VENDOR

with warnings.catch_warnings():
    import_module("authlib.deprecate")  # it sets a filter of its own, so it comes first
    warnings.simplefilter("ignore")
    from netsuite import NetSuiteRestApi
    from netsuite.config import Config, TokenAuth
    from netsuite.exceptions import NetsuiteAPIRequestError

pytestmark = [
    pytest.mark.thirdparty,
    pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:use sign_hmac_sha256_with_client:DeprecationWarning"),
]


class LocalApi(NetSuiteRestApi):  # type: ignore[misc]
    """The client with another address; nothing else differs."""

    host = ""

    def _make_hostname(self) -> str:
        return self.host


@pytest.fixture(name="api")
async def make_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalApi]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with SimulatorStack(vendors=[VENDOR], tls=context) as stack:
        yield client_of(stack, "default")


def client_of(stack: SimulatorStack, account: str, **changes: str) -> LocalApi:
    known = {**VENDOR.credentials(account), **changes}
    names = ("consumer_key", "consumer_secret", "token_id", "token_secret")
    auth = TokenAuth(**{name: known[name] for name in names})
    api = LocalApi(Config(account=known["account"], auth=auth))
    api.host = stack.urls["netsuite"].removeprefix("https://")
    return api


async def test_records_are_created_changed_read_and_deleted(api: LocalApi) -> None:
    body = {"companyName": "Łódź & Söhne", "subsidiary": {"id": "3"}}
    path = "/record/v1/customer/eid:dt-1"
    assert await api.put(path, json=body) is None  # it drops the Location of a 204
    found = await api.get(path, params={"expandSubResources": "true"})
    assert found["companyName"] == "Łódź & Söhne"
    await api.patch(path, json={"email": "ap@example.com"})
    listed = await api.get("/record/v1/customer", params={"q": 'email IS "ap@example.com"'})
    assert [item["id"] for item in listed["items"]] == [found["id"]]
    await api.delete(path)
    with pytest.raises(NetsuiteAPIRequestError) as refusal:
        await api.get(path)
    assert refusal.value.status_code == 404
    assert "NONEXISTENT_ID" in refusal.value.response_text


async def test_suiteql_pages(api: LocalApi) -> None:
    first = await api.suiteql(q="SELECT id, name FROM term ORDER BY id", limit=2)
    assert [row["name"] for row in first["items"]] == ["NET15", "NET30"]
    assert (first["hasMore"], first["totalResults"]) == (True, 4)
    rest = await api.suiteql(q="SELECT id, name FROM term ORDER BY id", limit=2, offset=2)
    assert [row["id"] for row in rest["items"]] == ["3", "4"]


async def test_metadata_is_read(api: LocalApi) -> None:
    schema = await api.jsonschema("customer")
    assert schema["properties"]["vatRegNumber"]["type"] == "string"
    document = await api.openapi(["customer", "job"])
    assert set(document["components"]["schemas"]) == {"customer", "job"}
    assert "/job/{id}" in document["paths"]


async def test_unknown_fields_are_errors_since_it_asks_for_that(api: LocalApi) -> None:
    with pytest.raises(NetsuiteAPIRequestError, match="nickname"):
        await api.post(
            "/record/v1/customer",
            json={"companyName": "A", "subsidiary": {"id": "2"}, "nickname": "B"},
        )


async def test_wrong_secrets_are_refused(api: LocalApi) -> None:
    api._config.auth.token_secret = "wrong"
    with pytest.raises(NetsuiteAPIRequestError, match="INVALID_LOGIN"):
        await api.get("/record/v1/customer")


async def test_an_invoice_is_read_with_its_lines_and_what_settles_it(api: LocalApi) -> None:
    await api.put(
        "/record/v1/customer/eid:dt-client",
        json={"companyName": "Hansewerk", "subsidiary": {"id": "3"}, "currency": {"id": "2"}},
    )
    line = {"item": {"id": "301"}, "rate": 1000, "custcol_dealthread_item": "T-1"}
    invoice = {
        "externalId": "dt-invoice",
        "entity": {"externalId": "dt-client"},
        "tranDate": "2026-11-30",
        "item": {"items": [line]},
    }
    await api.post("/record/v1/invoice", json=invoice)
    await api.post(
        "/record/v1/invoice/eid:dt-invoice/!transform/customerPayment",
        json={"payment": 190, "tranDate": "2026-12-05"},
    )

    found = await api.get(
        "/record/v1/invoice/eid:dt-invoice", params={"expandSubResources": "true"}
    )
    applied = await api.suiteql(
        q="SELECT l.foreignamount, t.type FROM nexttransactionlinelink l "
        f"JOIN transaction t ON t.id = l.nextdoc WHERE l.previousdoc = {found['id']}"
    )

    assert (found["total"], found["amountRemaining"]) == (1190.0, 1000.0)
    assert found["status"] == {"id": "A", "refName": "Open"}
    assert [each["custcol_dealthread_item"] for each in found["item"]["items"]] == ["T-1"]
    assert [(row["type"], row["foreignamount"]) for row in applied["items"]] == [
        ("CustPymt", "190")
    ]
