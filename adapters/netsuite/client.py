"""NetSuite on the wire: sign-in, and what its errors mean.

Sources: vendor page sections 3 (authentication), 4.5 (errors), 4.6 (governance), 7 (RESTlet).
"""

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final, Unpack

import jwt
from pydantic import SecretStr

from adapters.auth import Authenticator, OAuth1Signer, OAuth2Token, Token
from adapters.errors import (
    AdapterError,
    ClosedPeriod,
    ContractBroken,
    Duplicate,
    Facts,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Transient,
)
from adapters.http import Reply, VendorHttp
from adapters.netsuite.config import ClientCredentials, NetSuiteConfig, TokenBased

VENDOR: Final = "netsuite"
TOKEN_PATH: Final = "/services/rest/auth/oauth2/v1/token"  # noqa: S105 - a path
RESTLET_PATH: Final = "/app/site/hosting/restlet.nl"
ASSERTION_SECONDS: Final = 300
BUSY_SECONDS: Final = 2.0
"""There is no Retry-After (section 4.6); the request was not executed."""


class HasDependents(Rejected):
    """The record cannot be deleted because others hang on it."""


class AlreadySubmitted(Rejected):
    """A batch with this idempotency key came before; `location` is its job (section 4.4)."""

    def __init__(self, message: str = "", *, location: str = "", **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.location = location


CODES: Final[dict[str, type[AdapterError]]] = {
    "NONEXISTENT_ID": NotFound,
    "INSUFFICIENT_PERMISSION": Forbidden,
    "RCRD_HAS_BEEN_CHANGED": Transient,
    "THIS_RECORD_CANNOT_BE_DELETED_BECAUSE_IT_HAS_DEPENDENT_RECORDS": HasDependents,
}
TEXTS: Final[dict[str, type[AdapterError]]] = {
    "transaction type specified is incorrect": NotFound,
    "dependent records": HasDependents,
    "open accounting period": ClosedPeriod,
    "closed period": ClosedPeriod,
    "date range of your accounting period": ClosedPeriod,
    "already exists": Duplicate,
    "record has been changed": Transient,
}
"""Parts of the text, lower case: a plain USER_ERROR says the rest in words (section 4.5)."""


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of NetSuite means, or None to leave it to the status."""
    for path, in_own_form in ((TOKEN_PATH, _sign_in_error), (RESTLET_PATH, _script_error)):
        if answer.path.endswith(path):
            return in_own_form(answer)
    return _record_error(answer)


def _record_error(answer: Reply) -> AdapterError | None:
    detail = _detail(answer.json)
    code, text = str(detail.get("o:errorCode", "")), str(detail.get("detail", ""))
    if answer.status == 429:
        wait = answer.retry_after_seconds or BUSY_SECONDS
        return RateLimited(text, vendor_code=code or None, retry_after_seconds=wait)
    if answer.status == 404 and not code:
        # A wrong address must never read as "this record is gone": an undo would believe it.
        return ContractBroken("Something else than NetSuite answers here.", raw=answer.text)
    if answer.status == 401 or not code:
        return None
    if code == "IDEMPOTENCY_ERROR":
        location = answer.headers.get("Location", "")
        return AlreadySubmitted(text, location=location, vendor_code=code)
    if code == "UNEXPECTED_ERROR":
        return (OutcomeUnknown if answer.write else Transient)(text, vendor_code=code)
    kind = CODES.get(code) or next(
        (kind for part, kind in TEXTS.items() if part in text.lower()), None
    )
    if kind is None and answer.status == 403:
        kind = Forbidden
    if kind is not None:
        return kind(text, vendor_code=code)
    if 400 <= answer.status < 500:
        field = detail.get("o:errorPath")
        return Invalid(text, vendor_code=code, field=str(field) if field else None)
    return None


def _detail(body: object) -> Mapping[str, object]:
    details = body.get("o:errorDetails") if isinstance(body, Mapping) else None
    if isinstance(details, list) and details and isinstance(details[0], Mapping):
        return details[0]
    return {}


def _script_error(answer: Reply) -> AdapterError | None:
    """Errors of a RESTlet have a form of their own, and 400 even for the limit (4.6, 7)."""
    body = answer.json.get("error") if isinstance(answer.json, Mapping) else None
    if answer.status == 401 or not isinstance(body, Mapping):
        return None
    code, text = str(body.get("code", "")), str(body.get("message", ""))
    if code == "SSS_REQUEST_LIMIT_EXCEEDED":
        return RateLimited(text, vendor_code=code, retry_after_seconds=BUSY_SECONDS)
    if answer.status >= 500 or code == "UNEXPECTED_ERROR":
        return OutcomeUnknown(text, vendor_code=code)
    known = (kind for part, kind in TEXTS.items() if part in text.lower())
    kind = CODES.get(code) or next(known, Invalid)
    return kind(text, vendor_code=code or None)


def _sign_in_error(answer: Reply) -> AdapterError | None:
    body = answer.json
    if answer.status >= 500 or not isinstance(body, Mapping) or "error" not in body:
        return None
    code = str(body["error"])
    return Forbidden(f"NetSuite refuses the sign-in: {code}.", vendor_code=code)


def authenticator(http: Callable[[], VendorHttp], config: NetSuiteConfig) -> Authenticator:
    """Return what signs or authorises each request."""
    auth = config.auth
    if isinstance(auth, TokenBased):
        return OAuth1Signer(
            realm=auth.account,
            consumer_key=auth.consumer_key,
            consumer_secret=auth.consumer_secret,
            token_id=auth.token_id,
            token_secret=auth.token_secret,
        )
    return OAuth2Token(lambda: _fetch(http(), config, auth))


async def _fetch(http: VendorHttp, config: NetSuiteConfig, auth: ClientCredentials) -> Token:
    answer = await http.request(
        "POST",
        TOKEN_PATH,
        operation="sign in",
        write=False,
        form={
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": _assertion(config, auth),
        },
        authenticated=False,
    )
    body = answer.json if isinstance(answer.json, Mapping) else {}
    value, life = body.get("access_token"), body.get("expires_in")
    if not isinstance(value, str) or not value:
        raise ContractBroken("The token endpoint answered without an access token.")
    seconds = float(life) if isinstance(life, int | str) else None
    return Token(value=SecretStr(value), expires_in_seconds=seconds)


def _assertion(config: NetSuiteConfig, auth: ClientCredentials) -> str:
    """Return the signed assertion; RS256 is refused, `exp` at most an hour ahead (section 3.2)."""
    now = int(time.time())
    scopes = ["rest_webservices", *(["restlets"] if config.void_script else [])]
    claims = {
        "iss": auth.client_id,
        "scope": scopes,
        "aud": config.base_url.rstrip("/") + TOKEN_PATH,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(
        claims,
        auth.private_key.get_secret_value(),
        algorithm=auth.algorithm,
        headers={"kid": auth.certificate_id, "typ": "JWT"},
    )
