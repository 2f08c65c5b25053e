"""Refusals on the wire (vendor page, sections 2, 3 and 6).

The page gives the form and the statuses; message texts are unverified.
"""

from http import HTTPStatus

from pydantic import JsonValue

from simulators.kit import Reply, ReplyError

JSON_TYPE = "application/json;charset=utf-8"


def error(status: int, text: str, field: str | None = None, code: str | None = None) -> Reply:
    """Return section 3's body: the text, and a list with the field where there is one."""
    body: dict[str, JsonValue] = {"error": text}
    if field is not None:
        detail: dict[str, JsonValue] = {"error": text, "field": field, "location": "query"}
        if code is not None:
            detail["code"] = code
        body["errors"] = [detail]
    return Reply(status, body, {"Content-Type": JSON_TYPE})


def refused(
    status: int, text: str, field: str | None = None, code: str | None = None
) -> ReplyError:
    """Return `error` to be raised."""
    return ReplyError(error(status, text, field, code))


def unauthorized() -> Reply:
    """Return the answer to a token or password that is missing, wrong or expired."""
    return error(HTTPStatus.UNAUTHORIZED, "invalid request: unauthorized")


def forbidden() -> ReplyError:
    """Return the answer where the API client lacks the functional area (section 2)."""
    return refused(HTTPStatus.FORBIDDEN, "permission denied")


def not_found() -> ReplyError:
    """Return the answer for what is not there, or hidden."""
    return refused(HTTPStatus.NOT_FOUND, "not found")


def throttled() -> Reply:
    """Return section 6's refusal: no rate headers, no Retry-After."""
    return error(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")


def fault() -> Reply:
    """Return a failure of the server's own."""
    return error(HTTPStatus.INTERNAL_SERVER_ERROR, "Server.processingFault")


def oauth_error(status: int, code: str, description: str) -> Reply:
    """Return the token endpoint's refusal (section 2.1)."""
    return Reply(status, {"error": code, "error_description": description})
