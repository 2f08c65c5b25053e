"""Faults on demand: which request they meet, how often they did, and the requests they hold back.

What a fault looks like on the wire is the vendor's (`Vendor.fault_reply`); when it strikes is
decided here.
"""

# ruff: noqa: A002 - `type` and `id` are what every vendor calls them

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from simulators.kit.records import RecordStore, Veil


class FaultKind(StrEnum):
    """What goes wrong; `before` and `after` say whether the request had its effect."""

    REJECT = "reject"
    FAIL_BEFORE = "fail_before"
    FAIL_AFTER = "fail_after"
    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    HOLD = "hold"
    STALE_SEARCH = "stale_search"
    RATE_LIMIT = "rate_limit"
    SLOW = "slow"
    EXPIRE_AUTH = "expire_auth"


class MatchSpec(BaseModel):
    """Which requests a fault meets; everything given must fit.

    `path` is a regular expression searched in the decoded path, else in path and query as sent;
    `key` is an external id, equal or as a regular expression for the whole of it; `correlation` is
    a regular expression searched in the header `X-Correlation-Id`; `write` tells requests that may
    change something from those that only read; `nth` is the first matching request that is met,
    from 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str | None = None
    path: str | None = None
    key: str | None = None
    correlation: str | None = None
    write: bool | None = None
    nth: int = Field(default=1, ge=1)

    @field_validator("path", "correlation")
    @classmethod
    def _is_expression(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is no regular expression: {error}") from error
        return value


@dataclass(frozen=True, slots=True)
class Facts:
    """What a fault can tell requests apart by."""

    method: str
    path: str
    path_qs: str
    keys: Sequence[str]
    correlation: str
    write: bool


class FaultSpec(BaseModel):
    """A fault as a test orders it.

    `times` -1 means for ever; `options` is for one vendor's own wishes.

    `effect` and `release_after_seconds` belong to `hold`, `seconds` to `slow`, `retry_after`
    (seconds) to `rate_limit`, `type` and `key` to `stale_search`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    match: MatchSpec = MatchSpec()
    times: int = Field(default=1, ge=-1)
    effect: Literal["before", "after"] = "after"
    release_after_seconds: float | None = Field(default=None, ge=0)
    seconds: float = Field(default=1.0, ge=0)
    retry_after: int | None = Field(default=None, ge=0)
    type: str | None = None
    key: str | None = None
    options: dict[str, JsonValue] = {}

    @model_validator(mode="after")
    def _has_a_use(self) -> "FaultSpec":
        if self.times == 0:
            raise ValueError("times 0 would never strike: give 1 or more, or -1 for ever")
        return self


class FaultView(TypedDict):
    """A fault as the control origin shows it; `calls` are the numbers of the requests it met."""

    id: str
    kind: str
    spec: dict[str, JsonValue]
    hits: int
    calls: list[int]
    seen: int
    held: int
    done: bool


class Fault:
    """A fault in force for one account."""

    def __init__(self, id: str, spec: FaultSpec, veil: Veil | None = None) -> None:
        """Arm a fault; a veil comes with `stale_search` alone."""
        self.id = id
        self.spec = spec
        self.kind = spec.kind
        self.veil = veil
        self.seen = 0
        self.calls: list[int] = []
        self._held: set[asyncio.Future[bool]] = set()
        self._changed = asyncio.Event()
        self._met = 0
        self._path = re.compile(spec.match.path) if spec.match.path is not None else None
        self._method = spec.match.method.upper() if spec.match.method is not None else None

    def fits(self, facts: Facts) -> bool:
        """Whether a request is one of those meant."""
        match = self.spec.match
        if self._method not in {None, facts.method} or match.write not in {None, facts.write}:
            return False
        if self._path and not (self._path.search(facts.path) or self._path.search(facts.path_qs)):
            return False
        if match.correlation is not None and not re.search(match.correlation, facts.correlation):
            return False
        return match.key is None or any(key_fits(match.key, key) for key in facts.keys)

    @property
    def due(self) -> bool:
        """Whether the request just seen is struck."""
        spent = self.spec.times != -1 and len(self.calls) >= self.spec.times
        return not spent and self.seen >= self.spec.match.nth

    def hit(self, call: int) -> None:
        """Note the request that was met and, save for `hold`, wake those who wait for it."""
        self.calls.append(call)
        if self.kind is not FaultKind.HOLD:
            self._announce()

    async def hold(self) -> bool:
        """Wait for the release.

        False when the account was reset meanwhile, so that nothing may happen any more.
        """
        gate: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held.add(gate)
        self._announce()
        try:
            async with asyncio.timeout(self.spec.release_after_seconds):
                return await gate
        except TimeoutError:
            return True
        finally:
            self._held.discard(gate)

    def release(self, go_on: bool = True) -> int:
        """Let all held requests go on, or drop them; return how many there were."""
        gates = [gate for gate in self._held if not gate.done()]
        for gate in gates:
            gate.set_result(go_on)
        return len(gates)

    async def wait(self, hits: int) -> None:
        """Wait until so many requests were met.

        A request met by `hold` counts once it stands still.
        """
        while self._met < hits:
            self._changed.clear()
            await self._changed.wait()

    def view(self) -> FaultView:
        """Return what the control origin shows."""
        done = self.spec.times != -1 and len(self.calls) >= self.spec.times
        return {
            "id": self.id,
            "kind": self.kind.value,
            "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
            "hits": len(self.calls),
            "calls": self.calls,
            "seen": self.seen,
            "held": len(self._held),
            "done": done and self.veil is None,
        }

    def _announce(self) -> None:
        self._met += 1
        self._changed.set()


