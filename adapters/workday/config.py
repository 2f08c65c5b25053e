"""What an administrator says about a Workday tenant: sign-in, the two reports and their columns.

A report's columns and prompts are the customer's own (vendor page, section 4); the defaults are
the aliases that `docs/connect/workday.md` asks for.
"""

from collections.abc import Mapping

from pydantic import Field, SecretStr

from adapters.settings import Strict, VendorSettings

NAME = r"^[A-Za-z0-9_.-]{1,120}$"


class RefreshToken(Strict):
    """An API client for integrations, with the refresh token of its ISU (vendor page 2.1)."""

    tenant: str = Field(pattern=NAME)
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: SecretStr
    refresh_token: SecretStr


class WorkerColumns(Strict):
    """Aliases of the workers report."""

    wid: str = Field("WID", pattern=NAME)
    employee_id: str = Field("Employee_ID", pattern=NAME)
    contingent_worker_id: str = Field("Contingent_Worker_ID", pattern=NAME)
    name: str = Field("Worker", pattern=NAME)
    email: str = Field("Work_Email", pattern=NAME)
    role: str = Field("Job_Profile", pattern=NAME)
    employee_class: str = Field("Employee_Class", pattern=NAME)
    company: str = Field("Company_ID", pattern=NAME)
    cost_center: str = Field("Cost_Center_ID", pattern=NAME)
    cost_rate: str = Field("Cost_Per_Hour", pattern=NAME)
    cost_currency: str = Field("Currency", pattern=NAME)
    effective_date: str = Field("Effective_Date", pattern=NAME)
    """Day from which the row's values hold."""
    active: str = Field("Active", pattern=NAME)


class WorkerPrompts(Strict):
    """Names of the workers report's prompts; all but the day are optional in the report."""

    as_of: str = Field("Effective_as_of_Date", pattern=NAME)
    email: str = Field("Work_Email", pattern=NAME)
    wid: str = Field("WID", pattern=NAME)


class CostCenterColumns(Strict):
    """Aliases of the cost centers report."""

    id: str = Field("Cost_Center_ID", pattern=NAME)
    name: str = Field("Cost_Center", pattern=NAME)
    company: str = Field("Company_ID", pattern=NAME)
    active: str = Field("Active", pattern=NAME)


class WorkdayConfig(VendorSettings):
    """One Workday tenant."""

    auth: RefreshToken
    report_owner: str = Field("ISU_Dealthread", pattern=NAME)
    workers_report: str = Field("Dealthread_Workers", pattern=NAME)
    cost_centers_report: str = Field("Dealthread_Cost_Centers", pattern=NAME)
    worker_columns: WorkerColumns = WorkerColumns()
    worker_prompts: WorkerPrompts = WorkerPrompts()
    cost_center_columns: CostCenterColumns = CostCenterColumns()
    companies: Mapping[str, str] = {}
    """Company id in Workday -> code of the legal entity; one that is not here is its own code."""
    prompted_workers_max: int = Field(10, ge=0, le=100)
    """Up to so many people are asked for one by one; for more, the whole report is read."""
