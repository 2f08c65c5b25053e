"""The row resources: create, read, update, upsert, delete, and what changed (vendor page 5, 6)."""

import hashlib
import json
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from pydantic import JsonValue

from simulators.kit import Record, Reply
from simulators.salesforce.context import stamps, wire_datetime
from simulators.salesforce.errors import (
    ApiError,
    method_not_allowed,
    no_record,
    precondition_failed,
)
from simulators.salesforce.request import Request
from simulators.salesforce.rows import (
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
from simulators.salesforce.schema import Field, SObject
from simulators.salesforce.values import clean_value, parse_datetime

UPSERT_BODY_SINCE = 46
"""From this version an upsert that updates answers 200 with a body; before it was 204."""


def create(request: Request) -> Reply:
    """`POST sobjects/{T}`."""
    kind = object_type(request.segments[1])
    if not kind.createable:
        raise method_not_allowed(request.method, ("HEAD", "GET"))
    record = create_row(request.context, kind, as_body(request.body))
    return _created(request, kind, record, upsert=False)


def create_by_id_field(request: Request) -> Reply:
    """`POST sobjects/{T}/Id`: a create in the shape of an upsert."""
    if request.segments[2].lower() != "id":
        raise method_not_allowed("POST", ("HEAD", "GET", "PATCH", "DELETE"))
    kind = object_type(request.segments[1])
    record = create_row(request.context, kind, as_body(request.body))
    return _created(request, kind, record, upsert=True)


def read(request: Request) -> Reply:
    """`GET sobjects/{T}/{id}`."""
    kind = object_type(request.segments[1])
    return _shown(request, kind, find_row(request.context, kind, request.segments[2]))


def update(request: Request) -> Reply:
    """`PATCH sobjects/{T}/{id}`."""
    kind = object_type(request.segments[1])
    record = find_row(request.context, kind, request.segments[2])
    _check_preconditions(request, kind, record)
    update_row(request.context, kind, record, as_body(request.body))
    return Reply(204)


def delete(request: Request) -> Reply:
    """`DELETE sobjects/{T}/{id}`."""
    kind = object_type(request.segments[1])
    return _delete(request, kind, find_row(request.context, kind, request.segments[2]))


def read_by_external_id(request: Request) -> Reply:
    """`GET sobjects/{T}/{field}/{value}`."""
    kind, found = _by_external_id(request)
    return _several(request, found) or _shown(request, kind, found[0])


def upsert(request: Request) -> Reply:
    """`PATCH sobjects/{T}/{field}/{value}` (vendor page 5.1)."""
    _, type_name, name, value = request.segments
    kind = object_type(type_name)
    column = external_field(kind, name)
    body = as_body(request.body)
    if any(key.lower() == column.name.lower() for key in body):
        text = f"The {column.name} field should not be specified in the sobject data."
        raise ApiError(400, "INVALID_FIELD", text, [column.name])
    found = find_by_external_id(request.context, kind, column, value)
    if several := _several(request, found) if found else None:
        return several
    if found:
        _check_preconditions(request, kind, found[0])
        update_row(request.context, kind, found[0], body)
        return _updated(request, found[0])
    if column.name == "Id" or request.query.get("updateOnly", "").lower() == "true":
        raise no_record(value)
    key = clean_value(column, value)
    record = create_row(request.context, kind, {**body, column.name: key})
    return _created(request, kind, record, upsert=True)


def delete_by_external_id(request: Request) -> Reply:
    """`DELETE sobjects/{T}/{field}/{value}`."""
    kind, found = _by_external_id(request)
    return _several(request, found) or _delete(request, kind, found[0])


def updated(request: Request) -> Reply:
    """`GET sobjects/{T}/updated?start=&end=`."""
    kind = object_type(request.segments[1])
    start, end = _window(request)
    rows = request.context.account.store.list(kind.name)
    ids: list[JsonValue] = [r.id for r in rows if start <= wire_datetime(r.modified_at) < end]
    return Reply(200, {"ids": ids, "latestDateCovered": end})


def deleted(request: Request) -> Reply:
    """`GET sobjects/{T}/deleted?start=&end=`."""
    kind = object_type(request.segments[1])
    start, end = _window(request)
    rows: list[JsonValue] = [
        {"id": row.id, "deletedDate": wire_datetime(row.modified_at)}
        for row in request.context.account.store.everything()
        if row.type == kind.name and not row.live and start <= wire_datetime(row.modified_at) < end
    ]
    dates: dict[str, JsonValue] = {"earliestDateAvailable": start, "latestDateCovered": end}
    return Reply(200, {"deletedRecords": rows, **dates})


def _by_external_id(request: Request) -> tuple[SObject, list[Record]]:
    _, type_name, name, value = request.segments
    kind = object_type(type_name)
    found = find_by_external_id(request.context, kind, external_field(kind, name), value)
    if not found:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return kind, found


def _several(request: Request, found: list[Record]) -> Reply | None:
    if len(found) < 2:
        return None
    paths: list[JsonValue] = [request.context.row_path(row.type, row.id) for row in found]
    return Reply(300, paths)


def _created(request: Request, kind: SObject, record: Record, *, upsert: bool) -> Reply:
    body: dict[str, JsonValue] = {"id": record.id, "success": True, "errors": []}
    if upsert:
        body["created"] = True
    return Reply(201, body, {"Location": request.context.row_path(kind.name, record.id)})


def _updated(request: Request, record: Record) -> Reply:
    if request.context.api_version < UPSERT_BODY_SINCE:
        return Reply(204)
    return Reply(200, {"id": record.id, "success": True, "errors": [], "created": False})


def _delete(request: Request, kind: SObject, record: Record) -> Reply:
    if not kind.deletable:
        raise method_not_allowed("DELETE", ("HEAD", "GET", "PATCH"))
    _check_modified_since(request, record)
    delete_row(request.context, kind, record)
    return Reply(204)


def _shown(request: Request, kind: SObject, record: Record) -> Reply:
    headers = {"Last-Modified": format_datetime(_last_modified(record), usegmt=True)}
    if kind.name == "Account":
        headers["ETag"] = _etag(record)
    _check_preconditions(request, kind, record)
    if _is_unchanged(request, kind, record):
        return Reply(304, None, headers)
    columns = _wanted(kind, request.query.get("fields"))
    return Reply(200, render_row(request.context, kind, record, columns), headers)


def _wanted(kind: SObject, names: str | None) -> list[Field]:
    if names is None:
        return list(kind.fields)
    columns = []
    for name in names.split(","):
        column = kind.field(name.strip())
        if column is None:
            text = f"No such column '{name.strip()}' on sobject of type {kind.name}"
            raise ApiError(400, "INVALID_FIELD", text)
        columns.append(column)
    return columns


def _etag(record: Record) -> str:
    content = json.dumps(record.fields, sort_keys=True) + record.modified_at.isoformat()
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:24]}"'


