"""One row of a vendor, and an index of rows by what is in their fields."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

Fields = dict[str, JsonValue]

IndexValues = Callable[[Fields], Iterable[str]]
"""Reads from a record's fields the values under which an index is to find it."""


@dataclass(slots=True)
class Record:
    """One row of a vendor: `key` is its external id, `live` is false once deleted.

    `seq` is the order of creation.
    """

    type: str
    id: str
    key: str | None
    live: bool
    fields: dict[str, JsonValue]
    created_at: datetime
    modified_at: datetime
    seq: int


@dataclass(slots=True)
class Index:
    """The records of one type by what is in their fields, deleted ones too."""

    values: IndexValues
    rows: dict[str, dict[int, Record]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        for value in self.values(record.fields):
            self.rows.setdefault(value, {})[record.seq] = record

    def move(self, record: Record, before: Fields) -> None:
        """Take note that a record had other fields before."""
        old, new = set(self.values(before)), set(self.values(record.fields))
        for value in old - new:
            self._drop(value, record)
        for value in new - old:
            self.rows.setdefault(value, {})[record.seq] = record

    def remove(self, record: Record) -> None:
        for value in set(self.values(record.fields)):
            self._drop(value, record)

    def _drop(self, value: str, record: Record) -> None:
        rows = self.rows[value]
        del rows[record.seq]
        if not rows:
            del self.rows[value]
