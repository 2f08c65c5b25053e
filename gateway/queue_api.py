"""The API of the billing queue: look at drafts, act on them, release them.

Nothing is decided here. Every act goes to the draft's workflow through `operations.queue`, as the
CLI's do, and is judged where it is put down; who acts is who the token says. Temporal is connected
when the first act needs it: to look, and to receive events, the door does without.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import structlog
from fastapi import Depends, FastAPI, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from canonical.draft_acts import AnyAct, DraftAnswer, Release
from canonical.drafts import Draft, DraftState
from gateway.answers import Problem, problem
from gateway.callers import Caller, Callers
from gateway.deliveries import Refusal
from gateway.door import read_body
from gateway.queue_docs import ACT, LIST, RELEASE, SHOW
from gateway.queue_models import (
    ActAnswer,
    AskedRelease,
    DraftList,
    ReleaseResult,
    ReleaseResults,
    act_id,
    act_of,
    listed,
    releases_of,
    shown,
)
from gateway.refusing import STORE_AWAY, TOKEN, refuse_plainly
from operations.people import Refused
from operations.servers import Unreachable
from store.errors import NotFound, StoreError

BODY_MAX: Final = 262_144
LISTED: Final = 50
LISTED_MAX: Final = 200
READ_AT_ONCE: Final = 20
"""Drafts read in one go: between two of them the door turns to its senders."""
ACTS_AT_ONCE: Final = 20
ACT_SECONDS: Final = 20
"""How long one act may take, beyond what the desk waits for a single answer."""
KEY: Final = re.compile(r"[\x21-\x7e]{1,64}")
KEY_HEADER: Final = "idempotency-key"
WAITING: Final = (DraftState.IN_REVIEW, DraftState.QUEUED)

NOT_BY_GET: Final = Refusal(405, "no_such_thing", "This is sent by POST.")
FILTERS: Final = frozenset({"state", "entity", "client", "limit", "offset"})
NOT_FOUND: Final = Refusal(404, "no_such_draft", "There is no draft of this id.")
VIEWER: Final = Refusal(403, "only_looks", "Your role looks; to act takes another one.")
WRONG_FILTER: Final = Refusal(
    422, "invalid_query", f"The filters are {', '.join(sorted(FILTERS))}; no text has NUL."
)
WRONG_KEY: Final = Refusal(400, "invalid_key", "Idempotency-Key is 1 to 64 visible characters.")
TEMPORAL_AWAY: Final = Refusal(
    503, "temporal_unavailable", "Temporal can't be reached: nothing was done. Try again."
)
UNCLEAR: Final = Refusal(
    503,
    "no_answer",
    "There was no answer in time, and the act may still be taken: look at the draft, or send the "
    "same again with the same Idempotency-Key.",
)

_log = structlog.get_logger("dealthread.queue")


class Drafts(Protocol):
    """What the API reads; `store.drafts` is one."""

    async def get(self, draft_id: str) -> Draft:
        """Return a draft, or raise NotFound."""

    async def list(
        self,
        states: Sequence[DraftState] = (),
        *,
        legal_entity: str = "",
        client_id: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[Draft, ...]:
        """Return drafts, oldest first."""


class Desk(Protocol):
    """Who sends acts to drafts; `operations.queue.QueueDesk` is one."""

    async def act(self, draft: str, act: AnyAct, act_id: str = "") -> DraftAnswer:
        """Send an act to its draft and return the answer.

        Raises:
            Refused: nobody answered, or, caused by WorkflowUpdateFailedError, it can't be judged.
        """


@dataclass(frozen=True)
class QueueParts:
    """What the API of the billing queue works with."""

    callers: Callers
    drafts: Drafts
    desk: Callable[[], Awaitable[Desk]]
    """Connects to Temporal where that was not done yet; raises Unreachable."""


class QueueApi:
    """The routes below `/queue`."""

    def __init__(self, parts: QueueParts) -> None:
        self._callers = parts.callers
        self._drafts = parts.drafts
        self._desk = parts.desk

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how they refuse, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        for path, route, method, described in (
            ("/queue", self.list_drafts, "GET", LIST),
            ("/queue/release", self.release, "POST", RELEASE),
            ("/queue/{draft_id:path}/acts", self.act, "POST", ACT),
            ("/queue/{draft_id:path}", self.show, "GET", SHOW),
        ):
            app.add_api_route(path, route, methods=[method], dependencies=signed_in, **described)
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    # Looking.

    async def list_drafts(
        self,
        request: Request,
        state: Annotated[list[DraftState] | None, Query(description="May be repeated.")] = None,
        entity: Annotated[str, Query(max_length=64, description="A legal entity's code.")] = "",
        client: Annotated[str, Query(max_length=64, description="The client's CRM id.")] = "",
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """Return drafts, oldest first, without their lines."""
        # A filter that is mistyped would let everything through.
        if not FILTERS.issuperset(request.query_params) or "\x00" in entity + client:
            raise WRONG_FILTER
        found: list[Draft] = []
        while len(found) <= limit:
            wanted = min(READ_AT_ONCE, limit + 1 - len(found))
            page = await self._drafts.list(
                state or WAITING,
                legal_entity=entity,
                client_id=client,
                limit=wanted,
                offset=offset + len(found),
            )
            found += page
            if len(page) < wanted:
                break
        drafts = [listed(draft) for draft in found[:limit]]
        more = len(found) > limit
        return _json(
            200, DraftList(drafts=drafts, more=more, next=offset + limit if more else None)
        )

    async def show(self, draft_id: str) -> Response:
        """Return a draft with its lines."""
        if draft_id == "release" or draft_id.endswith("/acts"):  # a draft's id ends in a number
            raise NOT_BY_GET
        return _json(200, shown(await self._found(draft_id)))

    # Acting.

    async def act(self, request: Request, draft_id: str) -> Response:
        """Send one act to a draft."""
        caller, key = _may_act(request), _key(request)
        act = act_of(await read_body(request.receive, BODY_MAX), caller.name)
        answer = await self._act(draft_id, act, key)
        return _json(200 if answer.taken else 409, answer)

    async def release(self, request: Request) -> Response:
        """Release several drafts; each is answered for itself."""
        caller, key = _may_act(request), _key(request)
        asked = releases_of(await read_body(request.receive, BODY_MAX))
        gate = asyncio.Semaphore(ACTS_AT_ONCE)

        async def one(each: AskedRelease) -> ReleaseResult:
            wanted = Release(by=caller.name, content_hash=each.content_hash)
            async with gate:
                try:
                    answer = await self._act(each.draft, wanted, key)
                except Refusal as refusal:
                    return _failed(each.draft, refusal)
                except StoreError as error:
                    _log.error("store_unavailable", error=str(error))
                    return _failed(each.draft, STORE_AWAY)
            status = 200 if answer.taken else 409
            return ReleaseResult(draft=each.draft, status=status, answer=answer)

        results = await asyncio.gather(*map(one, asked))
        return _json(207, ReleaseResults(results=list(results)))

    async def _found(self, draft_id: str) -> Draft:
        if "\x00" in draft_id:
            raise NOT_FOUND
        try:
            return await self._drafts.get(draft_id)
        except NotFound:
            raise NOT_FOUND from None

    async def _act(self, draft_id: str, act: AnyAct, key: str) -> ActAnswer:
        # A draft that is not there would get a workflow.
        await self._found(draft_id)
        try:
            async with asyncio.timeout(ACT_SECONDS):
                desk = await self._desk()
                id_ = act_id(draft_id, act, key) if key else ""
                answer = await desk.act(draft_id, act, id_)
        except Unreachable as error:
            _log.warning("temporal_unavailable", error=str(error))
            raise TEMPORAL_AWAY from error
        except (RPCError, TimeoutError) as error:
            _log.warning("act_not_answered", draft=draft_id, act=act.act, error=str(error))
            raise UNCLEAR from error
        except Refused as error:
            if not isinstance(error.__cause__, WorkflowUpdateFailedError):  # nobody answered
                _log.warning("act_not_answered", draft=draft_id, act=act.act, error=str(error))
                raise UNCLEAR from error
            answer = await self._impossible(draft_id, error.__cause__)
        _log.info("acted", draft=draft_id, act=act.act, by=act.by, taken=answer.taken)
        return ActAnswer(draft=draft_id, **answer.model_dump())

    async def _impossible(self, draft_id: str, error: WorkflowUpdateFailedError) -> DraftAnswer:
        """Return the answer to an act that can't even be judged: its other draft is not there."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ApplicationError):
            cause = cause.__cause__
        draft = await self._found(draft_id)
        return DraftAnswer(
            taken=False,
            reasons=(cause.message if cause is not None else "the act failed",),
            state=draft.state,
            content_hash=draft.content_hash,
            posting=draft.posting,
        )


def _may_act(request: Request) -> Caller:
    caller: Caller = request.state.caller
    if not caller.may_act():
        raise VIEWER
    return caller


def _key(request: Request) -> str:
    key = request.headers.get(KEY_HEADER, "")
    if KEY_HEADER in request.headers and not KEY.fullmatch(key):
        raise WRONG_KEY
    return key


def _json(status: int, content: BaseModel) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")


def _failed(draft: str, refusal: Refusal) -> ReleaseResult:
    told = Problem.model_validate_json(bytes(problem(refusal).body))
    return ReleaseResult(draft=draft, status=refusal.status, problem=told)
