"""What `GET /subscribed_events` is made of (section 14): changes, kept for nine days.

Rows lie beside the records, in the account's own state, since they are no objects that a person
works with. How they arrive is set by `emit`: so many times again, in any order, so much later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from simulators.kantata.values import ACCOUNT_ID, Fields, integer_in, text_in, wire_datetime
from simulators.kit import Account, JsonValue, Record

if TYPE_CHECKING:
    from simulators.kantata.collection import Collection

KEPT = timedelta(days=9)
NAME = "subscribed_events"
WHAT = "feed"
"""What a test emits."""
PREFIXES = {
    "workspaces": "workspace",
    "stories": "story",
    "time_entries": "time_entry",
    "time_adjustments": "time_adjustment",
    "expenses": "expense",
    "timesheet_submissions": "timesheet",
    "expense_report_submissions": "expense_report",
    "invoices": "invoice",
    "external_payments": "external_payment",
    "billing_milestones": "billing_milestone",
    "line_item_locks": "line_item_lock",
    "participations": "participation",
}
"""Collection -> first half of its event types; those which the page does not list are guessed."""
_VERBS = ("created", "updated", "deleted")
EVENT_TYPES = (
    *(f"{prefix}:{verb}" for prefix in PREFIXES.values() for verb in _VERBS),
    "story:status_selected",
)

_ROWS, _COUNT, _WAYS = "feed_rows", "feed_count", "feed_ways"
_UNSENT = frozenset({"external_reference_ids", "custom_field_value_ids"})
_FIRST_ID = 7_000_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object, before it is published."""

    event_types: tuple[str, ...]
    subject_type: str
    collection: str
    subject_id: str
    user_id: str
    before: Fields | None
    after: Fields | None


@dataclass(frozen=True, slots=True)
class Ways:
    """How rows arrive: each `duplicate` times more, in any order, `delay_seconds` late or never."""

    duplicate: int = 0
    shuffle: bool = False
    delay_seconds: float = 0.0
    lost: bool = False
    """Nothing is written: changes that no reader of the feed ever hears of."""


def change_of(
    collection: "Collection", verb: str, record: Record, before: Fields | None, user_id: str
) -> Change | None:
    """Return a change as the feed has it, None for what it does not carry or what is the same."""
    prefix = PREFIXES.get(collection.name)
    if prefix is None or (before is not None and before == record.fields):
        return None
    event_types = [f"{prefix}:{verb}"]
    if prefix == "story" and before is not None and before["state"] != record.fields["state"]:
        event_types.append("story:status_selected")
    earlier = record.fields if verb == "deleted" else before
    return Change(
        tuple(event_types),
        collection.noun,
        collection.name,
        record.id,
        user_id,
        None if earlier is None else _payload(record.id, earlier),
        None if verb == "deleted" else _payload(record.id, record.fields),
    )


def publish(account: Account, changes: Sequence[Change]) -> None:
    """Add changes to the feed, and drop what is older than nine days."""
    if not changes or ways(account).lost:
        return
    now = account.clock.now()
    rows = _rows(account)
    late = now.timestamp() + ways(account).delay_seconds
    for change in changes:
        for event_type in change.event_types:
            rows.append(_row(account, change, event_type, now, late))
    oldest = (now - KEPT).timestamp()
    if rows and _stamp(rows[0], "at") < oldest:
        rows[:] = [row for row in rows if _stamp(row, "at") >= oldest]


def records(account: Account, after: datetime | None) -> list[Record]:
    """Return the rows that have arrived and are not too old, as records, in order of creation.

    `after` spares making records of rows that are surely older.
    """
    now = account.clock.now()
    oldest = max(now - KEPT, after or now - KEPT).timestamp()
    found: list[Record] = []
    for row in _rows(account):
        at = _stamp(row, "at")
        if isinstance(row, dict) and at >= oldest and _stamp(row, "visible_at") <= now.timestamp():
            moment = datetime.fromtimestamp(at, UTC)
            id_ = text_in(row, "id")
            found.append(Record(NAME, id_, None, True, row, moment, moment, int(id_)))
    return found


def ways(account: Account) -> Ways:
    """Return how rows arrive now."""
    held = account.extra.get(_WAYS)
    if not isinstance(held, dict):
        return Ways()
    delay = held.get("delay_seconds")
    return Ways(
        integer_in(held, "duplicate"),
        held.get("shuffle") is True,
        float(delay) if isinstance(delay, int | float) else 0.0,
        held.get("lost") is True,
    )


def set_ways(account: Account, what: Mapping[str, JsonValue]) -> Ways:
    """Say how rows arrive from now on; what is not named goes back to the usual.

    Raises:
        ValueError: an option that does not exist, or a value that does not fit.
    """
    known = {"duplicate": int, "shuffle": bool, "delay_seconds": int | float, "lost": bool}
    for name, value in what.items():
        if name not in known:
            raise ValueError(f"no option {name!r} of the feed: there are {', '.join(known)}")
        if not isinstance(value, known[name]) or (isinstance(value, int | float) and value < 0):
            raise ValueError(f"{value!r} does not fit {name}")
    account.extra[_WAYS] = dict(what)
    return ways(account)


def _row(account: Account, change: Change, event_type: str, now: datetime, late: float) -> Fields:
    count = integer_in(account.extra, _COUNT) + 1
    account.extra[_COUNT] = count
    before, after = change.before or {}, change.after or {}
    changed: Fields = {
        name: [before.get(name), after.get(name)]
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    }
    return {
        "id": str(_FIRST_ID + count),
        "event_type": event_type,
        "subject_type": change.subject_type,
        "subject_id": change.subject_id,
        "subject_key": change.collection,
        "subject_changed_at": wire_datetime(now),
        "user_id": change.user_id,
        "account_id": ACCOUNT_ID,
        "previous_payload": change.before,
        "current_payload": change.after,
        "payload_changes": changed,
        "at": now.timestamp(),
        "visible_at": late,
    }


def _payload(id_: str, fields: Fields) -> Fields:
    return {"id": id_, **{n: v for n, v in fields.items() if n not in _UNSENT}}


def _rows(account: Account) -> list[JsonValue]:
    rows = account.extra.setdefault(_ROWS, [])
    if not isinstance(rows, list):
        raise TypeError("the feed in the account's state is damaged")
    return rows


def _stamp(row: JsonValue, name: str) -> float:
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, float) else 0.0
