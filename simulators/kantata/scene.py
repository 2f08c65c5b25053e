"""What one request works with: its account, who asks, and what it did so far."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.kantata.values import Fields
from simulators.kit import Account, Effect, JsonValue, Record, RecordStore

if TYPE_CHECKING:
    from simulators.kantata.collection import Collection

INTEGRATION_USER_ID = "2"
"""The administrator whose token the integration uses."""

REFERENCES = "external_reference_ids"
CUSTOM_VALUES = "custom_field_value_ids"


@dataclass(slots=True)
class Scene:
    """One request, or one act of a person in the vendor's own screen."""

    account: Account
    catalog: Mapping[str, "Collection"]
    user_id: str = INTEGRATION_USER_ID
    effects: list[tuple[Effect, Record]] = field(default_factory=list)

    @property
    def store(self) -> RecordStore:
        """The account's records; types are the plural names of collections."""
        return self.account.store

    def insert(
        self, type_: str, fields: Fields, key: str | None = None, id_: str | None = None
    ) -> Record:
        """Add a record, ready to take external references and custom field values."""
        whole: Fields = {**fields, REFERENCES: [], CUSTOM_VALUES: []}
        record = self.store.insert(type_, whole, key, id_)
        workspace_id = fields.get("workspace_id")
        if isinstance(workspace_id, str):
            self._children(type_, workspace_id).append(record.id)
        return record

    def find(self, type_: str, id_: str) -> Record | None:
        """Return a live record."""
        return self.store.get(type_, id_)

    def catalog_of(self, noun: str) -> str | None:
        """Return the collection of a `subject_type`, None where there is none."""
        return next((c.name for c in self.catalog.values() if c.noun == noun), None)

    def of_workspace(self, type_: str, workspace_id: str) -> list[Record]:
        """Return the live records of a project, in order of creation."""
        found = (self.find(type_, str(id_)) for id_ in self._children(type_, workspace_id))
        return [row for row in found if row is not None]

    def note(self, effect: Effect, record: Record) -> None:
        """Remember what was done."""
        self.effects.append((effect, record))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo records and notes when the block raises."""
        count = len(self.effects)
        try:
            with self.store.atomic():
                yield
        except BaseException:
            del self.effects[count:]
            raise

    def _children(self, type_: str, workspace_id: str) -> list[JsonValue]:
        """Return the index of a project's rows.

        A row never moves to another project, so the index only grows; rows which were undone or
        deleted are left out by those who read it.
        """
        index = self.account.extra.setdefault("children", {})
        of_type = index.setdefault(type_, {}) if isinstance(index, dict) else None
        ids = of_type.setdefault(workspace_id, []) if isinstance(of_type, dict) else None
        if not isinstance(ids, list):
            raise TypeError("the index of children in the account's state is damaged")
        return ids
