"""Every refusal of the vendor page (section 4) is told apart; envelopes (section 3) are read."""

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
    Transient,
)
from adapters.kantata.client import BUSY_SECONDS, STATUSES, classify, id_of, listing
from adapters.statuses import Answer, Reply, default_error
from adapters.wire import JsonValue

TAKEN = "has already been taken"
PAGE_STATUSES = {400, 401, 403, 404, 422, 429}
"""Of section 4, without 5xx."""


def reply(
    status: int, body: JsonValue, *, write: bool = True, retry_after_seconds: float | None = None
) -> Reply:
    return Reply(
        status=status,
        headers=httpx.Headers(),
        json=body,
        text=str(body),
        operation="create the project",
        method="POST" if write else "GET",
        path="/api/v1/workspaces",
        write=write,
        retry_after_seconds=retry_after_seconds,
    )


def errors(kind: str, message: str, field: str = "") -> JsonValue:
    named: dict[str, JsonValue] = {"field": field} if field else {}
    return {"errors": [{"type": kind, "message": message, **named}]}


def judged(answer: Reply) -> AdapterError:
    """Return what the HTTP layer would raise."""
    return classify(answer) or default_error(answer)


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "syntax", "Missing root key: workspace", Invalid),
        (400, "validation", "Title is invalid", Invalid),
        (401, "oauth", "Invalid OAuth 2 Request", Forbidden),
        (403, "system", "Not part of your plan", Forbidden),
        (404, "system", "Workspace with id 1 could not be found", NotFound),
        (422, "validation", "Title can't be blank", Invalid),
        (429, "system", "API rate limit exceeded", RateLimited),
    ],
)
def test_each_refusal_of_the_page_is_told_apart(
    status: int, kind: str, message: str, expected: type[AdapterError], write: bool
) -> None:
    error = judged(reply(status, errors(kind, message), write=write))

    assert type(error) is expected
    assert message in str(error)
    assert error.vendor_code == kind


def test_the_table_has_every_status_of_the_page() -> None:
    assert set(STATUSES) == PAGE_STATUSES


@pytest.mark.parametrize("status", [500, 502, 503])
@pytest.mark.parametrize("body", [errors("system", "down"), None])
def test_a_failing_server_leaves_the_outcome_of_a_write_unknown(
    status: int, body: JsonValue
) -> None:
    assert type(judged(reply(status, body))) is OutcomeUnknown
    assert type(judged(reply(status, body, write=False))) is Transient


def test_a_rate_limit_without_a_header_has_a_delay_of_its_own() -> None:
    without = judged(reply(429, errors("system", "slow down")))
    told = judged(reply(429, errors("system", "slow down"), retry_after_seconds=7.0))

    assert isinstance(without, RateLimited)
    assert isinstance(told, RateLimited)
    assert (without.retry_after_seconds, told.retry_after_seconds) == (BUSY_SECONDS, 7.0)


@pytest.mark.parametrize(
    ("field", "expected"),
    [("name", Duplicate), ("title", Duplicate), ("value", OutcomeUnknown), ("", OutcomeUnknown)],
)
def test_a_taken_name_is_someone_else_s_and_a_taken_key_is_ours(
    field: str, expected: type[AdapterError]
) -> None:
    assert type(judged(reply(422, errors("validation", f"It {TAKEN}", field)))) is expected


def test_the_field_and_every_message_of_several_are_kept() -> None:
    body: JsonValue = {
        "errors": [
            {"type": "validation", "message": "Title can't be blank", "field": "title"},
            {"type": "validation", "message": "Price can't be blank", "field": "price"},
        ]
    }

    error = judged(reply(422, body))

    assert isinstance(error, Invalid)
    assert error.field == "title"
    assert "Title can't be blank Price can't be blank" in str(error)


@pytest.mark.parametrize("body", [None, {}, {"errors": []}, {"errors": "x"}, "<html>"])
def test_a_404_that_is_not_kantata_s_never_reads_as_absent(body: JsonValue) -> None:
    assert type(judged(reply(404, body))) is ContractBroken


def answer(body: JsonValue) -> Answer:
    return Answer(200, httpx.Headers(), body, str(body))


def test_objects_come_in_the_order_of_the_results_and_with_what_is_included() -> None:
    found = listing(
        answer(
            {
                "count": 7,
                "results": [{"key": "stories", "id": "10"}, {"key": "stories", "id": "9"}],
                "stories": {"9": {"id": "9"}, "10": {"id": "10"}, "11": {"id": "11"}},
                "users": {},
            }
        )
    )

    assert [row["id"] for row in found.rows] == ["10", "9"]
    assert found.count == 7
    assert set(found.included("stories")) == {"9", "10", "11"}
    assert found.included("users") == found.included("roles") == {}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"results": {}},
        {"results": ["9"], "stories": {}},
        {"results": [{"key": "stories", "id": "9"}], "stories": {}},
        {"results": [{"key": "stories", "id": "9"}]},
    ],
)
def test_an_envelope_that_is_not_as_documented_is_refused(body: JsonValue) -> None:
    with pytest.raises(ContractBroken):
        listing(answer(body))


@pytest.mark.parametrize("value", [None, True, "", []])
def test_an_object_without_an_id_is_refused(value: object) -> None:
    with pytest.raises(ContractBroken):
        id_of({"id": value})
