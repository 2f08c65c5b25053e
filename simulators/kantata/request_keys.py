"""Which keys a request names, for faults and the log.

These are references' refs and ids of records with their keys.
"""

from collections.abc import Iterator

from simulators.kantata.bodies import parse_body
from simulators.kantata.catalog import CATALOG
from simulators.kantata.errors import ApiError
from simulators.kantata.routes import BASE, path_segments
from simulators.kit import Account, Call, JsonValue

_REFS = ("external_reference_service_model_refs", "external_reference_service_model_ref")
_PARENTS = {
    "workspace_id": "workspaces",
    "story_id": "stories",
    "parent_id": "stories",
    "invoice_id": "invoices",
}


def keys_of(call: Call) -> tuple[str, ...]:
    """Return the keys a request names, each once, its own before those of what it hangs on."""
    if not call.path.startswith(BASE):
        return ()
    try:
        body: JsonValue = parse_body(call) if call.body else None
    except ApiError:
        body = None  # the handler will refuse it
    found = [*_of_path(call), *_of_query(call), *_refs_in(body), *_parents_in(call.account, body)]
    return tuple(dict.fromkeys(found))


def _of_path(call: Call) -> Iterator[str]:
    segments = path_segments(call.path)
    if len(segments) > 1 and segments[0] in CATALOG:
        yield from _of_record(call.account, segments[0], segments[1])


def _of_query(call: Call) -> Iterator[str]:
    for name in _REFS:
        if call.query.get(name):
            yield from call.query[name].split(",")
    for name, collection in _PARENTS.items():
        for id_ in call.query.get(name, "").split(","):
            if id_:
                yield from _of_record(call.account, collection, id_)


def _refs_in(value: JsonValue) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _refs_in(each)
    elif isinstance(value, dict):
        ref = value.get("service_model_ref")
        if isinstance(ref, str):
            yield ref
        for each in value.values():
            if isinstance(each, dict | list):
                yield from _refs_in(each)


def _parents_in(account: Account, body: JsonValue) -> Iterator[str]:
    """Yield keys of what the body's objects belong to, so that a child's write can be met too."""
    for root in body.values() if isinstance(body, dict) else ():
        rows = root if isinstance(root, list) else [root]
        for row in rows:
            if not isinstance(row, dict):
                continue
            for name, collection in _PARENTS.items():
                yield from _of_record(account, collection, str(row.get(name, "")))
            noun = row.get("subject_type")
            subject = next((c.name for c in CATALOG.values() if c.noun == noun), "")
            yield from _of_record(account, subject, str(row.get("subject_id", "")))


def _of_record(account: Account, collection: str, id_: str) -> Iterator[str]:
    record = account.store.get(collection, id_, dead=True)
    if record is not None:
        if record.key is not None:
            yield record.key
        yield record.id
