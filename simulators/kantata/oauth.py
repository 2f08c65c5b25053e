"""Tokens (section 2): they never expire; they are revoked, or their user is disabled.

Which errors the token endpoint gives, and their texts, follow RFC 6749; the page is silent there.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from simulators.kantata.errors import answer
from simulators.kantata.scene import INTEGRATION_USER_ID
from simulators.kit import Account, Call, JsonValue, Reply, is_account_name, secret_for

CODE_SECONDS = 300
REDIRECT_URI = "https://dealthread.example/oauth/callback"

_CLIENT_PREFIX = "dt-"
_PERSONAL = "kp"
_ISSUED = "ko"


def credentials(account: str) -> dict[str, str]:
    """Return what a client needs: the administrator's own token, or the app's id and secret."""
    return {
        "token": _token(_PERSONAL, account, 0),
        "client_id": _CLIENT_PREFIX + account,
        "client_secret": _secret(account),
        "redirect_uri": REDIRECT_URI,
        "user_id": INTEGRATION_USER_ID,
    }


def account_of_token(token: str) -> str | None:
    """Return whose token this is by its form and signature, revoked or not; None for garbage."""
    kind, _, rest = token.partition(".")
    name, _, tail = rest.rpartition(".")
    name, _, number = name.rpartition(".")
    if kind not in (_PERSONAL, _ISSUED) or not tail or not number.isdecimal():
        return None
    if not is_account_name(name) or token != _token(kind, name, int(number)):
        return None
    return name


def is_valid(account: Account, token: str) -> bool:
    """Whether a token of the account is good: not revoked, and its user not disabled."""
    user = account.store.get("users", INTEGRATION_USER_ID)
    if user is None or user.fields.get("disabled") is True or token in _section(account, "revoked"):
        return False
    return token.startswith(_PERSONAL) or token in _section(account, "tokens")


def revoke_token(account: Account, token: str) -> None:
    """Void a token for good."""
    _section(account, "revoked")[token] = True


def account_of_sign_in(call: Call) -> str:
    """Return whose sign-in this claims to be; nothing is checked yet."""
    given = {**call.query, **call.form}
    name = _account_of_client(given.get("client_id", ""))
    return name or account_of_token(given.get("token", "")) or ""


async def authorize(call: Call) -> Reply:
    """`GET /oauth/authorize`: the administrator is signed in and agrees at once."""
    query = call.query
    name = _account_of_client(query.get("client_id", ""))
    if name is None:
        return _refusal(401, "invalid_client", "Client authentication failed")
    if query.get("redirect_uri") != REDIRECT_URI:
        return _refusal(400, "invalid_redirect_uri", "The redirect uri included is not valid")
    state = {"state": query["state"]} if "state" in query else {}
    if query.get("response_type") != "code":
        return _redirect({"error": "unsupported_response_type", **state})
    account = call.open_account(name)
    code = secret_for("kantata", name, "code", str(_next(account, "code_count")))[:40]
    _section(account, "codes")[code] = account.clock.now().isoformat()
    return _redirect({"code": code, **state})


async def token(call: Call) -> Reply:
    """`POST /oauth/token`: a code, once and within five minutes, for an access token."""
    form = call.form
    name = _client(form)
    if name is None:
        return _refusal(401, "invalid_client", "Client authentication failed")
    if form.get("grant_type") != "authorization_code":
        return _refusal(400, "unsupported_grant_type", "The grant type is not supported")
    account = call.open_account(name)
    issued = _section(account, "codes").pop(form.get("code", ""), None)
    if (
        not isinstance(issued, str)
        or account.clock.now() - datetime.fromisoformat(issued) > timedelta(seconds=CODE_SECONDS)
        or form.get("redirect_uri") != REDIRECT_URI
    ):
        return _refusal(400, "invalid_grant", "The authorization grant is invalid or expired")
    made = _token(_ISSUED, name, _next(account, "token_count"))
    _section(account, "tokens")[made] = True
    return answer(200, {"access_token": made, "token_type": "bearer"})


async def revoke(call: Call) -> Reply:
    """`POST /oauth/revoke`: an unknown token is no error (RFC 7009)."""
    form = call.form
    name = _client(form)
    if name is None:
        return _refusal(401, "invalid_client", "Client authentication failed")
    given = form.get("token", "")
    if account_of_token(given) == name:
        revoke_token(call.open_account(name), given)
    return answer(200, {})


def _client(form: Mapping[str, str]) -> str | None:
    name = _account_of_client(form.get("client_id", ""))
    return name if name is not None and form.get("client_secret") == _secret(name) else None


def _account_of_client(client_id: str) -> str | None:
    name = client_id.removeprefix(_CLIENT_PREFIX)
    return name if name != client_id and is_account_name(name) else None


def _token(kind: str, account: str, number: int) -> str:
    signature = secret_for("kantata", account, kind, str(number))[:40]
    return f"{kind}.{account}.{number}.{signature}"


def _secret(account: str) -> str:
    return secret_for("kantata", account, "client")


def _section(account: Account, name: str) -> dict[str, JsonValue]:
    found = account.extra.setdefault(name, {})
    if not isinstance(found, dict):
        raise TypeError(f"{name} in the account's state must be an object")
    return found


def _next(account: Account, name: str) -> int:
    count = account.extra.get(name)
    number = (count if isinstance(count, int) else 0) + 1
    account.extra[name] = number
    return number


def _redirect(parameters: Mapping[str, str]) -> Reply:
    return Reply(302, None, {"Location": f"{REDIRECT_URI}?{urlencode(parameters)}"})


def _refusal(status: int, code: str, description: str) -> Reply:
    return answer(status, {"error": code, "error_description": description})
