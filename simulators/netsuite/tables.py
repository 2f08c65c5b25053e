"""The tables that SuiteQL sees, made from the records (vendor page, 4.3).

Columns are the fields in lower case. Not from the page and unverified: `customercurrencybalance`,
the two address tables, and that `customer` has no `subsidiary` column, since a customer has several
(join `customersubsidiaryrelationship`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rendering import reference_name
from simulators.netsuite.schema import Field, Kind, Space
from simulators.netsuite.state import Fields
from simulators.netsuite.timekeeping import minutes_of

Cell = str | int | Decimal | date | None


@dataclass(slots=True)
class Row:
    """A record, with one of its lines where the table is made of lines."""

    record: Record
    line: Fields


Getter = Callable[[Account, Row], Cell]
Lookup = tuple[str, frozenset[str]]
"""A column and the values, as texts, that rows must have there."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its value, what BUILTIN.DF shows for it, and BUILTIN.CF where it has a code."""

    get: Getter
    display: Getter
    code: Getter | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table: rows of some record types, or of what `lines` makes of each of them.

    `finds` says by which columns rows are found without a look at all of them: a column that holds
    the record's `id` or `externalid`, or what the store has an index of by that name.
    """

    types: tuple[str, ...]
    columns: Mapping[str, TableColumn]
    finds: Mapping[str, str]
    lines: Callable[[Record], list[Fields]] | None = None

    def rows(self, account: Account, lookup: Lookup | None = None) -> list[Row]:
        """Return all rows that a search finds, or those that a lookup in `finds` may mean."""
        records: list[Record] = []
        for name in self.types:
            if lookup is None:
                records += account.store.list(name, search=True)
            else:
                records += self._found(account, name, lookup)
        if self.lines is None:
            return [Row(record, record.fields) for record in records]
        return [Row(record, line) for record in records for line in self.lines(record)]

    def _found(self, account: Account, name: str, lookup: Lookup) -> list[Record]:
        store, (column, values) = account.store, lookup
        way = self.finds[column]
        if way == "id":
            rows = [row for value in values if (row := store.get(name, value)) is not None]
            return [row for row in rows if not any(veil.hides(row) for veil in store.veils)]
        if way == "externalid":
            return [row for value in values for row in store.all_by_key(name, value, search=True)]
        found = [row for value in values for row in store.indexed(name, way, value, search=True)]
        return list({row.id: row for row in found}.values())


def column_of(get: Getter, display: Getter | None = None) -> TableColumn:
    """Return a column which shows its value unless it is said what it shows."""
    return TableColumn(get, display or get)


def from_field(name: str, field: Field) -> TableColumn:
    """Return the column of a field."""
    match field.kind:
        case Kind.REFERENCE:
            return column_of(_reference(name), _referred_name(name, field))
        case Kind.CHOICE:
            return column_of(_reference(name), _chosen_name(name, field))
        case Kind.FLAG:
            return column_of(lambda _, row: "T" if row.line.get(name) else "F")
        case Kind.NUMBER:
            return column_of(lambda _, row: _decimal(row.line.get(name)))
        case Kind.DURATION:
            return column_of(lambda _, row: _hours(row.line.get(name)))
        case Kind.DATE:
            return column_of(lambda _, row: _day(row.line.get(name)))
        case Kind.MOMENT if name == "dateCreated":
            return column_of(lambda _, row: row.record.created_at.date())
        case Kind.MOMENT:
            return column_of(_modified)
        case _:
            return column_of(lambda _, row: state.text(row.line, name) or None)


def _modified(_: Account, row: Row) -> Cell:
    """Return the moment in the account's time zone, which is UTC here; shown as a date."""
    return row.record.modified_at.astimezone(UTC).replace(microsecond=0, tzinfo=None)


def _reference(name: str) -> Getter:
    def get(_: Account, row: Row) -> Cell:
        chosen = state.ref_id(row.line, name)
        return int(chosen) if chosen is not None and chosen.isdecimal() else chosen

    return get


def _referred_name(name: str, field: Field) -> Getter:
    def get(account: Account, row: Row) -> Cell:
        wanted = state.ref_id(row.line, name)
        found = state.find_reference(account, field.targets, wanted) if wanted else None
        return reference_name(account, found) if found is not None else None

    return get


