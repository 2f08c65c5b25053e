"""Answers that are errors, to the letter of the vendor page (section 4).

The page gives types and statuses; most message texts are unverified.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from simulators.kit import JsonValue, Reply

JSON_TYPE = "application/json; charset=utf-8"


class ProblemType(StrEnum):
    """The four types of section 4."""

    OAUTH = "oauth"
    SYSTEM = "system"
    VALIDATION = "validation"
    SYNTAX = "syntax"


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of `errors`; `index` is the place within a bulk request."""

    type: ProblemType
    message: str
    field: str | None = None
    index: int | None = None

    def body(self) -> dict[str, JsonValue]:
        """Return the entry as it travels."""
        entry: dict[str, JsonValue] = {"type": self.type.value, "message": self.message}
        if self.field is not None:
            entry["field"] = self.field
        if self.index is not None:
            entry["index"] = self.index
        return entry


class ApiError(Exception):
    """A refusal; a handler that raises it has had no effect."""

    def __init__(self, status: int, problems: Sequence[Problem]) -> None:
        """Carry one problem or more."""
        super().__init__("; ".join(problem.message for problem in problems))
        self.status = status
        self.problems = tuple(problems)

    def at(self, index: int) -> "ApiError":
        """Return the same refusal of one object of a bulk request."""
        return ApiError(self.status, [replace(each, index=index) for each in self.problems])

    def reply(self) -> Reply:
        """Return the refusal as it travels."""
        return answer(self.status, {"errors": [problem.body() for problem in self.problems]})


def answer(status: int, body: JsonValue = None) -> Reply:
    """Return an answer with the headers that every answer has."""
    headers = {"x-request-id": str(uuid.uuid4())}
    if body is not None:
        headers["Content-Type"] = JSON_TYPE
    return Reply(status, body, headers)


def unauthorized() -> ApiError:
    """No token, an unknown or a revoked one (section 2)."""
    return ApiError(401, [Problem(ProblemType.OAUTH, "Invalid OAuth 2 Request")])


def system(status: int, message: str) -> ApiError:
    """403, 404, 429, 5xx."""
    return ApiError(status, [Problem(ProblemType.SYSTEM, message)])


def not_found(noun: str, id_: str) -> ApiError:
    """The id is missing, hidden by a default filter, or not visible to the user."""
    return system(404, f"{noun} with id {id_} could not be found")


def no_route() -> ApiError:
    """The API has no such path or method."""
    return system(404, "The requested resource could not be found")


def rate_limited() -> ApiError:
    """Too many requests; there is no Retry-After, and no header tells how many are left."""
    return system(429, "API rate limit exceeded")


def syntax(message: str) -> ApiError:
    """A malformed parameter or body."""
    return ApiError(400, [Problem(ProblemType.SYNTAX, message)])


def invalid(message: str, field: str | None = None) -> ApiError:
    """A value or a state that is refused."""
    return ApiError(422, [Problem(ProblemType.VALIDATION, message, field)])


def problem(field: str, message: str) -> Problem:
    """One refused value; the message names the field, as Rails does."""
    return Problem(ProblemType.VALIDATION, f"{humanize(field)} {message}", field)


def humanize(field: str) -> str:
    """Return a field's name as messages write it: `workspace_id` is `Workspace`."""
    return field.removesuffix("_id").replace("_", " ").capitalize()
