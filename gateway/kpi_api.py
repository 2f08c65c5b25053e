"""The API of the key figures and of the close. It looks; nothing is decided here."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Protocol

from fastapi import Depends, FastAPI, Path, Query, Request, Security
from pydantic import BaseModel, BeforeValidator, ConfigDict
from starlette.responses import Response

from canonical.kpis import CloseReport, KpiBy, KpiQuery, KpiReport
from gateway.callers import Callers
from gateway.deliveries import Refusal
from gateway.openapi import Described
from gateway.refusing import TOKEN, refuse_plainly
from operations.kpis import Unknown
from operations.people import Refused

LIST_FILTERS: Final = frozenset({"from", "to"})
FILTERS: Final = LIST_FILTERS | {"by"}
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
NO_FILTERS: Final[frozenset[str]] = frozenset()

NOT_FOUND: Final = Refusal(
    404, "no_such_thing", "There is no such key figure, or no such legal entity."
)
_ROUTES: Final = Described(
    "kpis",
    {
        401: "No token, or nobody's.",
        404: NOT_FOUND.detail,
        422: "It can't be asked for that way; why, is said.",
        503: "PostgreSQL can't be reached.",
    },
)


class KpiList(BaseModel):
    """The key figures, each over everything."""

    model_config = ConfigDict(frozen=True)

    kpis: list[KpiReport]


ALL: Final = _ROUTES.route("Every key figure, with what it means", "list_kpis", KpiList)
ONE: Final = _ROUTES.route(
    "One key figure, told apart by entity, region, client, week or flow",
    "get_kpi",
    KpiReport,
    200,
    404,
)
CLOSE: Final = _ROUTES.route(
    "What keeps a legal entity's period from being closed, with amounts and ages",
    "get_close",
    CloseReport,
    200,
    404,
)


def _day(asked: object) -> object:
    """Take a day as people write it; a bare number would count seconds from 1970."""
    if isinstance(asked, str) and not DAY.fullmatch(asked):
        raise ValueError("a day is written as 2026-11-30")
    return asked


Day = Annotated[date, BeforeValidator(_day)]
Since = Annotated[Day | None, Query(alias="from", description="The first day, in UTC.")]
Until = Annotated[Day | None, Query(alias="to", description="The last day, in UTC.")]


class Kpis(Protocol):
    """What the API reads; `operations.kpis.KpiDesk` is one."""

    async def report(self, name: str, query: KpiQuery) -> KpiReport:
        """Return one figure, or raise Refused."""

    async def all(self, query: KpiQuery) -> tuple[KpiReport, ...]:
        """Return every figure, or raise Refused."""

    async def close(self, legal_entity: str, period: str) -> CloseReport:
        """Return what blocks a close, or raise Refused."""


@dataclass(frozen=True)
class KpiParts:
    """What the API of the key figures works with."""

    callers: Callers
    desk: Kpis


class KpiApi:
    """The routes below `/kpis` and `/close`."""

    def __init__(self, parts: KpiParts) -> None:
        self._callers = parts.callers
        self._desk = parts.desk

    def add_to(self, app: FastAPI) -> None:
        """Add the routes, and how they refuse, to an application."""
        signed_in = [Security(TOKEN), Depends(self._sign_in)]
        for path, route, described in (
            ("/kpis", self.list_kpis, ALL),
            ("/kpis/{name}", self.get_kpi, ONE),
            ("/close/{entity}/{period}", self.get_close, CLOSE),
        ):
            app.add_api_route(path, route, methods=["GET"], dependencies=signed_in, **described)
        refuse_plainly(app)

    def _sign_in(self, request: Request) -> None:
        request.state.caller = self._callers.of(request.headers.get("authorization", ""))

    async def list_kpis(
        self, request: Request, since: Since = None, until: Until = None
    ) -> Response:
        """Return every figure."""
        _check(request, LIST_FILTERS)
        try:
            reports = await self._desk.all(KpiQuery(since=since, until=until))
        except Refused as error:
            raise _refusal(error) from None
        return _json(KpiList(kpis=list(reports)))

    async def get_kpi(
        self,
        request: Request,
        name: Annotated[str, Path(max_length=64)],
        by: Annotated[KpiBy, Query(description="What it is told apart by.")] = KpiBy.ALL,
        since: Since = None,
        until: Until = None,
    ) -> Response:
        """Return one figure."""
        _check(request, FILTERS)
        try:
            report = await self._desk.report(name, KpiQuery(by=by, since=since, until=until))
        except Refused as error:
            raise _refusal(error) from None
        return _json(report)

    async def get_close(
        self,
        request: Request,
        entity: Annotated[str, Path(max_length=64, description="A legal entity's code.")],
        period: Annotated[str, Path(max_length=7, description="As 2026-11.")],
    ) -> Response:
        """Return what keeps a period from being closed."""
        _check(request, NO_FILTERS)
        try:
            report = await self._desk.close(entity, period)
        except Refused as error:
            raise _refusal(error) from None
        return _json(report)


def _refusal(error: Refused) -> Refusal:
    if isinstance(error, Unknown):
        return NOT_FOUND
    return Refusal(422, "refused", str(error))


def _check(request: Request, known: frozenset[str]) -> None:
    # A filter that is mistyped would let everything through.
    if not known.issuperset(request.query_params):
        names = ", ".join(sorted(known)) or "none"
        raise Refusal(422, "invalid_query", f"The filters are {names}.")


def _json(content: BaseModel) -> Response:
    return Response(content.model_dump_json(), 200, media_type="application/json")
