"""A person merges a customer into another: whatever named the one names the other then.

Source: "Merging Customer Records" of NetSuite's help: the customer that is merged away is deleted,
what hangs on it goes to the other, of which only blank fields are filled; in an account with
subsidiaries both have the same tax registration number. That the external id goes with the customer
that is merged away is unverified.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.netsuite import state
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.schema import Field
from simulators.netsuite.state import Fields, lines, ref_id

_OWN_LISTS = ("addressBook", "currencyList")


def merge_customers(account: Account, duplicate_id: str, into_id: str) -> Record:
    """Merge a customer into another and return that one.

    Raises:
        ValueError: one of them is not there, they are the same, or their tax numbers differ.
    """
    duplicate = account.store.get("customer", duplicate_id)
    into = account.store.get("customer", into_id)
    if duplicate is None or into is None or duplicate is into:
        raise ValueError(f"customer {duplicate_id} cannot be merged into {into_id}")
    numbers = {row.fields.get("vatRegNumber") or None for row in (duplicate, into)}
    if len(numbers) > 1:
        raise ValueError("both customers must have the same tax registration number")
    with account.store.atomic():
        _open_like(account, duplicate, into)
        for record in list(state.referrers(account, duplicate)):
            account.store.update(record, _renamed(record, duplicate.id, into.id))
        account.store.update(into, _filled(into, duplicate))
        account.store.delete(duplicate)
    return into


def _open_like(account: Account, duplicate: Record, into: Record) -> None:
    """Drop the relationships that the other has as well; the rest is re-pointed like all else."""
    known = {ref_id(row.fields, "subsidiary") for row in state.relationships(account, into.id)}
    for row in state.relationships(account, duplicate.id):
        if ref_id(row.fields, "subsidiary") in known:
            account.store.delete(row)
        else:
            account.store.update(row, {"isPrimarySub": False})


def _filled(into: Record, duplicate: Record) -> Fields:
    blank: Fields = {
        name: value for name, value in duplicate.fields.items() if into.fields.get(name) is None
    }
    held = {ref_id(line, "currency") for line in lines(into.fields, "currencyList")}
    added = [
        line
        for line in lines(duplicate.fields, "currencyList")
        if ref_id(line, "currency") not in held
    ]
    if added:
        rows: list[JsonValue] = [*lines(into.fields, "currencyList"), *added]
        blank["currencyList"] = {"items": rows}
    return blank


def _renamed(record: Record, old: str, new: str) -> Fields:
    """Return the fields and lines of a record that named one customer, naming the other."""
    kind = RECORD_TYPES[record.type]
    changes = _references(kind.fields, record.fields, old, new)
    for name, sublist in kind.sublists.items():
        rows: list[JsonValue] = []
        for line in lines(record.fields, name):
            rows.append({**line, **_references(sublist.fields, line, old, new)})
        if rows and name not in _OWN_LISTS:
            changes[name] = {"items": rows}
    return changes


def _references(specs: Mapping[str, Field], fields: Fields, old: str, new: str) -> Fields:
    return {
        name: {"id": new}
        for name, spec in specs.items()
        if "customer" in spec.targets and ref_id(fields, name) == old
    }
