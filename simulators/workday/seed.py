"""The tenant as set up, and the people of each scenario.

Every account is born with the API client, the companies, the cost centers and the two reports.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pydantic import JsonValue

from simulators.kit import Account, Record
from simulators.workday.state import (
    API_CLIENT,
    COMPANY,
    COST_CENTER,
    FROM,
    ISU,
    REPORT,
    SUPERVISORY,
    WORKER,
    Fields,
    wid,
)

SCENARIOS = ("standard", "bulk", "empty", "time", "time-small")
BULK_WORKERS = 2000
WORKERS_REPORT = "Dealthread_Workers"
COST_CENTERS_REPORT = "Dealthread_Cost_Centers"
HIRED = "2024-01-01"

WORKER_COLUMNS = [
    "WID",
    "Employee_ID",
    "Contingent_Worker_ID",
    "Worker_Type",
    "Active",
    "Worker",
    "First_Name",
    "Last_Name",
    "Work_Email",
    "Business_Title",
    "Job_Profile",
    "Job_Profile_ID",
    "Employee_Class",
    "Manager_Employee_ID",
    "Supervisory_Org_ID",
    "Cost_Center_ID",
    "Company_ID",
    "Location_ID",
    "Cost_Per_Hour",
    "Currency",
    "FTE",
    "Scheduled_Weekly_Hours",
    "Hire_Date",
    "Termination_Date",
    "Effective_Date",
    "Last_Functionally_Updated",
]
COST_CENTER_COLUMNS = ["WID", "Cost_Center_ID", "Cost_Center", "Company_ID", "Active"]
WORKER_PROMPTS = [
    "Effective_as_of_Date",
    "WID",
    "Work_Email",
    "Company_ID",
    "Cost_Center_ID",
    "Last_Updated_From",
]
COST_CENTER_PROMPTS = ["Company_ID"]

_COMPANIES = {
    "US": "Dealthread Demo Inc.",
    "DE": "Dealthread Demo GmbH",
    "JP": "Dealthread Demo KK",
}
_CURRENCIES = {"US": "USD", "DE": "EUR", "JP": "JPY"}
_LOCATIONS = {"US": "NYC", "DE": "BER", "JP": "TYO"}
_COST_CENTERS: Mapping[str, tuple[str, str, bool]] = {
    "CC-US-100": ("US Consulting", "US", True),
    "CC-US-200": ("US Engineering", "US", True),
    "CC-US-900": ("US Legacy Support", "US", False),
    "CC-DE-100": ("DE Consulting", "DE", True),
    "CC-JP-100": ("JP Consulting", "JP", True),
}
_FIRM = (
    ("E1003", "Maya Chen", "Principal", "senior", "US", "CC-US-100", "95.00"),
    ("E1004", "Luca Rossi", "Consultant", "regular", "DE", "CC-DE-100", "62.50"),
    ("E1005", "Aiko Tanaka", "Consultant", "regular", "JP", "CC-JP-100", "7800"),
    ("E1006", "Priya Nair", "Engineer", "regular", "US", "CC-US-200", "70.00"),
    ("E1007", "Jonas Weber", "Principal", "senior", "DE", "CC-DE-100", "88.00"),
    ("E1008", "Sam Okoro", "Analyst", "junior", "US", "CC-US-100", "48.75"),
)
_PROFILES = ("Consultant", "Engineer", "Analyst", "Principal")
_CLASSES = {"Principal": "senior", "Analyst": "junior"}

Row = tuple[str, str, str, str, str, str, str]


def set_up(account: Account) -> None:
    """Make what every tenant has."""
    insert = account.store.insert
    client: Fields = {
        "token_seconds": 3600,
        "tells_expiry": True,
        "rotates_refresh_tokens": False,
        "functional_areas": ["Staffing", "Organizations and Roles", "Custom Reports"],
        "domain_policies": ["Worker Data: Public Worker Reports", "Cost Center"],
        "concurrent_requests": None,
    }
    insert(API_CLIENT, client, id="1")
    for code, name in _COMPANIES.items():
        insert(COMPANY, {"name": name, "code": code, "active": True}, code, wid(COMPANY, code))
    for code, (name, company, active) in _COST_CENTERS.items():
        fields: Fields = {"name": name, "code": code, "company": company, "active": active}
        insert(COST_CENTER, fields, code, wid(COST_CENTER, code))
    for code in _COMPANIES:
        insert(
            SUPERVISORY,
            {"name": f"{code} Delivery", "code": f"SUP-{code}", "manager": None},
            f"SUP-{code}",
            wid(SUPERVISORY, code),
        )
    _report(account, WORKERS_REPORT, "workers", WORKER_COLUMNS, WORKER_PROMPTS)
    _report(account, COST_CENTERS_REPORT, "cost_centers", COST_CENTER_COLUMNS, COST_CENTER_PROMPTS)


def _report(
    account: Account, name: str, of: str, columns: Sequence[str], prompts: Sequence[str]
) -> None:
    fields: Fields = {"owner": ISU, "of": of, "shared": True}
    fields |= {"columns": list(columns), "prompts": list(prompts)}
    account.store.insert(REPORT, fields, name, name)


def seed(account: Account, scenario: str) -> Mapping[str, JsonValue]:
    """Fill an account and return worker id -> WID.

    Raises:
        ValueError: no such scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario {scenario!r}: there are {', '.join(SCENARIOS)}")
    if account.store.list(WORKER):
        return {"workers": {}}
    made = [_hire(account, row) for row in _FIRM]
    if scenario == "standard":
        made += _special(account)
    if scenario == "bulk":
        made += [_hire(account, _bulk(number)) for number in range(1, BULK_WORKERS + 1)]
    workers: dict[str, JsonValue] = {str(worker.key): worker.id for worker in made}
    return {"workers": workers}


