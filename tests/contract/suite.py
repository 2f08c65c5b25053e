"""What the suites of all roles share: accounts at simulators, adapters on them, faults and acts.

A suite holds a registry of its role's adapters: a second vendor is one entry in it. Each test has
an account of its own.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from pydantic import JsonValue, SecretStr

from adapters.errors import (
    AdapterError,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.governor import LocalGovernor
from adapters.ports import Connected
from adapters.registry import build_adapter
from simulators.kit import FaultKind
from simulators.kit.control import Control
from simulators.kit.records import RecordState
from tests.support.embedded_settings import connection_settings

ADAPTER_SECONDS: Final = 10.0
"""Long enough that load does not look like a fault."""
IMPATIENT_SECONDS: Final = 0.5
SLOW_SECONDS: Final = 1.2

C = TypeVar("C", bound=Connected)

WRITE_FAULTS: Final[Mapping[FaultKind, type[AdapterError]]] = {
    FaultKind.REJECT: Rejected,
    FaultKind.FAIL_BEFORE: OutcomeUnknown,
    FaultKind.FAIL_AFTER: OutcomeUnknown,
    FaultKind.DROP_BEFORE: OutcomeUnknown,
    FaultKind.DROP_AFTER: OutcomeUnknown,
    FaultKind.RATE_LIMIT: RateLimited,
}
"""What a write under a fault raises; a vendor whose words say more overrides it."""
READ_FAULTS: Final[Mapping[FaultKind, type[AdapterError]]] = {
    FaultKind.REJECT: Rejected,
    FaultKind.FAIL_BEFORE: Transient,
    FaultKind.DROP_BEFORE: Transient,
    FaultKind.DROP_AFTER: Transient,
    FaultKind.RATE_LIMIT: RateLimited,
}
WITH_EFFECT: Final = frozenset({FaultKind.FAIL_AFTER, FaultKind.DROP_AFTER})


@dataclass
class Scene(Generic[C]):
    """One account, an adapter on it, and what a person could see and do there."""

    vendor: str
    name: str
    url: str
    control: Control
    adapter: C
    exit: AsyncExitStack
    seen: int = 0
    kept: dict[str, Any] = field(default_factory=dict)
    """What an act's `prepare` found out and its `perform` needs."""
    _credentials: dict[str, str] = field(default_factory=dict)

    @property
    def connection(self) -> str:
        """Name of the connection."""
        return self.adapter.connection

    async def another(
        self,
        *,
        kind: str = "",
        seconds: float = ADAPTER_SECONDS,
        url: str = "",
        secrets: Mapping[str, str] | None = None,
        settings: Mapping[str, JsonValue] | None = None,
    ) -> C:
        """Return a further adapter on the same account."""
        adapter = connected(
            self.vendor,
            self.name,
            url or self.url,
            self._credentials,
            kind=kind,
            seconds=seconds,
            secrets=secrets,
            settings=settings,
        )
        self.exit.push_async_callback(adapter.aclose)
        return cast(C, adapter)

    async def fault(
        self, kind: FaultKind, *, write: bool | None = None, **options: JsonValue
    ) -> str:
        """Arm a fault for the next call of the account."""
        match: dict[str, JsonValue] = {} if write is None else {"write": write}
        return await self.control.add_fault(self.vendor, self.name, match, kind, **options)

    async def records(self, type_: str | None = None) -> list[RecordState]:
        """Return the live records of a type."""
        found = await self.control.records(self.vendor, self.name, type=type_)
        return [record for record in found if record["live"]]

    async def record(self, type_: str, id_: str) -> RecordState:
        """Return one record, deleted or not."""
        found = await self.control.records(self.vendor, self.name, type=type_)
        return next(record for record in found if record["id"] == id_)

    async def state(self) -> list[tuple[str, str, str]]:
        """Return all live records in comparable form; a replaced line may get another id."""
        return [
            (each["type"], each["id"], repr(_without_line_ids(each["fields"])))
            for each in await self.records()
        ]

    async def put(self, type_: str, fields: dict[str, JsonValue]) -> str:
        """Create a record as a person does."""
        made = await self.control.put_record(self.vendor, self.name, type_, fields)
        return made["id"]

    async def calls(self) -> list[tuple[str, str]]:
        """Return method and path of the calls since this was asked last."""
        calls = await self.control.calls(self.vendor, self.name, self.seen)
        self.seen = max([self.seen, *(call["n"] for call in calls)])
        return [(call["method"], call["path"]) for call in calls]


def _without_line_ids(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _without_line_ids(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [
            _without_line_ids({name: inner for name, inner in each.items() if name != "id"})
            if isinstance(each, dict) and len(each) > 1
            else each
            for each in value
        ]
    return value


@dataclass(frozen=True)
class Act(Generic[C]):
    """One write of a port: how to come before it, do it, and see by the port what became of it."""

    name: str
    perform: Callable[[Scene[C]], Awaitable[object]]
    landed: Callable[[Scene[C]], Awaitable[bool]]
    prepare: Callable[[Scene[C]], Awaitable[None]]
    calls: int = 1
    """Vendor calls that it takes."""
    undo: bool = False
    """Whether the vendor's refusal is one to undo."""
    match: Mapping[str, JsonValue] = field(default_factory=lambda: {"write": True})
    """Which of its calls a fault is for."""


def connected(
    vendor: str,
    account: str,
    url: str,
    credentials: Mapping[str, str],
    *,
    kind: str = "",
    seconds: float = ADAPTER_SECONDS,
    secrets: Mapping[str, str] | None = None,
    settings: Mapping[str, JsonValue] | None = None,
) -> Connected:
    """Return an adapter on an account of a simulator."""
    usual, usual_secrets = connection_settings(vendor, credentials, kind)
    given = {**usual_secrets, **(secrets or {})}
    changed = dict(settings or {})
    auth = {**_table(usual), **_table(changed)}
    return build_adapter(
        vendor,
        f"{vendor}@{account}",
        base_url=url,
        settings={**usual, **changed, "auth": auth},
        secrets={name: SecretStr(value) for name, value in given.items()},
        timeouts={"read_seconds": seconds, "total_seconds": seconds},
        ca_file=None,
        governor=LocalGovernor(10),
    )


def _table(settings: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    auth = settings.get("auth")
    return auth if isinstance(auth, dict) else {}


_numbers = itertools.count(1)


@asynccontextmanager
async def open_scene(
    control: Control, vendor: str, scenario: str = "standard"
) -> AsyncIterator[Scene[Any]]:
    """Give a fresh account with the scenario in it, and an adapter on it."""
    name = f"contract{next(_numbers)}"
    await control.seed(scenario, account=name, vendor=vendor)
    credentials = await control.credentials(vendor, name)
    url = (await control.vendors())[vendor]
    async with AsyncExitStack() as exit_:
        adapter = connected(vendor, name, url, credentials)
        exit_.push_async_callback(adapter.aclose)
        scene = Scene(
            vendor=vendor,
            name=name,
            url=url,
            control=control,
            adapter=adapter,
            exit=exit_,
            _credentials=credentials,
        )
        yield scene
