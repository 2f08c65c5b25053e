"""The connection check of Workday: each step reads."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from adapters.errors import ContractBroken, Forbidden, Invalid
from adapters.ports import Check
from adapters.workday.client import Row, SignIn
from adapters.workday.config import WorkdayConfig
from adapters.workday.mapping import cost_center, text_of, usable_email, versions_on
from adapters.workday.reports import Reports

REFUSALS: Final = frozenset({"invalid_client", "invalid_request", "invalid_grant"})
"""What the token endpoint says to a request without credentials (section 2.1)."""
OPTIONAL: Final = frozenset({"contingent_worker_id"})


class ConnectionCheck:
    """The steps of the check, for one tenant."""

    def __init__(self, reports: Reports, sign_in: SignIn, config: WorkdayConfig) -> None:
        """Use the tenant's reports."""
        self._reports = reports
        self._sign_in = sign_in
        self._config = config

    def steps(self) -> tuple[Check, ...]:
        """Return the steps in order; each assumes the earlier ones."""
        return (
            Check(
                "reach",
                self.reach,
                "Check base_url (the host of the REST and token endpoints) and settings.auth."
                "tenant: both are in the report View API Clients. Workday is down for maintenance "
                "for hours on weekends.",
            ),
            Check(
                "sign in",
                self.sign_in,
                "Put id and secret of the API client for integrations and a non-expiring refresh "
                "token of its integration system user into settings and secrets; a refresh of the "
                "tenant voids them.",
            ),
            Check(
                "workers",
                self.workers,
                "Share the workers report with the integration system user, enable it as a web "
                "service, and give its columns and prompts the aliases under "
                "settings.worker_columns and settings.worker_prompts.",
            ),
            Check(
                "cost centers",
                self.cost_centers,
                "Share the cost centers report with the integration system user, enable it as a "
                "web service, and give its columns the aliases under settings.cost_center_columns.",
            ),
        )

    async def reach(self) -> str:
        """Ask for a token without credentials: Workday refuses that in its own words."""
        try:
            await self._sign_in.ask({"grant_type": "refresh_token"}, {})
        except Forbidden as error:
            if error.vendor_code in REFUSALS:
                return "reached"
            raise
        raise ContractBroken("Something else than Workday answers here.")

    async def sign_in(self) -> str:
        """Fetch an access token."""
        await self._sign_in.fetch()
        return f"signed in to {self._config.auth.tenant}"

    async def workers(self) -> str:
        """Read everyone as of today, see that all columns are there, and that prompts filter."""
        today = datetime.now(UTC).date()
        rows = await self._reports.worker_rows(today)
        columns = self._config.worker_columns.model_dump()
        required = [alias for name, alias in columns.items() if name not in OPTIONAL]
        _has_columns(rows, self._config.workers_report, required)
        versions_on(rows, today, self._config)
        prompts = self._config.worker_prompts
        email = self._config.worker_columns.email
        known = next((row for row in rows if usable_email(text_of(row.get(email)))), None)
        if known is None:
            raise Invalid(f"No row has an e-mail address in {email}.", field=email)
        for prompt, column in ((prompts.email, email), (prompts.wid, columns["wid"])):
            value = text_of(known[column])
            found = await self._reports.worker_rows(today, {prompt: value})
            if not found or any(text_of(row.get(column)) != value for row in found):
                raise Invalid(f"The prompt {prompt} does not filter {column}.", field=prompt)
        active = sum(text_of(row.get(columns["active"])).lower() in {"1", "true"} for row in rows)
        return f"{len(rows)} workers, {active} of them active"

    async def cost_centers(self) -> str:
        """Read every cost center."""
        rows = await self._reports.cost_centers()
        columns = self._config.cost_center_columns
        required = columns.model_dump().values()
        _has_columns(rows, self._config.cost_centers_report, list(required))
        for row in rows:
            cost_center(row, columns, self._config.companies)
        return f"{len(rows)} cost centers"


def _has_columns(rows: Sequence[Row], report: str, required: Iterable[str]) -> None:
    if not rows:
        raise Invalid(
            f"The report {report} is empty: the integration's user may lack the domain policy.",
            field=report,
        )
    there = {name for row in rows for name in row}
    missing = [alias for alias in required if alias not in there]
    if missing:
        raise Invalid(f"No row of {report} has {', '.join(missing)}.", field=missing[0])
