"""What all collections have in common: validation, create, update, delete, and how a row is shown.

A collection is a subclass of `Collection`; its rules are in the hooks, which come last.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from simulators.kantata import custom_values, references
from simulators.kantata.errors import ApiError, Problem, problem
from simulators.kantata.filters import Filter, Predicate, hides_nothing
from simulators.kantata.scene import CUSTOM_VALUES, REFERENCES, Scene
from simulators.kantata.values import (
    BadValue,
    Field,
    Fields,
    Kind,
    ids_in,
    parse_value,
    text_in,
    wire_datetime,
)
from simulators.kit import Effect, JsonValue, Record

Links = Mapping[str, tuple[str, str]]
"""Name of an include -> (attribute that holds the id or ids, collection of the objects)."""

OWN_LINKS: Links = {
    "external_references": (REFERENCES, "external_references"),
    "custom_field_values": (CUSTOM_VALUES, "custom_field_values"),
}
READ = frozenset({"list", "show"})
READ_AND_WRITE = READ | {"create", "update", "delete"}


class Collection:
    """One collection of the API; `noun` is its `subject_type`.

    `can` says what REST offers; a person in the vendor's own screen can do all of it.
    """

    name: ClassVar[str]
    singular: ClassVar[str]
    noun: ClassVar[str]
    can: ClassVar[frozenset[str]] = READ_AND_WRITE
    bulk_max: ClassVar[int] = 0
    fields: ClassVar[Mapping[str, Field]] = {}
    one: ClassVar[Links] = {}
    many: ClassVar[Links] = {}
    always_shown: ClassVar[frozenset[str]] = frozenset()
    """Attributes of `many` which answers have without an include."""
    optional: ClassVar[frozenset[str]] = frozenset()
    """Attributes sent only for `optional_fields`."""
    filters: ClassVar[Mapping[str, Filter]] = {}
    orders: ClassVar[frozenset[str]] = frozenset()
    """Fields to order by beside id, created_at and updated_at."""
    search_fields: ClassVar[tuple[str, ...]] = ()
    is_stored: ClassVar[bool] = True
    """Whether rows are records; else `candidates` gives them all."""
    has_subject: ClassVar[bool] = False
    """Whether `include=subject` gives what rows are about, of whatever collection."""

    def create(self, scene: Scene, body: Fields) -> Record:
        """Add one object with its inline reference and custom field values.

        Raises:
            ApiError: 422 with every problem found; the caller undoes what was begun.
        """
        values = self.parse(scene, body, None)
        kept = {name: value for name, value in values.items() if self.fields[name].kept}
        record = scene.insert(self.name, {**self.defaults(scene, values), **kept})
        scene.note(Effect.CREATE, record)
        self.created(scene, record, values, body)
        if body.get("external_reference") is not None:
            references.put_inline(scene, self.noun, record, body["external_reference"])
        if body.get("custom_fields") is not None:
            custom_values.put_inline(scene, self.noun, record, body["custom_fields"])
        return record

    def update(self, scene: Scene, record: Record, body: Fields) -> Record:
        """Change the fields that are given; unknown and read-only ones are ignored."""
        values = self.parse(scene, body, record)
        before = record.fields
        kept = {name: value for name, value in values.items() if self.fields[name].kept}
        scene.store.update(record, kept)
        self.updated(scene, record, before, values, body)
        scene.note(Effect.UPDATE, record, before)
        if body.get("external_reference") is not None:
            references.put_inline(scene, self.noun, record, body["external_reference"])
        return record

    def delete(self, scene: Scene, record: Record) -> None:
        """Remove an object and what belongs to it alone.

        Raises:
            ApiError: 422, its state forbids that.
        """
        self.check_delete(scene, record)
        self.deleting(scene, record)
        self.drop(scene, record)
        scene.note(Effect.DELETE, record)

    def drop(self, scene: Scene, record: Record) -> None:
        """Remove one row with its references and custom field values; no rule is asked."""
        for attribute, collection in OWN_LINKS.values():
            for id_ in ids_in(record.fields, attribute):
                row = scene.find(collection, id_)
                if row is not None:
                    scene.store.delete(row)
        scene.store.delete(record)

    def parse(self, scene: Scene, body: Fields, record: Record | None) -> Fields:
        """Return the values to store: on create with defaults, on update those given.

        Raises:
            ApiError: 422 with every problem found.
        """
        problems: list[Problem] = []
        values: Fields = {}
        for name, field in self.fields.items():
            if not (field.on_create if record is None else field.on_update):
                if record is None and field.kept:
                    values[name] = field.default
                continue
            if name not in body:
                if record is not None:
                    continue
                values[name] = _default(field)
            else:
                self._parse_one(scene, name, body[name], values, problems)
            if field.required and values.get(name) in (None, "") and not _named(problems, name):
                problems.append(problem(name, "can't be blank"))
        if not problems:
            merged = values if record is None else {**record.fields, **values}
            self.check(scene, merged, values, record, problems)
        if problems:
            raise ApiError(422, problems)
        return values

    def show(self, scene: Scene, record: Record, includes: Sequence[str]) -> Fields:
        """Return an object as it travels, before optional fields are left out."""
        stored = record.fields
        shown: Fields = {
            name: stored.get(name, field.default)
            for name, field in self.fields.items()
            if field.shown and field.kept
        }
        shown.update(self.derived(scene, record))
        shown["created_at"] = wire_datetime(record.created_at)
        shown["updated_at"] = wire_datetime(record.modified_at)
        for include, (attribute, _) in self.all_many.items():
            if include in includes or attribute in self.always_shown:
                shown[attribute] = [*self.linked(scene, record, include)]
        shown["id"] = record.id
        return shown

    @property
    def all_many(self) -> Links:
        """Return every include of several objects."""
        return {**self.many, **OWN_LINKS}

    def linked(self, scene: Scene, record: Record, include: str) -> Sequence[str]:
        """Return the ids of an include; override for what is not stored in the record."""
        del scene
        if include in self.one:
            id_ = text_in(record.fields, self.one[include][0])
            return [id_] if id_ else []
        return ids_in(record.fields, self.all_many[include][0])

    def _parse_one(
        self,
        scene: Scene,
        name: str,
        value: JsonValue,
        values: Fields,
        problems: list[Problem],
    ) -> None:
        field = self.fields[name]
        try:
            parsed = parse_value(field, value)
        except BadValue as error:
            problems.append(problem(name, str(error)))
            return
        values[name] = field.default if parsed is None else parsed
        if field.target:
            named = parsed if field.kind is Kind.REFERENCES else [parsed]
            for id_ in named if isinstance(named, list) else []:
                if id_ is not None and scene.find(field.target, str(id_)) is None:
                    problems.append(problem(name, "does not exist"))

    # What a collection may override.

    def defaults(self, scene: Scene, values: Fields) -> Fields:
        """Return stored fields of a new object which no request gives."""
        del scene, values
        return {}

    def check(
        self,
        scene: Scene,
        fields: Fields,
        given: Fields,
        record: Record | None,
        problems: list[Problem],
    ) -> None:
        """Judge the fields as they would stand; `record` is None on create."""

    def created(self, scene: Scene, record: Record, values: Fields, body: Fields) -> None:
        """Do what follows from a create."""

    def updated(
        self, scene: Scene, record: Record, before: Fields, values: Fields, body: Fields
    ) -> None:
        """Do what follows from an update."""

    def check_delete(self, scene: Scene, record: Record) -> None:
        """Refuse a delete which the state of things forbids."""

    def deleting(self, scene: Scene, record: Record) -> None:
        """Remove what goes with an object."""

    def derived(self, scene: Scene, record: Record) -> Fields:
        """Return read-only attributes."""
        del scene, record
        return {}

    def hidden(self, scene: Scene, query: Mapping[str, str]) -> Predicate:
        """Return what default filters hide, in lists and by id alike."""
        del scene, query
        return hides_nothing

    def check_list(self, scene: Scene, query: Mapping[str, str]) -> None:
        """Refuse a list whose parameters are not whole."""

    def candidates(self, scene: Scene, query: Mapping[str, str]) -> list[Record] | None:
        """Return the rows among which a list need only look, in order of creation; None for all."""
        workspace_ids = query.get("workspace_id", "")
        if not workspace_ids or not {"workspace_id", "workspace_ids"} & set(self.fields):
            return None
        ids = dict.fromkeys(workspace_ids.split(","))
        found = {row.id: row for id_ in ids for row in scene.of_workspace(self.name, id_)}
        return sorted(found.values(), key=lambda row: row.seq)

    def arranged(self, scene: Scene, rows: list[Record], query: Mapping[str, str]) -> list[Record]:
        """Return the rows of a list as they come, whatever order was asked for."""
        del scene, query
        return rows

    def changed_by_hand(self, scene: Scene, record: Record, changes: Fields) -> Fields:
        """Do what a person does beside writing fields; return the changes that are left."""
        del scene, record
        return changes

    def sees_deleted(self, query: Mapping[str, str]) -> bool:
        """Whether a request looks at deleted rows too."""
        del query
        return False


def _default(field: Field) -> JsonValue:
    return [] if field.kind in (Kind.REFERENCES, Kind.LIST) else field.default


def _named(problems: Sequence[Problem], name: str) -> bool:
    return any(each.field == name for each in problems)
