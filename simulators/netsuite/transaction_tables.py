"""The tables of SuiteQL that all transactions share (vendor page, 4.3).

From memory, unverified: a credit memo's total is negative, and so are quantity and amount on the
item and tax lines of an invoice, since they are credits; a line with id 0 is the main one.
`transactionaccountingline` is not modelled.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from simulators.kit import Account, Record
from simulators.netsuite import state
from simulators.netsuite.money import decimal
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.schema import Field
from simulators.netsuite.settlement import APPLYING
from simulators.netsuite.state import Fields, ref_id, text
from simulators.netsuite.tables import (
    RECORD_TABLES,
    Cell,
    Row,
    Table,
    TableColumn,
    column_of,
    from_field,
)
from simulators.netsuite.transaction_types import ITEM_COLUMN

_CODES: Mapping[str, str] = {
    "invoice": "CustInvc",
    "creditMemo": "CustCred",
    "customerPayment": "CustPymt",
    "journalEntry": "Journal",
    "vendorBill": "VendBill",
    "expenseReport": "ExpRept",
}
_NAMES: Mapping[str, str] = {
    "CustInvc": "Invoice",
    "CustCred": "Credit Memo",
    "CustPymt": "Payment",
    "Journal": "Journal",
    "VendBill": "Bill",
    "ExpRept": "Expense Report",
}
_TYPES = tuple(_CODES)
_TAX_LINE = 900
_HEAD = (
    "tranId",
    "transactionNumber",
    "currency",
    "exchangeRate",
    "tranDate",
    "dueDate",
    "terms",
    "postingPeriod",
    "approvalStatus",
    "otherRefNum",
    "memo",
    "lastModifiedDate",
)


def _transactions() -> Table:
    columns = {name.lower(): from_field(name, _spec(name)) for name in _HEAD}
    columns |= {
        "id": column_of(lambda _, row: int(row.record.id)),
        "externalid": column_of(lambda _, row: row.record.key),
        "createddate": from_field("dateCreated", _spec("dateCreated")),
        "type": column_of(_code, lambda _, row: _NAMES[_CODES[row.record.type]]),
        "recordtype": column_of(lambda _, row: row.record.type.lower()),
        "status": TableColumn(_status, _status_shown, _status_code),
        "entity": column_of(_entity),
        "foreigntotal": column_of(_total),
        "foreignamountpaid": _amount("amountPaid"),
        "foreignamountunpaid": _amount("amountRemaining"),
        "foreignpaymentamountused": _amount("applied"),
        "foreignpaymentamountunused": _amount("unapplied"),
        "posting": _truth(lambda row: bool(row.record.fields.get("posting"))),
        "voided": _truth(lambda row: ref_id(row.record.fields, "status") == "V"),
        "isreversal": _truth(lambda row: row.record.fields.get("createdFrom") is not None),
        "closedate": column_of(_close_date),
    }
    return Table(_TYPES, columns, {"id": "id", "externalid": "externalid"})


def _lines() -> Table:
    names = ("department", "class", "location", "subsidiary", "item", "entity", "account")
    columns = {name: column_of(_number_of(name)) for name in (*names, "createdfrom")}
    columns |= {
        "transaction": column_of(lambda _, row: int(row.record.id)),
        "id": column_of(lambda _, row: int(str(row.line["id"]))),
        "uniquekey": column_of(_unique_key),
        "linesequencenumber": column_of(lambda _, row: int(str(row.line["id"]))),
        "mainline": _truth(lambda row: row.line["id"] == 0),
        "taxline": _truth(lambda row: row.line["id"] == _TAX_LINE),
        "quantity": column_of(_decimal_of("quantity")),
        "rate": column_of(_decimal_of("rate")),
        "foreignamount": column_of(_decimal_of("foreignamount")),
        "memo": column_of(lambda _, row: text(row.line, "memo") or None),
        ITEM_COLUMN: column_of(lambda _, row: text(row.line, ITEM_COLUMN) or None),
    }
    return Table(_TYPES, columns, {"transaction": "id"}, _lines_of)


def _links() -> Table:
    """Return what settles what: one row for each line that a document applies."""
    columns = {
        "previousdoc": column_of(_number_of("doc")),
        "previousline": column_of(lambda _, __: 0),
        "previoustype": column_of(lambda _, __: "CustInvc"),
        "nextdoc": column_of(lambda _, row: int(row.record.id)),
        "nextline": column_of(lambda _, __: 0),
        "nexttype": column_of(_code),
        "linktype": column_of(lambda _, __: "Payment"),
        "foreignamount": column_of(_decimal_of("amount")),
    }
    finds = {"previousdoc": "apply.doc", "nextdoc": "id"}
    return Table(APPLYING, columns, finds, _applied)


def _spec(name: str) -> Field:
    return RECORD_TYPES["invoice"].fields[name]


def _amount(name: str) -> TableColumn:
    return column_of(_decimal_of(name))


def _truth(test: Callable[[Row], bool]) -> TableColumn:
    return column_of(lambda _, row: "T" if test(row) else "F")


def _decimal_of(name: str) -> Callable[[Account, Row], Cell]:
    def get(_: Account, row: Row) -> Cell:
        value = row.line.get(name)
        return decimal(value) if isinstance(value, int | float) else None

    return get


def _number_of(name: str) -> Callable[[Account, Row], Cell]:
    def get(_: Account, row: Row) -> Cell:
        found = ref_id(row.line, name)
        return int(found) if found is not None else None

    return get


def _code(_: Account, row: Row) -> Cell:
    return _CODES[row.record.type]


def _status(_: Account, row: Row) -> Cell:
    return ref_id(row.record.fields, "status") or "A"


def _status_shown(account: Account, row: Row) -> Cell:
    spec = RECORD_TYPES[row.record.type].fields.get("status")
    chosen = str(_status(account, row))
    name = spec.options[chosen] if spec is not None else "Approved for Posting"
    return f"{_NAMES[_CODES[row.record.type]]} : {name}"


def _status_code(account: Account, row: Row) -> Cell:
    return f"{_CODES[row.record.type]}:{_status(account, row)}"


def _entity(_: Account, row: Row) -> Cell:
    found = ref_id(row.record.fields, "entity") or ref_id(row.record.fields, "customer")
    return int(found) if found is not None else None


def _total(_: Account, row: Row) -> Cell:
    value = row.record.fields.get("total")
    return None if value is None else decimal(value) * _sign(row.record)


def _close_date(_: Account, row: Row) -> Cell:
    """Return the day on which an invoice was last settled, while it is."""
    paid = row.record.type == "invoice" and ref_id(row.record.fields, "status") == "B"
    return row.record.modified_at.date() if paid else None


def _sign(record: Record) -> int:
    return -1 if record.type == "creditMemo" else 1


def _unique_key(_: Account, row: Row) -> Cell:
    return int(row.record.id) * 1000 + int(str(row.line["id"]))


def _lines_of(record: Record) -> list[Fields]:
    fields, sign = record.fields, _sign(record)
    if record.type == "journalEntry":
        return [_journal_line(fields, line) for line in state.lines(fields, "line")]
    common = {name: fields.get(name) for name in ("subsidiary", "department", "class", "location")}
    common["entity"] = fields.get("entity") or fields.get("customer")
    common["createdfrom"] = fields.get("createdFrom")
    main = decimal(fields.get("total")) * sign
    rows: list[Fields] = [{**common, "id": 0, "foreignamount": float(main), "memo": None}]
    sublist = "expense" if record.type == "expenseReport" else "item"
    for line in state.lines(fields, sublist):
        row: Fields = {**common, "id": int(str(line["line"])), "item": line.get("item")}
        for name in ("department", "class", "location"):
            row[name] = line.get(name) or common[name]
        row["rate"] = line.get("rate")
        row["memo"] = line.get("description") or line.get("memo")
        row[ITEM_COLUMN] = line.get(ITEM_COLUMN)
        if line.get("quantity") is not None:
            row["quantity"] = float(decimal(line["quantity"]) * -sign)
        row["foreignamount"] = float(decimal(line.get("amount")) * -sign)
        rows.append(row)
    tax = decimal(fields.get("taxTotal"))
    if tax:
        rows.append({**common, "id": _TAX_LINE, "foreignamount": float(tax * -sign)})
    return rows


def _journal_line(fields: Fields, line: Fields) -> Fields:
    amount: Decimal = decimal(line.get("debit")) - decimal(line.get("credit"))
    own = {
        name: line.get(name) for name in ("account", "entity", "department", "class", "location")
    }
    return {
        **own,
        "id": int(str(line["line"])),
        "subsidiary": line.get("lineSubsidiary") or fields.get("subsidiary"),
        "memo": line.get("memo"),
        "foreignamount": float(amount),
    }


def _applied(record: Record) -> list[Fields]:
    return [line for line in state.lines(record.fields, "apply") if line.get("apply")]


TABLES: Mapping[str, Table] = {
    **RECORD_TABLES,
    "transaction": _transactions(),
    "transactionline": _lines(),
    "nexttransactionlinelink": _links(),
}
"""All tables by name, lower case."""
