"""The client of the control origin, for tests, benches and the demo."""

# ruff: noqa: A002 - `type` and `id` are what every vendor calls them

from types import TracebackType
from typing import Self, TypedDict, cast

import httpx
from pydantic import JsonValue

from simulators.kit.calls import CallView
from simulators.kit.faults import FaultKind, FaultView
from simulators.kit.records import RecordState
from simulators.kit.vendor import DEFAULT_ACCOUNT


class ControlRefused(Exception):
    """The control origin answered with an error; the message is its own."""


class VendorView(TypedDict):
    """A vendor and where it listens."""

    name: str
    base_url: str


class Control:
    """The control origin's endpoints as methods.

    `async with Control(stack.control_url) as control:`.
    Every method raises `ControlRefused` on 4xx and 5xx.
    """

    def __init__(self, url: str) -> None:
        """Speak to the control origin at this address."""
        # Longer than the longest wait for a fault's hits.
        self._http = httpx.AsyncClient(base_url=url, timeout=90, trust_env=False)

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def vendors(self) -> dict[str, str]:
        """Return the base URL of each vendor."""
        rows = cast(list[VendorView], await self._send("GET", "/vendors"))
        return {row["name"]: row["base_url"] for row in rows}

    async def credentials(self, vendor: str, account: str = DEFAULT_ACCOUNT) -> dict[str, str]:
        """Return what a client needs to sign in to an account."""
        path = f"/{vendor}/credentials"
        return cast(dict[str, str], await self._send("GET", path, account))

    async def records(
        self,
        vendor: str,
        account: str = DEFAULT_ACCOUNT,
        type: str | None = None,
        key: str | None = None,
    ) -> list[RecordState]:
        """Return records, deleted ones too, in order of creation."""
        answer = await self._send("GET", f"/{vendor}/records", account, type=type, key=key)
        return cast(list[RecordState], answer)

    async def calls(
        self, vendor: str, account: str = DEFAULT_ACCOUNT, since: int = 0
    ) -> list[CallView]:
        """Return the requests after number `since`."""
        answer = await self._send("GET", f"/{vendor}/calls", account, since=str(since))
        return cast(list[CallView], answer)

    async def add_fault(
        self,
        vendor: str,
        account: str,
        match: dict[str, JsonValue],
        kind: FaultKind | str,
        **options: JsonValue,
    ) -> str:
        """Arm a fault and return its id; `options` are the fields of `FaultSpec`."""
        body: JsonValue = {"match": match, "kind": str(kind), **options}
        answer = await self._send("POST", f"/{vendor}/faults", account, body)
        return cast(dict[str, str], answer)["id"]

    async def faults(self, vendor: str, account: str = DEFAULT_ACCOUNT) -> list[FaultView]:
        """Return the faults of an account with their hits."""
        return cast(list[FaultView], await self._send("GET", f"/{vendor}/faults", account))

    async def wait_for_fault(
        self,
        vendor: str,
        account: str,
        id: str,
        hits: int = 1,
        timeout_seconds: int = 10,
    ) -> FaultView:
        """Wait until a fault was met so often (for `hold`: until the request stands still).

        Raises:
            TimeoutError: it was not, in time.
        """
        wait = {"hits": str(hits), "timeout": str(timeout_seconds)}
        answer = await self._send("GET", f"/{vendor}/faults/{id}", account, **wait)
        view = cast(FaultView, answer)
        if view["hits"] < hits:
            raise TimeoutError(f"{vendor} fault {id} was met {view['hits']} times, not {hits}")
        return view

    async def clear_faults(
        self,
        vendor: str,
        account: str = DEFAULT_ACCOUNT,
        id: str | None = None,
    ) -> int:
        """Remove one fault or all, letting go what they held; return how many were removed."""
        path = f"/{vendor}/faults" if id is None else f"/{vendor}/faults/{id}"
        return cast(dict[str, int], await self._send("DELETE", path, account))["cleared"]

    async def release(
        self,
        vendor: str,
        account: str = DEFAULT_ACCOUNT,
        id: str | None = None,
    ) -> int:
        """Let held requests go on and end stale searches; return how many of both there were."""
        answer = await self._send("POST", f"/{vendor}/release", account, {"id": id})
        return cast(dict[str, int], answer)["released"]

    async def seed(
        self,
        scenario: str,
        count: int = 1,
        seed: int = 1,
        account: str = DEFAULT_ACCOUNT,
        vendor: str | None = None,
    ) -> dict[str, dict[str, JsonValue]]:
        """Fill an account at one vendor or all; return what each made."""
        body: JsonValue = {"scenario": scenario, "count": count, "seed": seed, "vendor": vendor}
        answer = await self._send("POST", "/seed", account, body)
        return cast(dict[str, dict[str, JsonValue]], answer)

    async def reset(self, account: str | None = None) -> int:
        """Forget one account at all vendors, or all accounts; return how many were forgotten."""
        return cast(dict[str, int], await self._send("POST", "/reset", account))["reset"]

    async def clock(
        self,
        account: str = DEFAULT_ACCOUNT,
        *,
        advance_seconds: float | None = None,
        set: str | None = None,
        freeze: bool | None = None,
    ) -> str:
        """Move an account's clock (`set` in ISO 8601 with zone) and return its time."""
        body: JsonValue = {"advance_seconds": advance_seconds, "set": set, "freeze": freeze}
        return cast(dict[str, str], await self._send("POST", "/clock", account, body))["now"]

    async def set_latency(
        self, ms: float, account: str = DEFAULT_ACCOUNT, vendor: str | None = None
    ) -> None:
        """Make every request of an account take at least so many milliseconds."""
        await self._send("POST", "/latency", account, {"ms": ms}, vendor=vendor)

    async def put_record(
        self,
        vendor: str,
        account: str,
        type: str,
        fields: dict[str, JsonValue],
        key: str | None = None,
    ) -> RecordState:
        """Create a record as a person in the vendor's own screen."""
        body: JsonValue = {"type": type, "fields": fields, "key": key}
        return cast(RecordState, await self._send("POST", f"/{vendor}/records", account, body))

    async def patch_record(
        self,
        vendor: str,
        account: str,
        type: str,
        id: str,
        fields: dict[str, JsonValue],
    ) -> RecordState:
        """Change a record as a person in the vendor's own screen."""
        path = f"/{vendor}/records/{type}/{id}"
        return cast(RecordState, await self._send("PATCH", path, account, {"fields": fields}))

    async def delete_record(
        self,
        vendor: str,
        account: str,
        type: str,
        id: str,
    ) -> RecordState:
        """Delete a record as a person in the vendor's own screen."""
        path = f"/{vendor}/records/{type}/{id}"
        return cast(RecordState, await self._send("DELETE", path, account))

    async def emit(
        self, vendor: str, account: str, what: dict[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """Make the vendor notify; what it understands is the vendor's."""
        answer = await self._send("POST", f"/{vendor}/emit", account, what)
        return cast(dict[str, JsonValue], answer)

    async def _send(
        self,
        method: str,
        path: str,
        account: str | None = None,
        body: JsonValue = None,
        **query: str | None,
    ) -> object:
        asked = {"account": account, **query}
        params = {name: value for name, value in asked.items() if value is not None}
        response = await self._http.request(method, path, params=params, json=body)
        answer: object = response.json()
        if response.is_error:
            message = answer.get("error") if isinstance(answer, dict) else answer
            raise ControlRefused(f"{method} {path}: {message}")
        return answer
