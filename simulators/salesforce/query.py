"""Queries over the rows of an account: which rows, in which order, and how each is shown."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from simulators.kit import Record
from simulators.salesforce.conditions import compile_condition
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError
from simulators.salesforce.objects import CATALOG, CHILDREN
from simulators.salesforce.schema import Child, Field, SObject
from simulators.salesforce.scope import Read, Scope, open_scope
from simulators.salesforce.soql import Call, Name, Query, Sort, at_place, parse_soql
from simulators.salesforce.values import reader

OFFSET_MAX = 2000
FIELDS_LIMIT_MAX = 200

Body = dict[str, JsonValue]
Show = Callable[[Record], Body]


@dataclass(slots=True)
class Result:
    """What a query found.

    `rows` are shown by `show`; an aggregate has its one record ready, and `COUNT()` a number alone.
    """

    kind: SObject
    rows: list[Record]
    show: Show
    aggregate: Body | None = None
    only_count: bool = False


@dataclass(slots=True)
class _Node:
    """Fields and parents to show of one row, in the order in which the query names them."""

    kind: SObject
    columns: dict[str, Read] = field(default_factory=dict)
    parents: "dict[str, tuple[Callable[[Record], Record | None], _Node]]" = field(
        default_factory=dict
    )
    order: list[str] = field(default_factory=list)


def run_query(context: Context, text: str, *, deleted: bool = False) -> Result:
    """Find the rows of a query.

    Raises:
        ApiError: `MALFORMED_QUERY`, `INVALID_FIELD`, `INVALID_TYPE` and the like.
    """
    query = parse_soql(text)
    scope = open_scope(context, text, query.entity, query.alias, deleted)
    calls = [item for item in query.items if isinstance(item, Call)]
    counts = [call for call in calls if call.function.text.upper() == "COUNT"]
    rows = _sorted_rows(scope, query)
    if counts:
        return _aggregate(scope, query, rows, counts)
    return Result(scope.kind, rows, _show(scope, query))


def show_of(context: Context, text: str, *, deleted: bool) -> Show:
    """Return how the rows of a query are shown, without looking for them: later pages need it."""
    query = parse_soql(text)
    return _show(open_scope(context, text, query.entity, query.alias, deleted), query)


def _sorted_rows(scope: Scope, query: Query) -> list[Record]:
    if query.offset > OFFSET_MAX:
        text = f"Maximum SOQL offset allowed is {OFFSET_MAX}"
        raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", text)
    test = compile_condition(scope, query.where, lambda inner: _values(scope, inner))
    rows = [record for record in scope.rows() if test(record)]
    for sort in reversed(query.order):
        rows = _ordered(scope, rows, sort)
    stop = None if query.limit is None else query.offset + query.limit
    return rows[query.offset : stop]


def _ordered(scope: Scope, rows: list[Record], sort: Sort) -> list[Record]:
    _, read = scope.column(sort.field)
    keyed = [(read(record), record) for record in rows]
    empty = [record for value, record in keyed if value is None]
    full = [(_sort_key(value), record) for value, record in keyed if value is not None]
    full.sort(key=lambda pair: pair[0], reverse=sort.descending)
    named = [record for _, record in full]
    return empty + named if sort.nulls_first else named + empty


def _sort_key(value: JsonValue) -> tuple[float, str]:
    if isinstance(value, bool | int | float):
        return float(value), ""
    return 0.0, str(value).casefold()


def _values(scope: Scope, query: Query) -> set[JsonValue]:
    inner = open_scope(scope.context, scope.text, query.entity, query.alias, scope.deleted)
    if len(query.items) != 1 or not isinstance(query.items[0], Name):
        text = "a semi join selects exactly one field"
        raise scope.refuse("MALFORMED_QUERY", query.entity, text)
    _, read = inner.column(query.items[0])
    # Ids are plain text; anything else could not equal an id anyway.
    found = (read(record) for record in _sorted_rows(inner, query))
    return {value for value in found if isinstance(value, str)}


def _aggregate(scope: Scope, query: Query, rows: list[Record], counts: list[Call]) -> Result:
    if len(counts) != len(query.items):
        other = next(item for item in query.items if not isinstance(item, Call))
        name = other.entity if isinstance(other, Query) else other
        text = f"Field must be grouped or aggregated: {name.text}"
        raise scope.refuse("MALFORMED_QUERY", name, text)
    if counts[0].argument is None:
        if len(counts) > 1:
            raise scope.refuse("MALFORMED_QUERY", counts[1].function, "unexpected token: COUNT")
        return Result(scope.kind, rows, lambda _record: {}, only_count=True)
    record: Body = {"attributes": {"type": "AggregateResult"}}
    unnamed = 0
    for call in counts:
        if call.argument is None:
            raise scope.refuse("MALFORMED_QUERY", call.function, "unexpected token: )")
        _, read = scope.column(call.argument)
        alias = call.alias.text if call.alias else f"expr{unnamed}"
        unnamed += call.alias is None
        record[alias] = sum(read(row) is not None for row in rows)
    return Result(scope.kind, rows, lambda _record: {}, aggregate=record)


def _show(scope: Scope, query: Query) -> Show:
    root = _Node(scope.kind)
    children: list[tuple[str, Callable[[Record], JsonValue]]] = []
    for item in query.items:
        if isinstance(item, Name):
            _select(scope, root, item)
        elif isinstance(item, Call):
            _select_all(scope, root, query, item)
        else:
            children.append(_child(scope, item))

    def show(record: Record) -> Body:
        row = _show_node(scope.context, root, record)
        for relationship, rows_of in children:
            row[relationship] = rows_of(record)
        return row

    return show


def _select(scope: Scope, root: _Node, name: Name) -> None:
    hops, column = scope.path(name)
    node = root
    for hop in hops:
        if hop.relationship not in node.parents:
            parent = _Node(CATALOG[hop.refers_to])
            node.parents[hop.relationship] = (scope.climb(hop), parent)
            node.order.append(hop.relationship)
        node = node.parents[hop.relationship][1]
    if column.name in node.columns:
        text = f"duplicate field selected: {name.text}"
        raise scope.refuse("MALFORMED_QUERY", name, text)
    node.columns[column.name] = reader(column)
    node.order.append(column.name)


def _select_all(scope: Scope, root: _Node, query: Query, call: Call) -> None:
    which = call.argument.text.upper() if call.argument else ""
    if call.function.text.upper() != "FIELDS" or which not in ("ALL", "STANDARD", "CUSTOM"):
        text = f"unexpected token: {call.function.text}"
        raise scope.refuse("MALFORMED_QUERY", call.function, text)
    if which != "STANDARD" and (query.limit is None or query.limit > FIELDS_LIMIT_MAX):
        text = f"The SOQL FIELDS function must have a LIMIT of at most {FIELDS_LIMIT_MAX}"
        raise scope.refuse("MALFORMED_QUERY", call.function, text)
    for column in scope.kind.fields:
        if which == "ALL" or column.custom is (which == "CUSTOM"):
            root.columns[column.name] = reader(column)
            root.order.append(column.name)


def _show_node(context: Context, node: _Node, record: Record) -> Body:
    url = context.row_path(node.kind.name, record.id)
    row: Body = {"attributes": {"type": node.kind.name, "url": url}}
    for name in node.order:
        read = node.columns.get(name)
        if read is not None:
            row[name] = read(record)
            continue
        climb, parent = node.parents[name]
        above = climb(record)
        row[name] = None if above is None else _show_node(context, parent, above)
    return row


def _child(scope: Scope, query: Query) -> tuple[str, Callable[[Record], JsonValue]]:
    relation = _relation(scope, query.entity)
    inner = Scope(scope.context, scope.text, CATALOG[relation.type], query.alias, scope.deleted)
    if any(not isinstance(item, Name) for item in query.items):
        text = "only fields can be selected one level down"
        raise scope.refuse("MALFORMED_QUERY", query.entity, text)
    # Limit and offset count for each parent, so they are applied after the rows are grouped.
    found = _sorted_rows(inner, Query(query.items, query.entity, None, query.where, query.order))
    groups = _grouped(found, relation.column)
    show = _show(inner, query)
    stop = None if query.limit is None else query.offset + query.limit

    def rows_of(record: Record) -> JsonValue:
        rows = groups.get(record.id, [])[query.offset : stop]
        if not rows:
            return None
        shown: list[JsonValue] = [show(row) for row in rows]
        return {"totalSize": len(rows), "done": True, "records": shown}

    return relation.relationship, rows_of


def _relation(scope: Scope, name: Name) -> Child:
    for child in CHILDREN[scope.kind.name]:
        if child.relationship and child.relationship.lower() == name.text.lower():
            return child
    text = (
        f"Didn't understand relationship '{name.text}' in FROM part of query call. If you are"
        " attempting to use a custom relationship, be sure to append the '__r' after the custom"
        " relationship name. Please reference your WSDL or the describe call for the appropriate"
        " names."
    )
    raise ApiError(400, "INVALID_TYPE", at_place(scope.text, name.at, text))


def _grouped(rows: list[Record], column: Field) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for row in rows:
        groups.setdefault(str(row.fields.get(column.name)), []).append(row)
    return groups
