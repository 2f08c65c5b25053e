"""Writing and reading rows, one at a time: what the API checks before any rule of an object."""

from collections.abc import Iterable

from pydantic import JsonValue

from simulators.kit import Effect, Record
from simulators.salesforce import rules
from simulators.salesforce.context import INTEGRATION_USER_ID, Context, external_key
from simulators.salesforce.duplicates import check_duplicates
from simulators.salesforce.errors import (
    ApiError,
    entity_is_deleted,
    malformed_json,
    no_record,
    no_such_column,
)
from simulators.salesforce.ids import PREFIXES, full_id
from simulators.salesforce.objects import CATALOG, CHILDREN, find_object
from simulators.salesforce.schema import Field, FieldType, OnDelete, SObject
from simulators.salesforce.values import clean_value, read_value

Body = dict[str, JsonValue]


def as_body(value: JsonValue) -> Body:
    """Return a request body that is an object.

    Raises:
        ApiError: it is something else.
    """
    if not isinstance(value, dict):
        raise malformed_json("The HTTP entity body is required to be an object")
    return value


def object_type(name: str) -> SObject:
    """Return the object of a path.

    Raises:
        ApiError: there is none such.
    """
    kind = find_object(name)
    if kind is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return kind


def find_row(context: Context, kind: SObject, name: str) -> Record:
    """Return a live row by its id in either form.

    Raises:
        ApiError: 404, as deleted or as unknown.
    """
    record_id = full_id(name)
    found = context.account.store.get(kind.name, record_id or "", dead=True)
    if found is None:
        raise no_record(name)
    if not found.live:
        raise entity_is_deleted()
    return found


def external_field(kind: SObject, name: str) -> Field:
    """Return an external id field.

    Raises:
        ApiError: no such field, or it is none.
    """
    column = kind.field(name)
    if column is None or not (column.external_id or column.name == "Id"):
        raise no_record(name)
    return column


def find_by_external_id(context: Context, kind: SObject, column: Field, value: str) -> list[Record]:
    """Return every live row that carries an external id; case does not count."""
    store = context.account.store
    if column.name == "Id":
        found = store.get(kind.name, full_id(value) or "")
        return [] if found is None else [found]
    wanted = value.casefold()
    return [row for row in store.list(kind.name) if _folded(row.fields.get(column.name)) == wanted]


def render_row(context: Context, kind: SObject, record: Record, columns: Iterable[Field]) -> Body:
    """Return a row as a read shows it."""
    path = context.row_path(kind.name, record.id)
    row: Body = {"attributes": {"type": kind.name, "url": path}}
    for column in columns:
        row[column.name] = read_value(record, column)
    return row


def create_row(context: Context, kind: SObject, body: Body) -> Record:
    """Insert a row, all or nothing.

    Raises:
        ApiError: the vendor refuses.
    """
    if not kind.createable:
        text = f"entity type cannot be inserted: {kind.name}"
        raise ApiError(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", text, [])
    fields = _clean(context, kind, body, creating=True)
    _require(kind, fields)
    for column in kind.fields:
        if column.createable and column.default is not None and column.name not in fields:
            owner = column.name == "OwnerId"
            fields[column.name] = INTEGRATION_USER_ID if owner else column.default
    with context.transaction():
        rules.before_create(context, kind, fields)
        _check_unique(context, kind, fields, None)
        check_duplicates(context, kind, fields)
        fields["LastModifiedDate"] = context.now()
        store = context.account.store
        record = store.insert(kind.name, fields, external_key(kind.name, fields))
        context.note(Effect.CREATE, record)
        rules.after_change(context, kind, record)
    return record


def update_row(context: Context, kind: SObject, record: Record, body: Body) -> None:
    """Change the named fields of a row, all or nothing.

    Raises:
        ApiError: the vendor refuses.
    """
    changes = _clean(context, kind, body, creating=False)
    with context.transaction():
        rules.before_update(context, kind, record, changes)
        _check_unique(context, kind, changes, record)
        changes["LastModifiedDate"] = context.now()
        store = context.account.store
        store.update(record, changes)
        key = external_key(kind.name, record.fields)
        if key != record.key:
            store.set_key(record, key)
        context.note(Effect.UPDATE, record)
        rules.after_change(context, kind, record)


def delete_row(context: Context, kind: SObject, record: Record) -> None:
    """Move a row and what hangs on it to the recycle bin, all or nothing.

    Raises:
        ApiError: `DELETE_FAILED` where other rows need it.
    """
    if not kind.deletable:
        raise ApiError(400, "INSUFFICIENT_ACCESS_OR_READONLY", "entity cannot be deleted", [])
    with context.transaction():
        _delete(context, kind, record)
        rules.after_delete(context, kind, record)


def _delete(context: Context, kind: SObject, record: Record) -> None:
    store = context.account.store
    rules.before_delete(context, kind, record)
    for child in CHILDREN[kind.name]:
        name = child.column.name
        rows = [row for row in store.list(child.type) if row.fields.get(name) == record.id]
        if rows and child.column.on_delete is OnDelete.RESTRICT:
            raise rules.delete_failed(record, CATALOG[child.type].plural, rows)
        for row in rows:
            if child.column.on_delete is OnDelete.CASCADE:
                _delete(context, CATALOG[child.type], row)
            else:
                store.update(row, {name: None})
    store.delete(record)
    context.note(Effect.DELETE, record)


def _clean(context: Context, kind: SObject, body: Body, *, creating: bool) -> Body:
    fields: Body = {}
    for name, value in body.items():
        if name == "attributes":
            continue
        parent = kind.parent(name)
        if parent is not None and isinstance(value, dict):
            column, value = parent, _parent_by_external_id(context, parent, value)
        else:
            column = _column(kind, name)
        _check_writable(kind, column, creating)
        fields[column.name] = clean_value(column, value)
        if column.type is FieldType.REFERENCE and value:
            fields[column.name] = _reference(context, column, str(value))
    return fields


def _column(kind: SObject, name: str) -> Field:
    column = kind.field(name)
    if column is None:
        raise no_such_column(name, kind.name)
    return column


def _check_writable(kind: SObject, column: Field, creating: bool) -> None:
    if column.createable if creating else (column.updateable and kind.updateable):
        return
    text = (
        f"Unable to create/update fields: {column.name}. Please check the security settings of"
        " this field and verify that it is read/write for your profile or permission set."
    )
    raise ApiError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text, [column.name])


