"""Salesforce on the wire: sign-in, SOQL, and what its errors mean.

Sources: vendor page sections 2 (authentication), 4 (status codes and errors), 7 (SOQL).
"""

import time
from collections.abc import Callable
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
DAILY_LIMIT_SECONDS: Final = 900.0
"""The daily limit lasts for hours (section 11): ask rarely."""
BUSY_SECONDS: Final = 5.0


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Salesforce means, or None to leave it to the status."""
    if answer.path.endswith("/oauth2/token"):
        return _sign_in_error(answer)
    first = _first(answer.json)
    code, message = str(first.get("errorCode", "")), str(first.get("message", ""))
    fields = first.get("fields")
    named = str(fields[0]) if isinstance(fields, list) and fields else None
    if code == "UNKNOWN_EXCEPTION":
        kind = OutcomeUnknown if answer.write else Transient
        return kind(message, vendor_code=code)
    # A trigger's exception may wrap a lock: the known code stands in its text (section 4).
    if code in TRANSIENT or (code == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" and _locked(message)):
        return Transient(message, vendor_code=code)
    if code in RATE_LIMITED:
        wait = DAILY_LIMIT_SECONDS if message.startswith("TotalRequests") else BUSY_SECONDS
        return RateLimited(message, vendor_code=code, retry_after_seconds=wait)
    if code in MISSING:
        return NotFound(message, vendor_code=code)
    if answer.status == 401:
        return None  # the HTTP layer renews the token once
    if code in FORBIDDEN:
        return Forbidden(message, vendor_code=code)
    if code in DUPLICATE:
        return Duplicate(message, vendor_code=code)
    if code and 400 <= answer.status < 500:
        return (
            Invalid(message, vendor_code=code, field=named)
            if named
            else Rejected(message, vendor_code=code)
        )
    return None


def _sign_in_error(answer: Reply) -> AdapterError | None:
    """Return what the token endpoint's refusal means: an object, not an array (section 2.4)."""
    body = answer.json
    if not isinstance(body, dict) or "error" not in body:
        return None
    code, text = str(body["error"]), str(body.get("error_description", ""))
    if code == "rate_limit_exceeded":
        return RateLimited(text, vendor_code=code, retry_after_seconds=DAILY_LIMIT_SECONDS)
    return Forbidden(f"Salesforce refuses the sign-in: {text or code}.", vendor_code=code)


def _locked(message: str) -> bool:
    return any(code in message for code in TRANSIENT)


def _first(body: object) -> dict[str, object]:
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
