"""Workday on the wire: sign-in, reports, look-ups, effective dates, faults."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import JsonValue

from simulators.kit import SimulatorStack
from simulators.kit.control import Control
from simulators.workday import VENDOR

OWNER = "ISU_Dealthread"
NOVEMBER = "2026-11-01"
DECEMBER = "2026-12-01"
FIRM = {
    "maya.chen@example.com": ("E1003", "Principal", "senior", "US", "CC-US-100", "95.00", "USD"),
    "luca.rossi@example.com": ("E1004", "Consultant", "regular", "DE", "CC-DE-100", "62.50", "EUR"),
    "aiko.tanaka@example.com": ("E1005", "Consultant", "regular", "JP", "CC-JP-100", "7800", "JPY"),
    "priya.nair@example.com": ("E1006", "Engineer", "regular", "US", "CC-US-200", "70.00", "USD"),
    "jonas.weber@example.com": ("E1007", "Principal", "senior", "DE", "CC-DE-100", "88.00", "EUR"),
    "sam.okoro@example.com": ("E1008", "Analyst", "junior", "US", "CC-US-100", "48.75", "USD"),
}
COLUMNS = (
    "Employee_ID",
    "Job_Profile",
    "Employee_Class",
    "Company_ID",
    "Cost_Center_ID",
    "Cost_Per_Hour",
    "Currency",
)
SCENARIOS = ["standard", "bulk", "empty", "time", "time-small"]


class Tenant:
    """A client of one account; it signs in by itself."""

    def __init__(self, stack: SimulatorStack, control: Control, account: str) -> None:
        self.account = account
        self.control = control
        self.known = VENDOR.credentials(account)
        self.name = self.known["tenant"]
        self.http = httpx.AsyncClient(base_url=stack.urls["workday"], timeout=10)

    async def sign_in(self, **changes: str) -> httpx.Response:
        known = {**self.known, **changes}
        return await self.http.post(
            f"/ccx/oauth2/{self.name}/token",
            auth=(known["client_id"], known["client_secret"]),
            data={
                "grant_type": known.get("grant_type", "refresh_token"),
                "refresh_token": known["refresh_token"],
            },
        )

    async def open(self) -> None:
        answer = await self.sign_in()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def report(self, name: str = "Dealthread_Workers", **prompts: str) -> httpx.Response:
        path = f"/ccx/service/customreport2/{self.name}/{OWNER}/{name}"
        return await self.http.get(path, params={"format": "json", **prompts})

    async def rows(self, **prompts: str) -> list[dict[str, Any]]:
        answer = await self.report(**prompts)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json().get("Report_Entry", [])
        return found

    async def get(self, path: str, tree: str = "staffing/v7", **query: str) -> httpx.Response:
        return await self.http.get(f"/ccx/api/{tree}/{self.name}/{path}", params=query)

    async def set(self, **fields: JsonValue) -> None:
        """Change the API client or the ISU's rights."""
        await self.control.patch_record("workday", self.account, "api_client", "1", fields)


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[SimulatorStack]:
    async with SimulatorStack(vendors=[VENDOR]) as running:
        yield running


@pytest_asyncio.fixture
async def control(stack: SimulatorStack) -> AsyncIterator[Control]:
    async with Control(stack.control_url) as client:
        yield client


@pytest_asyncio.fixture
async def tenant(stack: SimulatorStack, control: Control) -> AsyncIterator[Tenant]:
    made = Tenant(stack, control, "acme")
    await control.clock("acme", set="2026-12-01T20:00:00Z", freeze=True)
    await control.seed("standard", account="acme")
    await made.open()
    yield made
    await made.http.aclose()


def error_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