def _require(kind: SObject, fields: Body) -> None:
    missing = [c.name for c in kind.fields if c.required and fields.get(c.name) is None]
    if missing:
        text = f"Required fields are missing: [{', '.join(missing)}]"
        raise ApiError(400, "REQUIRED_FIELD_MISSING", text, missing)


def _reference(context: Context, column: Field, value: str) -> str:
    record_id = full_id(value)
    if record_id is None:
        text = f"{column.label}: id value of incorrect type: {value}"
        raise ApiError(400, "MALFORMED_ID", text, [column.name])
    if not record_id.startswith(PREFIXES[column.refers_to]):
        text = f"{column.label}: id value of incorrect type: {value}"
        raise ApiError(400, "FIELD_INTEGRITY_EXCEPTION", text, [column.name])
    found = context.account.store.get(column.refers_to, record_id, dead=True)
    if found is None:
        raise ApiError(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [])
    if not found.live:
        raise ApiError(400, "ENTITY_IS_DELETED", "entity is deleted", [])
    return record_id


def _parent_by_external_id(context: Context, column: Field, value: Body) -> str:
    named = {name: given for name, given in value.items() if name != "attributes"}
    kind = CATALOG[column.refers_to]
    if len(named) != 1:
        text = f"{column.relationship}: exactly one external id field is needed"
        raise ApiError(400, "INVALID_FIELD", text, [column.name])
    name, given = next(iter(named.items()))
    key = kind.field(name)
    if key is None or not (key.external_id or key.name == "Id"):
        text = f"Field name provided, {name} does not match an External ID for {kind.name}"
        raise ApiError(400, "INVALID_FIELD", text, [])
    found = find_by_external_id(context, kind, key, str(given))
    if not found:
        text = (
            f"Foreign key external ID: {given} not found for field {key.name} in entity {kind.name}"
        )
        raise ApiError(400, "INVALID_FIELD", text, [])
    if len(found) > 1:
        text = (
            f"More than one record found for external id field: [{', '.join(r.id for r in found)}]"
        )
        raise ApiError(400, "DUPLICATE_EXTERNAL_ID", text, [])
    return found[0].id


def _check_unique(context: Context, kind: SObject, fields: Body, own: Record | None) -> None:
    for column in kind.fields:
        value = fields.get(column.name) if column.unique else None
        if not isinstance(value, str):
            continue
        for row in find_by_external_id(context, kind, column, value):
            if row is not own:
                text = (
                    f"duplicate value found: {column.name} duplicates value on record with"
                    f" id: {row.id}"
                )
                raise ApiError(400, "DUPLICATE_VALUE", text, [])


def _folded(value: JsonValue) -> str | None:
    return value.casefold() if isinstance(value, str) else None
