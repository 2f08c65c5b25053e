"""This process's part of every vendor account's budget: leases in PostgreSQL (DESIGN 3.13)."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from adapters.governor import LocalGovernor
from operations.config import Config
from store.budgets import ConnectionBudgets

LEASE_SECONDS: Final = 12.0
"""How long the places of a killed worker stay taken."""
RENEW_SECONDS: Final = 3.0
ASK_SECONDS: Final = 0.5
"""Between two looks while there is no place for us yet: the others give some up as they renew."""

_log = structlog.get_logger("dealthread.budgets")


class Shares:
    """Leases on the concurrency of each connection, kept up while the process serves.

    A queue is served once there is a place for this process at its vendor, so that the limits of
    all workers together never exceed what the account bears, also while one starts.
    """

    def __init__(
        self,
        config: Config,
        budgets: ConnectionBudgets,
        governors: Mapping[str, LocalGovernor],
        most: int | None = None,
    ) -> None:
        """Hold nothing yet. `most` is how many calls this process wants under way at a vendor."""
        self._config = config
        self._budgets = budgets
        self._governors = governors
        self._most = most
        self._worker = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._granted = {name: asyncio.Event() for name in governors}
        self._told = dict.fromkeys(governors, 0)
        self._renewed_at = 0.0

    async def granted(self, connection: str) -> None:
        """Wait until this process has a place at a connection."""
        await self._granted[connection].wait()

    def places(self) -> dict[str, int]:
        """Return how many calls each connection may have under way; 0 while there is no place."""
        return {
            name: governor.limit if self._granted[name].is_set() else 0
            for name, governor in self._governors.items()
        }

    async def renew(self) -> None:
        """Take or renew the leases, and tell the governors what they may use.

        Raises:
            StoreError: the store does not answer.
        """
        for name, governor in self._governors.items():
            if governor.halvings > self._told[name]:
                self._told[name] = governor.halvings
                await self._budgets.throttled(name)
            else:
                await self._budgets.restore(name)
            ceiling = self._config.connections[name].concurrency
            share = await self._budgets.acquire(
                name, self._worker, ceiling, LEASE_SECONDS, most=self._most
            )
            governor.set_ceiling(max(1, share))
            if share > 0:
                self._granted[name].set()
        self._renewed_at = asyncio.get_running_loop().time()

    async def keep_renewing(self) -> None:
        """Renew for ever; without the store, fall back to one place at each vendor."""
        while True:
            waiting = not all(event.is_set() for event in self._granted.values())
            await asyncio.sleep(ASK_SECONDS if waiting else RENEW_SECONDS)
            try:
                await self.renew()
            except Exception as error:
                _log.warning("budget_share_not_renewed", error=type(error).__name__)
                if asyncio.get_running_loop().time() - self._renewed_at > LEASE_SECONDS:
                    for governor in self._governors.values():
                        governor.set_ceiling(1)

    async def release(self) -> None:
        """Give the leases back."""
        await self._budgets.release(self._worker)


@asynccontextmanager
async def shares_of_budgets(
    config: Config,
    budgets: ConnectionBudgets,
    governors: Mapping[str, LocalGovernor],
    most: int | None = None,
) -> AsyncIterator[Shares]:
    """Hold this process's leases until the block ends, the last write included."""
    shares = Shares(config, budgets, governors, most)
    await shares.renew()
    renewing = asyncio.create_task(shares.keep_renewing())
    try:
        yield shares
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing
        try:
            await shares.release()
        except Exception as error:
            # They lapse by themselves; a stop must not hang on a store that is gone.
            _log.warning("budget_share_not_released", error=type(error).__name__)
