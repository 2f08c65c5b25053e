"""Request limits (section 4). The vendor's numbers are not public, so none holds until one is set.

A limit is set in the record `rate_limits` 1, as a person would in the vendor's own screen: a name
below, and how many requests a minute it allows.
"""

from simulators.kantata.errors import rate_limited
from simulators.kit import Account, JsonValue

TYPE = "rate_limits"
RECORD_ID = "1"
GENERAL = "general"
CONCURRENT = "concurrent"
OWN_LIMITS = (
    "POST workspaces",
    "GET workspaces",
    "POST custom_field_values",
    "GET custom_field_values",
    "POST workspaces/invite",
)
"""Requests counted apart, of those that are simulated."""
WINDOW_SECONDS = 60.0

_SEEN = "requests_seen"


def set_up(account: Account) -> None:
    """Add the record in which limits are set."""
    names = (GENERAL, CONCURRENT, *OWN_LIMITS)
    account.store.insert(TYPE, dict.fromkeys(names), None, RECORD_ID)


def count_request(account: Account, method: str, collection: str) -> None:
    """Count a request, a bulk one once, against its own limit or the general one.

    Raises:
        ApiError: 429, without any header.
    """
    own = f"{method} {collection}"
    name = own if own in OWN_LIMITS else GENERAL
    limit = _limit(account, name)
    if limit is None:
        return
    now = account.clock.now().timestamp()
    seen = account.extra.setdefault(_SEEN, {})
    if not isinstance(seen, dict):
        raise TypeError("the requests seen in the account's state are damaged")
    held = seen.get(name)
    stamps = held if isinstance(held, list) else []
    recent: list[JsonValue] = [
        stamp for stamp in stamps if isinstance(stamp, float) and now - stamp < WINDOW_SECONDS
    ]
    seen[name] = recent
    if len(recent) >= limit:
        raise rate_limited()
    recent.append(now)


def concurrency_limit(account: Account) -> int | None:
    """Return how many requests may run at once, None for any number."""
    return _limit(account, CONCURRENT)


def _limit(account: Account, name: str) -> int | None:
    record = account.store.get(TYPE, RECORD_ID)
    value = None if record is None else record.fields.get(name)
    return value if isinstance(value, int) else None
