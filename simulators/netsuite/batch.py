"""Batch operations on a collection, since 2026.1 (vendor page, section 4).

POST, PATCH and PUT take `{"items": [...]}`, DELETE and GET take `?ids=1,2`, each up to 100 records
of one type and only with `Prefer: respond-async`. An item of PATCH names its record by `id`, which
comes first, or by `externalId`; PUT by `externalId` alone.

Simulator choices, since the page does not give the form of the outcome: a job has one task per
item, in the order of the items, and a task's result replays what that item alone would have been
answered (204 and Location, or the error body), as the page says of a single request's result;
vendors' connectors likewise speak of task ids with a result per record. So items fail one by one,
and the job counts as failed when one of them did. What is wrong with the batch itself (no items,
more than 100, no Prefer header) is refused at once. A fault `reject` with a key refuses only the
items with this external id; every other fault meets the submission as a whole.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from simulators.kit import Call, Record, Reply, ReplyError
from simulators.kit.calls import MalformedBody
from simulators.netsuite import errors
from simulators.netsuite.asynchronous import check_key, is_deferred, record_job
from simulators.netsuite.reading import read_external_id
from simulators.netsuite.schema import RecordType
from simulators.netsuite.service import (
    EXTERNAL,
    make_renderer,
    make_writer,
    read_body,
    record_type,
    saved,
)
from simulators.netsuite.state import Fields
from simulators.netsuite.writing import Writer

ITEMS_MAX = 100

Refuses = Callable[[str], bool]
"""Whether an item with this external id is to be refused."""


def is_batch(call: Call) -> bool:
    """Whether a request on a collection is about several records named one by one."""
    if set(call.params) != {"type"}:
        return False
    match call.method:
        case "POST":
            return _has_items(call)
        case "PATCH" | "PUT":
            return True
        case _:
            return "ids" in call.query


def _has_items(call: Call) -> bool:
    try:
        body = call.json
    except MalformedBody:  # whoever serves the single record says so
        return False
    return isinstance(body, dict) and isinstance(body.get("items"), list)


def batch_keys(call: Call) -> tuple[str, ...]:
    """Return the external ids of all items, however they name their records."""
    kind = call.params["type"]
    found = [_key_of(call, kind, item) for item in _items(call)]
    return tuple(key for key in found if key is not None)


async def serve(call: Call) -> Reply:
    """Do every item, and answer with the job."""
    return perform(call)


def perform(call: Call, refuses: Refuses | None = None, refusal: Reply | None = None) -> Reply:
    """Do every item but those refused, which get the refusal, and return the 202.

    Raises:
        ReplyError: the batch itself is wrong, or its idempotency key came before.
    """
    kind = record_type(call)
    if not is_deferred(call):
        text = "A batch operation needs the Prefer header with the value respond-async."
        raise errors.invalid_header(text, "Prefer")
    items = _items(call)
    if call.method in ("POST", "PATCH", "PUT"):
        read_body(call)
    if not 1 <= len(items) <= ITEMS_MAX:
        text = f"A batch takes 1 to {ITEMS_MAX} records; {len(items)} were sent."
        raise errors.problem(400, "INVALID_CONTENT", text)
    check_key(call)
    started = call.account.clock.now()
    replies: list[Reply] = []
    for item in items:
        key = _key_of(call, kind.name, item)
        if refusal is not None and refuses is not None and key is not None and refuses(key):
            replies.append(refusal)
        else:
            replies.append(_one(call, kind, item))
    return record_job(call, replies, started, at_once=True)


def _items(call: Call) -> list[JsonValue]:
    if call.method in ("GET", "DELETE"):
        return [name.strip() for name in call.query.get("ids", "").split(",") if name.strip()]
    body = call.json
    items = body.get("items") if isinstance(body, dict) else None
    return items if isinstance(items, list) else []


def _key_of(call: Call, kind: str, item: JsonValue) -> str | None:
    store = call.account.store
    if isinstance(item, str):
        if item.startswith(EXTERNAL):
            return item.removeprefix(EXTERNAL)
        named = store.get(kind, item)
        return named.key if named is not None else None
    if not isinstance(item, dict):
        return None
    if item.get("id") is not None and call.method == "PATCH":
        named = store.get(kind, str(item["id"]))
        if named is not None and named.key is not None:
            return named.key
    key = item.get("externalId")
    return key if isinstance(key, str) else None


def _one(call: Call, kind: RecordType, item: JsonValue) -> Reply:
    try:
        if isinstance(item, dict):
            return _write(call, kind, item)
        if isinstance(item, str):
            return _by_name(call, kind, item)
        raise errors.problem(400, "INVALID_CONTENT", "An item of a batch is an object.")
    except ReplyError as error:
        return error.reply


def _write(call: Call, kind: RecordType, item: Fields) -> Reply:
    writer = make_writer(call)
    record, effect = _WRITES[call.method](call, writer, kind, item)
    call.effected(effect, record.key, record.type, record.id)
    return saved(call, record, writer)


def _create(_: Call, writer: Writer, kind: RecordType, item: Fields) -> tuple[Record, str]:
    return writer.create(kind, item), "create"


def _update(call: Call, writer: Writer, kind: RecordType, item: Fields) -> tuple[Record, str]:
    name = item.get("id")
    if name is not None:
        record = _named(call, kind, str(name))
        return writer.update(record, item), "update"
    key = read_external_id(item.get("externalId"))
    return writer.update(_named(call, kind, f"{EXTERNAL}{key}"), item), "update"


def _upsert(call: Call, writer: Writer, kind: RecordType, item: Fields) -> tuple[Record, str]:
    key = read_external_id(item.get("externalId"))
    record = call.account.store.by_key(kind.name, key)
    if record is None:
        return writer.create(kind, item, key), "create"
    return writer.update(record, item), "update"


def _by_name(call: Call, kind: RecordType, name: str) -> Reply:
    record = _named(call, kind, name)
    if call.method == "GET":
        if call.query.get("expandRecords", "").lower() != "true":
            return Reply(200, make_renderer(call).stub(record))
        return Reply(200, make_renderer(call).record(record))
    make_writer(call).delete(record)
    call.effected("delete", record.key, record.type, record.id)
    return Reply(204)


def _named(call: Call, kind: RecordType, name: str) -> Record:
    store = call.account.store
    if name.startswith(EXTERNAL):
        record = store.by_key(kind.name, name.removeprefix(EXTERNAL))
    else:
        record = store.get(kind.name, name)
    if record is None:
        raise errors.nonexistent(f"{call.path}/{name}")
    return record


_WRITES: Mapping[str, Callable[[Call, Writer, RecordType, Fields], tuple[Record, str]]] = {
    "POST": _create,
    "PATCH": _update,
    "PUT": _upsert,
}
