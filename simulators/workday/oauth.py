"""Sign-in: the token endpoint of an API client for integrations, and the ISU's password.

Sources: vendor page, sections 2.1 and 2.3. Only the refresh grant is served; which statuses the
refusals have is unverified.
"""

import base64
import binascii
import hmac
from datetime import datetime, timedelta

from pydantic import JsonValue

from simulators.kit import Account, Call, Reply, is_account_name, secret_for
from simulators.workday.errors import oauth_error
from simulators.workday.state import API_CLIENT, ISU, api_client

_CLIENT_PREFIX = "dt-"
_TENANT_PREFIX = "dealthread_"
_FIRST_REFRESH = 0


def credentials(account: str) -> dict[str, str]:
    """Return what a client needs: the API client, its refresh token, and the ISU's password."""
    return {
        "tenant": tenant(account),
        "client_id": _CLIENT_PREFIX + account,
        "client_secret": _secret(account),
        "refresh_token": _token("wr", account, _FIRST_REFRESH),
        "username": ISU,
        "password": _password(account),
    }


def tenant(account: str) -> str:
    """Return the tenant's name, as in every path."""
    return _TENANT_PREFIX + account


def account_of_tenant(name: str) -> str | None:
    """Return whose tenant this is; None for a name that no tenant has."""
    account = name.removeprefix(_TENANT_PREFIX)
    return account if account != name and is_account_name(account) else None


def account_of_sign_in(call: Call) -> str:
    """Return whose sign-in this claims to be; nothing is checked yet."""
    return account_of_tenant(call.params.get("tenant", "")) or ""


def account_of_request(call: Call) -> tuple[str | None, str | None]:
    """Return the account that a request's proof is of, and of whom it claims to be.

    The first is None where the proof is missing, wrong or expired; RaaS takes a password too.
    """
    scheme, _, given = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic" and "/service/customreport2/" in call.path:
        user, password = _basic(given)
        user, _, of = user.partition("@")
        name = account_of_tenant(of or call.params.get("tenant", ""))
        good = name is not None and user == ISU and _same(password, _password(name))
        return (name if good else None), name
    if scheme.lower() != "bearer":
        return None, None
    name = _account_of_token("wa", given)
    if name is None:
        return None, None
    return (name if _is_alive(call.open_account(name), given) else None), name


def void_token(account: Account, call: Call) -> None:
    """Let the token of a request expire."""
    _section(account, "tokens").pop(call.headers.get("Authorization", "").partition(" ")[2], None)


async def token(call: Call) -> Reply:
    """`POST /ccx/oauth2/{tenant}/token` with `grant_type=refresh_token`."""
    form = call.form
    name = _client(call, form)
    if name is None or tenant(name) != call.params["tenant"]:
        return oauth_error(401, "invalid_client", "Client authentication failed")
    if form.get("grant_type") != "refresh_token":
        return oauth_error(400, "invalid_request", "Unsupported grant type")
    account = call.open_account(name)
    current = int(str(account.extra.get("refresh", _FIRST_REFRESH)))
    if not _same(form.get("refresh_token", ""), _token("wr", name, current)):
        return oauth_error(400, "invalid_grant", "The refresh token is invalid or has expired")
    client = api_client(account)
    if client.fields.get("rotates_refresh_tokens") is True:
        current += 1
        account.extra["refresh"] = current
    body: dict[str, JsonValue] = {
        "access_token": _issue(account, int(str(client.fields["token_seconds"]))),
        "token_type": "Bearer",
        "refresh_token": _token("wr", name, current),
    }
    if client.fields.get("tells_expiry") is True:
        body["expires_in"] = client.fields["token_seconds"]
    return Reply(200, body)


def _issue(account: Account, seconds: int) -> str:
    count = int(str(account.extra.get("token_count", 0))) + 1
    account.extra["token_count"] = count
    made = _token("wa", account.name, count)
    until = account.clock.now() + timedelta(seconds=seconds)
    _section(account, "tokens")[made] = until.isoformat()
    return made


def _is_alive(account: Account, given: str) -> bool:
    until = _section(account, "tokens").get(given)
    alive = isinstance(until, str) and account.clock.now() < datetime.fromisoformat(until)
    return alive and account.store.get(API_CLIENT, "1") is not None


def _client(call: Call, form: dict[str, str]) -> str | None:
    """Return whose client asks, by the Basic header or the body (both are accepted)."""
    scheme, _, given = call.headers.get("Authorization", "").partition(" ")
    id_, secret = _basic(given) if scheme.lower() == "basic" else ("", "")
    id_, secret = id_ or form.get("client_id", ""), secret or form.get("client_secret", "")
    name = id_.removeprefix(_CLIENT_PREFIX)
    known = name != id_ and is_account_name(name)
    return name if known and _same(secret, _secret(name)) else None


def _basic(given: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _account_of_token(kind: str, given: str) -> str | None:
    head, _, rest = given.partition(".")
    name, _, _ = rest.rpartition(".")
    name, _, number = name.rpartition(".")
    if head != kind or not number.isdecimal() or not is_account_name(name):
        return None
    return name if _same(given, _token(kind, name, int(number))) else None


def _token(kind: str, account: str, number: int) -> str:
    return f"{kind}.{account}.{number}.{secret_for('workday', account, kind, str(number))[:40]}"


def _secret(account: str) -> str:
    return secret_for("workday", account, "client")


def _password(account: str) -> str:
    return secret_for("workday", account, "isu")[:32]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _section(account: Account, name: str) -> dict[str, JsonValue]:
    found = account.extra.setdefault(name, {})
    if not isinstance(found, dict):
        raise TypeError(f"{name} in the account's state must be an object")
    return found
