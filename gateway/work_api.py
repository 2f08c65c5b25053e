"""The API of the worklist: what waits for people, who sees to it, one decision over many.

Nothing is decided here: `operations.worklist` judges, as for the CLI; who acts is who the token
says. Temporal is connected when the first decision needs it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import Depends, FastAPI, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response
from temporalio.service import RPCError

from canonical.saga import WorkItemKind
from canonical.worklist import WorkFilter, WorkSort
from gateway.callers import Caller, Callers
from gateway.deliveries import Refusal
from gateway.door import read_body
from gateway.refusing import TOKEN, refuse_plainly
from gateway.work_docs import ADD_COMMENT, DECIDE, LIST, SEEN_TO, SET_OWNER, SHOW
from gateway.work_models import (
    Acknowledgement,
    AskedBulk,
    Assignment,
    BulkAnswer,
    NewComment,
    WorkFile,
    WorkPage,
    asked,
    shown,
)
from operations.people import Refused
from operations.sagas import SagaDesk
from operations.servers import Unreachable
from operations.worklist import NoSuchWork, Worklist, bulk
from store.errors import Conflict

BODY_MAX: Final = 65_536
LISTED: Final = 50
LISTED_MAX: Final = 200
FILTERS: Final = frozenset(
    {
        *("kind", "reason", "connection", "client", "project", "entity", "owner", "overdue"),
        *("unowned", "sort", "limit", "offset"),
    }
)
ACTS: Final = ("/comments", "/assign", "/acknowledge")

VIEWER: Final = Refusal(403, "only_looks", "Your role looks; to act takes another one.")
BY_POST: Final = Refusal(405, "no_such_thing", "This is sent by POST.")
NO_FILTER: Final = Refusal(422, "invalid_request", "filter: name at least one thing to go by.")
WRONG_FILTER: Final = Refusal(
    422, "invalid_query", f"The filters are {', '.join(sorted(FILTERS))}; no text has NUL."
)
TEMPORAL_AWAY: Final = Refusal(
    503, "temporal_unavailable", "Temporal can't be reached: nothing was done. Try again."
)

_log = structlog.get_logger("dealthread.worklist")
Text = Annotated[str, Query(max_length=255)]


@dataclass(frozen=True)
class WorkParts:
    """What the API of the worklist works with."""

    callers: Callers
    worklist: Worklist
    desk: Callable[[], Awaitable[SagaDesk]]
    """Connects to Temporal where that was not done yet; raises Unreachable."""


class WorkApi:
    """The routes below `/worklist`."""

    def __init__(self, parts: WorkParts) -> None:
        self._callers = parts.callers
        self._worklist = parts.worklist
        self._desk = parts.desk

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how they refuse, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        for path, route, method, described in (
            ("/worklist", self.list_work, "GET", LIST),
            ("/worklist/bulk", self.decide, "POST", DECIDE),
            ("/worklist/{work_id:path}/comments", self.comment, "POST", ADD_COMMENT),
            ("/worklist/{work_id:path}/assign", self.assign, "POST", SET_OWNER),
            ("/worklist/{work_id:path}/acknowledge", self.acknowledge, "POST", SEEN_TO),
            ("/worklist/{work_id:path}", self.show, "GET", SHOW),
        ):
            app.add_api_route(path, route, methods=[method], dependencies=signed_in, **described)
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    # Looking.

    async def list_work(
        self,
        request: Request,
        kind: Annotated[list[WorkItemKind] | None, Query(description="May be repeated.")] = None,
        reason: Text = "",
        connection: Text = "",
        client: Text = "",
        project: Text = "",
        entity: Text = "",
        owner: Text = "",
        overdue: bool = False,
        unowned: bool = False,
        sort: WorkSort = WorkSort.URGENCY,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """Return open work."""
        # A filter that is mistyped would let everything through.
        texts = reason + connection + client + project + entity + owner
        if not FILTERS.issuperset(request.query_params) or "\x00" in texts:
            raise WRONG_FILTER
        wanted = WorkFilter(
            kinds=tuple(kind or ()),
            reason=reason,
            connection=connection,
            client_id=client,
            project_code=project,
            legal_entity=entity,
            owner=owner,
            overdue=overdue,
            unowned=unowned,
        )
        found = await self._worklist.list(wanted, sort=sort, limit=limit + 1, offset=offset)
        now = datetime.now(UTC)
        page = tuple(shown(each, now) for each in found[:limit])
        return _json(200, WorkPage(work=page, more=len(found) > limit))

    async def show(self, work_id: str) -> Response:
        """Return one piece of work with its comments."""
        if work_id == "bulk" or work_id.endswith(ACTS):
            raise BY_POST
        return await self._file(work_id)

    async def _file(self, work_id: str) -> Response:
        try:
            listed, comments = await self._worklist.show(work_id)
        except NoSuchWork as error:
            raise _gone(error) from None
        work = shown(listed, datetime.now(UTC))
        return _json(200, WorkFile(work=work, comments=comments))

    # Acting.

    async def comment(self, request: Request, work_id: str) -> Response:
        """Add a comment."""
        caller = _may_act(request)
        given = asked(NewComment, await read_body(request.receive, BODY_MAX))
        await _done(self._worklist.comment(work_id, given.text, by=caller.name))
        return await self._file(work_id)

    async def assign(self, request: Request, work_id: str) -> Response:
        """Let a person see to it."""
        caller = _may_act(request)
        given = asked(Assignment, await read_body(request.receive, BODY_MAX))
        await _done(self._worklist.assign(work_id, given.to or caller.name, by=caller.name))
        return await self._file(work_id)

    async def acknowledge(self, request: Request, work_id: str) -> Response:
        """Say that residue was seen to; the answer shows it as it was."""
        caller = _may_act(request)
        given = asked(Acknowledgement, await read_body(request.receive, BODY_MAX))
        try:
            listed, comments = await self._worklist.show(work_id)
        except NoSuchWork as error:
            raise _gone(error) from None
        await _done(self._worklist.acknowledge(work_id, by=caller.name, because=given.because))
        work = shown(listed, datetime.now(UTC))
        return _json(200, WorkFile(work=work, comments=comments))

    async def decide(self, request: Request) -> Response:
        """Decide the same about all that matches."""
        caller = _may_act(request)
        given = asked(AskedBulk, await read_body(request.receive, BODY_MAX)).bulk()
        if given.wanted == WorkFilter():
            raise NO_FILTER
        try:
            desk = await self._desk()
            results = await bulk(self._worklist, desk, given, by=caller.name)
        except (Unreachable, RPCError) as error:
            _log.warning("temporal_unavailable", error=str(error))
            raise TEMPORAL_AWAY from error
        except Refused as error:
            raise _refused(error) from None
        _log.info("decided", verb=given.verb, by=caller.name, count=len(results))
        return _json(207, BulkAnswer(results=results))


async def _done(act: Awaitable[object]) -> None:
    try:
        await act
    except NoSuchWork as error:
        raise _gone(error) from None
    except (Refused, Conflict) as error:
        raise _refused(error) from None


def _may_act(request: Request) -> Caller:
    caller: Caller = request.state.caller
    if not caller.may_act():
        raise VIEWER
    return caller


def _gone(error: Exception) -> Refusal:
    return Refusal(404, "no_such_work", str(error))


def _refused(error: Exception) -> Refusal:
    return Refusal(409, "refused", str(error))


def _json(status: int, content: BaseModel) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")
