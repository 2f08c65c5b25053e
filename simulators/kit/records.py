"""The records of one account at one vendor, with indexes by id, by key and by what a vendor asks.

Rows are kept after their deletion. A store knows no field rules; those are the vendor's. Its
methods never await, so a handler which does not await either is atomic by itself; `atomic` is for
composites which undo their first half when the second fails.
"""

# ruff: noqa: A002 - `type` and `id` are what every vendor calls them

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from pydantic import JsonValue

from simulators.kit.clock import Clock
from simulators.kit.rows import Fields, Index, IndexValues, Record

IdFactory = Callable[[str, int], str]
"""Makes an id from a record type and the number of the record within its type, from 1.

No state of its own.
"""


Records = list[Record]
"""Spelt outside `RecordStore`, where `list` is a method."""


class RecordState(TypedDict):
    """A record as the state file and the control origin show it; `live` is false once deleted."""

    type: str
    id: str
    key: str | None
    live: bool
    fields: dict[str, JsonValue]
    created_at: str
    modified_at: str
    seq: int


class StoreState(TypedDict):
    """A store in the state file."""

    records: list[RecordState]
    counters: dict[str, int]
    seq: int


@dataclass(slots=True, eq=False)
class Veil:
    """Hides records created after it was drawn from searches; `hid` counts how often it did."""

    type: str | None
    key: Callable[[str], bool] | None
    since: int
    hid: int = 0

    def hides(self, record: Record) -> bool:
        """Whether a search must miss this record."""
        if record.seq <= self.since or (self.type is not None and record.type != self.type):
            return False
        if self.key is not None and (record.key is None or not self.key(record.key)):
            return False
        self.hid += 1
        return True


@dataclass(eq=False)
class Snapshot:
    """A point to return to; it records how to undo every change made since, until it is dropped."""

    undo: list[Callable[[], None]] = field(default_factory=list)


