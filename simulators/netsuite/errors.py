"""NetSuite's error bodies (vendor page, 4.5 and 4.6), each as something to raise.

Texts are the page's own. Where the page gives none, the text is ours and says what is wrong.
"""

from pydantic import JsonValue

from simulators.kit import Reply, ReplyError

_RFC = "https://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html"
_TITLES = {
    400: ("Bad Request", f"{_RFC}#sec10.4.1"),
    401: ("Unauthorized", f"{_RFC}#sec10.4.2"),
    403: ("Forbidden", f"{_RFC}#sec10.4.4"),
    404: ("Not Found", f"{_RFC}#sec10.4.5"),
    405: ("Method Not Allowed", f"{_RFC}#sec10.4.6"),
    409: ("Conflict", f"{_RFC}#sec10.4.10"),
    415: ("Unsupported Media Type", f"{_RFC}#sec10.4.16"),
    500: ("Internal Server Error", f"{_RFC}#sec10.5.1"),
    502: ("Bad Gateway", f"{_RFC}#sec10.5.3"),
    503: ("Service Unavailable", f"{_RFC}#sec10.5.4"),
}
_LOGIN = (
    "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at "
    "Setup > Users/Roles > User Management > View Login Audit Trail."
)


def problem(
    status: int,
    code: str,
    detail: str,
    locator: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> ReplyError:
    """Return an error of the common form; `locator` is one of `o:errorPath` and its kin."""
    title, kind = _TITLES[status]
    row: dict[str, JsonValue] = {"detail": detail, "o:errorCode": code, **(locator or {})}
    body: dict[str, JsonValue] = {
        "type": kind,
        "title": title,
        "status": status,
        "o:errorDetails": [row],
    }
    return ReplyError(Reply(status, body, headers or {}))


def user_error(text: str, path: str | None = None) -> ReplyError:
    """Return a business rule's refusal."""
    locator = {"o:errorPath": path} if path else None
    return problem(400, "USER_ERROR", f"Error while accessing a resource. {text}", locator)


def missing_values(labels: list[str]) -> ReplyError:
    """Return the refusal of a record without its mandatory fields."""
    return user_error(f"Please enter value(s) for: {', '.join(labels)}.")


def already_exists(noun: str) -> ReplyError:
    """Return the refusal of a duplicate; the noun is `entity` or `record`."""
    return user_error(f"This {noun} already exists.")


def has_dependents() -> ReplyError:
    """Return the refusal to delete what is in use."""
    text = "This record cannot be deleted because it has dependent records."
    return problem(400, "USER_ERROR", text)


def closed_period() -> ReplyError:
    """Return the refusal of a posting into a closed period (REST wording unverified)."""
    return user_error("The transaction date is not within an open accounting period.")


def wrong_transaction_type() -> ReplyError:
    """Return what a missing transaction is answered with."""
    return problem(400, "USER_ERROR", "Transaction type specified is incorrect.")


def invalid_content(text: str, path: str) -> ReplyError:
    """Return the refusal of a body, with the place in it."""
    return problem(400, "INVALID_CONTENT", text, {"o:errorPath": path})


def invalid_value(value: str, field: str, path: str) -> ReplyError:
    """Return the refusal of a field's value."""
    text = (
        f"Error while accessing resource: You have entered an Invalid Field Value {value} "
        f"for the following field: {field}"
    )
    return invalid_content(text, path)


def too_long(field: str, limit: int, path: str) -> ReplyError:
    """Return the refusal of a text beyond its field's length (wording unverified)."""
    text = (
        f"The field {field.lower()} contained more than the maximum number "
        f"( {limit} ) of characters allowed."
    )
    return user_error(text, path)


def unknown_field(name: str, path: str) -> ReplyError:
    """Return the refusal of an unknown field name, under strict name validation."""
    return invalid_content(f"Unknown reference or field name {name}.", path)


def nonexistent(url: str) -> ReplyError:
    """Return what a missing record is answered with."""
    text = "The record instance does not exist. Provide a valid record instance ID."
    return problem(404, "NONEXISTENT_ID", text, {"o:errorUrl": url})


def invalid_url(text: str, url: str) -> ReplyError:
    """Return the refusal of an address."""
    return problem(400, "INVALID_REQUEST", text, {"o:errorUrl": url})


def invalid_header(text: str, header: str) -> ReplyError:
    """Return the refusal of a header, or of its absence."""
    return problem(400, "INVALID_REQUEST", text, {"o:errorHeader": header})


def invalid_parameter(text: str, parameter: str) -> ReplyError:
    """Return the refusal of a query parameter."""
    return problem(400, "INVALID_PARAMETER", text, {"o:errorQueryParam": parameter})


def invalid_query(reason: str) -> ReplyError:
    """Return the refusal of a SuiteQL statement; the reason follows NetSuite's own preface."""
    text = (
        "Invalid search query. Detailed unprocessed description follows. "
        f"Search error occurred: {reason}"
    )
    return problem(400, "INVALID_PARAMETER", text)


def method_not_allowed(method: str) -> ReplyError:
    """Return the refusal of a verb."""
    return problem(405, "INVALID_REQUEST", f"The {method} method is not allowed here.")


def unsupported_media_type(kind: str) -> ReplyError:
    """Return the refusal of a content type."""
    text = f"The content type {kind or 'none'} is not supported. Use application/json."
    return problem(415, "INVALID_REQUEST", text, {"o:errorHeader": "Content-Type"})


def invalid_login() -> ReplyError:
    """Return the refusal of credentials, a signature or a token."""
    return problem(401, "INVALID_LOGIN", _LOGIN)


def too_many_requests(detail: str, code: str, retry_after: int | None) -> ReplyError:
    """Return the refusal of a crowded account.

    The title `Bad Request` and the missing Retry-After are NetSuite's own.
    """
    row: dict[str, JsonValue] = {"detail": detail, "o:errorCode": code}
    body: dict[str, JsonValue] = {
        "type": "https://tools.ietf.org/html/rfc6585#section-4",
        "title": "Bad Request",
        "status": 429,
        "o:errorCode": "USER_ERROR",
        "o:errorDetails": [row],
    }
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return ReplyError(Reply(429, body, headers))


def concurrency_exceeded(retry_after: int | None = None) -> ReplyError:
    """Return the refusal of one request too many at a time."""
    text = "Concurrent request limit exceeded. Request blocked."
    return too_many_requests(text, "CONCURRENCY_LIMIT_EXCEEDED", retry_after)


def frequency_exceeded() -> ReplyError:
    """Return the refusal of one request too many in a minute (code and wording unverified)."""
    text = "Request limit exceeded. Request blocked."
    return too_many_requests(text, "REQUEST_LIMIT_EXCEEDED", None)


def unexpected(status: int, error_id: str) -> ReplyError:
    """Return a failure of NetSuite's own; whether the request had its effect is not said."""
    text = f"An unexpected error occurred. Error ID: {error_id}"
    return problem(status, "UNEXPECTED_ERROR", text)


def duplicate_submission(job_url: str) -> ReplyError:
    """Return the refusal of an idempotency key used before; Location names the first job."""
    title, kind = _TITLES[409]
    row: dict[str, JsonValue] = {
        "detail": "The request with this idempotency key has already been submitted.",
        "o:errorCode": "IDEMPOTENCY_ERROR",
    }
    body: dict[str, JsonValue] = {
        "type": kind,
        "title": title,
        "status": 400,
        "o:errorDetails": [row],
    }
    return ReplyError(Reply(400, body, {"Location": job_url}))


def oauth_error(error: str, status: int = 400) -> ReplyError:
    """Return the token endpoint's own error form."""
    return ReplyError(Reply(status, {"error": error}))
