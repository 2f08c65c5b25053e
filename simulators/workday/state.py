"""One tenant's people and organizations, and what they are on a day.

A worker's record has what never changes (`WID`, ids, type) and `versions`: whole rows, each from
its `Effective_Date` until the next one.
"""

# ruff: noqa: A002 - `id` and `type` are what every vendor calls them

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta, timezone

from pydantic import JsonValue

from simulators.kit import Account, Record

Fields = dict[str, JsonValue]

WORKER = "worker"
COST_CENTER = "cost_center"
SUPERVISORY = "supervisory_organization"
COMPANY = "company"
REPORT = "report"
API_CLIENT = "api_client"
"""The API client's settings and the ISU's rights, as one record that a test can change."""
ISU = "ISU_Dealthread"

FROM = "Effective_Date"
TENANT_ZONE = timezone(timedelta(hours=-8))
"""Pacific time, without summer time: the tenant's day may be the day before (section 8)."""


def wid(*names: str) -> str:
    """Return the 32 hex digits by which Workday knows an object."""
    return hashlib.sha256("/".join(("workday", *names)).encode()).hexdigest()[:32]


def make_id(type: str, number: int) -> str:
    """Return the id of a record that is created without one."""
    return wid(type, "number", str(number))


def api_client(account: Account) -> Record:
    """Return the settings of the API client."""
    found = account.store.get(API_CLIENT, "1")
    if found is None:
        raise LookupError("the account has no API client")
    return found


def today(account: Account) -> date:
    """Return the day in the tenant's time zone."""
    return account.clock.now().astimezone(TENANT_ZONE).date()


def versions(worker: Record) -> list[Fields]:
    """Return a worker's versions, oldest first."""
    rows = worker.fields.get("versions")
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return sorted(found, key=lambda row: str(row[FROM]))


def version_on(worker: Record, on: date) -> Fields | None:
    """Return a worker's row on a day; a future hire shows the first one, with its own date."""
    rows = versions(worker)
    past = [row for row in rows if str(row[FROM]) <= on.isoformat()]
    return past[-1] if past else next(iter(rows), None)


def is_active(row: Mapping[str, JsonValue], on: date) -> bool:
    """Whether the worker is employed on that day; a future hire is not yet."""
    return row.get("Active") == "1" and str(row[FROM]) <= on.isoformat()


def change(account: Account, worker: Record, changes: Fields) -> Record:
    """Change a worker: with `Effective_Date` from that day on, else today's version itself.

    Raises:
        ValueError: the date is none.
    """
    rows = versions(worker)
    if changes.keys() & {"versions", "WID"}:
        return account.store.update(worker, changes)
    given = changes.get(FROM)
    day = today(account) if given is None else date.fromisoformat(str(given))
    base = version_on(worker, day) or {}
    start = str(base.get(FROM, day)) if given is None else day.isoformat()
    merged: Fields = {**base, **changes, FROM: start}
    row: Fields = {name: value for name, value in merged.items() if value is not None}
    kept = [each for each in rows if each[FROM] != start]
    ordered: list[Fields] = sorted([*kept, row], key=lambda each: str(each[FROM]))
    made: list[JsonValue] = [*ordered]
    return account.store.update(worker, {"versions": made})
