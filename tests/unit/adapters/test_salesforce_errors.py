"""Every refusal on the vendor page is told apart as that page says (sections 2.4, 4, 10, 11)."""

import httpx
import pytest

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Duplicate,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
    Unsupported,
)
from adapters.salesforce.client import BUSY_SECONDS, DAILY_LIMIT_SECONDS, classify
from adapters.statuses import Reply, default_error
from adapters.wire import JsonValue

ROW = "/services/data/v67.0/sobjects/Opportunity/006DT0000000001"
TOKEN = "/services/oauth2/token"
LOCK = "unable to obtain exclusive access to this record or 1 records: 006DT0000000001"


def reply(status: int, body: JsonValue, *, write: bool = True, path: str = ROW) -> Reply:
    return Reply(
        status=status,
        headers=httpx.Headers(),
        json=body,
        text=str(body),
        operation="write the ids back",
        method="PATCH" if write else "GET",
        path=path,
        write=write,
    )


def judged(answer: Reply) -> AdapterError:
    """Return what the HTTP layer would raise."""
    return classify(answer) or default_error(answer)


def refusal(code: str, message: str = "", fields: list[JsonValue] | None = None) -> JsonValue:
    row: dict[str, JsonValue] = {"errorCode": code, "message": message}
    return [row if fields is None else {**row, "fields": fields}]


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "INVALID_SESSION_ID", "Session expired or invalid", Forbidden),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", RateLimited),
        (
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            RateLimited,
        ),
        (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", RateLimited),
        (403, "TXN_SECURITY_METERING_ERROR", "", RateLimited),
        (400, "CONCURRENT_REQUESTS_LIMIT", "", RateLimited),
        (503, "SERVER_UNAVAILABLE", "server too busy", Transient),
        (400, "UNABLE_TO_LOCK_ROW", LOCK, Transient),
        # also seen without the list of records
        (400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", Transient),
        (400, "QUERY_TIMEOUT", "Your query request was running for too long.", Transient),
        (400, "OPERATION_TOO_LARGE", "", Rejected),
        (500, "UNKNOWN_EXCEPTION", "An unexpected error occurred.", OutcomeUnknown),
        (403, "API_CURRENTLY_DISABLED", "", Forbidden),
        (403, "API_DISABLED_FOR_ORG", "", Forbidden),
        (400, "INSUFFICIENT_ACCESS_OR_READONLY", "", Forbidden),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "", Forbidden),
        (400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "", Forbidden),
        (400, "ENTITY_IS_LOCKED", "", Rejected),
        (404, "ENTITY_IS_DELETED", "entity is deleted", NotFound),
        (404, "NOT_FOUND", "The requested resource does not exist", NotFound),
        (405, "METHOD_NOT_ALLOWED", "", Unsupported),
        (410, "UNSUPPORTED_API_VERSION", "", Unsupported),
        (412, "PRECONDITION_FAILED", "", Rejected),
        (400, "DUPLICATE_VALUE", "duplicate value found", Duplicate),
        (400, "DUPLICATES_DETECTED", "Use one of these records?", Duplicate),
        (400, "DUPLICATE_EXTERNAL_ID", "", Rejected),
        (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trg: caused by an exception", Rejected),
        (400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"T: UNABLE_TO_LOCK_ROW, {LOCK}", Transient),
        (400, "DELETE_FAILED", "", Rejected),
        (400, "STORAGE_LIMIT_EXCEEDED", "", Rejected),
        (403, "STORAGE_LIMIT_EXCEEDED", "", Rejected),
        (400, "INVALID_FIELD", "No such column 'X' on sobject of type Account", Rejected),
        *[
            (400, code, "", Rejected)
            for code in (
                "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                "FIELD_INTEGRITY_EXCEPTION",
                "FIELD_FILTER_VALIDATION_EXCEPTION",
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                "STRING_TOO_LONG",
                "NUMBER_OUTSIDE_VALID_RANGE",
                "INVALID_CROSS_REFERENCE_KEY",
                "MALFORMED_ID",
                "JSON_PARSER_ERROR",
                "INVALID_TYPE",
                "MALFORMED_QUERY",
                "INVALID_QUERY_LOCATOR",
                "INVALID_QUERY_FILTER_OPERATOR",
            )
        ],
    ],
)
def test_each_code_of_the_table_is_its_class(
    status: int, code: str, message: str, kind: type[AdapterError]
) -> None:
    error = judged(reply(status, refusal(code, message)))

    assert type(error) is kind


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("TotalRequests Limit exceeded.", DAILY_LIMIT_SECONDS),
        ("ConcurrentRequests (Concurrent API Requests) Limit exceeded.", BUSY_SECONDS),
    ],
)
def test_the_daily_limit_waits_longer_than_the_concurrent_one(message: str, seconds: float) -> None:
    error = judged(reply(403, refusal("REQUEST_LIMIT_EXCEEDED", message)))

    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == seconds


