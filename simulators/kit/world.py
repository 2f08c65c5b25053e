"""All accounts of one stack, and their way into the state file and back."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, cast

from simulators.kit.account import Account, AccountState, is_account_name
from simulators.kit.clock import Clock
from simulators.kit.vendor import Vendor


class WorldState(TypedDict):
    """The state file: clocks by account, accounts by vendor and name."""

    clocks: dict[str, dict[str, str | float | None]]
    vendors: dict[str, dict[str, AccountState]]


class World:
    """Accounts by vendor and name; they spring into being on first use."""

    def __init__(self, vendors: Iterable[Vendor]) -> None:
        """Start without accounts."""
        self.vendors = {vendor.name: vendor for vendor in vendors}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._clocks: dict[str, Clock] = {}
        self._absent: dict[str, dict[str, AccountState]] = {}

    def account(self, vendor: str, name: str) -> Account:
        """Return an account, made on first use.

        Raises:
            ValueError: no name for an account.
        """
        account = self._accounts.get((vendor, name))
        if account is None:
            account = self.vendors[vendor].new_account(name, self.clock(name))
            self._accounts[vendor, name] = account
        return account

    def clock(self, name: str) -> Clock:
        """Return the clock which an account has at all vendors.

        Raises:
            ValueError: no name for an account.
        """
        clock = self._clocks.get(name)
        if clock is None:
            if not is_account_name(name):
                raise ValueError(f"{name[:80]!r} is no account name: letters, digits, . _ - only")
            clock = self._clocks[name] = Clock()
        return clock

    def reset(self, name: str | None = None) -> int:
        """Forget one account at all vendors, or all of them; return how many were forgotten."""
        doomed = [key for key in self._accounts if name in (None, key[1])]
        for key in doomed:
            self._accounts.pop(key).close()
        for owner, clock in self._clocks.items():
            if name in (None, owner):
                clock.reset()
        return len(doomed)

    def close(self) -> None:
        """Stop all background work and drop held requests."""
        for account in self._accounts.values():
            account.close()

    def save(self, path: Path) -> None:
        """Write the state file, whole or not at all."""
        vendors = {name: dict(accounts) for name, accounts in self._absent.items()}
        for (vendor, name), account in self._accounts.items():
            vendors.setdefault(vendor, {})[name] = account.dump()
        clocks = {name: clock.dump() for name, clock in self._clocks.items()}
        draft = path.with_name(path.name + ".new")
        draft.write_text(json.dumps({"clocks": clocks, "vendors": vendors}), encoding="utf-8")
        draft.replace(path)

    def load(self, path: Path) -> None:
        """Read the state file; what belongs to a vendor not served now is kept for the next one."""
        state = cast(WorldState, json.loads(path.read_text(encoding="utf-8")))
        for name, clock in state["clocks"].items():
            self.clock(name).load(clock)
        for vendor, accounts in state["vendors"].items():
            if vendor not in self.vendors:
                self._absent[vendor] = accounts
                continue
            for name, account in accounts.items():
                self.account(vendor, name).load(account)
