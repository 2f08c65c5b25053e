"""Requests with `Prefer: respond-async`: jobs, their results and idempotency keys.

Source: vendor page, 4.4. Work is done on arrival; a job is seen pending once before it is done.
How long idempotency keys live is not known; here they live as long as the account.
"""

from collections.abc import Awaitable, Callable

from pydantic import JsonValue

from simulators.kit import Call, Reply, ReplyError
from simulators.netsuite import errors
from simulators.netsuite.rendering import moment
from simulators.netsuite.state import Fields, next_id

JOB_ROOT = "/services/rest/async/v1/job"
_KEY_HEADER = "X-NetSuite-Idempotency-Key"

Handler = Callable[[Call], Awaitable[Reply]]


def or_later(handler: Handler) -> Handler:
    """Return the handler, which answers with a job where the client prefers that."""

    async def serve(call: Call) -> Reply:
        if "respond-async" not in call.headers.get("Prefer", "").lower():
            return await handler(call)
        return await _submit(handler, call)

    return serve


async def _submit(handler: Handler, call: Call) -> Reply:
    jobs, keys = _table(call, "jobs"), _table(call, "idempotency")
    key = call.headers.get(_KEY_HEADER)
    if key is not None and key in keys:
        raise errors.duplicate_submission(_url(call, str(keys[key])))
    started = moment(call.account.clock.now())
    try:
        reply = await handler(call)
    except ReplyError as error:
        reply = error.reply
    number = next_id(call.account, "asyncJob")
    body = reply.body
    jobs[number] = {
        "status": reply.status,
        "body": body.decode() if isinstance(body, bytes) else body,
        "headers": dict(reply.headers),
        "started": started,
        "ended": moment(call.account.clock.now()),
        "seen": False,
    }
    if key is not None:
        keys[key] = number
    headers = {"Location": _url(call, number), "Preference-Applied": "respond-async"}
    return Reply(202, None, headers)


async def read_job(call: Call) -> Reply:
    """Answer the state of a job."""
    number, job = _job(call)
    done = bool(job["seen"])
    job["seen"] = True
    url = _url(call, number)
    body: Fields = {
        "links": [{"rel": "self", "href": url}],
        "completed": done,
        "id": number,
        "progress": _progress(job) if done else "pending",
        "task": {"links": [{"rel": "self", "href": f"{url}/task/"}]},
    }
    return Reply(200, body)


async def read_tasks(call: Call) -> Reply:
    """Answer the tasks of a job: there is one."""
    number, _ = _job(call)
    url = f"{_url(call, number)}/task/1"
    item: Fields = {"links": [{"rel": "self", "href": url}], "id": "1"}
    return Reply(200, {"items": [item], "totalResults": 1})


async def read_task(call: Call) -> Reply:
    """Answer the state of a job's task."""
    number, job = _job(call)
    job["seen"] = True
    url = f"{_url(call, number)}/task/1"
    body: Fields = {
        "completed": True,
        "startTime": job["started"],
        "endTime": job["ended"],
        "id": "1",
        "progress": _progress(job),
        "links": [{"rel": "related", "href": f"{url}/result"}, {"rel": "self", "href": url}],
    }
    return Reply(200, body)


async def read_result(call: Call) -> Reply:
    """Answer as the original request would have been answered."""
    _, job = _job(call)
    headers = job["headers"]
    plain = {k: str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}
    return Reply(int(str(job["status"])), job["body"], plain)


def _job(call: Call) -> tuple[str, dict[str, JsonValue]]:
    number = call.params["job"]
    job = _table(call, "jobs").get(number)
    if not isinstance(job, dict):
        raise errors.nonexistent(call.path)
    return number, job


def _progress(job: dict[str, JsonValue]) -> str:
    return "succeeded" if int(str(job["status"])) < 400 else "failed"


def _table(call: Call, name: str) -> dict[str, JsonValue]:
    table = call.account.extra.setdefault(name, {})
    if not isinstance(table, dict):
        raise TypeError(f"extra.{name} holds a table")
    return table


def _url(call: Call, number: str) -> str:
    return f"{call.origin}{JOB_ROOT}/{number}"
