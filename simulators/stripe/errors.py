"""Stripe's error envelope (vendor page, 3)."""

from collections.abc import Mapping

from pydantic import JsonValue

from simulators.kit import Reply, ReplyError

DOC_ROOT = "https://stripe.com/docs/error-codes/"
INVALID_REQUEST = "invalid_request_error"


class Refusal(ReplyError):
    """An error answer; `executed` says that it came after validation.

    Such an answer is kept under the idempotency key (vendor page, 2).
    """

    def __init__(self, reply: Reply, *, executed: bool = False, account: str | None = None) -> None:
        super().__init__(reply, account)
        self.executed = executed


def envelope(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    kind: str = INVALID_REQUEST,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, JsonValue] | None = None,
) -> Reply:
    """Return `{"error": {...}}`; what is None is left out."""
    error: dict[str, JsonValue] = {"message": message, "type": kind}
    if code is not None:
        error["code"] = code
        error["doc_url"] = DOC_ROOT + code.replace("_", "-")
    if param is not None:
        error["param"] = param
    return Reply(status, {"error": {**error, **(more or {})}}, headers or {})


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """Return the refusal of a parameter: nothing was executed."""
    return Refusal(envelope(400, message, code=code, param=param))


def refused(message: str, code: str | None = None, param: str | None = None) -> Refusal:
    """Return the refusal of a well-formed request, such as one in the wrong state."""
    return Refusal(envelope(400, message, code=code, param=param), executed=True)


def missing(what: str, given: str, param: str = "id") -> Refusal:
    """Return the answer for an id which names nothing: 404 in the path, 400 in a parameter."""
    status = 404 if param == "id" else 400
    text = f"No such {what}: '{given}'"
    return Refusal(envelope(status, text, code="resource_missing", param=param))


def unauthenticated(message: str, code: str | None = None, account: str | None = None) -> Refusal:
    """Return a 401; it is an `invalid_request_error` (vendor page, 8)."""
    headers = {"WWW-Authenticate": 'Bearer realm="Stripe"'}
    return Refusal(envelope(401, message, code=code, headers=headers), account=account)


def key_in_use() -> Refusal:
    """Return the 409 while another request with the same key runs (wording unverified)."""
    text = (
        "There is currently another in-progress request using this Idempotent Key (that probably"
        " means you submitted twice, and the other request is still going through). Please try"
        " again later."
    )
    return Refusal(envelope(409, text, code="idempotency_key_in_use", kind="idempotency_error"))


def key_reused(key: str, first_path: str) -> Refusal:
    """Return the 400 for a key which came with other parameters or another path."""
    text = (
        "Keys for idempotent requests can only be used with the same parameters they were first"
        f" used with. Try using a key other than '{key}' if you meant to execute a different"
        f" request than {first_path}."
    )
    return Refusal(envelope(400, text, kind="idempotency_error"))


def declined(decline_code: str, intent: Mapping[str, JsonValue]) -> Reply:
    """Return the 402 of a card that was declined; it is answered, since its traces stay."""
    more: dict[str, JsonValue] = {
        "decline_code": decline_code,
        "payment_intent": dict(intent),
    }
    text = "Your card was declined."
    return envelope(402, text, code="card_declined", kind="card_error", more=more)


def limited(
    reason: str,
    code: str = "rate_limit",
    should_retry: bool | None = None,
    retry_after: int | None = None,
) -> Reply:
    """Return a 429; Stripe gives no Retry-After of itself (vendor page, 3)."""
    headers = {"Stripe-Rate-Limited-Reason": reason}
    if should_retry is not None:
        headers["Stripe-Should-Retry"] = str(should_retry).lower()
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    text = (
        "This object cannot be accessed right now because another API request or Stripe process is"
        " currently accessing it."
        if code == "lock_timeout"
        else "Request rate limit exceeded. Learn more about rate limits here"
        " https://stripe.com/docs/rate-limits."
    )
    return envelope(429, text, code=code, headers=headers)


def message_of(error: ReplyError) -> str:
    """Return what an error says, for the screen."""
    body = error.reply.body
    inner = body.get("error") if isinstance(body, dict) else None
    return str(inner.get("message")) if isinstance(inner, dict) else str(error)
