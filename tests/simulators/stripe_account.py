"""What the tests of the Stripe simulator share: a client of one account, and a receiver."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlencode

import httpx
from aiohttp import web
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.stripe import VENDOR

NAME = "stripe"
Shown = dict[str, Any]


def flat(value: JsonValue, name: str = "") -> list[tuple[str, str]]:
    """Write parameters as a form with brackets."""
    if isinstance(value, dict):
        inner = [(f"{name}[{key}]" if name else key, child) for key, child in value.items()]
    elif isinstance(value, list):
        inner = [(f"{name}[{index}]", child) for index, child in enumerate(value)]
    else:
        text = "" if value is None else str(value)
        return [(name, text.lower() if isinstance(value, bool) else text)]
    return [pair for key, child in inner for pair in flat(child, key)]


class Client:
    """A client of one account, signed in by its secret key."""

    def __init__(self, stack: SimulatorStack, control: Control, account: str) -> None:
        self.account = account
        self.control = control
        self.known = VENDOR.credentials(account)
        self.http = httpx.AsyncClient(
            base_url=stack.urls[NAME],
            headers={"Authorization": f"Bearer {self.known['api_key']}"},
            timeout=10,
            trust_env=False,
            verify=False,
        )

    async def send(
        self, method: str, path: str, key: str | None = None, /, **params: JsonValue
    ) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        pairs = flat(params)
        if method == "POST":
            return await self.http.post(f"/v1/{path}", data=dict(pairs), headers=headers)
        return await self.http.request(method, f"/v1/{path}?{urlencode(pairs)}", headers=headers)

    async def post(self, path: str, key: str | None = None, /, **params: JsonValue) -> Shown:
        return shown(await self.send("POST", path, key, **params))

    async def get(self, path: str, /, **params: JsonValue) -> Shown:
        return shown(await self.send("GET", path, **params))

    async def delete(self, path: str, /, **params: JsonValue) -> Shown:
        return shown(await self.send("DELETE", path, **params))

    async def refused(self, path: str, key: str | None = None, /, **params: JsonValue) -> Shown:
        answer = await self.send("POST", path, key, **params)
        assert answer.status_code >= 400, answer.text
        return {"status": answer.status_code, **answer.json()["error"]}

    async def customer(self, **params: JsonValue) -> str:
        made = await self.post("customers", **{"name": "Acme", "email": "a@acme.test", **params})
        return str(made["id"])

    async def draft(self, *amounts: int, **params: JsonValue) -> Shown:
        """Make a draft with a line for each amount."""
        if "customer" not in params:
            params["customer"] = await self.customer()
        invoice = await self.post("invoices", **{"currency": "usd", **params})
        if not amounts:
            return invoice
        lines: JsonValue = [{"amount": amount, "description": f"{amount}"} for amount in amounts]
        return await self.post(f"invoices/{invoice['id']}/add_lines", lines=lines)

    async def open(self, *amounts: int, **params: JsonValue) -> Shown:
        """Make a finalized invoice."""
        invoice = await self.draft(*amounts, **params)
        return await self.post(f"invoices/{invoice['id']}/finalize")

    async def effects(self, since: int = 0) -> list[tuple[str, str | None, str | None]]:
        calls = await self.control.calls(NAME, self.account, since)
        return [(e["effect"], e["type"], e["key"]) for call in calls for e in call["effects"]]

    async def set(self, **fields: JsonValue) -> None:
        """Change the account's limits and lags."""
        await self.control.patch_record(NAME, self.account, "settings", "1", fields)


def shown(answer: httpx.Response) -> Shown:
    assert answer.status_code == 200, answer.text
    return cast(Shown, answer.json())


class Receiver:
    """Takes webhooks; it answers with the statuses given, then with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.got: list[tuple[bytes, str]] = []
        self._more = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), request.headers["Stripe-Signature"]))
        self._more.set()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait(self, count: int) -> list[tuple[bytes, str]]:
        async with asyncio.timeout(5):
            while len(self.got) < count:
                self._more.clear()
                await self._more.wait()
        return self.got


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen for webhooks."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        await runner.cleanup()
