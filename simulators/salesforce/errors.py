"""The vendor's refusals and their wire forms: alone, inside collections, at the token endpoint.

Codes and texts follow sections 2.4 and 4 of the vendor page; texts which that page marks as memory
are unverified.
"""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from simulators.kit import Reply

JSON_TYPE = "application/json;charset=UTF-8"


class ApiError(Exception):
    """A refused request, or a refused part of one.

    `extra` stands beside code and message in the body, as the duplicate result does.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Sequence[str] | None = None,
        extra: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Carry status, code and text to the wire."""
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.extra = dict(extra or {})

    def body(self) -> JsonValue:
        """Return the body of a request that was refused: an array of one."""
        entry: dict[str, JsonValue] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            entry["fields"] = list(self.fields)
        return [entry | self.extra]

    def reply(self) -> Reply:
        """Return the answer to a request that was refused."""
        headers = {"Content-Type": JSON_TYPE}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Token"
        return Reply(self.status, self.body(), headers)

    def part(self) -> dict[str, JsonValue]:
        """Return the error as collections have it: `statusCode`, always with fields."""
        named: list[JsonValue] = list(self.fields or ())
        code_and_text: dict[str, JsonValue] = {"statusCode": self.code, "message": self.message}
        return {**code_and_text, "fields": named, **self.extra}


def oauth_error(error: str, description: str, status: int = 400) -> Reply:
    """Return a refusal of the token endpoint, which is an object and no array."""
    body: JsonValue = {"error": error, "error_description": description}
    headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-store", "Pragma": "no-cache"}
    return Reply(status, body, headers)


def session_expired() -> ApiError:
    """Token missing, expired, revoked or garbage (vendor page 2.5)."""
    return ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")


def no_resource() -> ApiError:
    """No such path."""
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")


def no_record(name: str) -> ApiError:
    """No such id, or no such external id field."""
    text = f"Provided external ID field does not exist or is not accessible: {name}"
    return ApiError(404, "NOT_FOUND", text)


def entity_is_deleted() -> ApiError:
    """The record is in the recycle bin."""
    return ApiError(404, "ENTITY_IS_DELETED", "entity is deleted", [])


def method_not_allowed(method: str, allowed: Sequence[str]) -> ApiError:
    """The path is known, but not with this method."""
    text = f"HTTP Method '{method}' not allowed. Allowed are {','.join(allowed)}"
    return ApiError(405, "METHOD_NOT_ALLOWED", text)


def malformed_json(reason: str) -> ApiError:
    """The body is not JSON, or not of the shape that the resource takes."""
    return ApiError(400, "JSON_PARSER_ERROR", reason)


def no_such_column(name: str, entity: str) -> ApiError:
    """A body names a field which the object does not have."""
    return ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {entity}")


def row_is_locked(record_id: str | None) -> ApiError:
    """Another transaction holds the record; nothing was written. Also seen without the list."""
    text = "unable to obtain exclusive access to this record"
    if record_id is not None:
        text += f" or 1 records: {record_id}"
    return ApiError(400, "UNABLE_TO_LOCK_ROW", text, [])


def limit_exceeded(which: str = "TotalRequests") -> ApiError:
    """Daily, concurrent or long-running requests are used up: 403, never 429."""
    names = {"ConcurrentRequests": "ConcurrentRequests (Concurrent API Requests)"}
    return ApiError(403, "REQUEST_LIMIT_EXCEEDED", f"{names.get(which, which)} Limit exceeded.")


def precondition_failed() -> ApiError:
    """A conditional header does not hold. The 412 body is unverified."""
    text = "The precondition in one or more request header fields was not met"
    return ApiError(412, "PRECONDITION_FAILED", text)
