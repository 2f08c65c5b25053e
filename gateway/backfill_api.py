"""The API of backfills: start one, look, steer, and read what became of each record.

Nothing is decided here: `operations.backfill` does, as for the CLI; who acts is who the token says.
The door has no vendor's secrets, so that here a source is first read by the worker.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import structlog
from fastapi import Depends, FastAPI, Path, Query, Request, Security
from pydantic import BaseModel
from starlette.responses import Response
from temporalio.service import RPCError

from canonical.backfill import BackfillKind
from canonical.ids import backfill_id
from gateway.backfill_docs import CANCEL, LIST, PACE, PAUSE, RECORDS, RESUME, SHOW, START
from gateway.backfill_models import (
    BackfillList,
    BackfillStarted,
    NewBackfill,
    NewRate,
    RecordPage,
    asked,
    shown,
)
from gateway.callers import Caller, Callers
from gateway.deliveries import Refusal
from gateway.door import read_body
from gateway.refusing import TOKEN, refuse_plainly
from operations.backfill import BackfillDesk
from operations.config import PersonRole
from operations.people import Refused
from operations.servers import Unreachable
from store import Store
from store.backfills import StoredBackfill

BODY_MAX: Final = 16_384
LISTED: Final = 200
LISTED_MAX: Final = 2_000
MAY_STEER: Final = frozenset({PersonRole.OPERATOR, PersonRole.ADMIN})
NOT_YOURS: Final = Refusal(403, "only_looks", "Backfills are for the roles operator and admin.")
NOT_FOUND: Final = Refusal(404, "no_such_backfill", "There is no backfill of this id.")
WRONG_FILTER: Final = Refusal(422, "invalid_query", "The filters are after and limit.")
TEMPORAL_AWAY: Final = Refusal(
    503, "temporal_unavailable", "Temporal can't be reached: nothing was done. Try again."
)

_log = structlog.get_logger("dealthread.backfills")
T = TypeVar("T")
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


@dataclass(frozen=True)
class BackfillParts:
    """What the API of backfills works with."""

    callers: Callers
    store: Store
    desk: Callable[[], Awaitable[BackfillDesk]]
    """Connects to Temporal where that was not done yet; raises Unreachable."""


class BackfillApi:
    """The routes below `/backfills`."""

    def __init__(self, parts: BackfillParts) -> None:
        self._callers = parts.callers
        self._store = parts.store
        self._desk = parts.desk

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how they refuse, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        one = "/backfills/{kind}/{name}"
        for path, route, method, described in (
            ("/backfills", self.list_backfills, "GET", LIST),
            ("/backfills", self.start, "POST", START),
            (one, self.show, "GET", SHOW),
            (f"{one}/records", self.records, "GET", RECORDS),
            (f"{one}/pause", self.pause, "POST", PAUSE),
            (f"{one}/resume", self.resume, "POST", RESUME),
            (f"{one}/cancel", self.cancel, "POST", CANCEL),
            (f"{one}/rate", self.change_rate, "POST", PACE),
        ):
            app.add_api_route(path, route, methods=[method], dependencies=signed_in, **described)
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    # Looking: the store is enough.

    async def list_backfills(self) -> Response:
        """Return backfills."""
        found = await self._store.backfills.list()
        return _json(200, BackfillList(backfills=tuple(map(shown, found))))

    async def show(self, kind: BackfillKind, name: Name) -> Response:
        """Return one as it stands now."""
        return _json(200, shown(await self._found(backfill_id(kind, name))))

    async def records(
        self,
        request: Request,
        kind: BackfillKind,
        name: Name,
        after: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
    ) -> Response:
        """Return a page of what became of its records."""
        if not {"after", "limit"}.issuperset(request.query_params):
            raise WRONG_FILTER
        found = await self._found(backfill_id(kind, name))
        page, last = await self._store.backfills.records(found.view.id, after, limit)
        more = last if len(page) == limit else None
        return _json(200, RecordPage(records=page, next=more))

    async def _found(self, id_: str) -> StoredBackfill:
        for stored in await self._store.backfills.list(id_):
            await self._store.backfills.see(id_, stored.view.window.kind)
            standing = await self._store.backfills.standing(id_)
            view = stored.view.model_copy(update={"standing": standing})
            return stored.model_copy(update={"view": view})
        raise NOT_FOUND

    # Acting.

    async def start(self, request: Request) -> Response:
        """Start one."""
        caller = _may_steer(request)
        given = asked(NewBackfill, await read_body(request.receive, BODY_MAX))

        async def begin(desk: BackfillDesk) -> str:
            window = desk.window(
                given.kind, given.since, given.until, given.where, given.connection
            )
            return await desk.start(
                window,
                rate=given.rate,
                in_flight_max=given.in_flight_max,
                name=given.name,
                by=caller.name,
            )

        id_ = await self._done(begin)
        _log.info("backfill_started", backfill=id_, by=caller.name)
        return _json(202, BackfillStarted(id=id_))

    async def pause(self, request: Request, kind: BackfillKind, name: Name) -> Response:
        """Start nothing more until it is resumed."""
        by = _may_steer(request).name
        return await self._steer(kind, name, lambda desk, id_: desk.pause(id_, by=by))

    async def resume(self, request: Request, kind: BackfillKind, name: Name) -> Response:
        """Go on."""
        by = _may_steer(request).name
        return await self._steer(kind, name, lambda desk, id_: desk.resume(id_, by=by))

    async def cancel(self, request: Request, kind: BackfillKind, name: Name) -> Response:
        """Start nothing more, for good."""
        by = _may_steer(request).name
        return await self._steer(kind, name, lambda desk, id_: desk.cancel(id_, by=by))

    async def change_rate(self, request: Request, kind: BackfillKind, name: Name) -> Response:
        """Make it faster or slower."""
        by = _may_steer(request).name
        pace = asked(NewRate, await read_body(request.receive, BODY_MAX))
        return await self._steer(
            kind,
            name,
            lambda desk, id_: desk.change_rate(
                id_, rate=pace.rate, in_flight_max=pace.in_flight_max, by=by
            ),
        )

    async def _steer(
        self,
        kind: BackfillKind,
        name: str,
        act: Callable[[BackfillDesk, str], Awaitable[BaseModel]],
    ) -> Response:
        id_ = backfill_id(kind, name)
        stored = await self._found(id_)
        view = await self._done(lambda desk: act(desk, id_))
        told = stored.view.model_copy(update=dict(view) | {"standing": stored.view.standing})
        return _json(200, shown(stored.model_copy(update={"view": told})))

    async def _done(self, act: Callable[[BackfillDesk], Awaitable[T]]) -> T:
        try:
            return await act(await self._desk())
        except (Unreachable, RPCError) as error:
            _log.warning("temporal_unavailable", error=str(error))
            raise TEMPORAL_AWAY from error
        except Refused as error:
            raise Refusal(409, "refused", str(error)) from None


def _may_steer(request: Request) -> Caller:
    caller: Caller = request.state.caller
    if not caller.roles & MAY_STEER:
        raise NOT_YOURS
    return caller


def _json(status: int, content: BaseModel) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")
