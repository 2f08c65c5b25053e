"""Charges and cost to NetSuite bodies, rows back, and batches as jobs, without a server."""

import json
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from adapters.auth import BearerToken
from adapters.errors import (
    ClosedPeriod,
    ContractBroken,
    Invalid,
    MissingMapping,
    OutcomeUnknown,
    Rejected,
)
from adapters.governor import LocalGovernor
from adapters.http import VendorHttp
from adapters.netsuite import billing_mapping, cost_mapping
from adapters.netsuite.batch import Batches
from adapters.netsuite.client import classify
from adapters.netsuite.config import NetSuiteConfig, TokenBased
from adapters.netsuite.posting import Post, post_all, post_batch
from canonical.billing import Charge, ChargeBatch, ChargeStage, CostBatch, CostItem, PostedCharge
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.provisioning import Dimensions
from canonical.records import RecordRef

AUTH = TokenBased(
    account="1",
    consumer_key=SecretStr("a"),
    consumer_secret=SecretStr("b"),
    token_id=SecretStr("c"),
    token_secret=SecretStr("d"),
)
CONFIG = NetSuiteConfig(base_url="https://netsuite.example", auth=AUTH)
PROJECT = RecordRef(system="netsuite", type="project", id="7001")
KEY = ExternalId("dt-1")
USD = Money(amount=Decimal("40.63"), currency="USD")
CHARGE = Charge(
    item="time-1",
    quantity=Decimal("0.21666667"),
    rate=Decimal("187.5"),
    amount=USD,
    on=date(2026, 11, 5),
    description="Workshop",
    dimensions=Dimensions(department="10", business_class="20", location="30"),
)
CHARGES = ChargeBatch(project=PROJECT, subsidiary="2", charges=(CHARGE,))
COST = CostItem(
    item="time-1",
    person_email="maya.chen@example.com",
    on=date(2026, 11, 5),
    minutes=13,
    expected_cost=Money(amount=Decimal("20.58"), currency="USD"),
    dimensions=Dimensions(department="10"),
)
COSTS = CostBatch(project=PROJECT, subsidiary="2", items=(COST,))
ROW = {"startdate": "11/1/2026", "enddate": "11/30/2026", "id": "210", "periodname": "Nov 2026"}
OPEN = {**ROW, "closed": "F", "arlocked": "F", "aplocked": "F", "alllocked": "F"}


def config(**changes: Any) -> NetSuiteConfig:
    return NetSuiteConfig(base_url="https://netsuite.example", auth=AUTH, **changes)


class TestPeriods:
    def test_a_period_is_open_while_nothing_locks_it(self) -> None:
        found = billing_mapping.period_from(OPEN, CONFIG)

        assert (found.id, found.name, found.open) == ("210", "Nov 2026", True)
        assert (found.start, found.end) == (date(2026, 11, 1), date(2026, 11, 30))

    @pytest.mark.parametrize("lock", ["closed", "arlocked", "aplocked", "alllocked"])
    def test_every_lock_closes_it(self, lock: str) -> None:
        assert not billing_mapping.period_from({**OPEN, lock: "T"}, CONFIG).open

    def test_a_period_that_does_not_say_is_not_taken_for_open(self) -> None:
        with pytest.raises(ContractBroken):
            billing_mapping.period_from(ROW, CONFIG)

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("M/D/YYYY", "2/1/2026"),
            ("D/M/YYYY", "1/2/2026"),
            ("D.M.YYYY", "1.2.2026"),
            ("D-Mon-YYYY", "1-Feb-2026"),
            ("YYYY-MM-DD", "2026-02-01"),
            ("M/D/YYYY", "2026-02-01"),
        ],
    )
    def test_dates_are_read_in_the_account_s_format(self, form: str, text: str) -> None:
        found = billing_mapping.day_from({"d": text}, "d", config(date_format=form))

        assert found == date(2026, 2, 1)

    def test_another_format_names_the_setting(self) -> None:
        with pytest.raises(ContractBroken, match="date_format"):
            billing_mapping.day_from({"d": "31.12.2026"}, "d", CONFIG)
        with pytest.raises(ValidationError):
            config(date_format="whatever")


