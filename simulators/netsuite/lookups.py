"""Which rows of a table a condition can mean, so that no query looks at all of them.

What is found here is a superset; the conditions themselves are still asked.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from simulators.netsuite.cells import cell_text
from simulators.netsuite.statement import AllOf, Column, Compare, Condition, Literal, Member
from simulators.netsuite.tables import Cell, Lookup, Table

AliasOf = Callable[[Column], str]
"""Tells which table of the query a column belongs to."""


def conjuncts(condition: Condition | None) -> list[Condition]:
    """Return the conditions of which all must hold."""
    match condition:
        case None:
            return []
        case AllOf(parts):
            return [inner for part in parts for inner in conjuncts(part)]
        case _:
            return [condition]


def find_lookup(
    parts: Iterable[Condition], alias: str, table: Table, alias_of: AliasOf
) -> Lookup | None:
    """Return the column and the values by which a condition singles out rows of a table."""
    for part in parts:
        found = _column_and_values(part)
        if found is None:
            continue
        column, values = found
        if column.name not in table.finds or alias_of(column) != alias:
            continue
        # A text that is no number is refused when it is compared with one.
        if table.finds[column.name] == "externalid" or all(map(str.isdecimal, values)):
            return column.name, values
    return None


def joined_columns(part: Condition, alias: str, alias_of: AliasOf) -> tuple[Column, Column] | None:
    """Return a join's equality as the column of this table and that of another one."""
    match part:
        case Compare(Column() as left, "=", Column() as right):
            if alias_of(left) == alias and alias_of(right) != alias:
                return left, right
            if alias_of(right) == alias and alias_of(left) != alias:
                return right, left
    return None


def as_values(cells: Iterable[Cell]) -> frozenset[str]:
    """Return values as the indexes have them."""
    return frozenset(cell_text(cell) for cell in cells if cell is not None)


def _column_and_values(part: Condition) -> tuple[Column, frozenset[str]] | None:
    match part:
        case Compare(Column() as column, "=", Literal(value)):
            return column, as_values([value])
        case Compare(Literal(value), "=", Column() as column):
            return column, as_values([value])
        case Member(Column() as column, options):
            values: list[str | Decimal] = []
            for option in options:
                if not isinstance(option, Literal):
                    return None
                values.append(option.value)
            return column, as_values(values)
        case _:
            return None
