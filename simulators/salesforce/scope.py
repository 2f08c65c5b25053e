"""Names of a query resolved against its object: columns, parents, rows."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError
from simulators.salesforce.objects import CATALOG, find_object
from simulators.salesforce.schema import Field, SObject
from simulators.salesforce.soql import Name, at_place
from simulators.salesforce.values import reader

LEVELS_MAX = 5
"""Relationships upwards in one path."""

Read = Callable[[Record], JsonValue]
_CUSTOM = (
    "If you are attempting to use a custom {0}, be sure to append the '{1}' after the {2}. Please"
    " reference your WSDL or the describe call for the appropriate names."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """One object of one query: `text` is the whole query, for the place in errors."""

    context: Context
    text: str
    kind: SObject
    alias: str | None = None
    deleted: bool = False

    def rows(self) -> list[Record]:
        """Return the rows in order of creation, deleted ones only for `queryAll`."""
        store = self.context.account.store
        rows = store.list(self.kind.name, search=True)
        if self.deleted:
            gone = [r for r in store.everything() if r.type == self.kind.name and not r.live]
            rows = sorted([*rows, *gone], key=lambda row: row.seq)
        return rows

    def path(self, name: Name) -> tuple[tuple[Field, ...], Field]:
        """Return the lookups to follow upwards, and the field at their end.

        Raises:
            ApiError: `INVALID_FIELD`, with the place.
        """
        parts = list(name.parts)
        own = {self.kind.name.lower(), (self.alias or "").lower()}
        if len(parts) > 1 and parts[0].lower() in own:
            parts.pop(0)
        kind, hops = self.kind, list[Field]()
        for part in parts[:-1]:
            column = kind.parent(part)
            if column is None or len(hops) == LEVELS_MAX:
                text = f"Didn't understand relationship '{part}' in field path. "
                custom = _CUSTOM.format("relationship", "__r", "custom relationship name")
                raise self.refuse("INVALID_FIELD", name, text + custom)
            hops.append(column)
            kind = CATALOG[column.refers_to]
        found = kind.field(parts[-1])
        if found is None:
            text = f"No such column '{parts[-1]}' on entity '{kind.name}'. "
            custom = _CUSTOM.format("field", "__c", "custom field name")
            raise self.refuse("INVALID_FIELD", name, text + custom)
        return tuple(hops), found

    def column(self, name: Name) -> tuple[Field, Read]:
        """Return a field and how to read it from a row of this object."""
        hops, found = self.path(name)
        last = reader(found)
        if not hops:
            return found, last
        climbs = [self.climb(hop) for hop in hops]

        def read(record: Record) -> JsonValue:
            for climb in climbs:
                above = climb(record)
                if above is None:
                    return None
                record = above
            return last(record)

        return found, read

    def climb(self, hop: Field) -> Callable[[Record], Record | None]:
        """Return a function from a row to the row that it looks up to."""
        store, read = self.context.account.store, reader(hop)
        return lambda record: store.get(hop.refers_to, str(read(record)), self.deleted)

    def refuse(self, code: str, name: Name, text: str) -> ApiError:
        """Return a refusal that shows where in the query its cause stands."""
        return ApiError(400, code, at_place(self.text, name.at, text))


def open_scope(
    context: Context, text: str, entity: Name, alias: str | None, deleted: bool
) -> Scope:
    """Return the scope of a query.

    Raises:
        ApiError: `INVALID_TYPE`, no such object.
    """
    kind = find_object(entity.text)
    if kind is None:
        message = f"sObject type '{entity.text}' is not supported. "
        custom = _CUSTOM.format("object", "__c", "entity name")
        raise ApiError(400, "INVALID_TYPE", at_place(text, entity.at, message + custom))
    return Scope(context, text, kind, alias, deleted)
