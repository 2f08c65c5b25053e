"""What a simulated vendor has to say: its routes, its sign-in, its wire form of every failure."""

# ruff: noqa: A002 - `type` and `id` are what every vendor calls them

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from simulators.kit.account import Account
from simulators.kit.calls import Call
from simulators.kit.clock import Clock
from simulators.kit.faults import Fault, FaultKind
from simulators.kit.rows import Record

DEFAULT_ACCOUNT = "default"
"""The account meant where none is named."""


@dataclass(slots=True)
class Reply:
    """An answer: text and bytes go out as they are, None without a body, anything else as JSON."""

    status: int = 200
    body: JsonValue | bytes = None
    headers: Mapping[str, str] = field(default_factory=dict)


class ReplyError(Exception):
    """An answer by raising.

    `account` says in whose log a refused sign-in belongs, when that is known,
    else the default account's.
    """

    def __init__(self, reply: Reply, account: str | None = None) -> None:
        """Carry the reply to the wire."""
        super().__init__(f"status {reply.status}")
        self.reply = reply
        self.account = account


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path of a vendor, in aiohttp's notation (`/v1/things/{id}`).

    Static paths win over placeholders, and `{id}` takes an encoded slash. `method` may be `*`. A
    `public` route is not authenticated: token endpoints.
    """

    method: str
    path: str
    handler: Handler
    public: bool = False


class Vendor(ABC):
    """A simulated vendor; its state is all in the accounts, so one object serves many stacks."""

    name: str

    @abstractmethod
    def routes(self) -> Sequence[Route]:
        """Return every path which the vendor serves."""

    @abstractmethod
    def new_account(self, name: str, clock: Clock) -> Account:
        """Make an account with seeded ids and custom fields.

        The same name gives the same account every time.
        """

    @abstractmethod
    def authenticate(self, call: Call) -> str:
        """Return the name of the account whose valid credentials the request carries.

        A refused request meets no faults. The name must pass `is_account_name`.

        Raises:
            ReplyError: the vendor's own 401.
        """

    @abstractmethod
    def credentials(self, account: str) -> dict[str, str]:
        """Return what a client needs to sign in to this account.

        It is computed from the name alone (see `secret_for`).
        """

    @abstractmethod
    def fault_reply(self, kind: FaultKind, call: Call, fault: Fault) -> Reply:
        """Return the vendor's own wire form of a fault that is answered.

        Those are `reject`, `fail_before`, `fail_after`, `rate_limit`, `expire_auth`. `fault.spec`
        has `retry_after` and `options`. For `expire_auth` the vendor may also void the token used.
        """

    @abstractmethod
    def seed(
        self, account: Account, scenario: str, count: int, seed: int
    ) -> Mapping[str, JsonValue]:
        """Fill an account and say what was made, ids of interest included.

        Raises:
            ValueError: no such scenario; the message names those there are.
        """

    def account_of(self, call: Call) -> str:
        """Return whose request this is, on a public route, where nothing is checked yet.

        Read it from the client id, the assertion or the form, so that faults meet sign-ins too.
        """
        del call
        return DEFAULT_ACCOUNT

    def request_key(self, call: Call) -> str | None:
        """Return the external id in the path or body, for faults and the log."""
        del call
        return None

    def request_keys(self, call: Call) -> tuple[str, ...]:
        """Return all external ids of a request; composites and bulk calls override this one."""
        key = self.request_key(call)
        return () if key is None else (key,)

    def is_search(self, call: Call) -> bool:
        """Whether the request is a query, which a stale index may answer."""
        del call
        return False

    def concurrency_limit(self, account: Account) -> int | None:
        """Return how many requests of an account may run at once; more get `rate_limit` replies."""
        del account
        return None

    def not_found_reply(self, call: Call) -> Reply:
        """Return the answer for a path or method which no route serves."""
        return Reply(404, {"error": f"no route for {call.method} {call.path}"})

    def malformed_reply(self, call: Call, reason: str) -> Reply:
        """Return the answer for a body which is not JSON."""
        del call
        return Reply(400, {"error": f"malformed body: {reason}"})

    async def emit(self, account: Account, what: dict[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Notify as the vendor does.

        `what` says of what, where to, and whether twice, late or out of order.

        Raises:
            ValueError: nothing of that sort can be sent; the message says what can.
        """
        del account, what
        raise ValueError(f"{self.name} notifies nobody: it is polled")

    def screen_create(
        self,
        account: Account,
        type: str,
        fields: dict[str, JsonValue],
        key: str | None,
    ) -> Record:
        """Create a record as a person in the vendor's own screen.

        Override to fill derived fields or feed events.

        Raises:
            ValueError: the vendor would refuse; the message says why.
        """
        return account.store.insert(type, fields, key)

    def screen_update(
        self, account: Account, record: Record, changes: dict[str, JsonValue]
    ) -> Record:
        """Change a record as a person in the vendor's own screen; see `screen_create`."""
        return account.store.update(record, changes)

    def screen_delete(self, account: Account, record: Record) -> None:
        """Delete a record as a person in the vendor's own screen; see `screen_create`."""
        account.store.delete(record)


def secret_for(*parts: str) -> str:
    """Derive a secret of 64 hex digits from names such as vendor, account and purpose."""
    return hashlib.sha256("/".join(("dealthread-simulators", *parts)).encode()).hexdigest()