def _last_modified(record: Record) -> datetime:
    return datetime.fromisoformat(stamps(record)["LastModifiedDate"]).astimezone(UTC)


def _check_preconditions(request: Request, kind: SObject, record: Record) -> None:
    tags = request.headers.get("if-match")
    if tags is not None and kind.name == "Account" and not _has_tag(tags, record):
        raise precondition_failed()
    _check_modified_since(request, record)


def _check_modified_since(request: Request, record: Record) -> None:
    limit = _http_date(request, "if-unmodified-since")
    if limit is not None and _last_modified(record) > limit:
        raise precondition_failed()


def _is_unchanged(request: Request, kind: SObject, record: Record) -> bool:
    tags = request.headers.get("if-none-match")
    if tags is not None and kind.name == "Account" and _has_tag(tags, record):
        return True
    since = _http_date(request, "if-modified-since")
    return since is not None and _last_modified(record) <= since


def _has_tag(tags: str, record: Record) -> bool:
    return "*" in tags or _etag(record) in [tag.strip() for tag in tags.split(",")]


def _http_date(request: Request, name: str) -> datetime | None:
    text = request.headers.get(name)
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError as error:
        message = f"Invalid value for header {name}: {text}"
        raise ApiError(400, "INVALID_HEADER_VALUE", message) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _window(request: Request) -> tuple[str, str]:
    moments = [parse_datetime(request.query.get(name, "")) for name in ("start", "end")]
    start, end = moments
    if start is None or end is None or start >= end:
        raise ApiError(400, "INVALID_FIELD", "start and end must be datetimes, start before end")
    return start, end
