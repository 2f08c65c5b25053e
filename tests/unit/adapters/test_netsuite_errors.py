"""Every refusal on the vendor page is told apart as that page says (sections 3, 4.5, 4.6)."""

import httpx
import pytest

from adapters.errors import (
    AdapterError,
    ClosedPeriod,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Transient,
)
from adapters.netsuite.client import BUSY_SECONDS, TOKEN_PATH, HasDependents, classify
from adapters.statuses import Reply, default_error
from adapters.wire import JsonValue

ROW = "/services/rest/record/v1/job/eid:dt-1"
ACCESS = "Error while accessing a resource."
DEPENDENT = "This record cannot be deleted because it has dependent records."


def reply(
    status: int,
    body: JsonValue,
    *,
    write: bool = True,
    path: str = ROW,
    retry_after_seconds: float | None = None,
) -> Reply:
    return Reply(
        status=status,
        headers=httpx.Headers(),
        json=body,
        text=str(body),
        operation="create the project",
        method="PUT" if write else "GET",
        path=path,
        write=write,
        retry_after_seconds=retry_after_seconds,
    )


def refusal(status: int, code: str, text: str, **locator: JsonValue) -> JsonValue:
    row: JsonValue = {"detail": text, "o:errorCode": code, **locator}
    return {"title": "Bad Request", "status": status, "o:errorDetails": [row]}


def judged(answer: Reply) -> AdapterError:
    """Return what the HTTP layer would raise."""
    return classify(answer) or default_error(answer)


@pytest.mark.parametrize(
    ("status", "code", "text", "kind"),
    [
        (400, "INVALID_CONTENT", "You have entered an Invalid Field Value 9999", Invalid),
        (400, "USER_ERROR", f"{ACCESS} Please enter value(s) for: First Name, Last Name.", Invalid),
        (400, "USER_ERROR", f"{ACCESS} This entity already exists.", Duplicate),
        (400, "USER_ERROR", "This record already exists", Duplicate),
        (400, "INVALID_CONTENT", "Unknown reference or field name foo.", Invalid),
        (
            404,
            "NONEXISTENT_ID",
            "The record instance does not exist. Provide a valid ID.",
            NotFound,
        ),
        (404, "NONEXISTENT_ID", "Record does not exist.", NotFound),
        (400, "USER_ERROR", "Transaction type specified is incorrect.", NotFound),
        (400, "INVALID_REQUEST", "The URL is not valid", Invalid),
        (400, "INVALID_PARAMETER", "The limit must be between 1 and 1000.", Invalid),
        (405, "INVALID_REQUEST", "The POST method is not allowed here.", Invalid),
        (400, "USER_ERROR", DEPENDENT, HasDependents),
        (
            400,
            "THIS_RECORD_CANNOT_BE_DELETED_BECAUSE_IT_HAS_DEPENDENT_RECORDS",
            "It is in use.",
            HasDependents,
        ),
        (
            400,
            "USER_ERROR",
            f"{ACCESS} The transaction date is not within an open accounting period.",
            ClosedPeriod,
        ),
        (400, "USER_ERROR", "You cannot post to a Closed Period", ClosedPeriod),
        (
            400,
            "USER_ERROR",
            "The date is not within the date range of your accounting period.",
            ClosedPeriod,
        ),
        (400, "USER_ERROR", "Record has been changed", Transient),
        (400, "RCRD_HAS_BEEN_CHANGED", "Someone was faster", Transient),
        (401, "INVALID_LOGIN", "Invalid login attempt.", Forbidden),
        (403, "INSUFFICIENT_PERMISSION", "Permission Violation", Forbidden),
        (403, "USER_ERROR", "You need the permission Customers", Forbidden),
        (429, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded.", RateLimited),
        (429, "REQUEST_LIMIT_EXCEEDED", "Request limit exceeded.", RateLimited),
        (500, "UNEXPECTED_ERROR", "An unexpected error occurred. Error ID: xyz", OutcomeUnknown),
    ],
)
def test_each_row_of_the_table_is_its_class(
    status: int, code: str, text: str, kind: type[AdapterError]
) -> None:
    error = judged(reply(status, refusal(status, code, text)))

    assert type(error) is kind


def test_a_place_in_the_body_is_carried_as_the_field() -> None:
    body = refusal(400, "INVALID_CONTENT", "Invalid Field Value", **{"o:errorPath": "subsidiary"})

    error = judged(reply(400, body))

    assert isinstance(error, Invalid)
    assert (error.field, error.vendor_code) == ("subsidiary", "INVALID_CONTENT")


def test_a_throttled_call_waits_as_long_as_said_or_shortly() -> None:
    body = refusal(429, "CONCURRENCY_LIMIT_EXCEEDED", "Request blocked.")

    unsaid, said = judged(reply(429, body)), judged(reply(429, body, retry_after_seconds=40))

    assert isinstance(unsaid, RateLimited)
    assert isinstance(said, RateLimited)
    assert (unsaid.retry_after_seconds, said.retry_after_seconds) == (BUSY_SECONDS, 40)


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("body", [None, refusal(500, "UNEXPECTED_ERROR", "Error ID: x")])
def test_a_failure_is_in_doubt_on_a_write_and_again_on_a_read(status: int, body: JsonValue) -> None:
    assert type(judged(reply(status, body))) is OutcomeUnknown
    assert type(judged(reply(status, body, write=False))) is Transient


@pytest.mark.parametrize("body", [None, {"error": "no such page"}])
def test_a_404_that_is_not_netsuite_s_own_never_means_that_a_record_is_gone(
    body: JsonValue,
) -> None:
    assert type(judged(reply(404, body))) is ContractBroken


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_grant", Forbidden),
        (400, "invalid_client", Forbidden),
        (400, "invalid_request", Forbidden),
        (401, "invalid_client", Forbidden),
        (500, "server_error", Transient),
    ],
)
def test_each_refusal_of_the_token_endpoint_is_its_class(
    status: int, code: str, kind: type[AdapterError]
) -> None:
    found = judged(reply(status, {"error": code}, write=False, path=TOKEN_PATH))

    assert type(found) is kind
