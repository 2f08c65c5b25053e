"""A record about to be saved, and what its rules say about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import errors, state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.state import Fields, ref_id, text


@dataclass
class Draft:
    """A record about to be saved: `before` is None for a new one, `fields` may still change.

    `sent` names the fields and sublists that the request brought.
    """

    account: Account
    type: str
    id: str
    before: Record | None
    fields: Fields
    sent: frozenset[str] = frozenset()

    def require(self, *names: str) -> None:
        """Raise the refusal that names every mandatory field without a value.

        Raises:
            ReplyError: one of them is empty.
        """
        specs = RECORD_TYPES[self.type].fields
        empty = [specs[name].label for name in names if self.fields.get(name) in (None, "")]
        if empty:
            raise errors.missing_values(empty)

    def default(self, name: str, value: JsonValue) -> None:
        """Fill a field that has no value."""
        if self.fields.get(name) is None and value is not None:
            self.fields[name] = value

    def changed(self, name: str) -> bool:
        """Whether a reference of an existing record is about to become another one."""
        return self.before is not None and ref_id(self.before.fields, name) != ref_id(
            self.fields, name
        )

    def differs(self, names: Iterable[str]) -> str | None:
        """Return the first of some fields that an existing record is about to change."""
        if self.before is None:
            return None
        before = self.before.fields
        return next((n for n in names if before.get(n) != self.fields.get(n)), None)

    def refuse(self, name: str) -> None:
        """Refuse the value of a field."""
        value = ref_id(self.fields, name) or text(self.fields, name)
        raise errors.invalid_value(value, name, name)


def check_segments(draft: Draft) -> None:
    """Refuse a department, class or location that another subsidiary alone may use.

    Raises:
        ReplyError: one of them is not for the record's subsidiary.
    """
    for name, kind in (
        ("department", "department"),
        ("class", "classification"),
        ("location", "location"),
    ):
        segment = draft.account.store.get(kind, ref_id(draft.fields, name) or "")
        if segment is None:
            continue
        allowed = [line.get("id") for line in state.lines(segment.fields, "subsidiary")]
        if allowed and ref_id(draft.fields, "subsidiary") not in allowed:
            draft.refuse(name)
