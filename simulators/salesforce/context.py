"""What one request works with: its account, its version and options, and what it did so far."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import JsonValue

from simulators.kit import Account, Effect, Record
from simulators.salesforce.ids import numbered_id
from simulators.salesforce.objects import CATALOG

INTEGRATION_USER_ID = numbered_id("User", 1, "DT")
"""The user as whom every app of the seeded organisation runs."""


@dataclass(slots=True)
class EffectNote:
    """A change to be reported once the whole request holds."""

    effect: Effect
    record: Record


@dataclass(slots=True)
class Context:
    """One request, or the one request around the parts of a composite.

    `api_version` is a number such as 67; `allow_duplicates` passes alert rules and
    `skip_duplicate_rules` all of them, which is for people in the vendor's own screen.
    """

    account: Account
    api_version: int = 67
    allow_duplicates: bool = False
    skip_duplicate_rules: bool = False
    effects: list[EffectNote] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Path prefix of this version."""
        return f"/services/data/v{self.api_version}.0"

    def row_path(self, kind: str, record_id: str) -> str:
        """Return where a row is read."""
        return f"{self.base}/sobjects/{kind}/{record_id}"

    def now(self) -> str:
        """Return the account's time as a stored datetime."""
        return wire_datetime(self.account.clock.now())

    def note(self, effect: Effect, record: Record) -> None:
        """Remember what was done."""
        self.effects.append(EffectNote(effect, record))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo records and notes when the block raises."""
        count = len(self.effects)
        try:
            with self.account.store.atomic():
                yield
        except BaseException:
            del self.effects[count:]
            raise


def wire_datetime(moment: datetime) -> str:
    """Return a datetime as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def stamps(record: Record) -> Mapping[str, str]:
    """Return the stamps of a row.

    A user's edit moves LastModifiedDate, roll-ups and other system changes SystemModstamp alone.
    """
    created = wire_datetime(record.created_at)
    edited = record.fields.get("LastModifiedDate")
    return {
        "CreatedDate": created,
        "LastModifiedDate": edited if isinstance(edited, str) else created,
        "SystemModstamp": wire_datetime(record.modified_at),
    }


def external_key(kind: str, fields: Mapping[str, JsonValue]) -> str | None:
    """Return the external id under which the control origin shows a row."""
    value = fields.get(CATALOG[kind].key_field)
    return value if isinstance(value, str) else None


def section(account: Account, name: str) -> dict[str, JsonValue]:
    """Return a named part of the account's own state, made when it is missing."""
    found = account.extra.setdefault(name, {})
    if not isinstance(found, dict):
        raise TypeError(f"{name} in the state of {account.name} must be an object")
    return found