class TestRates:
    def row(self, source: str, target: str, rate: str, on: str) -> dict[str, str]:
        return {
            "id": "9",
            "transactioncurrency": source,
            "basecurrency": target,
            "exchangerate": rate,
            "effectivedate": on,
        }

    def test_the_last_before_the_range_and_all_within_it_are_in_force(self) -> None:
        rows = [
            self.row("2", "1", "1.05", "9/1/2026"),
            self.row("2", "1", "1.085", "11/1/2026"),
            self.row("2", "1", "1.07", "10/1/2026"),
            self.row("2", "1", "1.0901234", "11/20/2026"),
            self.row("1", "1", "1", "11/1/2026"),
        ]

        found = billing_mapping.rates_in_force(rows, date(2026, 11, 14), "netsuite", CONFIG)

        assert [(each.rate, each.valid_from) for each in found] == [
            (Decimal("1.085"), date(2026, 11, 1)),
            (Decimal("1.0901234"), date(2026, 11, 20)),
        ]
        assert {(each.from_currency, each.to_currency) for each in found} == {("EUR", "USD")}
        assert found[0].source == "netsuite:currencyRate/9"


class TestCharges:
    def test_every_field_is_mapped(self) -> None:
        assert billing_mapping.charge_body(KEY, CHARGE, CHARGES, CONFIG) == {
            "externalId": "dt-1",
            "billTo": {"id": "7001"},
            "billingItem": {"id": "301"},
            "chargeType": {"id": "1"},
            "quantity": Decimal("0.21666667"),
            "rate": Decimal("187.5"),
            "amount": Decimal("40.63"),
            "currency": {"id": "1"},
            "chargeDate": "2026-11-05",
            "stage": {"id": "HOLD_FOR_BILLING"},
            "use": {"id": "Actual"},
            "description": "Workshop",
            "subsidiary": {"id": "2"},
            "department": {"id": "10"},
            "class": {"id": "20"},
            "location": {"id": "30"},
        }

    def test_an_expense_has_its_own_item_and_type(self) -> None:
        expense = CHARGE.model_copy(update={"kind": "expense"})

        body = billing_mapping.charge_body(KEY, expense, CHARGES, CONFIG)

        assert (body["billingItem"], body["chargeType"]) == ({"id": "302"}, {"id": "3"})

    def test_what_would_break_out_of_a_url_or_a_query_is_refused(self) -> None:
        for key in ("dt'1", "dt-1,dt-2", "../job/1", ""):
            with pytest.raises(Invalid):
                billing_mapping.charge_body(ExternalId(key), CHARGE, CHARGES, CONFIG)
        wrong = CHARGES.model_copy(update={"project": PROJECT.model_copy(update={"id": "1 OR 1"})})
        with pytest.raises(Invalid):
            billing_mapping.charge_body(KEY, CHARGE, wrong, CONFIG)

    def test_an_unknown_stage_breaks_the_contract(self) -> None:
        assert billing_mapping.stage_from({"stage": "NON_BILLABLE"}) is ChargeStage.NON_BILLABLE
        with pytest.raises(ContractBroken):
            billing_mapping.stage_from({"stage": "SOMEHOW"})

    def test_an_amount_finer_than_its_currency_breaks_the_contract(self) -> None:
        with pytest.raises(ContractBroken):
            billing_mapping.money_from(
                {"amount": "10.5", "currency": "4"}, "amount", "currency", CONFIG
            )


