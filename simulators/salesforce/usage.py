"""API requests in the rolling 24 hours, counted by the hour (vendor page 11)."""

from datetime import timedelta

from simulators.kit import Account
from simulators.salesforce.context import section

REQUESTS_MAX = 100_000
"""Of an Enterprise organisation without user licences."""
SETTING = "api_requests_max"
"""In an account's `extra`: another limit."""
_WINDOW = timedelta(hours=24)


def allowed(account: Account) -> int:
    """Return how many requests a day the organisation may make."""
    setting = account.extra.get(SETTING)
    return setting if isinstance(setting, int) else REQUESTS_MAX


def used(account: Account) -> int:
    """Return how many requests it made within 24 hours."""
    oldest = (account.clock.now() - _WINDOW).isoformat()
    hours = section(account, "usage")
    for hour in [hour for hour in hours if hour <= oldest]:
        del hours[hour]
    return sum(count for count in hours.values() if isinstance(count, int))


def count_request(account: Account) -> bool:
    """Count a request and return whether it is still within the limit."""
    now = account.clock.now()
    hour = now.replace(minute=0, second=0, microsecond=0).isoformat()
    hours = section(account, "usage")
    before = hours.get(hour)
    if used(account) >= allowed(account):
        return False
    hours[hour] = (before if isinstance(before, int) else 0) + 1
    return True


def limit_info(account: Account) -> dict[str, str]:
    """Return the header that every authenticated answer carries."""
    return {"Sforce-Limit-Info": f"api-usage={used(account)}/{allowed(account)}"}
