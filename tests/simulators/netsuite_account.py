"""Clients of the NetSuite simulator for its tests: they sign with oauthlib, not with our code."""

import uuid
from collections.abc import Generator, Mapping
from typing import Literal, cast

import httpx
import jwt
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA256
from oauthlib.oauth1 import Client as Signer
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.netsuite import VENDOR

RECORD = "/services/rest/record/v1"
SUITEQL = "/services/rest/query/v1/suiteql"
TOKEN = "/services/rest/auth/oauth2/v1/token"
LOGIN_TEXT = "Invalid login attempt. For more details, see the Login Audit Trail"

Body = dict[str, JsonValue]
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Signature(httpx.Auth):
    """OAuth 1.0a with HMAC-SHA256, as NetSuite wants it."""

    def __init__(self, credentials: Mapping[str, str], **overrides: str) -> None:
        merged = {"realm": credentials["account"], **credentials, **overrides}
        self.signer = Signer(
            merged["consumer_key"],
            client_secret=merged["consumer_secret"],
            resource_owner_key=merged["token_id"],
            resource_owner_secret=merged["token_secret"],
            realm=merged["realm"],
            signature_method=merged.get("method", SIGNATURE_HMAC_SHA256),
            nonce=merged.get("nonce"),
            timestamp=merged.get("timestamp"),
        )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        _, headers, _ = self.signer.sign(str(request.url), cast(Verb, request.method))
        request.headers["Authorization"] = headers["Authorization"]
        yield request


def signed(stack: SimulatorStack, account: str = "default", **overrides: str) -> httpx.AsyncClient:
    auth = Signature(VENDOR.credentials(account), **overrides)
    return httpx.AsyncClient(base_url=stack.urls["netsuite"], auth=auth, timeout=10)


def assertion(
    stack: SimulatorStack,
    account: str,
    now: float,
    *,
    key: str | None = None,
    algorithm: str = "ES256",
    kid: str | None = None,
    changes: Mapping[str, JsonValue] | None = None,
) -> str:
    known = VENDOR.credentials(account)
    claims: Body = {
        "iss": known["client_id"],
        "scope": ["rest_webservices"],
        "aud": f"{stack.urls['netsuite']}{TOKEN}",
        "iat": int(now),
        "exp": int(now) + 300,
        "jti": uuid.uuid4().hex,
    }
    headers = {"kid": kid or known["certificate_id"], "typ": "JWT"}
    return jwt.encode(
        {**claims, **(changes or {})},
        key or known["private_key"],
        algorithm=algorithm,
        headers=headers,
    )


def token_form(made: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": made,
    }


def details(answer: httpx.Response) -> dict[str, str]:
    """Return the one detail of an error, after checking the form around it."""
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"].startswith("https://")
    assert set(body) == {"type", "title", "status", "o:errorDetails"}
    (detail,) = body["o:errorDetails"]
    found: dict[str, str] = detail
    return found


def acme(**changes: JsonValue) -> Body:
    return {
        "companyName": "Acme Ltd",
        "email": "ap@acme.com",
        "subsidiary": {"id": "2"},
        "currency": {"id": "1"},
        "terms": {"id": "2"},
        "vatRegNumber": "12-3456789",
        **changes,
    }


def id_of(answer: httpx.Response) -> str:
    """Return the id in the Location of a 204."""
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    return str(answer.headers["Location"]).rsplit("/", 1)[1]


async def created(client: httpx.AsyncClient, kind: str, body: Body) -> str:
    return id_of(await client.post(f"{RECORD}/{kind}", json=body))


async def shown(client: httpx.AsyncClient, path: str) -> Body:
    answer = await client.get(f"{RECORD}/{path}", params={"expandSubResources": "true"})
    assert answer.status_code == 200, answer.text
    found: Body = answer.json()
    return found


def at(body: JsonValue, *path: str | int) -> JsonValue:
    """Return what stands at a path of names and places in a JSON value."""
    value = body
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def ref(number: str) -> Body:
    return {"id": number}


def charge(job: str = "7001", /, **changes: JsonValue) -> Body:
    return {
        "billTo": ref(job),
        "billingItem": ref("301"),
        "chargeType": ref("1"),
        "quantity": 7.5,
        "rate": 180,
        "chargeDate": "2026-11-20",
        **changes,
    }


def ready(job: str = "7001", /, **changes: JsonValue) -> Body:
    return charge(job, stage=ref("READY_FOR_BILLING"), **changes)


async def queried(client: httpx.AsyncClient, q: str) -> list[Body]:
    answer = await client.post(SUITEQL, json={"q": q}, headers={"Prefer": "transient"})
    assert answer.status_code == 200, answer.text
    return [{k: v for k, v in row.items() if k != "links"} for row in answer.json()["items"]]


async def closed(control: Control, period: str) -> None:
    fields: Body = {"closed": True}
    await control.patch_record("netsuite", "default", "accountingPeriod", period, fields)
