"""The record service: what each verb does to a record (vendor page, section 4)."""

from pydantic import JsonValue

from simulators.kit import Call, Record, Reply
from simulators.netsuite import errors, state
from simulators.netsuite.filtering import compile_filter
from simulators.netsuite.reading import Reader, read_external_id
from simulators.netsuite.record_types import RECORD_TYPES
from simulators.netsuite.rendering import RECORD_ROOT, Renderer, collection, read_page
from simulators.netsuite.schema import RecordType, Space
from simulators.netsuite.state import Fields
from simulators.netsuite.sublists import line_key
from simulators.netsuite.writing import Writer

EXTERNAL = "eid:"
_JSON_TYPES = ("application/json", "application/vnd.oracle.resource+json")
_STRICTNESS = ("error", "warning", "ignore")


async def list_records(call: Call) -> Reply:
    """Answer a collection: ids alone, in order of their ids; inactive records are among them."""
    kind = record_type(call)
    page = read_page(call.query)
    records = call.account.store.list(kind.name, search=True)
    if call.query.get("q"):
        test = compile_filter(kind, call.query["q"])
        records = [record for record in records if test(record)]
    records.sort(key=lambda record: int(record.id))
    renderer = make_renderer(call)
    shown: list[JsonValue] = []
    for record in records[page.offset : page.offset + page.limit]:
        shown.append(renderer.stub(record))
    url = f"{call.origin}{call.raw_path}"
    return Reply(200, collection(url, call.query, page, shown, len(records)))


async def read_record(call: Call) -> Reply:
    """Answer one record; `fields` and `expandSubResources` exclude each other."""
    record = find_record(call)
    names = call.query.get("fields")
    if names is not None and _is_true(call, "expandSubResources"):
        raise errors.invalid_parameter(
            "The fields and expandSubResources parameters cannot be used together.", "fields"
        )
    only = None if names is None else [name.strip() for name in names.split(",")]
    return Reply(200, make_renderer(call).record(record, only))


async def read_sublist(call: Call) -> Reply:
    """Answer the lines of a sublist: their addresses, or all of them when expanded."""
    record = find_record(call)
    name = call.params["sublist"]
    spec = RECORD_TYPES[record.type].sublists.get(name)
    if spec is None:
        raise errors.invalid_url(f"The record has no sublist or action {name}.", call.path)
    renderer = make_renderer(call)
    renderer.expand = True
    full = renderer.sublist(record, name, spec)
    if not _is_true(call, "expandSubResources"):
        rows: list[JsonValue] = []
        for line in state.lines({name: full}, name):
            rows.append({"links": line["links"]})
        full["items"] = rows
    return Reply(200, full)


async def read_line(call: Call) -> Reply:
    """Answer one line of a sublist."""
    record = find_record(call)
    name = call.params["sublist"]
    spec = RECORD_TYPES[record.type].sublists.get(name)
    renderer = make_renderer(call)
    renderer.expand = True
    for line in state.lines(record.fields, name) if spec is not None else []:
        if spec is not None and line_key(spec, line) == call.params["line"]:
            return Reply(200, renderer.line(f"{renderer.url(record)}/{name}", spec, line))
    raise errors.nonexistent(call.path)


async def create_record(call: Call) -> Reply:
    """Create a record: 204 and its address, no body."""
    kind, body = record_type(call), read_body(call)
    writer = make_writer(call)
    record = writer.create(kind, body)
    call.effected("create", record.key, record.type, record.id)
    return saved(call, record, writer)


async def update_record(call: Call) -> Reply:
    """Change the fields sent."""
    record, body = find_record(call), read_body(call)
    writer = make_writer(call)
    writer.update(record, body)
    call.effected("update", record.key, record.type, record.id)
    return saved(call, record, writer)


async def upsert_record(call: Call) -> Reply:
    """Create or change the record with an external id; there is no other upsert."""
    kind, name = record_type(call), call.params["id"]
    if not name.startswith(EXTERNAL):
        raise errors.invalid_url("PUT needs an external ID: use eid:.", call.path)
    key, body = _external_id(call), read_body(call)
    if body.get("externalId", key) != key:
        raise errors.invalid_value(str(body["externalId"]), "externalId", "externalId")
    writer = make_writer(call)
    record = call.account.store.by_key(kind.name, key)
    if record is None:
        record = writer.create(kind, body, key)
        call.effected("create", key, record.type, record.id)
    else:
        writer.update(record, body)
        call.effected("update", key, record.type, record.id)
    return saved(call, record, writer)


