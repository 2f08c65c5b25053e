"""One account's records: ids, lookups across types, and who refers to whom.

Fields are stored as they travel: references and choices as `{"id": ...}`, sublists as
`{"items": [...]}`. The external id is the record's key.
"""

# ruff: noqa: A002 - `id` is what NetSuite calls it

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.schema import Field, Kind, Space

Fields = dict[str, JsonValue]

GOVERNANCE = "governance"
"""The account's limits as a record of its own, so that a test can change them in the screen."""

_FIRST_IDS = {Space.ENTITY.value: 1001, Space.TRANSACTION.value: 7001, "address": 9001}
_FIRST_ID = 501


def space_of(type: str) -> str:
    """Return what shares its ids and external ids with this type: its space, or it alone."""
    kind = RECORD_TYPES.get(type)
    return kind.space.value if kind is not None and kind.space is not None else type


def types_of_space(space: str) -> list[str]:
    """Return the types of a space."""
    return [name for name in RECORD_TYPES if space_of(name) == space]


def next_id(account: Account, space: str) -> str:
    """Return the next unused id of a space; numbers are never given twice."""
    counters = account.extra.setdefault("ids", {})
    if not isinstance(counters, dict):
        raise TypeError("extra.ids holds counters")
    last = counters.get(space, _FIRST_IDS.get(space, _FIRST_ID) - 1)
    number = int(str(last)) + 1
    counters[space] = number
    return str(number)


def find_reference(account: Account, targets: tuple[str, ...], id: str) -> Record | None:
    """Return the live record with this id among the types that a reference may name."""
    found = (account.store.get(target, id) for target in targets)
    return next((record for record in found if record is not None), None)


def find_external(account: Account, types: list[str], key: str) -> Record | None:
    """Return the live record with this external id among some types."""
    found = (account.store.by_key(kind, key) for kind in types)
    return next((record for record in found if record is not None), None)


def ref_id(fields: Mapping[str, JsonValue], name: str) -> str | None:
    """Return the id in a reference or choice, None where it is empty."""
    value = fields.get(name)
    inner = value.get("id") if isinstance(value, dict) else None
    return None if inner is None else str(inner)


def lines(fields: Mapping[str, JsonValue], name: str) -> list[Fields]:
    """Return the lines of a sublist or of a multiple selection."""
    value = fields.get(name)
    items = value.get("items") if isinstance(value, dict) else None
    return [line for line in items if isinstance(line, dict)] if isinstance(items, list) else []


def text(fields: Mapping[str, JsonValue], name: str) -> str:
    """Return a text field, empty where it is not set."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def relationships(account: Account, customer: str) -> list[Record]:
    """Return the customer's relationships to subsidiaries, the primary one included."""
    rows = account.store.list("customerSubsidiaryRelationship")
    return [row for row in rows if ref_id(row.fields, "entity") == customer]


def customer_of(account: Account, entity: Record) -> Record:
    """Return the customer above a project; a customer, or an internal project, is its own."""
    seen = {entity.id}
    while entity.type == "job":
        parent = ref_id(entity.fields, "parent")
        above = find_reference(account, ("customer", "job"), parent) if parent else None
        if above is None or above.id in seen:
            break
        seen.add(above.id)
        entity = above
    return entity


def referrers(
    account: Account, record: Record, but: frozenset[str] = frozenset()
) -> Iterator[Record]:
    """Yield live records that name this one, in their fields or lines, save those of some types."""
    for name, kind in RECORD_TYPES.items():
        if name in but:
            continue
        head = _referring(kind.fields, record.type)
        body = [
            (sublist, columns)
            for sublist, spec in kind.sublists.items()
            if (columns := _referring(spec.fields, record.type))
        ]
        if not head and not body:
            continue
        for other in account.store.list(name):
            if other is not record and _names(other, record.id, head, body):
                yield other


def _referring(fields: Mapping[str, Field], target: str) -> list[str]:
    return [
        name
        for name, spec in fields.items()
        if target in spec.targets and not (spec.read_only or spec.kind is Kind.SUBRECORD)
    ]


def _names(other: Record, wanted: str, head: list[str], body: list[tuple[str, list[str]]]) -> bool:
    for name in head:
        if ref_id(other.fields, name) == wanted:
            return True
        if any(line.get("id") == wanted for line in lines(other.fields, name)):
            return True
    return any(
        ref_id(line, column) == wanted
        for sublist, columns in body
        for line in lines(other.fields, sublist)
        for column in columns
    )
