"""The metadata catalogue: JSON schema and OpenAPI of the record types (Getting metadata)."""

from collections.abc import Iterable

from pydantic import JsonValue

from simulators.kit import Call, Reply
from simulators.netsuite import errors
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rendering import RECORD_ROOT
from simulators.netsuite.schema import Field, Kind, RecordType, Sublist
from simulators.netsuite.state import Fields

_CATALOG = f"{RECORD_ROOT}/metadata-catalog"
_SCHEMA_JSON = "application/schema+json"
_SWAGGER_JSON = "application/swagger+json"
_PLAIN: dict[Kind, Fields] = {
    Kind.TEXT: {"type": "string"},
    Kind.FLAG: {"type": "boolean"},
    Kind.NUMBER: {"type": "number", "format": "double"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.MOMENT: {"type": "string", "format": "date-time"},
    Kind.DURATION: {"type": "string"},
}


async def read_catalog(call: Call) -> Reply:
    """Answer the list of types, or their OpenAPI where the client accepts that."""
    names = [name for name in call.query.get("select", "").split(",") if name]
    kinds = [_kind(call, name) for name in names] or list(RECORD_TYPES.values())
    if _SWAGGER_JSON in call.headers.get("Accept", ""):
        return Reply(200, _open_api(call, kinds), {"Content-Type": _SWAGGER_JSON})
    items: list[JsonValue] = [
        {"name": kind.name, "links": _links(call, kind.name)} for kind in kinds
    ]
    return Reply(200, {"items": items, "links": []})


async def read_schema(call: Call) -> Reply:
    """Answer one type: its JSON schema or its OpenAPI where the client accepts that."""
    kind = _kind(call, call.params["type"])
    accepted = call.headers.get("Accept", "")
    if _SCHEMA_JSON in accepted:
        return Reply(200, _schema(kind), {"Content-Type": _SCHEMA_JSON})
    if _SWAGGER_JSON in accepted:
        return Reply(200, _open_api(call, [kind]), {"Content-Type": _SWAGGER_JSON})
    return Reply(200, {"name": kind.name, "links": _links(call, kind.name)})


def _kind(call: Call, name: str) -> RecordType:
    kind = RECORD_TYPES.get(name)
    if kind is None:
        raise errors.invalid_url(f"The record type {name} does not exist.", call.path)
    return kind


def _links(call: Call, name: str) -> list[JsonValue]:
    url = f"{call.origin}{_CATALOG}/{name}"
    kinds = (("canonical", "application/json"), ("alternate", _SCHEMA_JSON))
    return [
        {"rel": rel, "href": url, "mediaType": media}
        for rel, media in (*kinds, ("describes", _SWAGGER_JSON))
    ]


def _schema(kind: RecordType) -> Fields:
    properties: Fields = {
        "id": {"type": "string", "title": "Internal ID", "x-ns-filterable": True},
        "externalId": {"type": "string", "title": "External ID", "x-ns-filterable": True},
    }
    properties |= {name: _property(field) for name, field in kind.fields.items()}
    properties |= {name: _collection(spec) for name, spec in kind.sublists.items()}
    return {
        "$schema": "http://json-schema.org/draft-06/hyper-schema#",
        "type": "object",
        "title": kind.name,
        "properties": properties,
    }


def _property(field: Field) -> Fields:
    filterable = field.kind not in (Kind.MULTISELECT, Kind.SUBRECORD)
    shown: Fields = {"title": field.label, "x-ns-filterable": filterable}
    if field.read_only:
        shown["readOnly"] = True
    match field.kind:
        case Kind.REFERENCE:
            names: list[JsonValue] = [*field.targets]
            shown |= {"type": "object", "x-ns-referenced-records": names}
        case Kind.CHOICE:
            options: list[JsonValue] = [*field.options]
            inner: Fields = {"id": {"type": "string", "enum": options}}
            shown |= {"type": "object", "properties": inner}
        case Kind.SUBRECORD:
            shown |= {"type": "object", "properties": _properties(field.fields.items())}
        case Kind.MULTISELECT:
            shown |= {"type": "object", "properties": {"items": {"type": "array"}}}
        case _:
            shown |= _PLAIN[field.kind]
    return shown


def _properties(fields: Iterable[tuple[str, Field]]) -> Fields:
    return {name: _property(field) for name, field in fields}


def _collection(spec: Sublist) -> Fields:
    line: Fields = {"type": "object", "properties": _properties(spec.fields.items())}
    return {
        "type": "object",
        "properties": {
            "totalResults": {"type": "integer"},
            "items": {"type": "array", "items": line},
        },
    }


def _open_api(call: Call, kinds: list[RecordType]) -> Fields:
    paths: Fields = {}
    for kind in kinds:
        paths[f"/{kind.name}"] = _operations("get", "post")
        paths[f"/{kind.name}/{{id}}"] = _operations("get", "patch", "put", "delete")
    schemas: Fields = {kind.name: _schema(kind) for kind in kinds}
    return {
        "openapi": "3.0.1",
        "info": {"title": "NetSuite REST Record API", "version": "v1"},
        "servers": [{"url": f"{call.origin}{RECORD_ROOT}"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operations(*verbs: str) -> Fields:
    return {verb: {"responses": {"default": {"description": "nsError"}}} for verb in verbs}