async def delete_record(call: Call) -> Reply:
    """Delete a record that nothing refers to."""
    record = find_record(call)
    make_writer(call).delete(record)
    call.effected("delete", record.key, record.type, record.id)
    return Reply(204)


def record_keys(call: Call) -> tuple[str, ...]:
    """Return the external ids which a record request is about, however it names the record."""
    name, kind = call.params.get("id"), call.params.get("type", "")
    keys: list[str] = []
    if name is not None and name.startswith(EXTERNAL):
        keys.append(name.removeprefix(EXTERNAL))
    elif name is not None:
        record = call.account.store.get(kind, name)
        keys += [record.key] if record is not None and record.key is not None else []
    # A transform is about the record which it makes, too.
    body = call.json if kind and call.method == "POST" and call.body else None
    key = body.get("externalId") if isinstance(body, dict) else None
    return (*keys, key) if isinstance(key, str) else tuple(keys)


def record_type(call: Call) -> RecordType:
    """Return the record type that the address names.

    Raises:
        ReplyError: there is none of that name.
    """
    kind = RECORD_TYPES.get(call.params["type"])
    if kind is None:
        text = f"The record type {call.params['type']} does not exist or is not supported."
        raise errors.invalid_url(text, call.path)
    return kind


def find_record(call: Call) -> Record:
    """Return the record that the address names.

    Raises:
        ReplyError: there is none.
    """
    kind, name = record_type(call), call.params["id"]
    if name.startswith(EXTERNAL):
        record = call.account.store.by_key(kind.name, _external_id(call))
    else:
        record = call.account.store.get(kind.name, name)
        if record is None and kind.space is Space.TRANSACTION and call.method == "GET":
            raise errors.wrong_transaction_type()
    if record is None:
        raise errors.nonexistent(call.path)
    return record


def _external_id(call: Call) -> str:
    key = call.params["id"].removeprefix(EXTERNAL)
    try:
        return read_external_id(key)
    except Exception as error:
        raise errors.invalid_url(f"The external ID {key[:80]} is not valid.", call.path) from error


def read_body(call: Call) -> Fields:
    """Return the body, which is an object.

    Raises:
        ReplyError: it is not, or it is of another media type.
    """
    kind = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise errors.unsupported_media_type(kind)
    body = call.json
    if not isinstance(body, dict):
        raise errors.problem(400, "INVALID_CONTENT", "The request body must be a JSON object.")
    return body


def make_writer(call: Call) -> Writer:
    """Return what writes with the strictness and the replacements that the request asks for."""
    reader = Reader(
        call.account,
        names=_strictness(call, "X-NetSuite-PropertyNameValidation", "warning"),
        values=_strictness(call, "X-NetSuite-PropertyValueValidation", "error"),
    )
    replace = frozenset(name.strip() for name in call.query.get("replace", "").split(",") if name)
    return Writer(reader, replace)


def _strictness(call: Call, header: str, default: str) -> str:
    sent = call.headers.get(header, default).lower()
    if sent not in _STRICTNESS:
        raise errors.invalid_header(f"The value {sent} is not valid for {header}.", header)
    return sent


def make_renderer(call: Call) -> Renderer:
    """Return what shows records as the request asks for."""
    return Renderer(
        call.account,
        call.origin,
        expand=_is_true(call, "expandSubResources"),
        plain_choices=_is_true(call, "simpleEnumFormat"),
    )


def _is_true(call: Call, parameter: str) -> bool:
    return call.query.get(parameter, "").lower() == "true"


def saved(call: Call, record: Record, writer: Writer) -> Reply:
    """Return the 204 with the address of a record."""
    headers = {"Location": f"{call.origin}{RECORD_ROOT}/{record.type}/{record.id}"}
    if writer.reader.warnings:
        # The name of NetSuite's own header is unverified (vendor page, section 9).
        headers["Warning"] = f'299 - "{"; ".join(writer.reader.warnings)[:500]}"'
    return Reply(204, None, headers)
