"""Workday's report rows become workers, and its refusals are told apart, without a server."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import httpx
import pytest
from pydantic import ValidationError

from adapters.errors import (
    AdapterError,
    ContractBroken,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Transient,
)
from adapters.statuses import Answer, Reply, default_error
from adapters.wire import JsonValue
from adapters.workday.client import BUSY_SECONDS, STATUSES, classify, report_rows
from adapters.workday.config import WorkdayConfig
from adapters.workday.mapping import (
    Version,
    cost_center,
    one_person,
    text_of,
    usable_email,
    version,
    versions_on,
)
from canonical.people import Worker

WID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
DAY = date(2026, 11, 30)
TOKEN_PATH = "/ccx/oauth2/acme/token"
REPORT_PATH = "/ccx/service/customreport2/acme/ISU/People"
AUTH = {"tenant": "acme", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def config(**changes: object) -> WorkdayConfig:
    settings = {"base_url": "https://wd2.example.com", "auth": AUTH, **changes}
    return WorkdayConfig.model_validate(settings)


def row(**changes: JsonValue) -> dict[str, JsonValue]:
    """Return a row of the workers report; None takes a key off, as Workday omits it."""
    usual: dict[str, JsonValue] = {
        "WID": WID,
        "Employee_ID": "21001",
        "Worker": "Maya Chen",
        "Work_Email": "Maya.Chen@Example.com",
        "Job_Profile": "Principal",
        "Employee_Class": "senior",
        "Company_ID": "US",
        "Cost_Center_ID": "CC-US-100",
        "Cost_Per_Hour": "95.00",
        "Currency": "USD",
        "Effective_Date": "2026-03-01",
        "Active": "1",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def read(**changes: JsonValue) -> Worker:
    return version(row(**changes), config()).worker


class TestRows:
    def test_a_row_is_read_exactly(self) -> None:
        assert read() == Worker(
            id="21001",
            name="Maya Chen",
            email="maya.chen@example.com",
            role="Principal",
            employee_class="senior",
            legal_entity="US",
            cost_center="CC-US-100",
            cost_rate=Decimal("95.00"),
            cost_currency="USD",
            valid_from=date(2026, 3, 1),
        )

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (" plain ", "plain"),
            (None, ""),
            ([], ""),
            (12, "12"),
            (Decimal("1.50"), "1.50"),
            (True, "1"),
            (False, "0"),
            ({"ID": "a1"}, "a1"),
            ({"Descriptor": "Principal", "ID": "a1"}, "Principal"),
            ({"@Descriptor": "Principal"}, "Principal"),
            ([{"Descriptor": "First"}, {"Descriptor": "Second"}], "First"),
            ({"other": "x"}, ""),
        ],
    )
    def test_a_column_may_have_several_forms(self, value: JsonValue, text: str) -> None:
        assert text_of(value) == text

    def test_ids_fall_back_to_what_there_is(self) -> None:
        assert read(Employee_ID=None, Contingent_Worker_ID="C7").id == "C7"
        assert read(Employee_ID=None).id == WID

    def test_the_id_column_is_the_customers_choice(self) -> None:
        chosen = config(worker_columns={"employee_id": "WID"})
        assert version(row(), chosen).worker.id == WID

    @pytest.mark.parametrize("missing", ["Worker", "Work_Email", "Job_Profile", "Company_ID"])
    def test_hidden_values_are_empty(self, missing: str) -> None:
        assert "" in {*read(**{missing: None}).model_dump().values()}

    @pytest.mark.parametrize("missing", ["Cost_Per_Hour", "Currency"])
    def test_a_rate_needs_its_currency(self, missing: str) -> None:
        found = read(**{missing: None})
        assert (found.cost_rate, found.cost_currency) == (None, "")

    @pytest.mark.parametrize(
        ("value", "rate"), [("0", Decimal(0)), (Decimal("62.505"), Decimal("62.505")), (7, 7)]
    )
    def test_rates_are_exact(self, value: JsonValue, rate: Decimal) -> None:
        assert read(Cost_Per_Hour=value).cost_rate == rate

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("Cost_Per_Hour", "1,000.00"),
            ("Cost_Per_Hour", "-0.01"),
            ("Cost_Per_Hour", "Infinity"),
            ("Cost_Per_Hour", "1e40"),
            ("Currency", "EUX"),
            ("Effective_Date", None),
            ("Effective_Date", "01/03/2026"),
            ("Active", None),
            ("Active", "Yes"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, column: str, value: JsonValue) -> None:
        with pytest.raises(ContractBroken, match=f"{column} of 21001"):
            read(**{column: value})

    @pytest.mark.parametrize("wid", [None, "", "21001", WID.upper(), WID + "&x=y"])
    def test_a_wid_is_checked_before_it_is_sent_again(self, wid: JsonValue) -> None:
        with pytest.raises(ContractBroken, match="WID"):
            read(WID=wid)

    @pytest.mark.parametrize("active", ["1", "true", True, 1])
    def test_truths(self, active: JsonValue) -> None:
        assert read(Active=active).active
        assert not read(Active="0").active

    def test_a_date_may_carry_an_offset(self) -> None:
        assert read(Effective_Date="2026-03-01-08:00").valid_from == date(2026, 3, 1)

    def test_future_rows_are_not_in_force(self) -> None:
        rows = (row(), row(WID=OTHER, Effective_Date="2026-12-01"))
        assert [each.wid for each in versions_on(rows, DAY, config())] == [WID]

    def test_a_worker_with_two_rows_is_refused(self) -> None:
        with pytest.raises(ContractBroken, match="21001 twice"):
            versions_on((row(), row(Job_Profile="Engineer")), DAY, config())

    def test_cost_centers(self) -> None:
        columns = config().cost_center_columns
        shown = {"Cost_Center_ID": "CC-1", "Company_ID": "CO_DE", "Active": "0"}
        found = cost_center(shown, columns, {"CO_DE": "DE"})
        assert (found.id, found.name, found.legal_entity, found.active) == (
            "CC-1",
            "CC-1",
            "DE",
            False,
        )
        with pytest.raises(ContractBroken, match="Cost_Center_ID"):
            cost_center({"Active": "1"}, columns, {})


def versions(*rows: tuple[str, str, bool]) -> list[Version]:
    return [
        version(row(WID=wid, Effective_Date=since, Active=active), config())
        for wid, since, active in rows
    ]


class TestOnePerson:
    def test_the_old_id_does_not_hide_the_new_one(self) -> None:
        found = one_person(
            versions(
                (WID, "2024-01-01", True), (WID, "2026-07-01", False), (OTHER, "2026-07-01", True)
            )
        )
        assert [(w.valid_from, w.active) for w in found] == [
            (date(2024, 1, 1), True),
            (date(2026, 7, 1), True),
        ]

    def test_a_gap_stays_a_gap(self) -> None:
        found = one_person(
            versions(
                (WID, "2024-01-01", True), (WID, "2026-07-01", False), (OTHER, "2026-08-01", True)
            )
        )
        assert [w.active for w in found] == [True, False, True]

    def test_people_without_an_address_are_not_one_person(self) -> None:
        rows = versions((WID, "2024-01-01", False), (OTHER, "2024-01-01", True))
        silent = [Version(v.wid, v.worker.model_copy(update={"email": ""})) for v in rows]
        assert len(one_person(silent)) == 2


@pytest.mark.parametrize(
    ("given", "usable"),
    [
        (" A.B@Example.com ", "a.b@example.com"),
        ("", ""),
        ("nobody", ""),
        ("a@b@c", ""),
        ("a\n@b.c", ""),
        ("a" * 300 + "@b.c", ""),
    ],
)
def test_addresses(given: str, usable: str) -> None:
    assert usable_email(given) == usable


def reply(status: int, body: JsonValue, path: str = REPORT_PATH) -> Reply:
    return Reply(
        status=status,
        headers=httpx.Headers(),
        json=body,
        text=str(body),
        operation="read the report",
        method="GET",
        path=path,
        write=False,
    )


def judged(answer: Reply) -> AdapterError:
    """Return what the HTTP layer would raise."""
    return classify(answer) or default_error(answer)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (400, Invalid),
            (401, Forbidden),
            (403, Forbidden),
            (404, NotFound),
            (429, RateLimited),
            (500, Transient),
            (503, Transient),
        ],
    )
    def test_each_status_of_the_page_is_told_apart(
        self, status: int, expected: type[AdapterError]
    ) -> None:
        assert type(judged(reply(status, {"error": "said so"}))) is expected

    def test_the_table_has_every_status_of_the_page(self) -> None:
        assert set(STATUSES) == {400, 401, 403, 404, 429}

    def test_the_field_is_told(self) -> None:
        details: Mapping[str, JsonValue] = {"error": "bad", "field": "limit", "code": "A21"}
        error = judged(reply(400, {"error": "bad", "errors": [dict(details)]}))
        assert isinstance(error, Invalid)
        assert (error.field, error.vendor_code) == ("limit", "A21")

    def test_without_a_delay_there_is_a_usual_one(self) -> None:
        error = judged(reply(429, None))
        assert isinstance(error, RateLimited)
        assert error.retry_after_seconds == BUSY_SECONDS

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("SOAP-ENV:Client.validationError", Invalid),
            ("SOAP-ENV:Client.authenticationError", Forbidden),
            ("SOAP-ENV:Server.processingFault", Transient),
        ],
    )
    def test_a_500_is_repeated_unless_the_fault_is_ours(
        self, code: str, expected: type[AdapterError]
    ) -> None:
        assert type(judged(reply(500, {"error": code}))) is expected

    @pytest.mark.parametrize("path", [REPORT_PATH, TOKEN_PATH])
    def test_another_host_is_no_missing_report(self, path: str) -> None:
        assert isinstance(judged(reply(404, None, path)), ContractBroken)

    @pytest.mark.parametrize("code", ["invalid_client", "invalid_grant", "invalid_request"])
    def test_refused_sign_ins(self, code: str) -> None:
        body: JsonValue = {"error": code, "error_description": "no"}
        error = judged(reply(400, body, TOKEN_PATH))
        assert isinstance(error, Forbidden)
        assert error.vendor_code == code

    @pytest.mark.parametrize("body", [None, [], {"Report_Entry": {}}, {"Report_Entry": ["x"]}])
    def test_what_is_no_report_is_refused(self, body: JsonValue) -> None:
        with pytest.raises(ContractBroken):
            report_rows(Answer(200, httpx.Headers(), body, ""))

    @pytest.mark.parametrize("body", [{}, {"Report_Entry": []}])
    def test_an_empty_report_is_one(self, body: JsonValue) -> None:
        assert report_rows(Answer(200, httpx.Headers(), body, "")) == ()


@pytest.mark.parametrize("name", ["tenant/../x", "a b", ""])
def test_names_that_go_into_a_path_are_checked(name: str) -> None:
    with pytest.raises(ValidationError):
        config(auth={**AUTH, "tenant": name})
    with pytest.raises(ValidationError):
        config(workers_report=name)
