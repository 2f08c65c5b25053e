"""Accounting periods: which one a day falls in, what is locked in it, and closing it.

Source: vendor page, 4.5 and 5.12. A person closes one through the control origin:
`PATCH /netsuite/records/accountingPeriod/{id}` with `{"fields": {"closed": true}}` sets every lock
with it, and `{"closed": false}` lifts them (simulator choice).
"""

from simulators.kit import Account, Record
from simulators.netsuite import errors
from simulators.netsuite.draft import Draft
from simulators.netsuite.state import text

RECEIVABLES = ("closed", "arLocked", "allLocked")
PAYABLES = ("closed", "apLocked", "allLocked")
LEDGER = ("closed", "allLocked")
"""The flags that forbid postings of a kind: to customers, to vendors and employees, of any kind."""
_LOCKS = ("arLocked", "apLocked", "allLocked")


def period_of(account: Account, day: str) -> Record | None:
    """Return the month that a day falls in; quarters and years are not posted to."""
    for period in account.store.list("accountingPeriod"):
        fields = period.fields
        if any(fields.get(flag) for flag in ("isQuarter", "isYear", "isAdjust")):
            continue
        if text(fields, "startDate") <= day <= text(fields, "endDate"):
            return period
    return None


def open_period(account: Account, day: str, locks: tuple[str, ...]) -> Record:
    """Return the period to post to.

    Raises:
        ReplyError: there is none, or one of the locks is on.
    """
    period = period_of(account, day)
    if period is None or any(period.fields.get(lock) for lock in locks):
        raise errors.closed_period()
    return period


def check_period(draft: Draft) -> None:
    """Set or lift the locks with `closed`, unless they are given too.

    Raises:
        ReplyError: name or dates are missing.
    """
    draft.require("periodName", "startDate", "endDate")
    was = bool(draft.before.fields.get("closed")) if draft.before is not None else False
    closed = bool(draft.fields.get("closed"))
    for lock in _LOCKS:
        if closed != was and lock not in draft.sent:
            draft.fields[lock] = closed


def today(account: Account) -> str:
    """Return the account's date."""
    return account.clock.now().date().isoformat()