def test_a_field_that_is_named_is_carried() -> None:
    error = judged(
        reply(400, refusal("REQUIRED_FIELD_MISSING", "Required fields are missing", ["Name"]))
    )

    assert isinstance(error, Invalid)
    assert (error.field, error.vendor_code) == ("Name", "REQUIRED_FIELD_MISSING")


def test_a_validation_rule_without_a_field_keeps_the_administrator_s_words() -> None:
    error = judged(reply(400, refusal("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Ask sales first", [])))

    assert type(error) is Rejected
    assert "Ask sales first" in error.message


def test_a_duplicate_names_the_record_in_the_way() -> None:
    text = "duplicate value found: Ext__c duplicates value on record with id: 001DT0000000001AAA"
    match: JsonValue = {"matchRecords": [{"record": {"Id": "001DT0000000002AAA"}}]}
    detected: JsonValue = [
        {
            "errorCode": "DUPLICATES_DETECTED",
            "message": "Use one of these records?",
            "duplicateResult": {"allowSave": True, "matchResults": [match]},
        }
    ]

    for body, id_ in (
        (refusal("DUPLICATE_VALUE", text), "001DT0000000001AAA"),
        (detected, "001DT0000000002AAA"),
    ):
        error = judged(reply(400, body))
        assert isinstance(error, Duplicate)
        assert error.record_id == id_


@pytest.mark.parametrize("status", [420, 500, 502, 503])
def test_a_failure_without_a_code_is_in_doubt_on_a_write_and_again_on_a_read(status: int) -> None:
    assert type(judged(reply(status, None))) is OutcomeUnknown
    assert type(judged(reply(status, None, write=False))) is Transient


def test_an_unknown_exception_on_a_read_is_tried_again() -> None:
    assert type(judged(reply(500, refusal("UNKNOWN_EXCEPTION"), write=False))) is Transient


def test_several_records_behind_one_external_id_break_the_contract() -> None:
    assert type(judged(reply(300, ["/a", "/b"], write=False))) is ContractBroken


@pytest.mark.parametrize(
    ("status", "error", "text", "kind"),
    [
        (400, "invalid_grant", "user hasn't approved this consumer", Forbidden),
        (400, "invalid_grant", "audience is invalid", Forbidden),
        (400, "invalid_grant", "expired authorization code", Forbidden),
        (400, "invalid_grant", "invalid assertion", Forbidden),
        (400, "invalid_grant", "request not supported on this domain", Forbidden),
        (400, "invalid_grant", "no client credentials user enabled", Forbidden),
        (400, "invalid_client_id", "client identifier invalid", Forbidden),
        (400, "invalid_client", "invalid client credentials", Forbidden),
        (401, "invalid_client", "invalid client credentials", Forbidden),
        (400, "unsupported_grant_type", "grant type not supported", Forbidden),
        (400, "inactive_user", "user is inactive", Forbidden),
        (400, "inactive_org", "", Forbidden),
        (400, "rate_limit_exceeded", "login rate exceeded", RateLimited),
        (503, "server_error", "temporarily unavailable", Transient),
    ],
)
def test_each_refusal_of_the_token_endpoint_is_its_class(
    status: int, error: str, text: str, kind: type[AdapterError]
) -> None:
    body: JsonValue = {"error": error, "error_description": text}

    found = judged(reply(status, body, write=False, path=TOKEN))

    assert type(found) is kind
    assert kind is not Forbidden or (text or error) in found.message