class TestCosts:
    def test_hours_are_approved_time_that_is_not_billable(self) -> None:
        assert cost_mapping.time_body(KEY, COST, COSTS, "103", CONFIG) == {
            "externalId": "dt-1",
            "employee": {"id": "103"},
            "customer": {"id": "7001"},
            "item": {"id": "301"},
            "tranDate": "2026-11-05",
            "hours": "0:13",
            "timeType": {"id": "A"},
            "isBillable": False,
            "approvalStatus": {"id": "3"},
            "memo": "",
            "subsidiary": {"id": "2"},
            "department": {"id": "10"},
        }

    def test_an_expense_is_a_report_of_one_line(self) -> None:
        item = COST.model_copy(update={"minutes": 0, "amount": USD, "category": "Meals"})

        body = cost_mapping.expense_body(KEY, item, USD, COSTS, "103", CONFIG)

        assert body["entity"] == {"id": "103"}
        assert body["currency"] == {"id": "1"}
        assert body["expense"] == {
            "items": [
                {
                    "category": {"id": "3"},
                    "expenseDate": "2026-11-05",
                    "amount": Decimal("40.63"),
                    "customer": {"id": "7001"},
                    "isBillable": False,
                    "memo": "",
                    "department": {"id": "10"},
                }
            ]
        }

    @pytest.mark.parametrize(
        ("minutes", "text"), [(13, "0:13"), (480, "8:00"), (-90, "-1:30"), (6001, "100:01")]
    )
    def test_hours_go_there_and_back_exactly(self, minutes: int, text: str) -> None:
        assert cost_mapping.clock(minutes) == text
        assert cost_mapping.minutes_from({"hours": text}) == minutes
        decimal_hours = str((Decimal(minutes) / 60).quantize(Decimal("0.000001")))
        assert cost_mapping.minutes_from({"hours": decimal_hours}) == minutes

    def test_a_reversal_is_the_same_time_negative_under_its_own_id(self) -> None:
        row = {
            "id": "501",
            "externalid": "dt-1",
            "employee": "103",
            "customer": "7001",
            "item": "301",
            "subsidiary": "2",
            "hours": "1.5",
        }

        body = cost_mapping.reversal_body(row, date(2026, 12, 1))

        assert (body["externalId"], body["hours"]) == ("dt-1-r", "-1:30")
        assert (body["employee"], body["tranDate"]) == ({"id": "103"}, "2026-12-01")
        assert "department" not in body

    def test_the_active_employee_is_taken_and_nobody_is_guessed(self) -> None:
        rows = [
            {"id": "1", "email": "A@example.com", "isinactive": "T"},
            {"id": "2", "email": "a@example.com", "isinactive": "F"},
            {"id": "3", "email": "b@example.com", "isinactive": "T"},
            {"id": "4", "email": "c@example.com", "isinactive": "F"},
            {"id": "5", "email": "c@example.com", "isinactive": "F"},
        ]
        wanted = {"a@example.com": "time-1", "b@example.com": "time-2"}

        found = cost_mapping.employees_by_email(rows, wanted)

        assert found == {"a@example.com": "2", "b@example.com": "3"}
        for email, says in (("c@example.com", "more than one"), ("d@example.com", "nobody")):
            with pytest.raises(MissingMapping, match=f"{says}.*time-9"):
                cost_mapping.employees_by_email(rows, {email: "time-9"})