def key_fits(wanted: str, key: str) -> bool:
    """Whether a key is the wanted one, or fits it as a regular expression for the whole key."""
    if wanted == key:
        return True
    try:
        return re.fullmatch(wanted, key) is not None
    except re.error:  # a literal key with brackets is no expression, and then it just differs
        return False


class FaultSet:
    """The faults of one account at one vendor, in the order in which they were set."""

    def __init__(self, store: RecordStore) -> None:
        """Start without faults; the store is what `stale_search` hides records in."""
        self._store = store
        self._faults: dict[str, Fault] = {}
        self._count = 0

    def add(self, spec: FaultSpec) -> Fault:
        """Arm a fault."""
        self._count += 1
        veil = self._draw_veil(spec) if spec.kind is FaultKind.STALE_SEARCH else None
        fault = Fault(f"f{self._count}", spec, veil)
        self._faults[fault.id] = fault
        return fault

    def all(self) -> list[Fault]:
        """Return the faults, spent ones too, until they are cleared."""
        return list(self._faults.values())

    def get(self, id: str) -> Fault | None:
        """Return one fault."""
        return self._faults.get(id)

    def strike(self, call: int, facts: Facts) -> list[Fault]:
        """Return what this request meets.

        That is any number of `slow`, then at most one other fault, noted as hits.
        """
        slow: list[Fault] = []
        other: list[Fault] = []
        for fault in self._faults.values():
            if fault.veil is not None or not fault.fits(facts):
                continue
            fault.seen += 1
            lane = slow if fault.kind is FaultKind.SLOW else other
            if fault.due and (lane is slow or not other):
                lane.append(fault)
                fault.hit(call)
        return slow + other

    def hidden_so_far(self) -> list[tuple[Fault, Veil, int]]:
        """Return how often each stale search hid something until now; empty without such faults."""
        if not self._store.veils:
            return []
        return [(f, f.veil, f.veil.hid) for f in self._faults.values() if f.veil is not None]

    def note_hidden(self, call: int, before: list[tuple[Fault, Veil, int]]) -> None:
        """Count a hit for every stale search which hid something since `hidden_so_far` was read."""
        for fault, veil, count in before:
            if veil.hid > count:
                fault.seen += 1
                fault.hit(call)

    def release(self, id: str | None = None) -> int:
        """Let held requests go on and end stale searches, of one fault or all; return the count."""
        return sum(self._release(fault) for fault in self.all() if id in (None, fault.id))

    def clear(self, id: str | None = None) -> int:
        """Remove one fault or all, letting go what they held; return how many were removed."""
        doomed = [fault for fault in self.all() if id in (None, fault.id)]
        for fault in doomed:
            self._release(fault)
            del self._faults[fault.id]
        return len(doomed)

    def abandon(self) -> None:
        """Drop held requests without effect: their account is being reset."""
        for fault in self._faults.values():
            fault.release(go_on=False)

    def _release(self, fault: Fault) -> int:
        count = fault.release()
        if fault.veil is not None and fault.veil in self._store.veils:
            self._store.veils.remove(fault.veil)
            count += 1
        return count

    def _draw_veil(self, spec: FaultSpec) -> Veil:
        wanted = spec.key if spec.key is not None else spec.match.key
        test = None if wanted is None else partial(key_fits, wanted)
        veil = Veil(spec.type, test, self._store.seq)
        self._store.veils.append(veil)
        return veil
