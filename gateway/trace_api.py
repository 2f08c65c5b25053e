"""The API of the trace: from any id to its whole thread, as JSON.

Anybody with a token may look. What is answered is `operations.trace.graph.TraceGraph`, the same as
`starter.py trace --json` prints.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from fastapi import Depends, FastAPI, Query, Request, Security
from starlette.responses import Response

from gateway.callers import Callers
from gateway.deliveries import Refusal
from gateway.openapi import Described
from gateway.refusing import TOKEN, refuse_plainly
from operations.mistakes import Mistake
from operations.trace.finding import Ambiguous, NothingCalled
from operations.trace.graph import TraceGraph
from operations.trace.thread import SHOWN

LIMIT_MAX: Final = 1_000
DEPTH_MAX: Final = 50
OPTIONS: Final = frozenset({"depth", "limit"})

NOT_FOUND: Final = Refusal(404, "nothing_called_so", "Nothing has this id.")
WRONG_ID: Final = Refusal(422, "invalid_id", "An id is 1 to 255 visible characters.")
WRONG_OPTION: Final = Refusal(
    422, "invalid_query", f"The options are {' and '.join(sorted(OPTIONS))}."
)

_ROUTES: Final = Described(
    "trace",
    {
        401: "No token, or nobody's.",
        404: "Nothing has this id.",
        409: "Several things have it; each is named.",
        422: "No id, or no such option.",
        503: "PostgreSQL can't be reached.",
    },
)
TRACE: Final = {
    **_ROUTES.route(
        "The thread of an id: deal, client, contract, work, drafts, invoices, payments",
        "trace",
        TraceGraph,
        200,
        404,
        409,
    ),
    "description": (
        "The id is one of any connected system, `<connection>/<id>`, `<kind>:<id>` or "
        "`<kind>:<connection>/<id>`, a number of an invoice, or the id of a workflow or a work "
        "item. Edges go forwards, from the deal to the payment. `counts` has all of the thread; "
        "`nodes` the first of each kind."
    ),
}


class Traces(Protocol):
    """Who tells threads; `operations.trace.thread.Tracer` is one."""

    async def trace(
        self, asked: str, *, limit: int | None = SHOWN, depth: int | None = None
    ) -> TraceGraph:
        """Return the thread of an id, or raise Mistake."""


@dataclass(frozen=True)
class TraceParts:
    """What the API of the trace works with."""

    callers: Callers
    traces: Traces


class TraceApi:
    """The route below `/trace`."""

    def __init__(self, parts: TraceParts) -> None:
        self._callers = parts.callers
        self._traces = parts.traces

    def add_to(self, app: FastAPI) -> None:
        """Add the route, and how it refuses, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        app.add_api_route(
            "/trace/{id:path}", self.trace, methods=["GET"], dependencies=signed_in, **TRACE
        )
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    async def trace(
        self,
        request: Request,
        id: str,  # noqa: A002 - the name in the path
        depth: Annotated[
            int | None,
            Query(ge=0, le=DEPTH_MAX, description="Nodes further from it are left out."),
        ] = None,
        limit: Annotated[
            int, Query(ge=1, le=LIMIT_MAX, description="Nodes of one kind, at most.")
        ] = SHOWN,
    ) -> Response:
        """Return the thread of an id."""
        if not OPTIONS.issuperset(request.query_params):
            raise WRONG_OPTION
        try:
            graph = await self._traces.trace(id, limit=limit, depth=depth)
        except NothingCalled:
            raise NOT_FOUND from None
        except Ambiguous as error:
            raise _ambiguous(error) from None
        except Mistake:
            raise WRONG_ID from None
        return Response(graph.model_dump_json(), media_type="application/json")


def _ambiguous(error: Ambiguous) -> Refusal:
    return Refusal(409, "ambiguous", f"It may mean {error.named}: ask for one of these.")
