"""Salesforce on the wire: sign-in, SOQL, and what its errors mean.

Sources: vendor page sections 2 (authentication), 4 (status codes and errors), 7 (SOQL).
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final

import jwt
from pydantic import SecretStr

from adapters.auth import OAuth2Token, Token
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
from adapters.http import Reply, VendorHttp
from adapters.salesforce.config import ClientCredentials, JwtBearer, SalesforceConfig

VENDOR: Final = "salesforce"
ASSERTION_SECONDS: Final = 170
"""`exp` may lie at most three minutes ahead (section 2.1)."""
PAGES_MAX: Final = 50

TRANSIENT: Final = {"SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT"}
"""Refusals without effect (section 4): the row was locked, the server was busy."""
RATE_LIMITED: Final = {"REQUEST_LIMIT_EXCEEDED", "TXN_SECURITY_METERING_ERROR"}
"""And every code that starts with CONCURRENT."""
MISSING: Final = {"NOT_FOUND", "ENTITY_IS_DELETED"}
FORBIDDEN: Final = {
    "API_CURRENTLY_DISABLED",
    "API_DISABLED_FOR_ORG",
    "INSUFFICIENT_ACCESS_OR_READONLY",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    "INVALID_SESSION_ID",
    "INVALID_AUTH_HEADER",
}
DUPLICATE: Final = {"DUPLICATE_VALUE", "DUPLICATES_DETECTED"}
UNSUPPORTED: Final = {"UNSUPPORTED_API_VERSION", "METHOD_NOT_ALLOWED"}
WRAPPED: Final = TRANSIENT | DUPLICATE | FORBIDDEN
KINDS: Final[dict[str, type[AdapterError]]] = {
    **dict.fromkeys(TRANSIENT, Transient),
    **dict.fromkeys(MISSING, NotFound),
    **dict.fromkeys(FORBIDDEN, Forbidden),
    **dict.fromkeys(UNSUPPORTED, Unsupported),
}
"""Every other code of a 4xx is a refusal: `Invalid` where it names a field, else `Rejected`."""
DAILY_LIMIT_SECONDS: Final = 900.0
"""The daily limit lasts for hours (section 11): ask rarely."""
BUSY_SECONDS: Final = 5.0
OVERLOADED: Final = 420
"""Overload or host moved (section 4): a 4xx that says nothing about the request."""


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Salesforce means, or None to leave it to the status."""
    if answer.path.endswith("/oauth2/token"):
        return _sign_in_error(answer)
    first = _first(answer.json)
    code, message = str(first.get("errorCode", "")), str(first.get("message", ""))
    if answer.status == OVERLOADED:
        kind = OutcomeUnknown if answer.write else Transient
        return kind("Salesforce is overloaded, or the host has moved.", vendor_code=code or None)
    if answer.status == 401 or not code:
        return None  # the HTTP layer renews the token once
    if code == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
        # The text of a trigger's exception may wrap the real refusal, a lock say (section 4).
        code = next((known for known in sorted(WRAPPED) if known in message), code)
    if code == "UNKNOWN_EXCEPTION":
        kind = OutcomeUnknown if answer.write else Transient
        return kind(message, vendor_code=code)
    if code in RATE_LIMITED or code.startswith("CONCURRENT"):
        wait = DAILY_LIMIT_SECONDS if message.startswith("TotalRequests") else BUSY_SECONDS
        return RateLimited(message, vendor_code=code, retry_after_seconds=wait)
    if code in DUPLICATE:
        return Duplicate(message, vendor_code=code, record_id=_in_the_way(first, message))
    if code in KINDS:
        return KINDS[code](message, vendor_code=code)
    return _refused(answer, code, message, first)


def _refused(
    answer: Reply, code: str, message: str, first: Mapping[str, object]
) -> AdapterError | None:
    if not 400 <= answer.status < 500:
        return None
    fields = first.get("fields")
    if isinstance(fields, list) and fields:
        return Invalid(message, vendor_code=code, field=str(fields[0]))
    return Rejected(message, vendor_code=code)


def _in_the_way(first: Mapping[str, object], message: str) -> str | None:
    """Return the id of the record that is there already: in the text, or in the duplicate result.

    Sources: section 4 (`DUPLICATE_VALUE`), section 10 (`DUPLICATES_DETECTED`).
    """
    named = re.search(r"record with id: ([A-Za-z0-9]{15,18})", message)
    if named:
        return named.group(1)
    result = first.get("duplicateResult")
    for name in ("matchResults", "matchRecords"):
        rows = result.get(name) if isinstance(result, Mapping) else None
        result = rows[0] if isinstance(rows, list) and rows else None
    record = result.get("record") if isinstance(result, Mapping) else None
    id_ = record.get("Id") if isinstance(record, Mapping) else None
    return id_ if isinstance(id_, str) else None


def _sign_in_error(answer: Reply) -> AdapterError | None:
    """Return what the token endpoint's refusal means: an object, not an array (section 2.4)."""
    body = answer.json
    if answer.status >= 500 or not isinstance(body, dict) or "error" not in body:
        return None
    code, text = str(body["error"]), str(body.get("error_description", ""))
    if code == "rate_limit_exceeded":
        return RateLimited(text, vendor_code=code, retry_after_seconds=DAILY_LIMIT_SECONDS)
    return Forbidden(f"Salesforce refuses the sign-in: {text or code}.", vendor_code=code)


def _first(body: object) -> Mapping[str, object]:
    if isinstance(body, list) and body and isinstance(body[0], dict):
        return body[0]
    return {}


def token_source(http: Callable[[], VendorHttp], config: SalesforceConfig) -> OAuth2Token:
    """Return the token source of the configured flow; tokens carry no expiry (section 2.5)."""

    async def fetch() -> Token:
        answer = await http().request(
            "POST",
            "/services/oauth2/token",
            operation="sign in",
            write=False,
            form=_grant(config.auth),
            authenticated=False,
        )
        value = answer.json.get("access_token") if isinstance(answer.json, dict) else None
        if not isinstance(value, str) or not value:
            raise ContractBroken("The token endpoint answered without an access token.")
        return Token(value=SecretStr(value))

    return OAuth2Token(fetch)


def _grant(auth: JwtBearer | ClientCredentials) -> dict[str, str]:
    if isinstance(auth, JwtBearer):
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": _assertion(auth),
        }
    return {
        "grant_type": "client_credentials",
        "client_id": auth.client_id,
        "client_secret": auth.client_secret.get_secret_value(),
    }


def _assertion(auth: JwtBearer) -> str:
    claims = {
        "iss": auth.consumer_key,
        "sub": auth.username,
        "aud": auth.audience,
        "exp": int(time.time()) + ASSERTION_SECONDS,
    }
    return jwt.encode(claims, auth.private_key.get_secret_value(), algorithm="RS256")
