"""The token endpoint and its neighbours (vendor page 2)."""

import base64
import binascii
import hashlib
import hmac
import re
import time
from urllib.parse import urlsplit

import jwt
from pydantic import JsonValue

from simulators.kit import Account, Call, Reply, is_account_name, secret_for
from simulators.salesforce.context import INTEGRATION_USER_ID
from simulators.salesforce.errors import JSON_TYPE, oauth_error
from simulators.salesforce.ids import organization_id
from simulators.salesforce.keys import private_key_pem, public_key
from simulators.salesforce.sessions import account_of_token, close_session, open_session

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
ASSERTION_SECONDS_MAX = 600
"""The vendor says three minutes; clients that send five get through, so skew is allowed for."""

_KEY_PREFIX = "3MVG9DT."
_LOGIN_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})


def credentials(account: str) -> dict[str, str]:
    """Return what a client needs for either grant."""
    return {
        "client_id": _KEY_PREFIX + account,
        "client_secret": _secret(account),
        "username": username(account),
        "private_key": private_key_pem(account),
        "audience": AUDIENCES[0],
        "organization_id": organization_id(account),
    }


def username(account: str) -> str:
    """Return the name of the integration user."""
    return f"integration@{account.lower()}.dealthread.example"


def account_of_sign_in(call: Call) -> str:
    """Return whose sign-in this claims to be; nothing is checked yet."""
    form = call.form
    client_id = form.get("client_id") or _basic(call)[0] or str(_claims(call).get("iss", ""))
    return _account_of(client_id) or account_of_token(form.get("token", "")) or ""


async def token(call: Call) -> Reply:
    """`POST /services/oauth2/token`."""
    grant = call.form.get("grant_type")
    if grant == JWT_BEARER:
        return _jwt_bearer(call)
    if grant == "client_credentials":
        return _client_credentials(call)
    return oauth_error("unsupported_grant_type", "grant type not supported")


async def revoke(call: Call) -> Reply:
    """`POST /services/oauth2/revoke`."""
    given = call.form.get("token") or call.query.get("token", "")
    name = account_of_token(given)
    if name is None or not close_session(call.open_account(name), given):
        return oauth_error("invalid_token", f"invalid token: {given}")
    return Reply(200)


async def userinfo(call: Call) -> Reply:
    """`GET /services/oauth2/userinfo`."""
    name = call.account.name
    body: JsonValue = {
        "sub": _identity_url(name),
        "user_id": INTEGRATION_USER_ID,
        "organization_id": organization_id(name),
        "preferred_username": username(name),
        "active": True,
    }
    return Reply(200, body, {"Content-Type": JSON_TYPE})


def _jwt_bearer(call: Call) -> Reply:
    claims = _claims(call)
    name = _account_of(str(claims.get("iss", "")))
    if name is None:
        return oauth_error("invalid_client_id", "client identifier invalid")
    try:
        jwt.decode(
            call.form.get("assertion", ""),
            public_key(name),
            algorithms=["RS256"],
            # Expiry is checked below: clients send it as text, too.
            options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
    except jwt.PyJWTError:
        return oauth_error("invalid_grant", "invalid assertion")
    if claims.get("aud") not in AUDIENCES:
        return oauth_error("invalid_grant", "audience is invalid")
    account = call.open_account(name)
    if not _is_timely(account, claims.get("exp")):
        return oauth_error("invalid_grant", "expired authorization code")
    if claims.get("sub") != username(name):
        return oauth_error("invalid_grant", "user hasn't approved this consumer")
    return _refused_user(account) or _granted(call, account)


def _client_credentials(call: Call) -> Reply:
    if urlsplit(call.origin).hostname in _LOGIN_HOSTS:
        return oauth_error("invalid_grant", "request not supported on this domain")
    form = call.form
    client_id, secret = _basic(call)
    client_id, secret = client_id or form.get("client_id", ""), secret or form.get("client_secret")
    name = _account_of(client_id)
    if name is None:
        return oauth_error("invalid_client_id", "client identifier invalid")
    if secret is None or not hmac.compare_digest(secret.encode(), _secret(name).encode()):
        return oauth_error("invalid_client", "invalid client credentials")
    account = call.open_account(name)
    issued_at = str(int(account.clock.now().timestamp() * 1000))
    signed = (_identity_url(name) + issued_at).encode()
    mac = hmac.new(_secret(name).encode(), signed, hashlib.sha256).digest()
    extra = {"signature": base64.b64encode(mac).decode(), "issued_at": issued_at}
    return _refused_user(account) or _granted(call, account, extra)


def _granted(call: Call, account: Account, extra: dict[str, str] | None = None) -> Reply:
    body: dict[str, JsonValue] = {
        "access_token": open_session(account),
        "scope": "api id",
        "instance_url": _instance_url(call, account.name),
        "id": _identity_url(account.name),
        "token_type": "Bearer",
        "api_instance_url": "https://api.salesforce.com",
        **(extra or {}),
    }
    headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-store", "Pragma": "no-cache"}
    return Reply(200, body, headers)


def _refused_user(account: Account) -> Reply | None:
    user = account.store.get("User", INTEGRATION_USER_ID)
    if user is None or user.fields.get("IsActive") is False:
        return oauth_error("inactive_user", "user is inactive")
    return None


def _is_timely(account: Account, expiry: object) -> bool:
    try:
        seconds = float(str(expiry))
    except ValueError:
        return False
    # The client signs by its own clock, whatever a test did to the account's.
    moments = (account.clock.now().timestamp(), time.time())
    return any(-60 <= seconds - moment <= ASSERTION_SECONDS_MAX for moment in moments)


def _instance_url(call: Call, name: str) -> str:
    host = urlsplit(call.origin).hostname or ""
    if host not in _LOGIN_HOSTS:
        return call.origin
    domain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"https://dealthread-{domain}.my.salesforce.com"


def _identity_url(name: str) -> str:
    return f"{AUDIENCES[0]}/id/{organization_id(name)}/{INTEGRATION_USER_ID}"


def _claims(call: Call) -> dict[str, object]:
    try:
        claims: dict[str, object] = jwt.decode(
            call.form.get("assertion", ""), options={"verify_signature": False}
        )
    except jwt.PyJWTError:
        return {}
    return claims


def _basic(call: Call) -> tuple[str, str | None]:
    scheme, _, encoded = call.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", None
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeError):
        return "", None
    client_id, _, secret = text.partition(":")
    return client_id, secret


def _account_of(client_id: str) -> str | None:
    name = client_id.removeprefix(_KEY_PREFIX)
    return name if name != client_id and is_account_name(name) else None


def _secret(account: str) -> str:
    return secret_for("salesforce", account, "client_secret")
