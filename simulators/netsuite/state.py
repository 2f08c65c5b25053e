"""One account's records: ids, lookups across types, and who refers to whom.

Fields are stored as they travel: references and choices as `{"id": ...}`, sublists as
`{"items": [...]}`. The external id is the record's key.
"""

# ruff: noqa: A002 - `id` is what NetSuite calls it

from collections.abc import Iterator, Mapping
from functools import partial

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.schema import Field, Kind, Space

Fields = dict[str, JsonValue]

GOVERNANCE = "governance"
"""The account's limits as a record of its own, so that a test can change them in the screen."""

_FIRST_IDS = {Space.ENTITY.value: 1001, Space.TRANSACTION.value: 7001, "address": 9001}
_FIRST_ID = 501
_INDEXED = frozenset(
    {
        "customer",
        "job",
        "projectTask",
        "employee",
        "vendor",
        "timeBill",
        "charge",
        "invoice",
        "creditMemo",
    }
)
"""The types of which there may be many: what names one of them is indexed."""


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
    while _is_taken(account, space, str(number)):  # by a record that came with an id of its own
        number += 1
    counters[space] = number
    return str(number)


def _is_taken(account: Account, space: str, id: str) -> bool:
    return any(account.store.get(kind, id, dead=True) for kind in types_of_space(space))


def next_number(account: Account, series: str) -> int:
    """Return the next number of a series, from 1."""
    counters = account.extra.setdefault("numbers", {})
    if not isinstance(counters, dict):
        raise TypeError("extra.numbers holds counters")
    number = int(str(counters.get(series, 0))) + 1
    counters[series] = number
    return number


def add_indexes(account: Account) -> None:
    """Index what names an entity, a task or a transaction, and a few more: they become many."""
    store = account.store
    for name, kind in RECORD_TYPES.items():
        for column, spec in kind.fields.items():
            if _is_indexed(spec):
                store.add_index(name, column, partial(_ids_at, column))
        for sublist, lines_spec in kind.sublists.items():
            for column, spec in lines_spec.fields.items():
                if _is_indexed(spec):
                    values = partial(_ids_in_lines, sublist, column)
                    store.add_index(name, f"{sublist}.{column}", values)
    for name in types_of_space(Space.ENTITY.value):
        store.add_index(name, "entityId", partial(_texts_at, "entityId"))
    store.add_index("currencyRate", "pair", _pair)


def rates_of(account: Account, source: str, base: str) -> list[Record]:
    """Return the rates from one currency to another, in order of creation."""
    return account.store.indexed("currencyRate", "pair", f"{source}/{base}")


def _is_indexed(spec: Field) -> bool:
    return spec.kind is Kind.REFERENCE and not _INDEXED.isdisjoint(spec.targets)


def is_indexed(type: str, column: str) -> bool:
    """Whether records of a type are found by this reference without a look at all of them."""
    spec = RECORD_TYPES[type].fields.get(column)
    return spec is not None and _is_indexed(spec)


def _ids_at(name: str, fields: Fields) -> list[str]:
    found = ref_id(fields, name)
    return [] if found is None else [found]


def _ids_in_lines(sublist: str, column: str, fields: Fields) -> list[str]:
    return [found for line in lines(fields, sublist) if (found := ref_id(line, column))]


def _texts_at(name: str, fields: Fields) -> list[str]:
    return [text(fields, name)] if text(fields, name) else []


def _pair(fields: Fields) -> list[str]:
    return [f"{ref_id(fields, 'transactionCurrency')}/{ref_id(fields, 'baseCurrency')}"]


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


def governance(account: Account) -> Fields:
    """Return the account's limits and settings."""
    record = account.store.get(GOVERNANCE, "1")
    return record.fields if record is not None else {}


def relationships(account: Account, customer: str) -> list[Record]:
    """Return the customer's relationships to subsidiaries, the primary one included."""
    return account.store.indexed("customerSubsidiaryRelationship", "entity", customer)


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
        columns = [
            (column, column, spec)
            for column, spec in kind.fields.items()
            if _may_name(spec, record.type)
        ]
        columns += [
            (sublist, f"{sublist}.{column}", spec)
            for sublist, lines_spec in kind.sublists.items()
            for column, spec in lines_spec.fields.items()
            if _may_name(spec, record.type)
        ]
        seen: set[str] = {record.id} if name == record.type else set()
        for place, column, spec in columns:
            for other in _naming(account, name, place, column, spec, record.id):
                if other.id not in seen:
                    seen.add(other.id)
                    yield other


def _may_name(spec: Field, target: str) -> bool:
    return target in spec.targets and not (spec.read_only or spec.kind is Kind.SUBRECORD)


def _naming(
    account: Account, type: str, place: str, column: str, spec: Field, wanted: str
) -> list[Record]:
    """Return the records of a type that name an id, through an index where there is one."""
    if _is_indexed(spec):
        return account.store.indexed(type, column, wanted)
    rows = account.store.list(type)
    if place != column:
        inner = column.partition(".")[2]
        return [row for row in rows if wanted in _ids_in_lines(place, inner, row.fields)]
    return [
        row
        for row in rows
        if ref_id(row.fields, column) == wanted
        or any(line.get("id") == wanted for line in lines(row.fields, column))
    ]
