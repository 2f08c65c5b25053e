"""What the OpenAPI document tells of each API in the same way: routes, bodies, problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from gateway.answers import Problem

DEFS: Final = "#/components/schemas/"
PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": f"{DEFS}{Problem.__name__}"}}}


def problems(texts: Mapping[int, str], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route by status; `texts` say what each means there."""
    return {each: {"description": texts[each], "content": PROBLEM} for each in statuses}


def body(model: type[BaseModel], example: object) -> dict[str, Any]:
    """Return what a route says of the body that it takes; it reads and checks it itself."""
    content = {"schema": {"$ref": f"{DEFS}{model.__name__}"}, "example": example}
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content}}
        }
    }


@dataclass(frozen=True)
class Described:
    """How the routes of one API are described."""

    tag: str
    texts: Mapping[int, str]
    """What each status of a problem means there; 401, 422 and 503 any route may answer."""

    def route(
        self,
        summary: str,
        operation_id: str,
        answer: type[BaseModel],
        status: int = 200,
        *refused: int,
    ) -> dict[str, Any]:
        """Return what one route says of itself; `refused` are its problems beside the usual."""
        found = problems(self.texts, 401, 422, 503, *refused)
        return {
            "summary": summary,
            "operation_id": operation_id,
            "tags": [self.tag],
            "response_class": Response,
            "responses": {status: {"model": answer}, **found},
        }
