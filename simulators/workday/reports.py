"""Custom reports as a service (RaaS): one response, the customer's own columns and prompts.

Sources: vendor page, section 4. That an unknown prompt is refused, and how, is unverified.
"""

import csv
import io
from datetime import date, datetime

from pydantic import JsonValue

from simulators.kit import Call, Record, Reply
from simulators.workday import errors
from simulators.workday.state import (
    COST_CENTER,
    FROM,
    REPORT,
    WORKER,
    Fields,
    api_client,
    today,
    version_on,
)

FORMATS = ("json", "csv")
AS_OF = "Effective_as_of_Date"
UPDATED_FROM = "Last_Updated_From"
_FUNCTIONAL_AREA = "Custom Reports"
_POLICIES = {"workers": "Worker Data: Public Worker Reports", "cost_centers": "Cost Center"}


async def run_report(call: Call) -> Reply:
    """`GET /ccx/service/customreport2/{tenant}/{owner}/{report}`."""
    client = api_client(call.account).fields
    by_token = call.headers.get("Authorization", "").lower().startswith("bearer")
    if by_token and _FUNCTIONAL_AREA not in _texts(client, "functional_areas"):
        raise errors.forbidden()
    report = call.account.store.get(REPORT, call.params["report"])
    if report is None or report.fields["owner"] != call.params["owner"]:
        raise errors.not_found()
    if report.fields.get("shared") is not True:
        raise errors.forbidden()
    prompts = _prompts(call, report)
    of = str(report.fields["of"])
    # Without the domain policy the answer is empty, not refused (section 2).
    allowed = _POLICIES[of] in _texts(client, "domain_policies")
    entries = (_workers if of == "workers" else _cost_centers)(call, prompts) if allowed else []
    columns = _texts(report.fields, "columns")
    shown = [{name: row[name] for name in columns if row.get(name) is not None} for row in entries]
    if call.query.get("format", "json") == "csv":
        return _csv(columns, shown)
    body: dict[str, JsonValue] = {"Report_Entry": list[JsonValue](shown)} if shown else {}
    return Reply(200, body, {"Content-Type": errors.JSON_TYPE})


def _prompts(call: Call, report: Record) -> dict[str, str]:
    given = {name: value for name, value in call.query.items() if name != "format"}
    for name in given.keys() - set(_texts(report.fields, "prompts")):
        raise errors.refused(400, f"Invalid request parameter: {name}", name)
    if call.query.get("format", "json") not in FORMATS:
        raise errors.refused(400, f"format {call.query['format']} is not supported", "format")
    # A prompt left empty is as good as none.
    return {name: value for name, value in given.items() if value}


def _workers(call: Call, prompts: dict[str, str]) -> list[Fields]:
    account = call.account
    on = _day(prompts[AS_OF]) if AS_OF in prompts else today(account)
    since = _moment(prompts[UPDATED_FROM]) if UPDATED_FROM in prompts else None
    found: list[Fields] = []
    for worker in account.store.list(WORKER, search=True):
        row = version_on(worker, on)
        if row is None or (since is not None and worker.modified_at < since):
            continue
        head = {n: v for n, v in worker.fields.items() if isinstance(v, str)}
        head["WID"] = worker.id
        shown = {**row, **head}
        if any(shown.get(name) != wanted for name, wanted in _filters(prompts)):
            continue
        stamp = worker.modified_at.isoformat(timespec="seconds")
        # A future hire's row is there, with its future date; employed it is not yet.
        active = row["Active"] if str(row[FROM]) <= on.isoformat() else "0"
        found.append({**shown, "Active": active, "Last_Functionally_Updated": stamp})
    return found


def _filters(prompts: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in prompts.items() if name not in {AS_OF, UPDATED_FROM}]


def _cost_centers(call: Call, prompts: dict[str, str]) -> list[Fields]:
    return [
        {
            "WID": record.id,
            "Cost_Center_ID": record.fields["code"],
            "Cost_Center": record.fields["name"],
            "Company_ID": record.fields.get("company"),
            "Active": "1" if record.fields.get("active") is True else "0",
        }
        for record in call.account.store.list(COST_CENTER, search=True)
        if prompts.get("Company_ID") in {None, record.fields.get("company")}
    ]


def _csv(columns: list[str], rows: list[Fields]) -> Reply:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return Reply(200, text.getvalue(), {"Content-Type": "text/csv;charset=utf-8"})


def _day(value: str) -> date:
    """Return a date prompt's day; Workday's own links write it with an offset, `2026-01-31-08:00`.

    The form with the offset is unverified.
    """
    try:
        return date.fromisoformat(value[:10])
    except ValueError as error:
        raise errors.refused(400, f"Invalid date: {value}", AS_OF) from error


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise errors.refused(400, f"Invalid date: {value}", UPDATED_FROM) from error
    if moment.tzinfo is None:
        raise errors.refused(400, f"Invalid date: {value}", UPDATED_FROM)
    return moment


def _texts(fields: Fields, name: str) -> list[str]:
    value = fields.get(name)
    return [str(each) for each in value] if isinstance(value, list) else []