class TestSignIn:
    async def test_a_refresh_token_gives_an_access_token(self, tenant: Tenant) -> None:
        body = (await tenant.sign_in()).json()

        assert body["token_type"] == "Bearer"
        assert body["expires_in"] == 3600
        assert body["refresh_token"] == tenant.known["refresh_token"]

    async def test_the_client_may_stand_in_the_body(self, tenant: Tenant) -> None:
        form = {name: tenant.known[name] for name in ("client_id", "client_secret")}
        form |= {"grant_type": "refresh_token", "refresh_token": tenant.known["refresh_token"]}
        answer = await tenant.http.post(
            f"/ccx/oauth2/{tenant.name}/token", data=form, headers={"Authorization": ""}
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_id": "dt-nobody"}, 401, "invalid_client"),
            ({"refresh_token": "wrong"}, 400, "invalid_grant"),
            ({"grant_type": "client_credentials"}, 400, "invalid_request"),
        ],
    )
    async def test_wrong_credentials_are_told_apart(
        self, tenant: Tenant, changes: dict[str, str], status: int, code: str
    ) -> None:
        assert error_of(await tenant.sign_in(**changes), status) == code

    async def test_a_token_expires_by_the_accounts_clock(self, tenant: Tenant) -> None:
        assert await tenant.rows()
        await tenant.control.clock("acme", advance_seconds=3601)
        assert (await tenant.report()).status_code == 401

        await tenant.open()
        assert await tenant.rows()

    async def test_expires_in_may_be_missing_and_refresh_tokens_may_rotate(
        self, tenant: Tenant
    ) -> None:
        await tenant.set(tells_expiry=False, rotates_refresh_tokens=True)

        body = (await tenant.sign_in()).json()

        assert "expires_in" not in body
        assert error_of(await tenant.sign_in(), 400) == "invalid_grant"
        assert (await tenant.sign_in(refresh_token=body["refresh_token"])).status_code == 200

    async def test_a_token_opens_no_other_tenant(self, tenant: Tenant) -> None:
        tenant.name = VENDOR.credentials("other")["tenant"]
        assert (await tenant.report()).status_code == 401
        assert (await tenant.get("workers")).status_code == 401

    async def test_reports_take_the_password_too_and_rest_does_not(self, tenant: Tenant) -> None:
        del tenant.http.headers["Authorization"]
        user = f"{tenant.known['username']}@{tenant.name}"
        tenant.http.auth = httpx.BasicAuth(user, tenant.known["password"])

        assert len(await tenant.rows()) > len(FIRM)
        assert (await tenant.get("workers")).status_code == 401

        tenant.http.auth = httpx.BasicAuth(user, "wrong")
        assert (await tenant.report()).status_code == 401


