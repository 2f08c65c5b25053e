"""Workday on the wire: sign-in, reports as rows, and what its errors mean.

Sources: vendor page, sections 2.1 (token), 3 (errors), 4 (reports), 6 (limits).
"""

import base64
from collections.abc import Mapping
from typing import Final

from pydantic import SecretStr

from adapters.auth import Token
from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
)
from adapters.http import Answer, Reply, VendorHttp
from adapters.wire import JsonValue
from adapters.workday.config import RefreshToken

VENDOR: Final = "workday"
BUSY_SECONDS: Final = 5.0
"""There is no Retry-After (section 6)."""
TOKEN_SECONDS: Final = 3600.0
"""Life of a token where its endpoint does not tell (section 2.1)."""
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
"""Reports are not paged (section 4): some 400,000 workers."""
STATUSES: Final[Mapping[int, type[AdapterError]]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
}
"""Statuses with an error body (section 3). 5xx may be throttling, a fault or maintenance, and is
tried again, as every call here only reads."""
CLIENT_FAULTS: Final[Mapping[str, type[AdapterError]]] = {
    "Client.validationError": Invalid,
    "Client.authenticationError": Forbidden,
}
"""Fault codes that a status 500 may carry and that no repetition mends (section 5)."""

Row = Mapping[str, JsonValue]


def token_path(tenant: str) -> str:
    """Return the address of the token endpoint."""
    return f"/ccx/oauth2/{tenant}/token"


def classify(answer: Reply) -> AdapterError | None:
    """Return what an error answer of Workday means, or None to leave it to the status."""
    body = answer.json
    text = body.get("error") if isinstance(body, dict) else None
    if answer.path.startswith("/ccx/oauth2/"):
        return _sign_in_error(answer, text, body)
    for code, fault in CLIENT_FAULTS.items():
        if answer.status >= 500 and code in answer.text:
            return fault(answer.text, vendor_code=code)
    kind = STATUSES.get(answer.status)
    if kind is RateLimited:
        wait = answer.retry_after_seconds or BUSY_SECONDS
        return RateLimited(_text(text), retry_after_seconds=wait)
    if not isinstance(text, str):
        # A wrong host must not read as "there is no such report".
        wrong = "Something else than Workday answers here."
        return ContractBroken(wrong, raw=answer.text) if answer.status == 404 else None
    detail = _first_detail(body)
    code_ = _text(detail.get("code")) or None
    if kind is Invalid:
        return Invalid(text, vendor_code=code_, field=_text(detail.get("field")) or None)
    if kind is NotFound:
        return NotFound(
            "Workday has no such report, or it is not shared with the integration's user: " + text,
            vendor_code=code_,
        )
    return kind(text, vendor_code=code_) if kind else None


def _sign_in_error(answer: Reply, code: JsonValue, body: JsonValue) -> AdapterError | None:
    if answer.status == 429:
        return RateLimited(_text(code), retry_after_seconds=BUSY_SECONDS)
    if answer.status >= 500:
        return None
    if not isinstance(code, str) or not isinstance(body, dict):
        return ContractBroken("Something else than Workday answers here.", raw=answer.text)
    said = _text(body.get("error_description")) or code
    text = f"Workday refuses the sign-in: {said}."
    if code == "invalid_grant":
        text += " Authorize the API client again, and put in its new refresh token."
    return Forbidden(text, vendor_code=code)


def _first_detail(body: JsonValue) -> Row:
    details = body.get("errors") if isinstance(body, dict) else None
    first = details[0] if isinstance(details, list) and details else None
    return first if isinstance(first, dict) else {}


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def report_rows(answer: Answer) -> tuple[Row, ...]:
    """Return a report's rows; an empty report has an empty `Report_Entry`, or none (section 4).

    Raises:
        ContractBroken: this is no report.
    """
    body = answer.json
    entries = body.get("Report_Entry", []) if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise ContractBroken("Workday answered without report entries.", raw=answer.text)
    rows = tuple(entry for entry in entries if isinstance(entry, dict))
    if len(rows) != len(entries):
        raise ContractBroken("Workday sent report entries that are no rows.", raw=answer.text)
    return rows


class SignIn:
    """The refresh grant; it keeps a refresh token that replaces the configured one.

    A replaced token is lost with the process, so the client must not rotate them (set-up).
    """

    def __init__(self, auth: RefreshToken) -> None:
        """Start with the configured refresh token."""
        self._auth = auth
        self._refresh_token = auth.refresh_token
        self.http: VendorHttp | None = None

    async def fetch(self) -> Token:
        """Return a new access token.

        Raises:
            Forbidden: the client or its refresh token is not accepted.
        """
        auth = self._auth
        pair = f"{auth.client_id}:{auth.client_secret.get_secret_value()}"
        proof = base64.b64encode(pair.encode()).decode()
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._refresh_token.get_secret_value(),
        }
        answer = await self.ask(form, {"Authorization": f"Basic {proof}"})
        body = answer.json if isinstance(answer.json, dict) else {}
        value, newer = body.get("access_token"), body.get("refresh_token")
        if not isinstance(value, str) or not value:
            raise ContractBroken("The token endpoint answered without an access token.")
        if isinstance(newer, str) and newer:
            self._refresh_token = SecretStr(newer)
        return Token(SecretStr(value), _seconds(body.get("expires_in")))

    async def ask(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Send something to the token endpoint."""
        if self.http is None:
            raise RuntimeError("the HTTP client is not there yet")
        return await self.http.request(
            "POST",
            token_path(self._auth.tenant),
            operation="sign in",
            write=False,
            form=form,
            headers=headers,
            authenticated=False,
        )


def _seconds(value: JsonValue) -> float:
    try:
        life = float(str(value))
    except ValueError:
        return TOKEN_SECONDS
    return life if 0 < life < float("inf") else TOKEN_SECONDS
