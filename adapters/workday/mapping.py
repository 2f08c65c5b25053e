"""Report rows <-> workers and cost centers; pure.

Sources: vendor page, section 4 (values are text, booleans `1`/`0`, missing values are omitted
keys, references are lists or objects with a descriptor) and section 8 (what bites).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from adapters.errors import ContractBroken
from adapters.wire import JsonValue
from adapters.workday.client import Row
from adapters.workday.config import CostCenterColumns, WorkdayConfig
from canonical.money import AMOUNT_MAX, minor_digits
from canonical.people import CostCenter, Worker

WID: Final = re.compile(r"[0-9a-f]{32}")
EMAIL: Final = re.compile(r"[^\s@\x00-\x1f]{1,200}@[^\s@\x00-\x1f]{1,120}")
TRUTHS: Final[Mapping[str, bool]] = {"1": True, "0": False, "true": True, "false": False}
_NAMING: Final = ("Descriptor", "@Descriptor", "descriptor", "ID", "id")


@dataclass(frozen=True)
class Version:
    """A worker's row with the WID that it belongs to."""

    wid: str
    worker: Worker


def usable_email(email: str) -> str:
    """Return the address in lower case, or an empty string where it is none."""
    found = email.strip().lower()
    return found if EMAIL.fullmatch(found) else ""


def text_of(value: JsonValue) -> str:
    """Return a column's text; of a reference its descriptor or id, of several the first."""
    if isinstance(value, list):
        return text_of(value[0]) if value else ""
    if isinstance(value, dict):
        return next((text_of(value[name]) for name in _NAMING if name in value), "")
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else str(value).strip()


def versions_on(rows: Iterable[Row], on: date, config: WorkdayConfig) -> tuple[Version, ...]:
    """Return the rows in force on a day; who is hired later is there with a future date.

    Raises:
        ContractBroken: a column is missing or unreadable, or a worker has two rows.
    """
    found = [version(row, config) for row in rows]
    seen: set[str] = set()
    for each in found:
        if each.wid in seen:
            raise ContractBroken(
                f"The workers report has worker {each.worker.id} twice: build it with one row "
                "for each worker, of the primary job."
            )
        seen.add(each.wid)
    return tuple(each for each in found if each.worker.valid_from <= on)


def version(row: Row, config: WorkdayConfig) -> Version:
    """Return one row of the workers report.

    Raises:
        ContractBroken: naming the column.
    """
    columns = config.worker_columns
    wid = text_of(row.get(columns.wid))
    if not WID.fullmatch(wid):
        raise ContractBroken(f"The column {columns.wid} of the workers report has no WID.")
    ids = (columns.employee_id, columns.contingent_worker_id)
    id_ = next((found for name in ids if (found := text_of(row.get(name)))), wid)
    rate, currency = _cost(row, config, id_)
    company = text_of(row.get(columns.company))
    worker = Worker(
        id=id_,
        name=text_of(row.get(columns.name)),
        email=usable_email(text_of(row.get(columns.email))),
        role=text_of(row.get(columns.role)),
        employee_class=text_of(row.get(columns.employee_class)),
        legal_entity=config.companies.get(company, company),
        cost_center=text_of(row.get(columns.cost_center)),
        cost_rate=rate,
        cost_currency=currency,
        valid_from=_day(row, columns.effective_date, id_),
        active=_truth(row, columns.active, id_),
    )
    return Version(wid, worker)


def _cost(row: Row, config: WorkdayConfig, id_: str) -> tuple[Decimal | None, str]:
    """Return rate and currency, both or neither: one alone may be hidden by a privacy policy."""
    columns = config.worker_columns
    text, currency = text_of(row.get(columns.cost_rate)), text_of(row.get(columns.cost_currency))
    if not text or not currency:
        return None, ""
    try:
        rate = Decimal(text)
    except InvalidOperation:
        raise unreadable(columns.cost_rate, id_) from None
    if not rate.is_finite() or not 0 <= rate <= AMOUNT_MAX:
        raise unreadable(columns.cost_rate, id_)
    if minor_digits(currency) is None:
        raise unreadable(columns.cost_currency, id_)
    return rate, currency


def _day(row: Row, column: str, id_: str) -> date:
    # A date may carry the tenant's offset: 2026-01-31-08:00 (unverified).
    try:
        return date.fromisoformat(text_of(row.get(column))[:10])
    except ValueError:
        raise unreadable(column, id_) from None


def _truth(row: Row, column: str, id_: str) -> bool:
    found = TRUTHS.get(text_of(row.get(column)).lower())
    if found is None:
        raise unreadable(column, id_)
    return found


def unreadable(column: str, id_: str) -> ContractBroken:
    """Return the error for a required or malformed value."""
    return ContractBroken(f"The column {column} of {id_} is missing or unreadable in the report.")


def one_person(versions: Iterable[Version]) -> tuple[Worker, ...]:
    """Return the versions by e-mail address and date, without the idle rows of a second worker id.

    Whoever changes from contingent worker to employee has two workers with one address, of which
    the old one is inactive (section 8): it must not hide the new one.
    """
    by_email: dict[str, list[Version]] = defaultdict(list)
    for each in versions:
        by_email[each.worker.email].append(each)
    kept: list[Worker] = []
    for email, same in by_email.items():
        kept += [each.worker for each in same if not email or not _is_idle(each, same)]
    return tuple(sorted(kept, key=lambda worker: (worker.email, worker.valid_from, worker.id)))


def _is_idle(version: Version, same: Sequence[Version]) -> bool:
    if version.worker.active:
        return False
    day = version.worker.valid_from
    latest: dict[str, Worker] = {}
    for other in sorted(same, key=lambda each: each.worker.valid_from):
        if other.wid != version.wid and other.worker.valid_from <= day:
            latest[other.wid] = other.worker
    return any(worker.active for worker in latest.values())


def cost_center(row: Row, columns: CostCenterColumns, companies: Mapping[str, str]) -> CostCenter:
    """Return one row of the cost centers report.

    Raises:
        ContractBroken: naming the column.
    """
    id_ = text_of(row.get(columns.id))
    if not id_:
        raise ContractBroken(f"The column {columns.id} of the cost centers report is empty.")
    company = text_of(row.get(columns.company))
    return CostCenter(
        id=id_,
        name=text_of(row.get(columns.name)) or id_,
        legal_entity=companies.get(company, company),
        active=_truth(row, columns.active, id_),
    )