class TestReports:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    async def test_the_firm_is_there_in_every_scenario(
        self, stack: SimulatorStack, control: Control, scenario: str
    ) -> None:
        await control.seed(scenario, account=scenario)
        tenant = Tenant(stack, control, scenario)
        await tenant.open()

        rows = await tenant.rows(Effective_as_of_Date=NOVEMBER)

        found = {
            r["Work_Email"]: tuple(r.get(c) for c in COLUMNS) for r in rows if "Work_Email" in r
        }
        assert {email: found[email] for email in FIRM} == FIRM
        assert all(len(row["WID"]) == 32 for row in rows)
        assert len(rows) == len(FIRM) + {"standard": 8, "bulk": 2000}.get(scenario, 0)
        await tenant.http.aclose()

    async def test_an_empty_report_has_no_entries(self, tenant: Tenant) -> None:
        assert (await tenant.report(Work_Email="nobody@example.com")).json() == {}

    async def test_missing_values_are_omitted_keys(self, tenant: Tenant) -> None:
        (row,) = [r for r in await tenant.rows() if r.get("Employee_ID") == "E1026"]
        assert not {"Worker", "Work_Email", "Termination_Date"} & row.keys()

    async def test_prompts_filter(self, tenant: Tenant) -> None:
        rows = await tenant.rows(Company_ID="DE", Cost_Center_ID="CC-DE-100")
        assert {row["Employee_ID"] for row in rows} == {"E1004", "E1007"}

    async def test_the_day_decides_which_version_is_shown(self, tenant: Tenant) -> None:
        async def seen(day: str) -> tuple[str, str, str]:
            who = {"Work_Email": "ines.costa@example.com", "Effective_as_of_Date": day}
            (row,) = await tenant.rows(**who)
            return row["Effective_Date"], row["Cost_Center_ID"], row["Cost_Per_Hour"]

        assert await seen("2026-11-15") == ("2024-01-01", "CC-US-100", "60.00")
        assert await seen("2026-11-16-08:00") == ("2026-11-16", "CC-US-200", "66.00")

    async def test_whoever_comes_goes_and_returns(self, tenant: Tenant) -> None:
        async def active(email: str, day: str) -> list[tuple[str, str]]:
            rows = await tenant.rows(Work_Email=f"{email}@example.com", Effective_as_of_Date=day)
            return [(row.get("Employee_ID", "-"), row["Active"]) for row in rows]

        assert await active("nora.lind", DECEMBER) == [("E1020", "0")]
        assert await active("nora.lind", "2027-02-01") == [("E1020", "1")]
        assert await active("omar.haddad", "2026-09-30") == [("E1021", "1")]
        assert await active("omar.haddad", "2026-10-01") == [("E1021", "0")]
        assert await active("eva.novak", "2025-12-01") == [("E1022", "0")]
        assert await active("eva.novak", DECEMBER) == [("E1022", "1")]
        assert await active("tom.silva", DECEMBER) == [("-", "0"), ("E1023", "1")]

    async def test_today_is_the_tenants_day(self, tenant: Tenant) -> None:
        await tenant.control.clock("acme", set="2026-11-16T07:00:00Z")
        await tenant.open()
        (row,) = await tenant.rows(Work_Email="ines.costa@example.com")
        assert row["Cost_Per_Hour"] == "60.00"

    async def test_a_person_changes_a_rate_from_a_day_on(self, tenant: Tenant) -> None:
        worker = next(r for r in await tenant.rows() if r.get("Employee_ID") == "E1003")
        change: dict[str, JsonValue] = {"Effective_Date": "2026-12-15", "Cost_Per_Hour": "99.00"}
        await tenant.control.patch_record("workday", "acme", "worker", worker["WID"], change)

        for day, cost in (("2026-12-14", "95.00"), ("2026-12-15", "99.00")):
            (row,) = await tenant.rows(Work_Email="maya.chen@example.com", Effective_as_of_Date=day)
            assert row["Cost_Per_Hour"] == cost

    async def test_a_correction_changes_the_version_itself(self, tenant: Tenant) -> None:
        worker = next(r for r in await tenant.rows() if r.get("Employee_ID") == "E1003")
        change: dict[str, JsonValue] = {"Cost_Per_Hour": "96.00", "Job_Profile": None}
        await tenant.control.patch_record("workday", "acme", "worker", worker["WID"], change)

        (row,) = await tenant.rows(Work_Email="maya.chen@example.com")

        assert (row["Cost_Per_Hour"], row["Effective_Date"]) == ("96.00", "2024-01-01")
        assert "Job_Profile" not in row

    async def test_what_changed_lately(self, tenant: Tenant) -> None:
        await tenant.control.clock("acme", advance_seconds=60)
        worker = next(r for r in await tenant.rows() if r.get("Employee_ID") == "E1008")
        change: dict[str, JsonValue] = {"Business_Title": "Senior analyst"}
        await tenant.control.patch_record("workday", "acme", "worker", worker["WID"], change)

        rows = await tenant.rows(Last_Updated_From="2026-12-01T20:00:30Z")
        assert [row["Employee_ID"] for row in rows] == ["E1008"]

    async def test_cost_centers(self, tenant: Tenant) -> None:
        rows = (await tenant.report("Dealthread_Cost_Centers")).json()["Report_Entry"]

        shown = {row["Cost_Center_ID"]: (row["Company_ID"], row["Active"]) for row in rows}
        assert shown == {
            "CC-US-100": ("US", "1"),
            "CC-US-200": ("US", "1"),
            "CC-US-900": ("US", "0"),
            "CC-DE-100": ("DE", "1"),
            "CC-JP-100": ("JP", "1"),
        }

    async def test_csv_has_the_same_rows(self, tenant: Tenant) -> None:
        answer = await tenant.report(format="csv")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert {row["WID"] for row in rows} == {row["WID"] for row in await tenant.rows()}

    @pytest.mark.parametrize(
        ("prompts", "field"),
        [
            ({"Favourite_Colour": "red"}, "Favourite_Colour"),
            ({"Effective_as_of_Date": "tomorrow"}, "Effective_as_of_Date"),
            ({"format": "gdata"}, "format"),
        ],
    )
    async def test_wrong_prompts_are_refused(
        self, tenant: Tenant, prompts: dict[str, str], field: str
    ) -> None:
        answer = await tenant.report(**prompts)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == field

    async def test_rights_decide_what_is_answered(self, tenant: Tenant) -> None:
        assert error_of(await tenant.report("Secret_Report"), 404) == "not found"

        await tenant.set(domain_policies=[])
        assert (await tenant.report()).json() == {}
        assert (await tenant.get("workers")).json() == {"total": 0, "data": []}

        await tenant.set(functional_areas=[])
        assert error_of(await tenant.report(), 403) == "permission denied"
        assert error_of(await tenant.get("workers"), 403) == "permission denied"

    async def test_a_report_that_is_not_shared_is_refused(self, tenant: Tenant) -> None:
        await tenant.control.patch_record(
            "workday", "acme", "report", "Dealthread_Workers", {"shared": False}
        )
        assert error_of(await tenant.report(), 403) == "permission denied"