def _bulk(number: int) -> Row:
    company = ("US", "DE", "JP")[number % 3]
    profile = _PROFILES[number % 4]
    cost = str(4000 + number) if company == "JP" else f"{40 + number % 60}.50"
    return (
        f"E{20000 + number}",
        f"Bulk{number:04d} Worker",
        profile,
        _CLASSES.get(profile, "regular"),
        company,
        f"CC-{company}-100",
        cost,
    )


def email_of(name: str) -> str:
    """Return a person's address at the firm."""
    return f"{name.lower().replace(' ', '.')}@example.com"


def _first(row: Row, hired: str) -> Fields:
    _, name, profile, kind, company, center, cost = row
    first, _, last = name.partition(" ")
    return {
        FROM: hired,
        "Active": "1",
        "Worker": name,
        "First_Name": first,
        "Last_Name": last,
        "Work_Email": email_of(name),
        "Business_Title": profile,
        "Job_Profile": profile,
        "Job_Profile_ID": profile.upper(),
        "Employee_Class": kind,
        "Supervisory_Org_ID": f"SUP-{company}",
        "Cost_Center_ID": center,
        "Company_ID": company,
        "Location_ID": _LOCATIONS[company],
        "Cost_Per_Hour": cost,
        "Currency": _CURRENCIES[company],
        "FTE": "1",
        "Scheduled_Weekly_Hours": "40",
        "Hire_Date": hired,
    }


def _hire(
    account: Account,
    row: Row,
    *later: tuple[str, Fields],
    hired: str = HIRED,
    contingent: bool = False,
) -> Record:
    """Add a worker with the changes that come later, each from its day on; None takes a key off."""
    version = _first(row, hired)
    rows: list[JsonValue] = [version]
    for since, changes in later:
        merged = {**version, **changes, FROM: since}
        version = {name: value for name, value in merged.items() if value is not None}
        rows.append(version)
    id_ = "Contingent_Worker_ID" if contingent else "Employee_ID"
    fields: Fields = {id_: row[0], "Worker_Type": "CW" if contingent else "EE", "versions": rows}
    fields["additional_jobs"] = []
    return account.store.insert(WORKER, fields, row[0], wid(WORKER, row[0]))


def _gone(last_day: str) -> tuple[str, Fields]:
    """Return a termination: the worker is inactive from the day after."""
    since = date.fromisoformat(last_day) + timedelta(days=1)
    return since.isoformat(), {"Active": "0", "Termination_Date": last_day}


def _special(account: Account) -> list[Record]:
    """Add the people whose data bites (section 8)."""

    def row(id_: str, name: str, cost: str) -> Row:
        return id_, name, "Consultant", "regular", "US", "CC-US-100", cost

    back: Fields = {"Active": "1", "Termination_Date": None, "Hire_Date": "2026-03-01"}
    moved: Fields = {"Cost_Center_ID": "CC-US-200", "Cost_Per_Hour": "66.00"}
    silent: Fields = {"Worker": None, "First_Name": None, "Last_Name": None, "Work_Email": None}
    two_jobs = _hire(account, row("E1025", "Ken Mori", "55.00"))
    two_jobs.fields["additional_jobs"] = ["Engineer"]
    return [
        _hire(account, row("E1020", "Nora Lind", "58.00"), hired="2027-02-01"),
        _hire(account, row("E1021", "Omar Haddad", "51.00"), _gone("2026-09-30")),
        _hire(
            account, row("E1022", "Eva Novak", "53.00"), _gone("2025-06-30"), ("2026-03-01", back)
        ),
        _hire(account, row("C2001", "Tom Silva", "80.00"), _gone("2026-06-30"), contingent=True),
        _hire(account, row("E1023", "Tom Silva", "57.00"), hired="2026-07-01"),
        _hire(account, row("E1024", "Ines Costa", "60.00"), ("2026-11-16", moved)),
        two_jobs,
        _hire(account, row("E1026", "Lea Blanc", "50.00"), ("2024-01-02", silent)),
    ]
