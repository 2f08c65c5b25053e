"""What a request works on: the account's records, its parameters, and what it did.

A record's `type` is Stripe's `object`; its fields are the object without `id`, `object` and what
hangs on it (lines, items). Its key is `metadata[dealthread_key]`. Names with a leading underscore
are the simulator's own and are not shown.
"""

# ruff: noqa: A002 - `type` and `id` are what Stripe calls them

import hashlib
from collections import deque
from dataclasses import dataclass, field

from pydantic import JsonValue

from simulators.kit import Account, Call, Clock, Effect, Record
from simulators.stripe.errors import missing
from simulators.stripe.forms import FormT, Metadata, merged, read

NAME = "stripe"
KEY = "dealthread_key"
API_VERSION = "2026-10-28.endive"
SETTINGS = "settings"
"""Limits and lags as the tests want them; see `seed.set_up`."""
PREFIXES = {
    "customer": "cus",
    "invoiceitem": "ii",
    "invoice": "in",
    "credit_note": "cn",
    "credit_note_line_item": "cnli",
    "invoice_payment": "inpay",
    "payment_intent": "pi",
    "refund": "re",
    "dispute": "dp",
    "tax_rate": "txr",
    "product": "prod",
    "price": "price",
    "subscription": "sub",
    "subscription_item": "si",
    "billing.meter": "mtr",
    "billing.meter_event": "mev",
    "event": "evt",
    "webhook_endpoint": "we",
}
TYPES = {prefix: kind for kind, prefix in PREFIXES.items()}

Fields = dict[str, JsonValue]


class StripeAccount(Account):
    """An account; requests under way by idempotency key, and the starts of recent ones."""

    def __init__(self, name: str, clock: Clock) -> None:
        def make_id(type: str, number: int) -> str:
            seed = f"{NAME}/{name}/{type}/{number}"
            suffix = hashlib.sha256(seed.encode()).hexdigest()[:20]
            return f"{PREFIXES[type]}_1Q{number:04d}{suffix}"

        super().__init__(name, clock, make_id)
        self.arrivals: dict[str, list[Call]] = {}
        self.windows: dict[str, deque[float]] = {}
        self.ticked = 0
        add = self.store.add_index
        add("invoiceitem", "invoice", lambda fields: _ids(fields, "invoice"))
        add("invoiceitem", "customer", _pending_of)
        add("invoice_payment", "invoice", lambda fields: _ids(fields, "invoice"))
        add("invoice", "due", _due)
        add("credit_note", "invoice", lambda fields: _ids(fields, "invoice"))
        add("credit_note_line_item", "note", lambda fields: _ids(fields, "_note"))
        add("subscription_item", "subscription", lambda fields: _ids(fields, "subscription"))
        add("subscription", "live", lambda fields: _live(fields))
        add("billing.meter", "event_name", lambda fields: _ids(fields, "event_name"))
        add("billing.meter_event", "event_name", lambda fields: _ids(fields, "event_name"))
        add("billing.meter_event", "identifier", lambda fields: _ids(fields, "identifier"))


@dataclass
class Act:
    """One request, or one act of a person in the Dashboard."""

    account: Account
    params: Fields = field(default_factory=dict)
    target: str = ""
    part: str = ""
    path: str = ""
    request_id: str | None = None
    idempotency_key: str | None = None
    effects: list[tuple[Effect, Record]] = field(default_factory=list)
    news: list[Record] = field(default_factory=list)

    @property
    def now(self) -> int:
        """The account's time in seconds since 1970."""
        return int(self.account.clock.now().timestamp())

    def read(self, form: type[FormT]) -> FormT:
        """Read the parameters; see `forms.read`."""
        return read(form, self.params)

    def find(self, type: str, id: str | None = None, param: str = "id") -> Record:
        """Return a record by the id in the path, or in a parameter.

        Raises:
            Refusal: there is none.
        """
        given = self.target if id is None else id
        record = self.account.store.get(type, given)
        if record is None:
            raise missing(type.rpartition(".")[2].replace("_", " "), given, param)
        return record

    def insert(self, type: str, fields: Fields, metadata: Metadata = None) -> Record:
        """Create a record, which gets `created`, `livemode` and `metadata`."""
        whole: Fields = {
            "created": self.now,
            "livemode": False,
            "metadata": merged({}, metadata),
            **fields,
        }
        record = self.account.store.insert(type, whole, key_of(whole["metadata"]))
        self.effects.append((Effect.CREATE, record))
        return record

    def update(self, record: Record, changes: Fields) -> None:
        """Change a record, and its key with its metadata."""
        self.account.store.update(record, changes)
        if "metadata" in changes:
            self.account.store.set_key(record, key_of(changes["metadata"]))
        if all(known is not record for _, known in self.effects):
            self.effects.append((Effect.UPDATE, record))

    def delete(self, record: Record) -> Fields:
        """Delete a record and return Stripe's stub of it."""
        self.account.store.delete(record)
        self.effects.append((Effect.DELETE, record))
        return {"id": record.id, "object": record.type, "deleted": True}


def settings(account: Account) -> Fields:
    """Return the account's limits and lags."""
    record = account.store.get(SETTINGS, "1")
    return {} if record is None else record.fields


def key_of(metadata: JsonValue) -> str | None:
    """Return our external id in an object's metadata."""
    key = metadata.get(KEY) if isinstance(metadata, dict) else None
    return key if isinstance(key, str) else None


def number(fields: Fields, name: str) -> int:
    """Return an integer of an object, 0 where it is null."""
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def text(fields: Fields, name: str) -> str:
    """Return a text of an object, empty where it is null."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def part(fields: Fields, name: str) -> Fields:
    """Return an object within an object, empty where it is null."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def names(fields: Fields, name: str) -> list[str]:
    """Return a list of ids in an object."""
    value = fields.get(name)
    return [str(entry) for entry in value] if isinstance(value, list) else []


def line_id(item: Record) -> str:
    """Return the id of the line that an invoice item is on its invoice."""
    return "il_" + item.id.partition("_")[2]


def item_id(line: str) -> str:
    """Return the id of the invoice item behind a line."""
    return "ii_" + line.partition("_")[2]


def _ids(fields: Fields, name: str) -> list[str]:
    value = fields.get(name)
    return [value] if isinstance(value, str) else []


def _pending_of(fields: Fields) -> list[str]:
    return _ids(fields, "customer") if fields.get("invoice") is None else []


def _due(fields: Fields) -> list[str]:
    """Say what an invoice waits for: its automatic finalization, or becoming overdue."""
    if fields.get("status") == "draft" and fields.get("automatically_finalizes_at"):
        return ["finalization"]
    overdue = fields.get("_overdue") is True
    return ["payment"] if fields.get("status") == "open" and not overdue else []


def _live(fields: Fields) -> list[str]:
    return ["yes"] if fields.get("status") != "canceled" else []