def _chosen_name(name: str, field: Field) -> Getter:
    return lambda _, row: field.options.get(state.ref_id(row.line, name) or "")


def _decimal(value: object) -> Decimal | None:
    return Decimal(str(value)) if isinstance(value, int | float) else None


def _hours(value: JsonValue) -> Decimal | None:
    """Return a duration in hours (that SuiteQL shows it so is from memory, unverified)."""
    minutes = minutes_of(value) if value is not None else None
    return None if minutes is None else (Decimal(minutes) / 60).quantize(Decimal("0.000001"))


def _day(value: object) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else None


_SCALAR = {kind for kind in Kind if kind not in (Kind.MULTISELECT, Kind.SUBRECORD)}
_KEYS = {
    "id": column_of(lambda _, row: int(row.record.id)),
    "externalid": column_of(lambda _, row: row.record.key),
}


def _columns(fields: Mapping[str, Field]) -> dict[str, TableColumn]:
    return {
        name.lower(): from_field(name, field)
        for name, field in fields.items()
        if field.kind in _SCALAR
    }


def _finds(name: str) -> dict[str, str]:
    own = {"id": "id", "externalid": "externalid"}
    references = RECORD_TYPES[name].fields
    return own | {column.lower(): column for column in references if state.is_indexed(name, column)}


def _table(name: str) -> Table:
    columns = {**_KEYS, **_columns(RECORD_TYPES[name].fields)}
    return Table((name,), columns, _finds(name))


def _default_address(flag: str) -> TableColumn:
    def get(_: Account, row: Row) -> Cell:
        book = state.lines(row.record.fields, "addressBook")
        return next((int(str(line["id"])) for line in book if line.get(flag)), None)

    return column_of(get)


def _customer() -> Table:
    columns = dict(_table("customer").columns)
    del columns["subsidiary"]
    columns["altname"] = columns["companyname"]
    columns["defaultbillingaddress"] = _default_address("defaultBilling")
    columns["defaultshippingaddress"] = _default_address("defaultShipping")
    return Table(("customer",), columns, _finds("customer"))


def _job() -> Table:
    columns = dict(_table("job").columns)
    columns |= {"altname": columns["companyname"], "customer": columns["parent"]}
    return Table(("job",), columns, {**_finds("job"), "customer": "parent"})


_OWNER = column_of(lambda _, row: int(row.record.id))
_LINE_ID = column_of(lambda _, row: int(str(row.line["id"])))


def _lines_of(sublist: str) -> Callable[[Record], list[Fields]]:
    return lambda record: state.lines(record.fields, sublist)


def _currency_balances() -> Table:
    lines = _columns(RECORD_TYPES["customer"].sublists["currencyList"].fields)
    return Table(
        ("customer",), {"customer": _OWNER, **lines}, {"customer": "id"}, _lines_of("currencyList")
    )


def _address_book() -> Table:
    lines = _columns(RECORD_TYPES["customer"].sublists["addressBook"].fields)
    columns = {**lines, "entity": _OWNER, "internalid": _LINE_ID, "addressbookaddress": _LINE_ID}
    return Table(("customer",), columns, {"entity": "id"}, _lines_of("addressBook"))


def _addresses() -> Table:
    book = RECORD_TYPES["customer"].sublists["addressBook"].fields["addressBookAddress"]
    columns = {"nkey": _LINE_ID, **{n.lower(): _address_part(n, f) for n, f in book.fields.items()}}
    return Table(("customer",), columns, {}, _lines_of("addressBook"))


def _address_part(name: str, field: Field) -> TableColumn:
    inner = from_field(name, field)

    def within(get: Getter) -> Getter:
        def read(account: Account, row: Row) -> Cell:
            address = row.line.get("addressBookAddress")
            return get(account, Row(row.record, address if isinstance(address, dict) else {}))

        return read

    return TableColumn(within(inner.get), within(inner.display))


RECORD_TABLES: Mapping[str, Table] = {
    **{
        name.lower(): _table(name)
        for name, kind in RECORD_TYPES.items()
        if kind.space is not Space.TRANSACTION
    },
    "customer": _customer(),
    "job": _job(),
    "customercurrencybalance": _currency_balances(),
    "customeraddressbook": _address_book(),
    "customeraddressbookentityaddress": _addresses(),
    "entityaddress": _addresses(),
}
"""By name, lower case; what posts to the ledger is in `transaction_tables`."""
