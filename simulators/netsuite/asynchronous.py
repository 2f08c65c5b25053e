"""Requests with `Prefer: respond-async`: jobs, their tasks, results and idempotency keys.

Source: vendor page, 4.4. Work is done on arrival. The job of one request is seen pending once
before it is done, that of a batch is done at once; where the account's setting `asyncDelaySeconds`
says so, both are reported done only that much later by the account's clock. A batch has one task
per item, in the order of its items (see `batch`). How long idempotency keys live is not known; here
they live as long as the account.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue

from simulators.kit import Call, Reply, ReplyError
from simulators.netsuite import errors
from simulators.netsuite.rendering import moment
from simulators.netsuite.state import Fields, governance, next_id

JOB_ROOT = "/services/rest/async/v1/job"
_KEY_HEADER = "X-NetSuite-Idempotency-Key"

Handler = Callable[[Call], Awaitable[Reply]]
Job = dict[str, JsonValue]


def is_deferred(call: Call) -> bool:
    """Whether the client wants a job for an answer."""
    return "respond-async" in call.headers.get("Prefer", "").lower()


def or_later(handler: Handler) -> Handler:
    """Return the handler, which answers with a job where the client prefers that."""

    async def serve(call: Call) -> Reply:
        if not is_deferred(call):
            return await handler(call)
        check_key(call)
        started = call.account.clock.now()
        try:
            reply = await handler(call)
        except ReplyError as error:
            reply = error.reply
        return record_job(call, [reply], started, at_once=False)

    return serve


def check_key(call: Call) -> None:
    """Refuse an idempotency key that came before.

    Raises:
        ReplyError: the 400 whose Location is the first job.
    """
    key, keys = call.headers.get(_KEY_HEADER), _table(call, "idempotency")
    if key is not None and key in keys:
        raise errors.duplicate_submission(_url(call, str(keys[key])))


def record_job(call: Call, replies: Sequence[Reply], started: datetime, at_once: bool) -> Reply:
    """Keep what each task was answered, and answer with the job's address."""
    number = next_id(call.account, "asyncJob")
    tasks: list[JsonValue] = [_task_of(reply) for reply in replies]
    now = call.account.clock.now()
    delay = governance(call.account).get("asyncDelaySeconds")
    due = now + timedelta(seconds=delay if isinstance(delay, int | float) else 0)
    _table(call, "jobs")[number] = {
        "tasks": tasks,
        "started": moment(started),
        "ended": moment(due),
        "due": due.isoformat(),
        "seen": at_once,
    }
    key = call.headers.get(_KEY_HEADER)
    if key is not None:
        _table(call, "idempotency")[key] = number
    headers = {"Location": _url(call, number), "Preference-Applied": "respond-async"}
    return Reply(202, None, headers)


async def read_job(call: Call) -> Reply:
    """Answer the state of a job; one failed task makes it a failed one."""
    number, job = _job(call)
    done = bool(job["seen"]) and _is_due(call, job)
    job["seen"] = True
    url = _url(call, number)
    worst = max(int(str(task["status"])) for task in _tasks(job))
    body: Fields = {
        "links": [{"rel": "self", "href": url}],
        "completed": done,
        "id": number,
        "progress": _progress(worst) if done else "pending",
        "task": {"links": [{"rel": "self", "href": f"{url}/task/"}]},
    }
    return Reply(200, body)


async def read_tasks(call: Call) -> Reply:
    """Answer the tasks of a job, with the progress of each."""
    number, job = _job(call)
    items: list[JsonValue] = []
    for place, task in enumerate(_tasks(job), start=1):
        items.append(_task_view(call, number, job, str(place), task))
    url = f"{_url(call, number)}/task/"
    return Reply(
        200,
        {
            "links": [{"rel": "self", "href": url}],
            "count": len(items),
            "hasMore": False,
            "items": items,
            "offset": 0,
            "totalResults": len(items),
        },
    )


async def read_task(call: Call) -> Reply:
    """Answer the state of one task."""
    number, job = _job(call)
    job["seen"] = True
    place, task = _task(call, job)
    return Reply(200, _task_view(call, number, job, place, task))


async def read_result(call: Call) -> Reply:
    """Answer as the original request, or the item of the batch, would have been answered."""
    _, job = _job(call)
    _, task = _task(call, job)
    if not _is_due(call, job):
        raise errors.nonexistent(call.path)
    headers = task["headers"]
    plain = {k: str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}
    return Reply(int(str(task["status"])), task["body"], plain)


def _task_of(reply: Reply) -> Job:
    body = reply.body.decode() if isinstance(reply.body, bytes) else reply.body
    headers: dict[str, JsonValue] = {name: str(value) for name, value in reply.headers.items()}
    return {"status": reply.status, "body": body, "headers": headers}


def _task_view(call: Call, number: str, job: Job, place: str, task: Job) -> Fields:
    url = f"{_url(call, number)}/task/{place}"
    done = _is_due(call, job)
    view: Fields = {
        "completed": done,
        "startTime": job["started"],
        "id": place,
        "progress": _progress(int(str(task["status"]))) if done else "processing",
        "links": [{"rel": "related", "href": f"{url}/result"}, {"rel": "self", "href": url}],
    }
    return view | ({"endTime": job["ended"]} if done else {})


def _job(call: Call) -> tuple[str, Job]:
    number = call.params["job"]
    job = _table(call, "jobs").get(number)
    if not isinstance(job, dict):
        raise errors.nonexistent(call.path)
    return number, job


def _tasks(job: Job) -> list[Job]:
    tasks = job["tasks"]
    return [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []


def _task(call: Call, job: Job) -> tuple[str, Job]:
    place, tasks = call.params["task"], _tasks(job)
    if not place.isdecimal() or not 1 <= int(place) <= len(tasks):
        raise errors.nonexistent(call.path)
    return place, tasks[int(place) - 1]


def _is_due(call: Call, job: Job) -> bool:
    return call.account.clock.now() >= datetime.fromisoformat(str(job["due"]))


def _progress(status: int) -> str:
    return "succeeded" if status < 400 else "failed"


def _table(call: Call, name: str) -> dict[str, JsonValue]:
    table = call.account.extra.setdefault(name, {})
    if not isinstance(table, dict):
        raise TypeError(f"extra.{name} holds a table")
    return table


def _url(call: Call, number: str) -> str:
    return f"{call.origin}{JOB_ROOT}/{number}"
