"""What the organisation says about itself: versions, resources, objects, fields, limits."""

from pydantic import JsonValue

from simulators.kit import Reply
from simulators.salesforce import usage
from simulators.salesforce.context import Context
from simulators.salesforce.ids import PREFIXES
from simulators.salesforce.objects import CATALOG, CHILDREN
from simulators.salesforce.request import VERSION_MAX, VERSION_MIN, Request
from simulators.salesforce.rows import object_type
from simulators.salesforce.schema import NUMERIC, Child, Field, FieldType, SObject

_SEASONS = ("Spring", "Summer", "Winter")
_RESOURCES = ("composite", "limits", "query", "queryAll", "sobjects")


def versions() -> JsonValue:
    """Return `/services/data/`: oldest first; version 66 is Spring '26."""
    return [
        {"label": _release(n), "url": f"/services/data/v{n}.0", "version": f"{n}.0"}
        for n in range(VERSION_MIN, VERSION_MAX + 1)
    ]


def resources(request: Request) -> Reply:
    """`GET /services/data/vNN.0/`."""
    base = request.context.base
    paths: dict[str, JsonValue] = {name: f"{base}/{name}" for name in _RESOURCES}
    return Reply(200, paths)


def describe_global(request: Request) -> Reply:
    """`GET sobjects`."""
    rows: list[JsonValue] = [_summary(request.context, kind) for kind in CATALOG.values()]
    return Reply(200, {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": rows})


def object_info(request: Request) -> Reply:
    """`GET sobjects/{T}`."""
    kind = object_type(request.segments[1])
    summary = _summary(request.context, kind)
    return Reply(200, {"objectDescribe": summary, "recentItems": []})


def describe_object(request: Request) -> Reply:
    """`GET sobjects/{T}/describe`."""
    kind = object_type(request.segments[1])
    whole = _summary(request.context, kind)
    whole["fields"] = [_field(request.context, column) for column in kind.fields]
    whole["childRelationships"] = [_child(child) for child in CHILDREN[kind.name]]
    whole["recordTypeInfos"] = []
    return Reply(200, whole)


def limits(request: Request) -> Reply:
    """`GET limits`; it counts itself."""
    account = request.context.account
    allowed = usage.allowed(account)
    remaining = max(0, allowed - usage.used(account))
    body: dict[str, JsonValue] = {
        "DailyApiRequests": {"Max": allowed, "Remaining": remaining},
        "ConcurrentAsyncGetReportInstances": {"Max": 200, "Remaining": 200},
        "DailyBulkV2QueryJobs": {"Max": 10000, "Remaining": 10000},
        "HourlyPublishedPlatformEvents": {"Max": 250000, "Remaining": 250000},
    }
    return Reply(200, body)


def _release(version: int) -> str:
    season, year = _SEASONS[version % 3], 26 + (version - 66) // 3
    # The winter release carries the number of the year that it begins before.
    return f"{season} '{year + (season == 'Winter')}"


def _summary(context: Context, kind: SObject) -> dict[str, JsonValue]:
    path = f"{context.base}/sobjects/{kind.name}"
    return {
        "name": kind.name,
        "label": kind.name,
        "labelPlural": kind.plural,
        "keyPrefix": PREFIXES[kind.name],
        "custom": False,
        "createable": kind.createable,
        "updateable": kind.updateable,
        "deletable": kind.deletable,
        "undeletable": kind.deletable,
        "queryable": True,
        "retrieveable": True,
        "searchable": kind.createable,
        "urls": {
            "sobject": path,
            "describe": f"{path}/describe",
            "rowTemplate": path + "/{ID}",
        },
    }


def _field(context: Context, column: Field) -> JsonValue:
    is_number = column.type in NUMERIC
    is_text = not is_number and column.type not in (
        FieldType.BOOLEAN,
        FieldType.DATE,
        FieldType.DATETIME,
        FieldType.ADDRESS,
    )
    references: list[JsonValue] = [column.refers_to] if column.refers_to else []
    return {
        "name": column.name,
        "label": column.label,
        "type": column.type.value,
        "length": column.length if is_text else 0,
        "precision": column.precision if is_number else 0,
        "scale": column.scale if is_number and column.type is not FieldType.INT else 0,
        "nillable": column.nillable,
        "createable": column.createable,
        "updateable": column.updateable,
        "custom": column.custom,
        "externalId": column.external_id,
        "unique": column.unique,
        "idLookup": column.external_id or column.name == "Id",
        "caseSensitive": False,
        "calculated": False,
        "defaultedOnCreate": column.default is not None,
        "defaultValue": column.default or None,
        "filterable": column.type is not FieldType.ADDRESS,
        "sortable": column.type is not FieldType.ADDRESS,
        "picklistValues": _picklist(context, column),
        "restrictedPicklist": bool(column.values),
        "referenceTo": references,
        "relationshipName": column.relationship or None,
    }


def _picklist(context: Context, column: Field) -> list[JsonValue]:
    values = list(column.values)
    if column.name == "StageName":
        stages = context.account.store.list("OpportunityStage")
        values = [str(stage.fields["ApiName"]) for stage in stages if stage.fields["IsActive"]]
    return [
        {"value": value, "label": value, "active": True, "defaultValue": False, "validFor": None}
        for value in values
    ]


def _child(child: Child) -> JsonValue:
    return {
        "childSObject": child.type,
        "field": child.column.name,
        "relationshipName": child.relationship or None,
        "cascadeDelete": child.column.on_delete == "cascade",
        "restrictedDelete": child.column.on_delete == "restrict",
        "deprecatedAndHidden": False,
    }
