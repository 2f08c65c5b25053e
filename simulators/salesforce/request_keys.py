"""Which keys a request names, for faults and the log.

These are external ids in path, body and query text, and ids of records.
"""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote

from pydantic import JsonValue

from simulators.kit import Account, Call
from simulators.salesforce.ids import full_id
from simulators.salesforce.objects import find_object
from simulators.salesforce.request import path_segments

_LITERAL = re.compile(r"'((?:\\.|[^'\\])*)'")
_BELOW_VERSION = re.compile(r"(?:/?services/data/)?v[\d.]+(/.*)?")


def keys_of(call: Call) -> tuple[str, ...]:
    """Return the keys in the order in which they appear, each once."""
    body = call.json if call.body and "json" in call.headers.get("Content-Type", "json") else None
    url = f"{call.raw_path}?{call.query_string}"
    return tuple(dict.fromkeys(_of_call(call.account, url, body)))


def _of_call(account: Account, url: str, body: JsonValue) -> Iterator[str]:
    path, _, query = url.partition("?")
    match = _BELOW_VERSION.fullmatch(path)
    segments = path_segments(match[1] or "") if match else ()
    if segments[:1] == ("sobjects",) and len(segments) > 1:
        yield from _of_row(account, segments)
        yield from _of_body(segments[1], body)
    elif segments[:1] in (("query",), ("queryAll",)):
        for text in parse_qs(query).get("q", []):
            yield from _LITERAL.findall(text)
    elif segments[:1] == ("composite",) and isinstance(body, dict):
        yield from _of_composite(account, body)
    elif segments[:2] == ("composite", "sobjects"):
        for ids in parse_qs(query).get("ids", []):
            yield from unquote(ids).split(",")


def _of_row(account: Account, segments: tuple[str, ...]) -> Iterator[str]:
    if len(segments) == 4:
        yield segments[3]
    elif len(segments) == 3:
        kind, record_id = find_object(segments[1]), full_id(segments[2])
        record = account.store.get(kind.name, record_id) if kind and record_id else None
        if record is not None and record.key is not None:
            yield record.key
        if record_id is not None:
            yield record_id


def _of_body(type_name: str, body: JsonValue) -> Iterator[str]:
    kind = find_object(type_name)
    if kind is None or not isinstance(body, dict):
        return
    for name, value in body.items():
        column = kind.field(name)
        if column is not None and isinstance(value, str) and (column.external_id or name == "Id"):
            yield value


def _of_composite(account: Account, body: dict[str, JsonValue]) -> Iterator[str]:
    for row in _rows(body.get("compositeRequest")):
        yield from _of_call(account, str(row.get("url", "")), row.get("body"))
    for row in _rows(body.get("batchRequests")):
        yield from _of_call(account, str(row.get("url", "")), row.get("richInput"))
    for row in _rows(body.get("records")):
        attributes = row.get("attributes")
        if isinstance(attributes, dict):
            yield from _of_body(str(attributes.get("type", "")), row)
    for entry in _rows(body.get("graphs")):
        yield from _of_composite(account, entry)


def _rows(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
