"""Kantata's rows to entries and changes, and runs to draft invoices, without a server."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from adapters.auth import BearerToken
from adapters.errors import ContractBroken, Invalid, Transient, Unsupported
from adapters.governor import LocalGovernor
from adapters.http import VendorHttp
from adapters.kantata import time_mapping as mapping
from adapters.kantata.approvers import KNOWN_MAX, KNOWN_SECONDS, Approvers
from adapters.kantata.client import Listing, classify
from adapters.kantata.config import AccessToken, KantataConfig
from adapters.kantata.feed import ChangeFeed
from adapters.kantata.records import Records
from adapters.kantata.time import TimeReading
from canonical.billing import ReserveEntries
from canonical.entries import Entry, EntryKind, EntryRef
from canonical.ids import ExternalId
from canonical.money import Money
from canonical.records import RecordRef

TOKEN = SecretStr("t")
CONFIG = KantataConfig(base_url="http://kantata.example", auth=AccessToken(token=TOKEN))
PROJECT = RecordRef(system="kantata", type="project", id="10")
TIME: dict[str, Any] = {
    "id": "1",
    "workspace_id": "10",
    "story_id": "40",
    "user_id": "3",
    "role_id": "11",
    "date_performed": "2026-11-05",
    "time_in_minutes": 7,
    "billable": True,
    "rate_in_cents": 18750,
    "currency": "USD",
    "currency_base_unit": 100,
    "approved": True,
    "is_invoiced": False,
    "invoice_id": None,
    "active_submission_id": "7",
    "updated_at": "2026-11-09T10:00:00-08:00",
    "notes": "Workshop",
}
EXPENSE: dict[str, Any] = {
    "id": "2",
    "workspace_id": "10",
    "user_id": "3",
    "date": "2026-11-06",
    "amount_in_cents": 41932,
    "category": "Lodging",
    "currency": "USD",
    "currency_base_unit": 100,
    "is_billable": False,
    "receipt_id": "88",
    "active_submission_id": None,
}
MAPS: dict[str, Any] = {
    "users": {"3": {"id": "3", "email_address": "Maya.Chen@Example.com"}},
    "roles": {"11": {"id": "11", "name": "Principal"}},
    "timesheet_submissions": {
        "7": {
            "id": "7",
            "status": "approved",
            "current_resolution_creator_id": "2",
            "current_resolution_created_at_date": "2026-11-09",
        }
    },
}


def entry(row: dict[str, Any], kind: EntryKind = EntryKind.TIME, **maps: Any) -> Entry:
    page = Listing((row,), 1, {**MAPS, **maps})
    return mapping.entry_from(kind, row, page, "kantata")


class TestEntries:
    def test_every_field_of_time_is_mapped(self) -> None:
        assert entry(TIME) == Entry(
            source="kantata",
            kind=EntryKind.TIME,
            id="1",
            project_id="10",
            task_id="40",
            person_id="3",
            person_email="maya.chen@example.com",
            role="Principal",
            service_date=date(2026, 11, 5),
            minutes=7,
            billable=True,
            psa_rate=Decimal("187.50"),
            currency="USD",
            notes="Workshop",
            approved=True,
            approved_by="2",
            approved_at=datetime(2026, 11, 9, tzinfo=UTC),
            submission_id="7",
            updated_at=datetime(2026, 11, 9, 18, tzinfo=UTC),
        )

    @pytest.mark.parametrize(
        ("currency", "unit", "cents", "rate"),
        [
            ("JPY", 1, 30000, "30000"),
            ("JPY", None, 30000, "30000"),
            ("KWD", 1000, 80125, "80.125"),
            ("KWD", None, 80125, "80.125"),
            ("EUR", 100, 1, "0.01"),
        ],
    )
    def test_money_is_exact_in_the_currency_s_own_minor_units(
        self, currency: str, unit: int | None, cents: int, rate: str
    ) -> None:
        row = {"currency": currency, "currency_base_unit": unit}

        assert entry({**TIME, **row, "rate_in_cents": cents}).psa_rate == Decimal(rate)
        spent = entry({**EXPENSE, **row, "amount_in_cents": cents}, EntryKind.EXPENSE)
        assert spent.amount == Money(amount=Decimal(rate), currency=currency)

    def test_a_rate_that_may_not_be_seen_is_none(self) -> None:
        assert entry({**TIME, "rate_in_cents": None}).psa_rate is None

    def test_an_invoice_on_it_is_a_reservation(self) -> None:
        assert entry({**TIME, "invoice_id": 99}).reservation_id == "99"

    def test_every_field_of_an_expense_is_mapped(self) -> None:
        found = entry(EXPENSE, EntryKind.EXPENSE)

        assert found.amount == Money(amount=Decimal("419.32"), currency="USD")
        assert (found.category, found.receipt, found.billable) == ("Lodging", "88", False)
        assert found.service_date == date(2026, 11, 6)
        assert (found.minutes, found.psa_rate) == (None, None)

    def test_a_foreign_expense_is_what_was_paid(self) -> None:
        paid = {"source_value": Decimal("12000"), "source_currency": "JPY"}

        found = entry({**EXPENSE, "foreign_exchange_amount": paid}, EntryKind.EXPENSE)

        assert found.amount == Money(amount=Decimal(12000), currency="JPY")
        assert found.currency == "JPY"

    def test_a_category_may_be_named_by_its_id(self) -> None:
        row = {**EXPENSE, "category": None, "expense_category_id": "5"}
        categories = {"5": {"id": "5", "name": "Travel"}}

        found = entry(row, EntryKind.EXPENSE, expense_categories=categories)

        assert found.category == "Travel"

    @pytest.mark.parametrize(
        ("status", "needed", "approved"),
        [
            ("approved", True, True),
            ("pending", False, False),
            ("new", True, False),
            (None, True, False),
            (None, False, True),
            (None, None, False),
        ],
    )
    def test_an_expense_is_approved_by_its_report_or_where_none_is_needed(
        self, status: str | None, needed: bool | None, approved: bool
    ) -> None:
        report = {"9": {"id": "9", "status": status}} if status else {}
        row = {**EXPENSE, "active_submission_id": "9" if status else None}
        project = {} if needed is None else {"10": {"require_expense_approvals": needed}}

        found = entry(row, EntryKind.EXPENSE, expense_report_submissions=report, workspaces=project)

        assert found.approved is approved

    def test_an_adjustment_keeps_its_sign_and_its_own_rate(self) -> None:
        row = {
            "id": "3",
            "workspace_id": "10",
            "user_id": "3",
            "original_date": "2026-10-30",
            "posted_on_date": "2026-11-02",
            "time": -30,
            "bill_rate_in_cents": 20000,
            "billable": True,
            "currency": "USD",
            "currency_base_unit": 100,
        }
        page = Listing((row,), 1, MAPS)

        found = mapping.entry_from(EntryKind.ADJUSTMENT, row, page, "kantata", adjusts="1")

        assert (found.minutes, found.psa_rate, found.adjusts) == (-30, Decimal(200), "1")
        assert found.service_date == date(2026, 10, 30)
        assert found.approved

    @pytest.mark.parametrize(
        "change",
        [
            {"date_performed": None},
            {"date_performed": "soon"},
            {"time_in_minutes": "an hour"},
            {"billable": None},
            {"approved": "yes"},
            {"rate_in_cents": "100"},
            {"currency": None, "currency_base_unit": None},
            {"updated_at": "yesterday"},
        ],
    )
    def test_a_strange_row_breaks_the_contract(self, change: dict[str, Any]) -> None:
        with pytest.raises(ContractBroken):
            entry({**TIME, **change})

    def test_money_finer_than_its_currency_breaks_the_contract(self) -> None:
        with pytest.raises(ContractBroken):
            entry({**EXPENSE, "currency": "JPY", "currency_base_unit": 100}, EntryKind.EXPENSE)


class TestReservations:
    def request(self, *refs: EntryRef, **changes: object) -> ReserveEntries:
        made = ReserveEntries(
            connection="psa", project=PROJECT, entries=refs, on=date(2026, 11, 30), title="Run\n1"
        )
        return made.model_copy(update=changes)

    def test_all_kinds_are_on_one_draft_that_tells_nobody(self) -> None:
        refs = [EntryRef(kind=kind, id=str(n)) for n, kind in enumerate(EntryKind)]

        assert mapping.reservation_body(ExternalId("dt-1"), self.request(*refs), CONFIG) == {
            "invoice": {
                "workspace_id": "10",
                "payment_schedule": 30,
                "invoice_date": "2026-11-30",
                "draft": True,
                "suppress_emails": True,
                "user_invoice_title": "Run 1",
                "time_entry_ids": ["0"],
                "expense_ids": ["1"],
                "time_adjustment_ids": ["2"],
                "external_reference": {
                    "service_name": "dealthread-billing",
                    "service_model": "billing_run",
                    "service_model_ref": "dt-1",
                    "status": "successful",
                },
            }
        }

    def test_nothing_and_what_is_no_id_are_refused(self) -> None:
        bad = EntryRef(kind=EntryKind.TIME, id="1,2")
        for request in (self.request(), self.request(bad), self.request(bad, project=None)):
            with pytest.raises(Invalid):
                mapping.reservation_body(ExternalId("dt-1"), request, CONFIG)

    def test_services_must_differ(self) -> None:
        with pytest.raises(ValidationError, match="must differ"):
            KantataConfig(
                base_url="http://kantata.example",
                auth=AccessToken(token=TOKEN),
                billing_service="dealthread-saga",
            )


class TestChanges:
    def event(self, **changes: Any) -> dict[str, Any]:
        usual = {
            "id": "500",
            "event_type": "timesheet:updated",
            "subject_id": "7",
            "subject_changed_at": "2026-11-09T10:00:00-08:00",
            "created_at": "2026-11-09T10:00:05-08:00",
            "user_id": "3",
        }
        return {**usual, **changes}

    @pytest.mark.parametrize(
        ("event_type", "subject", "action"),
        [
            ("timesheet:updated", "timesheet", "updated"),
            ("time_entry:deleted", "time_entry", "deleted"),
            ("expense_report:created", "expense_report", "created"),
            ("time_adjustment:created", "adjustment", "created"),
            ("story:status_selected", "task", "updated"),
            ("workspace:updated", "project", "updated"),
            ("billing_milestone:updated", "milestone", "updated"),
        ],
    )
    def test_events_are_told_in_our_words(self, event_type: str, subject: str, action: str) -> None:
        change = mapping.change_from(self.event(event_type=event_type), "1")

        assert change is not None
        assert (change.subject_type, change.action) == (subject, action)
        assert (change.event_id, change.subject_id, change.own) == ("500", "7", False)

    def test_what_is_no_business_of_ours_is_left_out(self) -> None:
        assert mapping.change_from(self.event(event_type="post:created"), "1") is None

    def test_our_own_writes_are_marked(self) -> None:
        ours = mapping.change_from(self.event(user_id=1), "1")
        assert ours is not None
        assert ours.own

    def test_an_event_without_a_time_breaks_the_contract(self) -> None:
        with pytest.raises(ContractBroken):
            mapping.change_from(self.event(subject_changed_at=None, created_at=None), "1")


def records(answer: Callable[[httpx.Request], httpx.Response]) -> Records:
    http = VendorHttp(
        vendor="kantata",
        connection="kantata",
        base_url=CONFIG.base_url,
        auth=BearerToken(TOKEN),
        classify=classify,
        governor=LocalGovernor(1),
        transport=httpx.MockTransport(answer),
    )
    return Records("kantata", CONFIG, http)


def body(collection: str, rows: list[dict[str, Any]], **maps: Any) -> dict[str, Any]:
    results = [{"key": collection, "id": row["id"]} for row in rows]
    objects = {row["id"]: row for row in rows}
    return {"count": len(rows), "results": results, collection: objects, **maps}


EMAIL = {"2": {"id": "2", "email_address": "Cara@Example.com"}}


class Approving:
    """Answers with one time entry of each of its approvers, and with the users that there are."""

    def __init__(self, users: dict[str, Any], *approvers: str) -> None:
        self.users = users
        self.approvers = approvers
        self.asked: list[str] = []
        self.now = 0.0
        self.failing = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        ids = request.url.params["only"].split(",")
        if request.url.path.endswith("/users"):
            self.asked.append(request.url.params["only"])
            if self.failing:
                self.failing -= 1
                return httpx.Response(503)
            held = [self.users[id_] for id_ in ids if id_ in self.users]
            return httpx.Response(200, json=body("users", held))
        rows = [{**TIME, "id": id_, "active_submission_id": id_} for id_ in ids]
        sheets = {
            id_: {"id": id_, "status": "approved", "current_resolution_creator_id": by}
            for id_, by in enumerated(self.approvers)
        }
        maps = {**MAPS, "timesheet_submissions": sheets}
        return httpx.Response(200, json=body("time_entries", rows, **maps))

    def reading(self) -> TimeReading:
        of = records(self)
        return TimeReading(of, Approvers(of, lambda: self.now))

    async def read(self, reading: TimeReading) -> list[str]:
        refs = [EntryRef(kind=EntryKind.TIME, id=id_) for id_, _ in enumerated(self.approvers)]
        return [each.approved_by for each in await reading.read(refs)]


def enumerated(approvers: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(number), by) for number, by in enumerate(approvers, start=1)]


class TestApprovers:
    async def test_an_approver_is_an_address_in_small_letters(self) -> None:
        vendor = Approving(EMAIL, "2")
        assert await vendor.read(vendor.reading()) == ["cara@example.com"]

    async def test_who_recorded_something_too_needs_no_call(self) -> None:
        vendor = Approving(EMAIL, "3")
        assert await vendor.read(vendor.reading()) == ["maya.chen@example.com"]
        assert vendor.asked == []

    async def test_of_all_that_is_read_the_unknown_are_asked_for_in_one_call(self) -> None:
        vendor = Approving(EMAIL, *(str(2 + number % 5) for number in range(250)))
        found = await vendor.read(vendor.reading())
        assert vendor.asked == ["2,4,5,6"]
        assert found[:3] == ["cara@example.com", "maya.chen@example.com", "4"]

    @pytest.mark.parametrize("user", [None, {"id": "2"}, {"id": "2", "email_address": None}])
    async def test_without_an_address_it_stays_the_id_and_is_not_asked_for_each_time(
        self, user: dict[str, Any] | None
    ) -> None:
        vendor = Approving({"2": user} if user else {}, "2")
        reading = vendor.reading()
        assert [await vendor.read(reading) for _ in range(2)] == [["2"], ["2"]]
        assert vendor.asked == ["2"]

    async def test_an_address_counts_for_an_hour(self) -> None:
        vendor = Approving(EMAIL, "2")
        reading = vendor.reading()
        await vendor.read(reading)
        vendor.users = {"2": {"id": "2", "email_address": "fiona@example.com"}}
        vendor.now = KNOWN_SECONDS - 1
        assert await vendor.read(reading) == ["cara@example.com"]
        vendor.now = KNOWN_SECONDS
        assert await vendor.read(reading) == ["fiona@example.com"]
        assert vendor.asked == ["2", "2"]

    async def test_of_more_people_than_are_remembered_all_are_named_and_the_first_forgotten(
        self,
    ) -> None:
        ids = [str(1000 + number) for number in range(KNOWN_MAX + 1)]
        vendor = Approving({id_: {"id": id_, "email_address": f"p{id_}@x.example"} for id_ in ids})
        approvers = Approvers(records(vendor))
        entries = [entry(TIME).model_copy(update={"approved_by": id_}) for id_ in ids]
        named = await approvers.named(entries)
        assert [each.approved_by for each in named] == [f"p{id_}@x.example" for id_ in ids]
        vendor.asked.clear()
        await approvers.named(entries[1:])
        assert vendor.asked == []
        await approvers.named(entries[:1])
        assert vendor.asked == ["1000"]

    async def test_reads_side_by_side_ask_once(self) -> None:
        vendor = Approving(EMAIL, "2")
        reading = vendor.reading()
        found = await asyncio.gather(*(vendor.read(reading) for _ in range(5)))
        assert found == [["cara@example.com"]] * 5
        assert vendor.asked == ["2"]

    async def test_a_failed_look_up_fails_the_read_and_is_not_remembered(self) -> None:
        vendor = Approving(EMAIL, "2")
        vendor.failing = 1
        reading = vendor.reading()
        with pytest.raises(Transient):
            await vendor.read(reading)
        assert await vendor.read(reading) == ["cara@example.com"]

    async def test_an_expense_s_approver_is_an_address_too_and_nobody_stays_nobody(self) -> None:
        report = {"9": {**MAPS["timesheet_submissions"]["7"], "id": "9"}}
        page = {"expense_report_submissions": report}
        spent = entry({**EXPENSE, "active_submission_id": "9"}, EntryKind.EXPENSE, **page)
        waiting = entry(EXPENSE, EntryKind.EXPENSE)
        named = await Approvers(records(Approving(EMAIL))).named([spent, waiting])
        assert [each.approved_by for each in named] == ["cara@example.com", ""]


class TestReading:
    async def test_an_invoice_that_a_row_does_not_name_is_looked_up(self) -> None:
        spent = {**EXPENSE, "is_invoiced": True}
        invoices = [
            {"id": "8", "status": "cancelled", "expense_ids": ["2"]},
            {"id": "9", "status": "new", "expense_ids": ["2"]},
        ]

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith("/invoices"):
                return httpx.Response(200, json=body("invoices", invoices))
            return httpx.Response(200, json=body("expenses", [spent], **MAPS))

        (found,) = await TimeReading(records(answer)).read(
            [EntryRef(kind=EntryKind.EXPENSE, id="2")]
        )

        assert found.reservation_id == "9"

    async def test_nobody_s_entries_are_hidden(self) -> None:
        asked: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return httpx.Response(200, json=body("time_entries", []))

        await TimeReading(records(answer)).read([EntryRef(kind=EntryKind.TIME, id="2")])

        (request,) = asked
        assert request.url.params["only"] == "2"
        assert request.url.params["on_my_account"] == "false"
        assert request.url.params["from_archived_workspaces"] == "true"

    async def test_an_approval_that_leaves_its_entries_untouched_is_seen_by_its_sheet(self) -> None:
        sheet = {"id": "7", "time_entry_ids": ["1"]}

        def answer(request: httpx.Request) -> httpx.Response:
            collection = request.url.path.rpartition("/")[2]
            asked = request.url.params
            if collection == "timesheet_submissions":
                return httpx.Response(200, json=body(collection, [sheet]))
            found = [TIME] if collection == "time_entries" and "only" in asked else []
            if collection == "users":
                return httpx.Response(200, json=body(collection, [EMAIL["2"]]))
            return httpx.Response(200, json=body(collection, found, **MAPS))

        since = datetime(2026, 11, 9, tzinfo=UTC)
        pages = [page async for page in TimeReading(records(answer)).of_project("10", since)]

        assert [[(each.id, each.approved_by) for each in page] for page in pages] == [
            [("1", "cara@example.com")]
        ]


class TestFeed:
    @pytest.mark.parametrize(
        "listed",
        [
            ["timesheet:updated", "post:created"],
            {"event_types": ["timesheet:updated", "post:created"]},
            [{"event_type": "timesheet:updated"}, {"event_type": "post:created"}],
        ],
    )
    async def test_only_event_types_that_the_account_knows_are_asked(self, listed: Any) -> None:
        feed = ChangeFeed(records(lambda _: httpx.Response(200, json=listed)))

        assert await feed.event_types() == ("timesheet:updated",)

    async def test_none_that_is_of_use_breaks_the_contract(self) -> None:
        feed = ChangeFeed(records(lambda _: httpx.Response(200, json=["post:created"])))

        with pytest.raises(ContractBroken):
            await feed.event_types()

    async def test_a_feature_that_is_not_booked_is_unsupported(self) -> None:
        error = {"errors": [{"type": "system", "message": "Not in your plan"}]}
        feed = ChangeFeed(records(lambda _: httpx.Response(403, json=error)))

        with pytest.raises(Unsupported, match="no feed"):
            await feed.event_types()
