"""Access tokens: made at sign-in, renewed by use, void after two hours without (page 2.5)."""

import base64
import binascii
from datetime import datetime, timedelta

from simulators.kit import Account, is_account_name, secret_for
from simulators.salesforce.context import section
from simulators.salesforce.ids import organization_id

LIFE_SECONDS = 7200
"""The default session timeout."""
SETTING = "session_seconds"
"""In an account's `extra`: another timeout."""
_SIGNATURE_LENGTH = 32


def open_session(account: Account) -> str:
    """Return a new access token; lapsed ones are forgotten."""
    sessions = section(account, "sessions")
    for token in [token for token in sessions if not _is_alive(account, token)]:
        del sessions[token]
    count = account.extra.get("session_count")
    number = (count if isinstance(count, int) else 0) + 1
    account.extra["session_count"] = number
    token = _token(account.name, number)
    sessions[token] = account.clock.now().isoformat()
    return token


def account_of_token(token: str) -> str | None:
    """Return whose token this is by its form and signature, dead or alive; None for garbage."""
    _, _, rest = token.partition("!AQ")
    encoded, _, tail = rest.partition(".")
    number, _, _ = tail.partition(".")
    try:
        padded = encoded + "=" * (-len(encoded) % 4)
        name = base64.urlsafe_b64decode(padded.encode("ascii")).decode("ascii")
    except (binascii.Error, UnicodeError, ValueError):
        return None
    if not is_account_name(name) or not number.isdecimal() or token != _token(name, int(number)):
        return None
    return name


def use_session(account: Account, token: str) -> bool:
    """Return whether a token is good, and renew it in the second half of its life."""
    if not _is_alive(account, token):
        return False
    sessions = section(account, "sessions")
    now = account.clock.now()
    if now - datetime.fromisoformat(str(sessions[token])) > _life(account) / 2:
        sessions[token] = now.isoformat()
    return True


def close_session(account: Account, token: str) -> bool:
    """Void a token and return whether it was there."""
    return section(account, "sessions").pop(token, None) is not None


def _is_alive(account: Account, token: str) -> bool:
    since = section(account, "sessions").get(token)
    if not isinstance(since, str):
        return False
    return account.clock.now() - datetime.fromisoformat(since) <= _life(account)


def _life(account: Account) -> timedelta:
    setting = account.extra.get(SETTING)
    return timedelta(seconds=setting if isinstance(setting, int) else LIFE_SECONDS)


def _token(name: str, number: int) -> str:
    encoded = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
    signature = secret_for("salesforce", name, "token", str(number))[:_SIGNATURE_LENGTH]
    return f"{organization_id(name)[:15]}!AQ{encoded}.{number}.{signature}"
