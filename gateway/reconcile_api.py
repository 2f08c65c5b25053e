"""The API of reconciliation: the runs, and what they found. It looks; nothing is decided here."""

from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from fastapi import Depends, FastAPI, Path, Query, Request, Security
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from canonical.reconciliation import Finding, FindingClass, FindingCode, ReconciliationRun
from gateway.callers import Callers
from gateway.deliveries import Refusal
from gateway.openapi import Described
from gateway.refusing import TOKEN, refuse_plainly
from store.errors import NotFound

LISTED: Final = 50
LISTED_MAX: Final = 200
ID_MAX: Final = 10**18
RUN_FILTERS: Final = frozenset({"entity", "period", "limit", "offset"})
FINDING_FILTERS: Final = frozenset({"code", "class", "closed", "limit", "offset"})

NOT_FOUND: Final = Refusal(404, "no_such_run", "There is no reconciliation of this id.")
_ROUTES: Final = Described(
    "reconciliation",
    {
        401: "No token, or nobody's.",
        404: "There is no such run.",
        422: "No such filter; which, is said.",
        503: "PostgreSQL can't be reached.",
    },
)


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReconciliationList(_Shown):
    """Runs, the latest first."""

    runs: list[ReconciliationRun]
    more: bool
    """There are others behind these: ask again with a higher offset."""


class FindingList(_Shown):
    """What a run was the last to see, open ones first, then by money."""

    findings: list[Finding]
    more: bool


RUNS: Final = _ROUTES.route(
    "Reconciliation runs, the latest first; without an entity, the conservation check",
    "list_reconciliations",
    ReconciliationList,
)
FINDINGS: Final = {
    **_ROUTES.route(
        "What a run found: each with its class, its explanation and the rows behind it",
        "list_findings",
        FindingList,
        200,
        404,
    ),
    "description": "A finding that a later run found again is told of by that run alone.",
}


class Reconciliations(Protocol):
    """What the API reads; `store.reconciliation` is one."""

    async def run(self, id_: int) -> ReconciliationRun:
        """Return a run, or raise NotFound."""

    async def runs(
        self, *, legal_entity: str = "", period: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[ReconciliationRun, ...]:
        """Return runs, the latest first."""

    async def findings(
        self,
        *,
        code: str = "",
        class_: str = "",
        run: int | None = None,
        closed: bool = False,
        limit: int = 1_000,
        offset: int = 0,
    ) -> tuple[Finding, ...]:
        """Return findings."""


@dataclass(frozen=True)
class ReconcileParts:
    """What the API of reconciliation works with."""

    callers: Callers
    reconciliations: Reconciliations


class ReconcileApi:
    """The routes below `/reconciliations`."""

    def __init__(self, parts: ReconcileParts) -> None:
        self._callers = parts.callers
        self._store = parts.reconciliations

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how they refuse, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        for path, route, described in (
            ("/reconciliations", self.list_runs, RUNS),
            ("/reconciliations/{run}/findings", self.list_findings, FINDINGS),
        ):
            app.add_api_route(path, route, methods=["GET"], dependencies=signed_in, **described)
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    async def list_runs(
        self,
        request: Request,
        entity: Annotated[str, Query(max_length=64, description="A legal entity's code.")] = "",
        period: Annotated[str, Query(max_length=7, description="As 2026-11.")] = "",
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """Return runs, the latest first."""
        _check(request, RUN_FILTERS, entity + period)
        found = await self._store.runs(
            legal_entity=entity, period=period, limit=limit + 1, offset=offset
        )
        return _json(ReconciliationList(runs=list(found[:limit]), more=len(found) > limit))

    async def list_findings(
        self,
        request: Request,
        run: Annotated[int, Path(ge=1, le=ID_MAX)],
        code: Annotated[FindingCode | None, Query()] = None,
        class_: Annotated[FindingClass | None, Query(alias="class")] = None,
        closed: Annotated[bool, Query(description="Also those that are no more.")] = False,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Response:
        """Return what a run was the last to see."""
        _check(request, FINDING_FILTERS, "")
        try:
            await self._store.run(run)
        except NotFound:
            raise NOT_FOUND from None
        found = await self._store.findings(
            code=code.value if code else "",
            class_=class_.value if class_ else "",
            run=run,
            closed=closed,
            limit=limit + 1,
            offset=offset,
        )
        return _json(FindingList(findings=list(found[:limit]), more=len(found) > limit))


def _check(request: Request, known: frozenset[str], texts: str) -> None:
    # A filter that is mistyped would let everything through.
    if not known.issuperset(request.query_params) or "\x00" in texts:
        names = ", ".join(sorted(known))
        raise Refusal(422, "invalid_query", f"The filters are {names}; no text has NUL.")


def _json(content: BaseModel) -> Response:
    return Response(content.model_dump_json(), 200, media_type="application/json")
