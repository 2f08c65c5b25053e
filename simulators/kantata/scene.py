"""What one request works with: its account, who asks, and what it did so far."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulators.kantata import feed
from simulators.kantata.values import Fields, ids_in, text_in
from simulators.kit import Account, Effect, Record, RecordStore

if TYPE_CHECKING:
    from simulators.kantata.collection import Collection

INTEGRATION_USER_ID = "2"
"""The administrator whose token the integration uses."""

REFERENCES = "external_reference_ids"
CUSTOM_VALUES = "custom_field_value_ids"

_OF_WORKSPACE = "workspace"
_VERBS = {Effect.CREATE: "created", Effect.UPDATE: "updated", Effect.DELETE: "deleted"}


@dataclass(slots=True)
class Scene:
    """One request, or one act of a person in the vendor's own screen."""

    account: Account
    catalog: Mapping[str, "Collection"]
    user_id: str = INTEGRATION_USER_ID
    effects: list[tuple[Effect, Record]] = field(default_factory=list)
    told: list[feed.Change] = field(default_factory=list)

    @property
    def store(self) -> RecordStore:
        """The account's records; types are the plural names of collections."""
        return self.account.store

    def insert(
        self, type_: str, fields: Fields, key: str | None = None, id_: str | None = None
    ) -> Record:
        """Add a record, ready to take external references and custom field values."""
        whole: Fields = {**fields, REFERENCES: [], CUSTOM_VALUES: []}
        return self.store.insert(type_, whole, key, id_)

    def find(self, type_: str, id_: str) -> Record | None:
        """Return a live record."""
        return self.store.get(type_, id_)

    def find_all(self, type_: str, ids: list[str]) -> list[Record]:
        """Return the live records with these ids, in their order."""
        found = (self.store.get(type_, id_) for id_ in ids)
        return [row for row in found if row is not None]

    def catalog_of(self, noun: str) -> str | None:
        """Return the first collection of a `subject_type`, None where there is none."""
        return next((c.name for c in self.catalog.values() if c.noun == noun), None)

    def subject(self, noun: str, id_: str) -> Record | None:
        """Return what a `subject_type` and an id name; two collections may share a type."""
        names = (c.name for c in self.catalog.values() if c.noun == noun)
        return next((row for name in names if (row := self.find(name, id_)) is not None), None)

    def of_workspace(self, type_: str, workspace_id: str) -> list[Record]:
        """Return the live records of a project, in order of creation."""
        return self.store.indexed(type_, _OF_WORKSPACE, workspace_id)

    def note(self, effect: Effect, record: Record, before: Fields | None = None) -> None:
        """Remember what was done, for the log and for the feed."""
        self.effects.append((effect, record))
        self.tell(_VERBS[effect], record, before)

    def tell(self, verb: str, record: Record, before: Fields | None = None) -> None:
        """Remember a change for the feed alone; `before` is what the record held."""
        change = feed.change_of(self.catalog[record.type], verb, record, before, self.user_id)
        if change is not None:
            self.told.append(change)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Undo records and notes when the block raises, else publish the changes."""
        try:
            with self.store.atomic():
                yield
        except BaseException:
            self.effects.clear()
            self.told.clear()
            raise
        feed.publish(self.account, self.told)
        self.told.clear()


def add_indexes(account: Account, catalog: Mapping[str, "Collection"]) -> None:
    """Keep indexes, so that what a request costs does not grow with the account."""
    for collection in catalog.values():
        if "workspace_id" in collection.fields:
            account.store.add_index(collection.name, _OF_WORKSPACE, _one_workspace)
        elif "workspace_ids" in collection.fields:
            account.store.add_index(collection.name, _OF_WORKSPACE, _many_workspaces)


def _one_workspace(fields: Fields) -> tuple[str, ...]:
    return (text_in(fields, "workspace_id"),)


def _many_workspaces(fields: Fields) -> list[str]:
    return ids_in(fields, "workspace_ids")
