"""Composite, batch and graph: several calls in one, with references and rollback (page 8)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from simulators.kit import Reply
from simulators.salesforce.errors import ApiError, malformed_json
from simulators.salesforce.request import Request
from simulators.salesforce.rows import Body, as_body

PARTS_MAX, HEAVY_PARTS_MAX = 25, 5
GRAPHS_MAX, NODES_MAX = 75, 500

_HALTED = ApiError(
    400,
    "PROCESSING_HALTED",
    "The transaction was rolled back since another operation in the same transaction failed.",
)
_REFERENCE_ID = re.compile(r"[A-Za-z]\w*")
_REFERENCE = re.compile(r"@\{([A-Za-z]\w*)((?:\.\w+|\[\d+\])*)\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_HEAVY = re.compile(r"/services/data/v\d+\.0/(query|composite/(sobjects|tree))")
_FORBIDDEN_HEADERS = frozenset({"accept", "authorization", "content-type"})


@dataclass(frozen=True, slots=True)
class _Part:
    reference_id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: JsonValue


def composite(request: Request) -> Reply:
    """`POST composite`: always 200 unless the envelope itself is wrong."""
    body = as_body(request.body)
    parts = _parts(body.get("compositeRequest"), PARTS_MAX)
    if sum(bool(_HEAVY.match(part.url)) for part in parts) > HEAVY_PARTS_MAX:
        raise _bad_input(f"at most {HEAVY_PARTS_MAX} queries and collections in one request")
    answers, _ = _run(request, parts, all_or_none=body.get("allOrNone") is True)
    return Reply(200, {"compositeResponse": answers})


def graph(request: Request) -> Reply:
    """`POST composite/graph`: each graph holds or falls as a whole."""
    graphs = as_body(request.body).get("graphs")
    if not isinstance(graphs, list) or len(graphs) > GRAPHS_MAX:
        raise _bad_input(f"graphs must be an array of at most {GRAPHS_MAX}")
    results: list[JsonValue] = []
    for entry in map(as_body, graphs):
        parts = _parts(entry.get("compositeRequest"), NODES_MAX)
        answers, whole = _run(request, parts, all_or_none=True)
        results.append(
            {
                "graphId": entry.get("graphId"),
                "graphResponse": {"compositeResponse": answers},
                "isSuccessful": whole,
            }
        )
    return Reply(200, {"graphs": results})


def batch(request: Request) -> Reply:
    """`POST composite/batch`: independent calls."""
    body = as_body(request.body)
    rows = body.get("batchRequests")
    if not isinstance(rows, list) or len(rows) > PARTS_MAX:
        raise _bad_input(f"batchRequests must be an array of at most {PARTS_MAX}")
    halts, failed = body.get("haltOnError") is True, False
    results: list[JsonValue] = []
    for row in map(as_body, rows):
        if failed and halts:
            text = "Processing halted because another request failed"
            reply = ApiError(412, "BATCH_PROCESSING_HALTED", text).reply()
        else:
            url = str(row.get("url", "")).removeprefix("/services/data/").lstrip("/")
            method = str(row.get("method", ""))
            reply = _call(request, method, f"/services/data/{url}", row.get("richInput"), {})
        failed = failed or reply.status >= 300
        results.append({"statusCode": reply.status, "result": _json(reply)})
    return Reply(200, {"hasErrors": failed, "results": results})


def refused_parts(body: JsonValue, error: ApiError) -> Reply:
    """Return a composite whose writes are all refused, as a rejected write comes back in one."""
    parts = _parts(as_body(body).get("compositeRequest"), PARTS_MAX)
    writes = [part for part in parts if part.method != "GET"] or parts
    is_atomic = as_body(body).get("allOrNone") is True
    answers: list[JsonValue] = []
    for part in parts:
        halted = part is not writes[0] if is_atomic else part not in writes
        answers.append(_answer(part, (_HALTED if halted else error).reply()))
    return Reply(200, {"compositeResponse": answers})


def _run(
    request: Request, parts: Sequence[_Part], *, all_or_none: bool
) -> tuple[list[JsonValue], bool]:
    store, effects = request.context.account.store, request.context.effects
    snapshot, noted = store.snapshot(), len(effects)
    replies: dict[str, Reply] = {}
    failed: list[str] = []
    for part in parts:
        reply = _HALTED.reply() if failed and all_or_none else _perform(request, part, replies)
        replies[part.reference_id] = reply
        if reply.status >= 300:
            failed.append(part.reference_id)
    if failed and all_or_none:
        store.restore(snapshot)
        del effects[noted:]
        halted = _HALTED.reply()
        replies = {name: r if name == failed[0] else halted for name, r in replies.items()}
    return [_answer(part, replies[part.reference_id]) for part in parts], not failed


def _perform(request: Request, part: _Part, replies: Mapping[str, Reply]) -> Reply:
    try:
        url = str(_resolve(part.url, replies))
        body = _resolve(part.body, replies)
    except ApiError as error:
        return error.reply()
    return _call(request, part.method, url, body, part.headers)


def _call(
    request: Request, method: str, url: str, body: JsonValue, headers: Mapping[str, str]
) -> Reply:
    try:
        return request.dispatch(request.part(method, url, body, headers))
    except ApiError as error:
        return error.reply()


def _answer(part: _Part, reply: Reply) -> JsonValue:
    headers: Body = {n: v for n, v in reply.headers.items() if n not in ("Content-Type",)}
    return {
        "body": _json(reply),
        "httpHeaders": headers,
        "httpStatusCode": reply.status,
        "referenceId": part.reference_id,
    }


def _json(reply: Reply) -> JsonValue:
    return None if isinstance(reply.body, bytes) else reply.body


def _parts(rows: JsonValue, count_max: int) -> list[_Part]:
    if not isinstance(rows, list) or len(rows) > count_max:
        raise _bad_input(f"compositeRequest must be an array of at most {count_max}")
    parts = [_part(as_body(row)) for row in rows]
    if len({part.reference_id for part in parts}) != len(parts):
        raise _bad_input("referenceId must be unique within the request")
    return parts


def _part(row: Body) -> _Part:
    reference_id, url = str(row.get("referenceId", "")), str(row.get("url", ""))
    if not _REFERENCE_ID.fullmatch(reference_id):
        raise _bad_input(f"Invalid reference ID: {reference_id}")
    if not url.startswith("/services/data/v"):
        raise _bad_input(f"Invalid URL: {url}. It must begin with /services/data/v")
    given = row.get("httpHeaders") or {}
    if not isinstance(given, dict):
        raise malformed_json("httpHeaders must be an object")
    headers = {str(name): str(value) for name, value in given.items()}
    if any(name.lower() in _FORBIDDEN_HEADERS for name in headers):
        raise _bad_input("httpHeaders must not hold Accept, Authorization or Content-Type")
    return _Part(reference_id, str(row.get("method", "")).upper(), url, headers, row.get("body"))


def _resolve(value: JsonValue, replies: Mapping[str, Reply]) -> JsonValue:
    if isinstance(value, dict):
        return {name: _resolve(entry, replies) for name, entry in value.items()}
    if isinstance(value, list):
        return [_resolve(entry, replies) for entry in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole is not None:
        return _referred(whole, replies)
    return _REFERENCE.sub(lambda match: str(_referred(match, replies)), value)


def _referred(match: re.Match[str], replies: Mapping[str, Reply]) -> JsonValue:
    reply = replies.get(match[1])
    if reply is None:
        raise _bad_input(f"Invalid reference specified. No value for {match[0]} found")
    if reply.status >= 300:
        raise _HALTED
    value = _json(reply)
    for name, number in _STEP.findall(match[2]):
        if name and isinstance(value, dict) and name in value:
            value = value[name]
        elif number and isinstance(value, list) and int(number) < len(value):
            value = value[int(number)]
        else:
            raise _bad_input(f"Invalid reference specified. No value for {match[0]} found")
    return value


def _bad_input(text: str) -> ApiError:
    return ApiError(400, "INVALID_API_INPUT", text)
