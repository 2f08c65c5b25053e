"""One request as a handler sees it, and the log of requests which tests read as their oracle."""

# ruff: noqa: A002 - `type` and `id` are what every vendor calls them

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import parse_qsl

from pydantic import JsonValue

if TYPE_CHECKING:
    from simulators.kit.account import Account

LOG_LENGTH_MAX = 50_000
"""Requests kept per account; the oldest go first."""


class MalformedBody(ValueError):
    """The request body is not JSON although the handler asked for it."""


class Effect(StrEnum):
    """What a request did to a record."""

    NONE = "none"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class EffectView(TypedDict):
    """One change by a request.

    `order` counts changes of the account, which held requests make late.
    """

    effect: str
    key: str | None
    type: str | None
    id: str | None
    order: int


class CallView(TypedDict):
    """A request as the control origin shows it; `effect` and `key` are those of its first change.

    `status` is None while it is under way and when the connection was dropped; `fault` names the
    kind that struck.
    """

    n: int
    at: str
    method: str
    path: str
    query: str
    status: int | None
    effect: str
    key: str | None
    effects: list[EffectView]
    correlation_id: str | None
    search: bool
    fault: str | None
    finished: bool
    seconds: float


@dataclass(slots=True)
class CallEntry:
    """A request in the log; it stands there from its arrival and is completed later."""

    n: int
    at: datetime
    method: str
    path: str
    query: str
    key: str | None
    correlation_id: str | None
    search: bool
    status: int | None = None
    effects: list[EffectView] = field(default_factory=list)
    fault: str | None = None
    finished: bool = False
    seconds: float = 0.0

    def view(self) -> CallView:
        """Return what the control origin shows."""
        first = self.effects[0] if self.effects else None
        return {
            "n": self.n,
            "at": self.at.isoformat(),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "effect": first["effect"] if first else Effect.NONE.value,
            "key": (first["key"] if first else None) or self.key,
            "effects": self.effects,
            "correlation_id": self.correlation_id,
            "search": self.search,
            "fault": self.fault,
            "finished": self.finished,
            "seconds": self.seconds,
        }


class CallLog:
    """The last requests of one account at one vendor, numbered from 1."""

    def __init__(self, length_max: int = LOG_LENGTH_MAX) -> None:
        """Start empty."""
        self._entries: deque[CallEntry] = deque(maxlen=length_max)
        self._count = 0
        self._changes = 0

    def open(self, call: "Call", at: datetime, search: bool) -> CallEntry:
        """Log a request on its arrival."""
        self._count += 1
        entry = CallEntry(
            n=self._count,
            at=at,
            method=call.method,
            path=call.path,
            query=call.query_string,
            key=call.keys[0] if call.keys else None,
            correlation_id=call.headers.get("X-Correlation-Id"),
            search=search,
        )
        self._entries.append(entry)
        return entry

    def next_change(self) -> int:
        """Return the number of the next change of the account."""
        self._changes += 1
        return self._changes

    def since(self, n: int = 0) -> list[CallEntry]:
        """Return the requests after number n."""
        return [entry for entry in self._entries if entry.n > n]


class Call:
    """One request: what came over the wire, whose it is, and what it did.

    `path` is decoded, `raw_path` is as sent; `params` are the route's decoded placeholders; `query`
    keeps the first value of a repeated parameter, `query_pairs` all of them; `origin` is scheme and
    host as the client named them, for links and signatures; `in_flight` counts the account's
    requests under way, this one included.
    """

    __slots__ = (
        "_account",
        "_json",
        "_parsed",
        "body",
        "entry",
        "headers",
        "in_flight",
        "keys",
        "method",
        "origin",
        "params",
        "path",
        "query",
        "query_pairs",
        "query_string",
        "raw_path",
        "vendor_accounts",
    )

    def __init__(
        self,
        *,
        method: str,
        path: str,
        raw_path: str,
        query_string: str,
        query_pairs: list[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
        params: Mapping[str, str],
        origin: str,
    ) -> None:
        """Take a request off the wire; the account is set once it is known."""
        self.method = method
        self.path = path
        self.raw_path = raw_path
        self.query_string = query_string
        self.query_pairs = query_pairs
        self.query = {name: value for name, value in reversed(query_pairs)}  # noqa: C416 - first wins
        self.headers = headers
        self.body = body
        self.params = params
        self.origin = origin
        self.keys: tuple[str, ...] = ()
        self.in_flight = 1
        self.entry: CallEntry | None = None
        self.vendor_accounts: Callable[[str], Account] | None = None
        self._account: Account | None = None
        self._parsed = False
        self._json: JsonValue = None

    @property
    def account(self) -> "Account":
        """The account whose request this is.

        Not there yet inside `authenticate`: use `open_account`.
        """
        if self._account is None:
            raise RuntimeError("the account is known only after authenticate")
        return self._account

    @account.setter
    def account(self, account: "Account") -> None:
        self._account = account

    def open_account(self, name: str) -> "Account":
        """Return the vendor's account of that name, made on first use; for `authenticate`.

        Raises:
            ValueError: this is no account's name; ask `is_account_name` first.
        """
        if self.vendor_accounts is None:
            raise RuntimeError("this call belongs to no simulator")
        return self.vendor_accounts(name)

    @property
    def json(self) -> JsonValue:
        """The parsed body, None when it is empty.

        Raises:
            MalformedBody: it is not JSON; left alone, the vendor's `malformed_reply` answers.
        """
        if not self._parsed:
            try:
                self._json = json.loads(self.body) if self.body else None
            except ValueError as error:
                raise MalformedBody(str(error)) from error
            self._parsed = True
        return self._json

    @property
    def form(self) -> dict[str, str]:
        """The body as a form, the last value of a repeated field."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def effected(
        self,
        effect: str,
        key: str | None = None,
        type: str | None = None,
        id: str | None = None,
    ) -> None:
        """Say what the request did to a record; a composite says it for each, once all held."""
        if self.entry is None:
            return
        order = self.account.calls.next_change()
        self.entry.effects.append(
            {"effect": Effect(effect).value, "key": key, "type": type, "id": id, "order": order}
        )
