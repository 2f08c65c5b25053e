"""The tables that SuiteQL sees, made from the records (vendor page, 4.3).

Columns are the fields in lower case. Not from the page and unverified: `customercurrencybalance`,
the two address tables, and that `customer` has no `subsidiary` column, since a customer has several
(join `customersubsidiaryrelationship`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from simulators.kit import Account, Record
from simulators.netsuite import state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rendering import reference_name
from simulators.netsuite.schema import Field, Kind
from simulators.netsuite.state import Fields

Cell = str | int | Decimal | date | None


@dataclass(slots=True)
class Row:
    """A record, with one of its lines where the table is made of lines."""

    record: Record
    line: Fields


Getter = Callable[[Account, Row], Cell]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: its value, and what BUILTIN.DF shows for it."""

    get: Getter
    display: Getter


@dataclass(frozen=True, slots=True)
class Table:
    """A table: rows of one record type, or of the lines of one of its sublists."""

    type: str
    columns: Mapping[str, TableColumn]
    sublist: str | None = None

    def rows(self, account: Account, key: str | None = None) -> list[Row]:
        """Return all rows that a search finds, or those of the records with an external id."""
        if key is None:
            records = account.store.list(self.type, search=True)
        else:
            records = account.store.all_by_key(self.type, key, search=True)
        if self.sublist is None:
            return [Row(record, record.fields) for record in records]
        name = self.sublist
        return [
            Row(record, line) for record in records for line in state.lines(record.fields, name)
        ]


def _column(get: Getter, display: Getter | None = None) -> TableColumn:
    return TableColumn(get, display or get)


def _from_field(name: str, field: Field) -> TableColumn:
    match field.kind:
        case Kind.REFERENCE:
            return _column(_reference(name), _referred_name(name, field))
        case Kind.CHOICE:
            return _column(_reference(name), _chosen_name(name, field))
        case Kind.FLAG:
            return _column(lambda _, row: "T" if row.line.get(name) else "F")
        case Kind.NUMBER:
            return _column(lambda _, row: _decimal(row.line.get(name)))
        case Kind.DATE:
            return _column(lambda _, row: _day(row.line.get(name)))
        case Kind.MOMENT if name == "dateCreated":
            return _column(lambda _, row: row.record.created_at.date())
        case Kind.MOMENT:
            return _column(lambda _, row: row.record.modified_at.date())
        case _:
            return _column(lambda _, row: state.text(row.line, name) or None)


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


def _day(value: object) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else None


_SCALAR = {kind for kind in Kind if kind not in (Kind.MULTISELECT, Kind.SUBRECORD)}
_KEYS = {
    "id": _column(lambda _, row: int(row.record.id)),
    "externalid": _column(lambda _, row: row.record.key),
}


def _columns(fields: Mapping[str, Field]) -> dict[str, TableColumn]:
    return {
        name.lower(): _from_field(name, field)
        for name, field in fields.items()
        if field.kind in _SCALAR
    }


def _table(name: str) -> Table:
    return Table(name, {**_KEYS, **_columns(RECORD_TYPES[name].fields)})


def _default_address(flag: str) -> TableColumn:
    def get(_: Account, row: Row) -> Cell:
        book = state.lines(row.record.fields, "addressBook")
        return next((int(str(line["id"])) for line in book if line.get(flag)), None)

    return _column(get)


def _customer() -> Table:
    columns = dict(_table("customer").columns)
    del columns["subsidiary"]
    columns["altname"] = columns["companyname"]
    columns["defaultbillingaddress"] = _default_address("defaultBilling")
    columns["defaultshippingaddress"] = _default_address("defaultShipping")
    return Table("customer", columns)


def _job() -> Table:
    columns = dict(_table("job").columns)
    columns |= {"altname": columns["companyname"], "customer": columns["parent"]}
    return Table("job", columns)


def _transaction() -> Table:
    columns = dict(_table("invoice").columns)
    columns |= {
        "type": _column(lambda _, __: "CustInvc"),
        "recordtype": _column(lambda _, __: "invoice"),
        "foreigntotal": columns["total"],
        "foreignamountpaid": columns["amountpaid"],
        "foreignamountunpaid": columns["amountremaining"],
    }
    return Table("invoice", columns)


_OWNER = _column(lambda _, row: int(row.record.id))
_LINE_ID = _column(lambda _, row: int(str(row.line["id"])))


def _currency_balances() -> Table:
    lines = _columns(RECORD_TYPES["customer"].sublists["currencyList"].fields)
    return Table("customer", {"customer": _OWNER, **lines}, "currencyList")


def _address_book() -> Table:
    lines = _columns(RECORD_TYPES["customer"].sublists["addressBook"].fields)
    columns = {**lines, "entity": _OWNER, "internalid": _LINE_ID, "addressbookaddress": _LINE_ID}
    return Table("customer", columns, "addressBook")


def _addresses() -> Table:
    book = RECORD_TYPES["customer"].sublists["addressBook"].fields["addressBookAddress"]
    columns = {"nkey": _LINE_ID, **{n.lower(): _address_part(n, f) for n, f in book.fields.items()}}
    return Table("customer", columns, "addressBook")


def _address_part(name: str, field: Field) -> TableColumn:
    inner = _from_field(name, field)

    def within(get: Getter) -> Getter:
        def read(account: Account, row: Row) -> Cell:
            address = row.line.get("addressBookAddress")
            return get(account, Row(row.record, address if isinstance(address, dict) else {}))

        return read

    return TableColumn(within(inner.get), within(inner.display))


TABLES: Mapping[str, Table] = {
    **{name.lower(): _table(name) for name in RECORD_TYPES if name != "invoice"},
    "customer": _customer(),
    "job": _job(),
    "transaction": _transaction(),
    "customercurrencybalance": _currency_balances(),
    "customeraddressbook": _address_book(),
    "customeraddressbookentityaddress": _addresses(),
    "entityaddress": _addresses(),
}
"""By name, lower case."""
