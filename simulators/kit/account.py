"""One account at one vendor: everything that tests running side by side must not share."""

import asyncio
import re
from collections.abc import Coroutine
from typing import TypedDict

from pydantic import JsonValue

from simulators.kit.calls import CallLog
from simulators.kit.clock import Clock
from simulators.kit.faults import FaultSet
from simulators.kit.records import IdFactory, RecordStore, StoreState

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class AccountState(TypedDict):
    """An account in the state file; requests and faults are not kept."""

    store: StoreState
    extra: dict[str, JsonValue]
    latency_ms: float


def is_account_name(name: str) -> bool:
    """Whether this may name an account.

    Letters, digits, `.`, `_`, `-`, at most 64, so it fits into any credential.
    """
    return _NAME.fullmatch(name) is not None


class Account:
    """Records, requests, faults and clock of one account.

    `extra` is the vendor's own JSON: tokens, cursors, events.
    """

    def __init__(self, name: str, clock: Clock, make_id: IdFactory) -> None:
        """Make an empty account.

        A vendor's `new_account` calls this and adds its custom fields and such.
        """
        self.name = name
        self.clock = clock
        self.store = RecordStore(clock, make_id)
        self.faults = FaultSet(self.store)
        self.calls = CallLog()
        self.extra: dict[str, JsonValue] = {}
        self.latency_ms = 0.0
        self.in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside the request, such as a webhook; it ends with the account."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop background work and drop held requests without effect."""
        self.faults.abandon()
        for task in self._tasks:
            task.cancel()

    def dump(self) -> AccountState:
        """Return the state for the state file."""
        return {
            "store": self.store.dump(),
            "extra": self.extra,
            "latency_ms": self.latency_ms,
        }

    def load(self, state: AccountState) -> None:
        """Take a state which `dump` gave."""
        self.store.load(state["store"])
        self.extra = state["extra"]
        self.latency_ms = state["latency_ms"]