class TestLookUps:
    async def test_pages_hold_a_hundred_at_most(
        self, stack: SimulatorStack, control: Control
    ) -> None:
        await control.seed("bulk", account="big")
        tenant = Tenant(stack, control, "big")
        await tenant.open()

        first = (await tenant.get("workers")).json()
        last = (await tenant.get("workers", limit="100", offset="2000")).json()

        assert (first["total"], len(first["data"])) == (2006, 20)
        assert (last["total"], len(last["data"])) == (2006, 6)
        assert error_of(await tenant.get("workers", limit="101"), 400) == "limit exceeds 100"
        await tenant.http.aclose()

    async def test_lists_tell_neither_ids_nor_whether_someone_left(self, tenant: Tenant) -> None:
        body = (await tenant.get("workers", search="omar")).json()
        assert body["total"] == 0

        (omar,) = (
            await tenant.get("workers", search="omar", includeTerminatedWorkers="true")
        ).json()["data"]
        assert omar["primaryWorkEmail"] == "omar.haddad@example.com"
        assert not {"Employee_ID", "active"} & omar.keys()

    @pytest.mark.parametrize("tree", ["v1", "common/v1", "staffing/v6", "staffing/v7"])
    async def test_a_worker_is_read_by_wid_or_reference(self, tenant: Tenant, tree: str) -> None:
        by_reference = (await tenant.get("workers/Employee_ID%3DE1025", tree)).json()
        by_wid = (await tenant.get(f"workers/{by_reference['id']}", tree)).json()

        assert by_wid == by_reference
        assert by_wid["descriptor"] == "Ken Mori"
        assert [job["businessTitle"] for job in by_wid["additionalJobs"]] == ["Engineer"]

    @pytest.mark.parametrize("id_", ["E1003", "Employee_ID%3DE9999", "0" * 32, "me"])
    async def test_who_is_not_there_is_not_found(self, tenant: Tenant, id_: str) -> None:
        assert error_of(await tenant.get(f"workers/{id_}"), 404) == "not found"

    async def test_service_dates(self, tenant: Tenant) -> None:
        (dates,) = (await tenant.get("workers/Employee_ID%3DE1022/serviceDates")).json()["data"]
        assert (dates["originalHireDate"], dates["hireDate"]) == ("2024-01-01", "2026-03-01")
        assert "terminationDate" not in dates

    async def test_organizations(self, tenant: Tenant) -> None:
        found = (await tenant.get("organizations", "v1", organizationType="Cost Center")).json()
        assert {row["code"] for row in found["data"]} >= {"CC-US-100", "CC-JP-100"}
        assert (await tenant.get("supervisoryOrganizations", "common/v1")).json()["total"] == 3

    async def test_unknown_parameters_are_errors(self, tenant: Tenant) -> None:
        answer = await tenant.get("workers", order="name")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "order"


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "options", "status"),
        [
            ("reject", {}, 400),
            ("fail_before", {}, 500),
            ("fail_before", {"html": True}, 503),
            ("rate_limit", {}, 429),
            ("rate_limit", {"status": 500}, 500),
            ("expire_auth", {}, 401),
        ],
    )
    async def test_a_fault_has_the_vendors_form_once(
        self, tenant: Tenant, kind: str, options: dict[str, JsonValue], status: int
    ) -> None:
        await tenant.control.add_fault(
            "workday", "acme", {"path": "report2"}, kind, options=options
        )

        answer = await tenant.report()

        assert answer.status_code == status
        assert "Retry-After" not in answer.headers
        assert (await tenant.report()).status_code == (401 if kind == "expire_auth" else 200)

    @pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
    async def test_connections_break(self, tenant: Tenant, kind: str) -> None:
        await tenant.control.add_fault("workday", "acme", {}, kind)
        with pytest.raises(httpx.TransportError):
            await tenant.report()

    async def test_faults_meet_the_token_endpoint(self, tenant: Tenant) -> None:
        await tenant.control.add_fault("workday", "acme", {"path": "oauth2"}, "reject")
        assert error_of(await tenant.sign_in(), 400) == "invalid_grant"
        assert (await tenant.sign_in()).status_code == 200

    async def test_too_many_at_once_are_throttled(self, tenant: Tenant) -> None:
        await tenant.set(concurrent_requests=0)
        assert error_of(await tenant.report(), 429) == "too many requests"

    async def test_a_stale_report_misses_who_is_new(self, tenant: Tenant) -> None:
        await tenant.control.add_fault("workday", "acme", {}, "stale_search", type="worker")
        who: dict[str, JsonValue] = {"Employee_ID": "E1", "Work_Email": "new@example.com"}
        await tenant.control.put_record("workday", "acme", "worker", who)
        assert await tenant.rows(Work_Email="new@example.com") == []

        await tenant.control.release("workday", "acme")
        (row,) = await tenant.rows(Work_Email="new@example.com")
        assert (row["Active"], row["Effective_Date"]) == ("1", "2026-12-01")


async def test_accounts_do_not_mix(tenant: Tenant, stack: SimulatorStack) -> None:
    other = Tenant(stack, tenant.control, "other")
    await other.open()
    assert await other.rows() == []
    assert (await other.report("Dealthread_Cost_Centers")).json()["Report_Entry"]
    await other.http.aclose()


async def test_nothing_writes(tenant: Tenant) -> None:
    assert (
        await tenant.http.post(f"/ccx/api/v1/{tenant.name}/workers", json={})
    ).status_code == 404
    calls = await tenant.control.calls("workday", "acme")
    assert {call["effect"] for call in calls} == {"none"}


async def test_an_unknown_scenario_is_named(control: Control) -> None:
    with pytest.raises(Exception, match="no scenario 'strange'"):
        await control.seed("strange", account="x")