class RecordStore:
    """All records of one account at one vendor."""

    def __init__(self, clock: Clock, make_id: IdFactory) -> None:
        """Start empty; the clock stamps records, the factory names them."""
        self.clock = clock
        self.veils: list[Veil] = []
        self._make_id = make_id
        self._types: dict[str, dict[str, Record]] = {}
        self._keys: dict[tuple[str, str], list[Record]] = {}
        self._indexes: dict[str, dict[str, Index]] = {}
        self._counters: dict[str, int] = {}
        self._seq = 0
        self._changes = 0
        self._snapshots: weakref.WeakSet[Snapshot] = weakref.WeakSet()

    @property
    def seq(self) -> int:
        """Number of the newest record."""
        return self._seq

    @property
    def changes(self) -> int:
        """Goes up with every change, so that what was worked out from the records can be kept."""
        return self._changes

    def insert(
        self,
        type: str,
        fields: dict[str, JsonValue],
        key: str | None = None,
        id: str | None = None,
    ) -> Record:
        """Add a live record; keys may repeat, since whether they may is the vendor's rule.

        Raises:
            ValueError: the given id is taken, by a deleted record too.
        """
        rows = self._types.setdefault(type, {})
        if id is None:
            id = self._next_id(type)  # noqa: A001 - as above
        elif id in rows:
            raise ValueError(f"{type} {id} exists already")
        self._seq += 1
        now = self.clock.now()
        record = Record(type, id, key, True, fields, now, now, self._seq)
        rows[id] = record
        self._index(record)
        self._journal(lambda: self._erase(record))
        return record

    def get(self, type: str, id: str, dead: bool = False) -> Record | None:
        """Return the record, a deleted one only when `dead` is true."""
        record = self._types.get(type, {}).get(id)
        return record if record is not None and (record.live or dead) else None

    def by_key(self, type: str, key: str, search: bool = False) -> Record | None:
        """Return the first live record with this key; `search` misses what a stale search hides."""
        return next(iter(self.all_by_key(type, key, search)), None)

    def all_by_key(self, type: str, key: str, search: bool = False) -> Records:
        """Return every live record with this key, in the order in which they took it."""
        found = [record for record in self._keys.get((type, key), ()) if record.live]
        return self._visible(found) if search else found

    def list(self, type: str, search: bool = False) -> Records:
        """Return live records in order of creation; `search` misses what a stale search hides."""
        found = [record for record in self._types.get(type, {}).values() if record.live]
        return self._visible(found) if search else found

    def add_index(self, type: str, name: str, values: IndexValues) -> None:
        """Keep an index of a type's records, for `indexed`; a name taken before is replaced.

        `values` may depend on the record's fields alone.
        """
        index = Index(values)
        for record in self._types.get(type, {}).values():
            index.add(record)
        self._indexes.setdefault(type, {})[name] = index

    def indexed(self, type: str, name: str, value: str, search: bool = False) -> Records:
        """Return live records which an index has under a value, in order of creation.

        Raises:
            KeyError: no such index was added.
        """
        rows = self._indexes[type][name].rows.get(value, {})
        found = [rows[seq] for seq in sorted(rows) if rows[seq].live]
        return self._visible(found) if search else found

    def everything(self) -> Records:
        """Return all records of all types, deleted ones too, in order of creation."""
        rows = [record for rows in self._types.values() for record in rows.values()]
        return sorted(rows, key=lambda record: record.seq)

    def update(self, record: Record, changes: dict[str, JsonValue]) -> Record:
        """Merge top-level fields into a record and stamp it."""
        before, stamp = record.fields, record.modified_at
        after = {**before, **changes}
        record.modified_at = self.clock.now()
        self._refill(record, after)

        def undo() -> None:
            self._refill(record, before)
            record.modified_at = stamp

        self._journal(undo)
        return record

    def set_key(self, record: Record, key: str | None) -> Record:
        """Give a record another external id, or none."""
        before, stamp = record.key, record.modified_at
        self._rekey(record, key)
        record.modified_at = self.clock.now()

        def undo() -> None:
            self._rekey(record, before)
            record.modified_at = stamp

        self._journal(undo)
        return record

    def delete(self, record: Record) -> Record:
        """Mark a record as gone; its row is kept for those who look at what happened."""
        self._set_live(record, False)
        return record

    def undelete(self, record: Record) -> Record:
        """Bring a deleted record back, as a recycle bin does."""
        self._set_live(record, True)
        return record

    def snapshot(self) -> Snapshot:
        """Start to remember changes; hold the result as long as a return may be wanted."""
        snapshot = Snapshot()
        self._snapshots.add(snapshot)
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Undo every change since the snapshot.

        Numbers used for ids stay used, as they do at the vendors.
        """
        self._changes += 1
        self._snapshots.discard(snapshot)
        done = {id(step) for step in snapshot.undo}
        for other in self._snapshots:
            # A snapshot around this one must not undo again what is undone here.
            other.undo = [step for step in other.undo if id(step) not in done]
        for step in reversed(snapshot.undo):
            step()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Undo everything done inside when the block raises. Do not await inside."""
        snapshot = self.snapshot()
        try:
            yield
        except BaseException:
            self.restore(snapshot)
            raise
        finally:
            self._snapshots.discard(snapshot)

    def dump(self) -> StoreState:
        """Return the state for the state file."""
        return {
            "records": [dump_record(record) for record in self.everything()],
            "counters": self._counters,
            "seq": self._seq,
        }

    def load(self, state: StoreState) -> None:
        """Take a state which `dump` gave, in place of what is here."""
        self._changes += 1
        self._types, self._keys = {}, {}
        for indexes in self._indexes.values():
            for index in indexes.values():
                index.rows.clear()
        self._counters, self._seq = dict(state["counters"]), state["seq"]
        for row in state["records"]:
            record = _load(row)
            self._types.setdefault(record.type, {})[record.id] = record
            self._index(record)

    def _next_id(self, type: str) -> str:
        rows = self._types[type]
        while True:
            number = self._counters.get(type, 0) + 1
            self._counters[type] = number
            made = self._make_id(type, number)
            if made not in rows:
                return made

    def _visible(self, found: Records) -> Records:
        if not self.veils:
            return found
        return [record for record in found if not any(veil.hides(record) for veil in self.veils)]

    def _set_live(self, record: Record, live: bool) -> None:
        before, stamp = record.live, record.modified_at
        record.live, record.modified_at = live, self.clock.now()

        def undo() -> None:
            record.live, record.modified_at = before, stamp

        self._journal(undo)

    def _refill(self, record: Record, fields: Fields) -> None:
        before, record.fields = record.fields, fields
        for index in self._indexes.get(record.type, {}).values():
            index.move(record, before)

    def _index(self, record: Record) -> None:
        self._index_key(record)
        for index in self._indexes.get(record.type, {}).values():
            index.add(record)

    def _index_key(self, record: Record) -> None:
        if record.key is not None:
            self._keys.setdefault((record.type, record.key), []).append(record)

    def _rekey(self, record: Record, key: str | None) -> None:
        self._unindex(record)
        record.key = key
        self._index_key(record)

    def _unindex(self, record: Record) -> None:
        if record.key is None:
            return
        # By identity: equality would compare all fields of every record that shares the key.
        kept = [r for r in self._keys[record.type, record.key] if r is not record]
        self._keys[record.type, record.key] = kept

    def _erase(self, record: Record) -> None:
        del self._types[record.type][record.id]
        self._unindex(record)
        for index in self._indexes.get(record.type, {}).values():
            index.remove(record)

    def _journal(self, undo: Callable[[], None]) -> None:
        self._changes += 1
        for snapshot in self._snapshots:
            snapshot.undo.append(undo)


def dump_record(record: Record) -> RecordState:
    """Return a record as the state file and the control origin show it."""
    return {
        "type": record.type,
        "id": record.id,
        "key": record.key,
        "live": record.live,
        "fields": record.fields,
        "created_at": record.created_at.isoformat(),
        "modified_at": record.modified_at.isoformat(),
        "seq": record.seq,
    }


def _load(row: RecordState) -> Record:
    return Record(
        type=row["type"],
        id=row["id"],
        key=row["key"],
        live=row["live"],
        fields=row["fields"],
        created_at=datetime.fromisoformat(row["created_at"]),
        modified_at=datetime.fromisoformat(row["modified_at"]),
        seq=row["seq"],
    )
