"""What the tests of the Salesforce simulator share: signing in, and saying what they expect."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import jwt
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.records import RecordState
from simulators.salesforce import VENDOR
from simulators.salesforce.ids import with_checksum

NAME = "salesforce"
DATA = "/services/data/v67.0"
TOKEN = "/services/oauth2/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEAL_1 = with_checksum("006DT0000000001")
CLIENT_1 = with_checksum("001DT0000000001")

SignIn = Callable[[str], Awaitable[httpx.AsyncClient]]


@asynccontextmanager
async def signing_in(stack: SimulatorStack) -> AsyncIterator[SignIn]:
    """Give clients by account, and close them at the end."""
    clients: list[httpx.AsyncClient] = []

    async def sign_in(account: str) -> httpx.AsyncClient:
        # No TLS is spoken here; reading the list of authorities would take longer than a test.
        client = httpx.AsyncClient(base_url=stack.urls[NAME], trust_env=False, verify=False)
        clients.append(client)
        answer = await client.post(TOKEN, data=secret_form(account))
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    try:
        yield sign_in
    finally:
        for client in clients:
            await client.aclose()


def secret_form(account: str) -> dict[str, str]:
    given = VENDOR.credentials(account)
    return {
        "grant_type": "client_credentials",
        "client_id": given["client_id"],
        "client_secret": given["client_secret"],
    }


def assertion(account: str, key_of: str | None = None, **claims: object) -> dict[str, str]:
    given = VENDOR.credentials(account)
    usual: dict[str, object] = {
        "iss": given["client_id"],
        "sub": given["username"],
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    }
    key = VENDOR.credentials(key_of or account)["private_key"]
    return {
        "grant_type": JWT_BEARER,
        "assertion": jwt.encode({**usual, **claims}, key, algorithm="RS256"),
    }


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    (error,) = answer.json()
    return answer.status_code, error["errorCode"], error["message"]


async def query(crm: httpx.AsyncClient, text: str, path: str = "query") -> list[dict[str, object]]:
    answer = await crm.get(f"{DATA}/{path}", params={"q": text})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["done"]
    rows: list[dict[str, object]] = body["records"]
    return rows


async def create(crm: httpx.AsyncClient, kind: str, **fields: JsonValue) -> str:
    answer = await crm.post(f"{DATA}/sobjects/{kind}/", json=fields)
    assert answer.status_code == 201, answer.text
    record_id: str = answer.json()["id"]
    return record_id


async def read(crm: httpx.AsyncClient, kind: str, record_id: str) -> dict[str, object]:
    answer = await crm.get(f"{DATA}/sobjects/{kind}/{record_id}")
    assert answer.status_code == 200, answer.text
    row: dict[str, object] = answer.json()
    return row


def live(rows: list[RecordState], kind: str) -> list[RecordState]:
    return [row for row in rows if row["type"] == kind and row["live"]]
