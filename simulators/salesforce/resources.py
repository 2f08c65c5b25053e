"""Which function serves which resource below `/services/data/vNN.0`."""

from collections.abc import Callable

from simulators.kit import Reply
from simulators.salesforce import composite, describe, queries, row_collections, sobjects
from simulators.salesforce.errors import ApiError, method_not_allowed, no_resource
from simulators.salesforce.request import Request

Resource = Callable[[Request], Reply]

_TABLE: tuple[tuple[str, str, Resource], ...] = (
    ("GET", "", describe.resources),
    ("GET", "limits", describe.limits),
    ("GET", "query", queries.query),
    ("GET", "queryAll", queries.query_all),
    ("GET", "query/*", queries.query_more),
    ("GET", "queryAll/*", queries.query_more),
    ("POST", "composite", composite.composite),
    ("POST", "composite/batch", composite.batch),
    ("POST", "composite/graph", composite.graph),
    ("POST", "composite/sobjects", row_collections.create_many),
    ("PATCH", "composite/sobjects", row_collections.update_many),
    ("DELETE", "composite/sobjects", row_collections.delete_many),
    ("GET", "composite/sobjects/*", row_collections.read_many),
    ("POST", "composite/sobjects/*", row_collections.read_many),
    ("PATCH", "composite/sobjects/*/*", row_collections.upsert_many),
    ("GET", "sobjects", describe.describe_global),
    ("GET", "sobjects/*", describe.object_info),
    ("POST", "sobjects/*", sobjects.create),
    ("GET", "sobjects/*/describe", describe.describe_object),
    ("GET", "sobjects/*/updated", sobjects.updated),
    ("GET", "sobjects/*/deleted", sobjects.deleted),
    ("GET", "sobjects/*/*", sobjects.read),
    ("PATCH", "sobjects/*/*", sobjects.update),
    ("DELETE", "sobjects/*/*", sobjects.delete),
    ("POST", "sobjects/*/*", sobjects.create_by_id_field),
    ("GET", "sobjects/*/*/*", sobjects.read_by_external_id),
    ("PATCH", "sobjects/*/*/*", sobjects.upsert),
    ("DELETE", "sobjects/*/*/*", sobjects.delete_by_external_id),
)
_ROUTES = tuple((method, tuple(filter(None, path.split("/"))), f) for method, path, f in _TABLE)


def dispatch(request: Request) -> Reply:
    """Answer a request, refusals included."""
    wanted = "GET" if request.method == "HEAD" else request.method
    allowed: list[str] = []
    try:
        for method, pattern, resource in _ROUTES:
            if not _fits(pattern, request.segments):
                continue
            if method == wanted:
                return resource(request)
            allowed.append(method)
        raise method_not_allowed(request.method, allowed) if allowed else no_resource()
    except ApiError as error:
        return error.reply()


def _fits(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return len(pattern) == len(segments) and all(
        wanted in ("*", segment) for wanted, segment in zip(pattern, segments, strict=True)
    )
