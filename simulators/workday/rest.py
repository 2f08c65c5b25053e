"""The REST look-ups: workers of the services `staffing` and `common`, and organizations.

Sources: vendor page, section 3. Employee ids and whether someone is active are not in the list:
that is what reports are for.
"""

import re
from collections.abc import Callable
from http import HTTPStatus

from pydantic import JsonValue

from simulators.kit import Account, Call, Record, Reply
from simulators.workday import errors
from simulators.workday.state import (
    COMPANY,
    COST_CENTER,
    SUPERVISORY,
    WORKER,
    Fields,
    api_client,
    is_active,
    today,
    version_on,
    versions,
)

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
_KINDS = {COST_CENTER: "Cost Center", COMPANY: "Company", SUPERVISORY: "Supervisory"}
_PAGE = frozenset({"limit", "offset"})
_WID = re.compile(r"[0-9a-f]{32}")


async def list_workers(call: Call) -> Reply:
    """`GET .../workers`: employed people, and those who left where they are asked for."""
    _allow(call, "Staffing")
    _know(call, _PAGE | {"search", "includeTerminatedWorkers"})
    wanted = call.query.get("search", "").casefold()
    all_of_them = call.query.get("includeTerminatedWorkers", "false").lower() == "true"
    day = today(call.account)
    found = []
    for worker in _visible(call.account):
        row = version_on(worker, day)
        if row is None or not (all_of_them or is_active(row, day)):
            continue
        if wanted in str(row.get("Worker", "")).casefold():
            found.append(worker)
    return _page(call, found, lambda worker: _item(call, worker))


async def read_worker(call: Call) -> Reply:
    """`GET .../workers/{id}` by WID or `Employee_ID=...`."""
    _allow(call, "Staffing")
    _know(call, frozenset())
    worker = _worker(call)
    item = _item(call, worker)
    jobs = worker.fields.get("additional_jobs")
    extra: list[JsonValue] = []
    for name in jobs if isinstance(jobs, list) else []:
        extra.append({"descriptor": f"{name} - additional", "businessTitle": name})
    return Reply(200, {**item, "additionalJobs": extra}, {"Content-Type": errors.JSON_TYPE})


async def direct_reports(call: Call) -> Reply:
    """`GET .../workers/{id}/directReports`."""
    _allow(call, "Staffing")
    _know(call, _PAGE)
    manager, day = _worker(call), today(call.account)
    found = [
        worker
        for worker in _visible(call.account)
        if (row := version_on(worker, day)) is not None
        and row.get("Manager_Employee_ID") == manager.key
    ]
    return _page(call, found, lambda worker: _item(call, worker))


async def service_dates(call: Call) -> Reply:
    """`GET .../workers/{id}/serviceDates`."""
    _allow(call, "Staffing")
    rows = versions(_worker(call))
    dates: Fields = {"hireDate": rows[-1].get("Hire_Date"), "id": rows[-1].get("Hire_Date")}
    dates["originalHireDate"] = rows[0].get("Hire_Date")
    if "Termination_Date" in rows[-1]:
        dates["terminationDate"] = rows[-1]["Termination_Date"]
    body: Fields = {"total": 1, "data": [dates]}
    return Reply(200, body, {"Content-Type": errors.JSON_TYPE})


async def list_organizations(call: Call) -> Reply:
    """`GET .../organizations`: companies, cost centers and supervisory organizations."""
    _allow(call, "Organizations and Roles")
    _know(call, _PAGE | {"organizationType"})
    wanted = call.query.get("organizationType")
    kinds = [kind for kind, name in _KINDS.items() if wanted in {None, kind, name}]
    found = [record for kind in kinds for record in call.account.store.list(kind)]
    return _page(call, found, lambda record: _organization(call, record))


async def list_supervisory(call: Call) -> Reply:
    """`GET .../supervisoryOrganizations`."""
    _allow(call, "Organizations and Roles")
    _know(call, _PAGE)
    found = call.account.store.list(SUPERVISORY)
    return _page(call, found, lambda record: _organization(call, record))


def _visible(account: Account) -> list[Record]:
    policies = api_client(account).fields.get("domain_policies")
    allowed = isinstance(policies, list) and "Worker Data: Public Worker Reports" in policies
    return account.store.list(WORKER, search=True) if allowed else []


def _allow(call: Call, area: str) -> None:
    areas = api_client(call.account).fields.get("functional_areas")
    if not isinstance(areas, list) or area not in areas:
        raise errors.forbidden()


def _know(call: Call, known: frozenset[str]) -> None:
    for name in call.query.keys() - known:
        raise errors.refused(HTTPStatus.BAD_REQUEST, f"unknown parameter {name}", name, "A21")


def _worker(call: Call) -> Record:
    given = call.params["id"]
    kind, _, value = given.partition("=")
    if not value and not _WID.fullmatch(given):
        raise errors.not_found()
    for worker in _visible(call.account):
        if worker.id == given or (value and worker.fields.get(kind) == value):
            return worker
    raise errors.not_found()


def _item(call: Call, worker: Record) -> Fields:
    row = version_on(worker, today(call.account)) or {}
    item: Fields = {"id": worker.id, "href": _href(call, "workers", worker.id)}
    item["descriptor"] = row.get("Worker", "")
    item["isManager"] = row.get("Job_Profile") == "Principal"
    for field, column in (("primaryWorkEmail", "Work_Email"), ("businessTitle", "Business_Title")):
        if column in row:
            item[field] = row[column]
    code = str(row.get("Supervisory_Org_ID", ""))
    organization = call.account.store.by_key(SUPERVISORY, code)
    if organization is not None:
        item["primarySupervisoryOrganization"] = _organization(call, organization)
    item["primaryJob"] = {
        "descriptor": f"{row.get('Job_Profile', '')} - {row.get('Worker', '')}",
        "businessTitle": row.get("Business_Title"),
        "jobProfile": {"descriptor": row.get("Job_Profile")},
    }
    return item


def _organization(call: Call, record: Record) -> Fields:
    href = _href(call, "organizations", record.id)
    code = record.fields.get("code")
    return {"id": record.id, "descriptor": record.fields["name"], "code": code, "href": href}


def _href(call: Call, kind: str, id_: str) -> str:
    tree = call.path.partition(f"/{call.params['tenant']}/")[0]
    return f"{call.origin}{tree}/{call.params['tenant']}/{kind}/{id_}"


def _page(call: Call, found: list[Record], show: Callable[[Record], Fields]) -> Reply:
    limit = _number(call, "limit", LIMIT_DEFAULT)
    offset = _number(call, "offset", 0)
    if not 1 <= limit <= LIMIT_MAX:
        raise errors.refused(HTTPStatus.BAD_REQUEST, f"limit exceeds {LIMIT_MAX}", "limit")
    data: list[JsonValue] = []
    data.extend(show(record) for record in found[offset : offset + limit])
    body: Fields = {"total": len(found), "data": data}
    return Reply(200, body, {"Content-Type": errors.JSON_TYPE})


def _number(call: Call, name: str, usual: int) -> int:
    text = call.query.get(name, str(usual))
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise errors.refused(HTTPStatus.BAD_REQUEST, f"invalid value {text}", name)
    return int(text)