class Server:
    """A NetSuite that remembers batches by their key, and does with them what a test says."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = list(outcomes)
        self.keys: dict[str, str] = {}
        self.done: list[str] = []
        self.there = False
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "PUT":
            return self.submit(request)
        if path.endswith("/task/"):
            items = [{"id": "1", "progress": "succeeded"}, {"id": "2", "progress": "failed"}]
            return httpx.Response(200, json={"items": items})
        if path.endswith("/result"):
            text = "The transaction date is not within an open accounting period"
            detail = {"detail": text, "o:errorCode": "USER_ERROR"}
            return httpx.Response(400, json={"o:errorDetails": [detail]})
        progress = self.done[int(path.rpartition("/")[2])]
        return httpx.Response(200, json={"completed": True, "progress": progress})

    def submit(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Prefer"] == "respond-async"
        key = request.headers["X-NetSuite-Idempotency-Key"]
        if key in self.keys:
            detail = {"detail": "again", "o:errorCode": "IDEMPOTENCY_ERROR"}
            headers = {"Location": self.keys[key]}
            return httpx.Response(400, json={"o:errorDetails": [detail]}, headers=headers)
        self.sent.append(json.loads(request.content))
        self.done.append(self.outcomes.pop(0))
        self.there = self.there or self.done[-1] == "succeeded"
        number = len(self.done) - 1
        self.keys[key] = f"https://elsewhere.example/services/rest/async/v1/job/{number}"
        return httpx.Response(202, headers={"Location": self.keys[key]})


def batches(answer: Callable[[httpx.Request], httpx.Response], seconds: float = 5) -> Batches:
    http = VendorHttp(
        vendor="netsuite",
        connection="netsuite",
        base_url="https://netsuite.example",
        auth=BearerToken(SecretStr("t")),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(answer),
    )
    return Batches(http, seconds)


def post(*names: str) -> Post:
    ids = [ExternalId(f"dt-{name}") for name in names]
    bodies = {id_: {"externalId": id_} for id_ in ids}
    return Post("PUT", "charge", "post charges", bodies, dict(zip(ids, names, strict=True)))


def found(*names: str) -> tuple[PostedCharge, ...]:
    return tuple(
        PostedCharge(
            record=RecordRef(system="netsuite", type="charge", id="1"),
            external_id=f"dt-{name}",
            amount=USD,
            stage=ChargeStage.HOLD,
        )
        for name in names
    )


class TestBatches:
    async def test_a_batch_that_came_before_is_followed_and_not_sent_again(self) -> None:
        server = Server("succeeded")

        async def look() -> tuple[PostedCharge, ...]:
            return found("a")

        for _ in range(2):
            assert await post_batch(batches(server), post("a"), look) == found("a")
        assert len(server.sent) == 1

    async def test_one_that_failed_before_is_sent_again_once_it_may_succeed(self) -> None:
        server = Server("failed", "succeeded")

        async def look() -> tuple[PostedCharge, ...]:
            return found("a", "b") if server.there else found("a")

        with pytest.raises(ClosedPeriod, match="b: "):
            await post_batch(batches(server), post("a", "b"), look)
        assert await post_batch(batches(server), post("a", "b"), look) == found("a", "b")
        assert [len(each["items"]) for each in server.sent] == [2, 1]

    async def test_a_job_that_goes_on_too_long_is_unknown(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "PUT":
                return httpx.Response(202, headers={"Location": "https://x.example/job/1"})
            return httpx.Response(200, json={"completed": False, "progress": "processing"})

        with pytest.raises(OutcomeUnknown, match="still at work"):
            await batches(answer, 0.2).write("PUT", "charge", [{}], "post charges")

    @pytest.mark.parametrize("location", ["", "https://x.example/", "https://x.example/job/1?x=2"])
    async def test_an_answer_without_a_job_is_unknown(self, location: str) -> None:
        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(202, headers={"Location": location})

        with pytest.raises(OutcomeUnknown):
            await batches(answer).write("PUT", "charge", [{}], "post charges")

    async def test_more_than_a_batch_takes_goes_batch_by_batch(self) -> None:
        server = Server("succeeded", "succeeded", "succeeded")
        names = [f"{number}" for number in range(230)]

        async def look(ids: Sequence[ExternalId]) -> tuple[PostedCharge, ...]:
            return found(*(id_.removeprefix("dt-") for id_ in ids))

        assert await post_all(batches(server), post(*names), look) == found(*names)
        assert [len(each["items"]) for each in server.sent] == [100, 100, 30]

    async def test_too_many_are_refused_before_they_are_sent(self) -> None:
        server = Server()

        async def look() -> tuple[PostedCharge, ...]:
            return ()

        with pytest.raises(Invalid):
            await post_batch(batches(server), post(*map(str, range(101))), look)
        assert server.sent == []

    async def test_done_but_not_found_is_unknown_and_never_refused(self) -> None:
        async def look() -> tuple[PostedCharge, ...]:
            return ()

        with pytest.raises(OutcomeUnknown) as caught:
            await post_batch(batches(Server("succeeded")), post("a"), look)
        assert not isinstance(caught.value, Rejected)
