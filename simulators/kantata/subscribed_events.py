"""`GET /subscribed_events` (section 14): the feed as a collection, for account administrators."""

import random
from collections.abc import Mapping
from typing import ClassVar

from simulators.kantata import feed
from simulators.kantata.collection import Collection
from simulators.kantata.errors import system
from simulators.kantata.filters import Filter, Predicate, by_id, by_text
from simulators.kantata.permissions import is_account_admin
from simulators.kantata.scene import Scene
from simulators.kantata.values import BadValue, Field, Fields, Kind, parse_moment, text_in, utc
from simulators.kit import Record

_TRUE = frozenset({"true", "1", "t"})


def _by_user(_scene: Scene, value: str) -> Predicate:
    wanted = frozenset(value.split(","))
    return lambda record: text_in(record.fields, "user_id") in wanted


class SubscribedEvents(Collection):
    """What changed: unordered, late and more than once, as `emit` has it."""

    name = feed.NAME
    singular = "subscribed_event"
    noun = "SubscribedEvent"
    can = frozenset({"list"})
    fields: ClassVar[Mapping[str, Field]] = {
        "event_type": Field(),
        "subject_type": Field(),
        "subject_id": Field(),
        "subject_changed_at": Field(),
        "user_id": Field(),
        "account_id": Field(),
        "previous_payload": Field(Kind.OBJECT),
        "current_payload": Field(Kind.OBJECT),
        "payload_changes": Field(Kind.OBJECT),
    }
    optional = frozenset({"previous_payload", "current_payload", "payload_changes"})
    has_subject = True
    is_stored = False
    filters: ClassVar[Mapping[str, Filter]] = {
        "event_types": by_id("event_type"),
        "subject_type": by_text("subject_type"),
        "subject_id": by_id("subject_id"),
        "user_ids": _by_user,
    }

    def check_list(self, scene: Scene, query: Mapping[str, str]) -> None:
        """Refuse who is no account administrator.

        Raises:
            ApiError: 403.
        """
        del query
        if not is_account_admin(scene):
            raise system(403, "Only account administrators can see subscribed events")

    def candidates(self, scene: Scene, query: Mapping[str, str]) -> list[Record]:
        try:
            after = utc(parse_moment(query["created_after"]))
        except (KeyError, BadValue):  # the filter itself refuses what is no datetime
            after = None
        return feed.records(scene.account, after)

    def arranged(self, scene: Scene, rows: list[Record], query: Mapping[str, str]) -> list[Record]:
        """Repeat and shuffle rows, the same way every time, so that pages fit together."""
        ways = feed.ways(scene.account)
        if query.get("most_recent_by_event_type") in _TRUE:
            rows = _most_recent(rows, ("subject_id", "event_type"))
        elif query.get("most_recent") in _TRUE:
            rows = _most_recent(rows, ("subject_id",))
        found = [row for row in rows for _ in range(ways.duplicate + 1)]
        if ways.shuffle:
            random.Random(len(found)).shuffle(found)
        return found

    def derived(self, scene: Scene, record: Record) -> Fields:
        del scene
        key, id_ = record.fields["subject_key"], record.fields["subject_id"]
        return {"subject_ref": {"key": key, "id": id_}}


def _most_recent(rows: list[Record], names: tuple[str, ...]) -> list[Record]:
    last: dict[tuple[str, ...], int] = {}
    for row in rows:
        about = tuple(text_in(row.fields, name) for name in names)
        last[about] = max(last.get(about, 0), row.seq)
    newest = set(last.values())
    return [row for row in rows if row.seq in newest]
