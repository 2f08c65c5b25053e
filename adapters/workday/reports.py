"""The two custom reports of a tenant (vendor page, section 4): one response each, no pages."""

from collections.abc import Mapping
from datetime import date

from adapters.http import VendorHttp
from adapters.workday.client import Row, report_rows
from adapters.workday.config import WorkdayConfig
from adapters.workday.mapping import Version, versions_on


class Reports:
    """Runs the reports; each method is one request."""

    def __init__(self, http: VendorHttp, config: WorkdayConfig) -> None:
        """Use an HTTP client that signs in by itself."""
        self._http = http
        self._config = config

    async def workers(self, on: date) -> tuple[Version, ...]:
        """Return everyone's row in force on a day."""
        return versions_on(await self.worker_rows(on), on, self._config)

    async def workers_where(self, on: date, prompt: str, value: str) -> tuple[Version, ...]:
        """Return the rows in force on a day for which a prompt lets through."""
        return versions_on(await self.worker_rows(on, {prompt: value}), on, self._config)

    async def worker_rows(
        self, on: date, prompts: Mapping[str, str] | None = None
    ) -> tuple[Row, ...]:
        """Return the workers report as it is, as of a day."""
        as_of = {self._config.worker_prompts.as_of: on.isoformat()}
        return await self._run(self._config.workers_report, {**as_of, **(prompts or {})})

    async def cost_centers(self) -> tuple[Row, ...]:
        """Return the cost centers report as it is."""
        return await self._run(self._config.cost_centers_report, {})

    async def _run(self, report: str, prompts: Mapping[str, str]) -> tuple[Row, ...]:
        config = self._config
        path = f"/ccx/service/customreport2/{config.auth.tenant}/{config.report_owner}/{report}"
        answer = await self._http.request(
            "GET",
            path,
            operation=f"read the report {report}",
            write=False,
            params={"format": "json", **prompts},
        )
        return report_rows(answer)
