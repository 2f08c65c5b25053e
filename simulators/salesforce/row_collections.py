"""sObject collections: up to 200 rows in one call, each with a result of its own (page 8.2)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import groupby

from pydantic import JsonValue

from simulators.kit import Reply
from simulators.salesforce.context import Context
from simulators.salesforce.errors import ApiError, malformed_json, no_record
from simulators.salesforce.ids import PREFIXES, full_id
from simulators.salesforce.objects import CATALOG, find_object
from simulators.salesforce.request import Request
from simulators.salesforce.rows import (
    Body,
    as_body,
    create_row,
    delete_row,
    external_field,
    find_by_external_id,
    find_row,
    object_type,
    render_row,
    update_row,
)
from simulators.salesforce.schema import SObject

ROWS_MAX, READ_MAX, CHUNKS_MAX = 200, 2000, 10

Job = Callable[[], Body]
_ROLLED_BACK = ApiError(
    400,
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone"
    " header",
)


def create_many(request: Request) -> Reply:
    """`POST composite/sobjects`."""
    context = request.context

    def create(row: Body) -> Body:
        record = create_row(context, _kind_of(row), row)
        return {"id": record.id, "success": True, "errors": []}

    return _run_rows(request, create)


def update_many(request: Request) -> Reply:
    """`PATCH composite/sobjects`: every row names its id."""
    context = request.context

    def update(row: Body) -> Body:
        changes = {name: value for name, value in row.items() if name.lower() != "id"}
        given = next((value for name, value in row.items() if name.lower() == "id"), None)
        if not isinstance(given, str):
            raise ApiError(400, "MISSING_ARGUMENT", "Id not specified in an update call")
        kind = _kind_of(row)
        record = find_row(context, kind, given)
        update_row(context, kind, record, changes)
        return {"id": record.id, "success": True, "errors": []}

    return _run_rows(request, update)


def upsert_many(request: Request) -> Reply:
    """`PATCH composite/sobjects/{T}/{field}`."""
    context = request.context
    kind = object_type(request.segments[2])
    column = external_field(kind, request.segments[3])

    def upsert(row: Body) -> Body:
        fields = {name: value for name, value in row.items() if name != "attributes"}
        given = next((v for n, v in fields.items() if n.lower() == column.name.lower()), None)
        if not isinstance(given, str):
            text = f"{column.name} not specified"
            raise ApiError(400, "MISSING_ARGUMENT", text, [column.name])
        found = find_by_external_id(context, kind, column, given)
        if len(found) > 1:
            ids = ", ".join(record.id for record in found)
            text = f"More than one record found for external id field: [{ids}]"
            raise ApiError(400, "DUPLICATE_EXTERNAL_ID", text)
        if not found:
            record = create_row(context, kind, fields)
            return {"id": record.id, "success": True, "errors": [], "created": True}
        rest = {n: v for n, v in fields.items() if n.lower() != column.name.lower()}
        update_row(context, kind, found[0], rest)
        return {"id": found[0].id, "success": True, "errors": [], "created": False}

    return _run_rows(request, upsert)


def delete_many(request: Request) -> Reply:
    """`DELETE composite/sobjects?ids=`."""
    context = request.context
    ids = [part for part in request.query.get("ids", "").split(",") if part]

    def delete(given: str) -> Body:
        kind = _kind_by_prefix(given)
        record = find_row(context, kind, given)
        delete_row(context, kind, record)
        return {"id": record.id, "success": True, "errors": []}

    all_or_none = request.query.get("allOrNone", "false").lower() == "true"
    return _run(context, [partial(delete, given) for given in ids], all_or_none)


def read_many(request: Request) -> Reply:
    """`GET composite/sobjects/{T}?ids=&fields=`, or `POST` with both in the body."""
    kind = object_type(request.segments[2])
    ids: list[str] = []
    names: list[str] = []
    if request.method == "POST":
        body = as_body(request.body)
        ids, names = _strings(body.get("ids")), _strings(body.get("fields"))
    else:
        ids = request.query.get("ids", "").split(",")
        names = request.query.get("fields", "").split(",")
    if len(ids) > READ_MAX:
        raise _too_many(READ_MAX)
    columns = [column for column in map(kind.field, names) if column is not None]
    if len(columns) != len(names):
        unknown = next(name for name in names if kind.field(name) is None)
        raise ApiError(400, "INVALID_FIELD", f"No such column '{unknown}' on entity {kind.name}")
    store = request.context.account.store
    found = [store.get(kind.name, full_id(given) or "") for given in ids]
    rows: list[JsonValue] = [
        None if row is None else render_row(request.context, kind, row, columns) for row in found
    ]
    return Reply(200, rows)


def refused_rows(method: str, query: Mapping[str, str], body: JsonValue, error: ApiError) -> Reply:
    """Return a collection of which every row is refused with the same error."""
    count = len(query.get("ids", "").split(","))
    if method != "DELETE":
        rows = body.get("records") if isinstance(body, dict) else None
        count = len(rows) if isinstance(rows, list) else 1
    return Reply(200, [_failure(error) for _ in range(count)])


def _run_rows(request: Request, act: Callable[[Body], Body]) -> Reply:
    body = as_body(request.body)
    rows = body.get("records")
    if not isinstance(rows, list):
        raise malformed_json("records must be an array")
    bodies = [as_body(row) for row in rows]
    if len(list(groupby(bodies, _type_name))) > CHUNKS_MAX:
        text = f"operation is too large: more than {CHUNKS_MAX} chunks of one type"
        raise ApiError(400, "EXCEEDED_MAX_TYPES_LIMIT", text)
    jobs = [partial(act, row) for row in bodies]
    return _run(request.context, jobs, body.get("allOrNone") is True)


def _run(context: Context, jobs: Sequence[Job], all_or_none: bool) -> Reply:
    if len(jobs) > ROWS_MAX:
        raise _too_many(ROWS_MAX)
    results: list[JsonValue] = []
    failed: list[int] = []
    snapshot, noted = context.account.store.snapshot(), len(context.effects)
    for number, job in enumerate(jobs):
        try:
            results.append(job())
        except ApiError as error:
            failed.append(number)
            results.append(_failure(_as_row_error(error)))
    if failed and all_or_none:
        context.account.store.restore(snapshot)
        del context.effects[noted:]
        results = [
            result if number in failed else _failure(_ROLLED_BACK)
            for number, result in enumerate(results)
        ]
    return Reply(200, results)


def _failure(error: ApiError) -> Body:
    return {"success": False, "errors": [error.part()]}


def _as_row_error(error: ApiError) -> ApiError:
    if error.code == "NOT_FOUND":
        return ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    return error


def _kind_of(row: Body) -> SObject:
    name = _type_name(row)
    kind = find_object(name)
    if kind is None:
        text = f"sObject type '{name}' is not supported." if name else "attributes.type is missing"
        raise ApiError(400, "INVALID_TYPE", text)
    return kind


def _type_name(row: Body) -> str:
    attributes = row.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    return name if isinstance(name, str) else ""


def _kind_by_prefix(given: str) -> SObject:
    record_id = full_id(given)
    if record_id is None:
        raise ApiError(400, "MALFORMED_ID", f"malformed id {given}")
    for name, prefix in PREFIXES.items():
        if record_id.startswith(prefix):
            return CATALOG[name]
    raise no_record(given)


def _strings(value: JsonValue) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else []


def _too_many(limit: int) -> ApiError:
    text = f"record limit reached. cannot submit more than {limit} records into this call"
    return ApiError(400, "EXCEEDED_ID_LIMIT", text)
