"""How the API refuses, whichever part of it is asked: with problem documents."""

from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.responses import Response

from gateway.answers import headers, problem
from gateway.deliveries import Refusal
from store.errors import StoreError

TOKEN: Final = HTTPBearer(auto_error=False, description="A person's token (docs/howto).")
STORE_AWAY: Final = Refusal(503, "unavailable", "PostgreSQL can't be reached: try again.")

_log = structlog.get_logger("dealthread.gateway")


def refuse_plainly(app: FastAPI) -> None:
    """Let an application answer what is refused with problem documents."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StoreError, _store_away)


async def _refused(_request: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, Refusal) else STORE_AWAY
    answer = problem(refusal)
    answer.headers.update(headers(refusal))
    if refusal.status == 405:
        answer.headers["Allow"] = "POST"
    if refusal.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _store_away(_request: Request, error: Exception) -> Response:
    _log.error("store_unavailable", error=str(error))
    return problem(STORE_AWAY)


async def _invalid(_request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in list(problems)[:5])
    return problem(Refusal(422, "invalid_query", f"{said[:500]}."))
