"""`query`, `queryAll` and their next pages (vendor page 7).

A cursor is a snapshot of ids for two days. Rows of child sub-selects are never paged.
"""

import re
from datetime import datetime, timedelta
from typing import cast

from pydantic import JsonValue

from simulators.kit import Record, Reply
from simulators.salesforce.context import section
from simulators.salesforce.errors import ApiError
from simulators.salesforce.query import Body, Show, run_query, show_of
from simulators.salesforce.request import Request

PAGE_MIN, PAGE_MAX = 200, 2000
CURSOR_LIFE = timedelta(days=2)
_BATCH_SIZE = re.compile(r"batchSize\s*=\s*(\d+)", re.IGNORECASE)
_LOCATOR = re.compile(r"(01gDX\d{13})-(\d+)")


def query(request: Request) -> Reply:
    """`GET query?q=`."""
    return _first_page(request, deleted=False)


def query_all(request: Request) -> Reply:
    """`GET queryAll?q=`: deleted rows too."""
    return _first_page(request, deleted=True)


def query_more(request: Request) -> Reply:
    """`GET query/{locator}`.

    Raises:
        ApiError: `INVALID_QUERY_LOCATOR`, unknown or older than two days.
    """
    match = _LOCATOR.fullmatch(request.segments[1])
    cursors = section(request.context.account, "cursors")
    cursor = cursors.get(match[1]) if match else None
    now = request.context.account.clock.now()
    if (
        match is None
        or not isinstance(cursor, dict)
        or now - datetime.fromisoformat(str(cursor["at"])) > CURSOR_LIFE
    ):
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    store = request.context.account.store
    ids = cast(list[str], cursor["ids"])
    kind = str(cursor["type"])
    offset = int(match[2])
    size = _page_size(request) or cast(int, cursor["size"])
    page = [store.get(kind, record_id, dead=True) for record_id in ids[offset : offset + size]]
    rows = [record for record in page if record is not None]
    show = show_of(request.context, str(cursor["q"]), deleted=cursor["deleted"] is True)
    return Reply(200, _page(request, show, rows, len(ids), match[1], offset + size))


def _first_page(request: Request, *, deleted: bool) -> Reply:
    text = request.query.get("q", "")
    if not text:
        raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
    result = run_query(request.context, text, deleted=deleted)
    if result.only_count:
        return Reply(200, {"totalSize": len(result.rows), "done": True, "records": []})
    if result.aggregate is not None:
        return Reply(200, {"totalSize": 1, "done": True, "records": [result.aggregate]})
    size = _page_size(request) or PAGE_MAX
    total, cursor = len(result.rows), ""
    if total > size:
        ids: list[JsonValue] = [record.id for record in result.rows]
        cursor = _keep_cursor(
            request,
            {"q": text, "type": result.kind.name, "ids": ids, "size": size, "deleted": deleted},
        )
    return Reply(200, _page(request, result.show, result.rows[:size], total, cursor, size))


def _keep_cursor(request: Request, state: Body) -> str:
    account = request.context.account
    cursors = section(account, "cursors")
    count = account.extra.get("cursor_count")
    number = (count if isinstance(count, int) else 0) + 1
    account.extra["cursor_count"] = number
    name = f"01gDX{number:013d}"
    cursors[name] = {**state, "at": account.clock.now().isoformat()}
    return name


def _page(
    request: Request, show: Show, rows: list[Record], total: int, cursor: str, after: int
) -> Body:
    done = after >= total
    body: Body = {"totalSize": total, "done": done}
    if not done:
        body["nextRecordsUrl"] = f"{request.context.base}/query/{cursor}-{after}"
    body["records"] = [show(record) for record in rows]
    return body


def _page_size(request: Request) -> int | None:
    match = _BATCH_SIZE.search(request.headers.get("sforce-query-options", ""))
    return min(max(int(match[1]), PAGE_MIN), PAGE_MAX) if match else None
