"""Kantata's milestones, mirrors and payments: what rows mean, and what is sent."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.errors import ContractBroken, Invalid, Rejected
from adapters.kantata import confirmation_mapping as mirror
from adapters.kantata import milestone_mapping as milestones
from adapters.kantata.client import Listing
from adapters.kantata.config import AccessToken, KantataConfig, MilestoneEvidence
from adapters.kantata.payments import one_line, references_in
from canonical.ids import ExternalId
from canonical.invoicing import ConfirmedEntries, ConfirmInvoice
from canonical.money import Money
from canonical.records import RecordRef

CONFIG = KantataConfig(base_url="http://kantata.example", auth=AccessToken(token=SecretStr("t")))
KEY = ExternalId("dt-1")
PROJECT = RecordRef(system="kantata", type="project", id="10")
DRAFT = RecordRef(system="kantata", type="reservation", id="55")
MILESTONE: dict[str, Any] = {
    "id": "3",
    "title": "Go-live",
    "workspace_id": "10",
    "amount_in_cents": 7_500_000,
    "currency": "EUR",
    "currency_base_unit": 100,
    "date_to_invoice": "2027-05-31",
    "story_id": "40",
    "external_reference_ids": ["1", "2"],
    "invoice_ids": ["8", "9"],
}
MAPS: dict[str, Any] = {
    "external_references": {
        "1": {"service_name": "dealthread-saga", "external_message": "00k1/00o1"},
        "2": {"service_name": "dealthread-billing", "service_model_ref": "eligible"},
    },
    "invoices": {"8": {"id": "8", "status": "cancelled"}, "9": {"id": "9", "status": "new"}},
}
NOW = datetime(2027, 5, 31, 0, 30, tzinfo=UTC)


def money(amount: str, currency: str = "USD") -> Money:
    return Money(amount=Decimal(amount), currency=currency)


def listed(*rows: dict[str, Any], **maps: Any) -> Listing:
    return Listing(rows, len(rows), maps)


def request(**changes: Any) -> ConfirmInvoice:
    return ConfirmInvoice(
        connection="psa",
        project=PROJECT,
        number="INV-1042/B",
        on=date(2026, 11, 30),
        payment_days=45,
        net=money("100"),
    ).model_copy(update=changes)


class TestMilestones:
    def test_a_milestone_has_what_its_row_references_and_invoices_say(self) -> None:
        evidence = milestones.Evidence(approved=True, by="a@b.example", at=NOW, acceptance="p.pdf")

        found = milestones.milestone_from(
            MILESTONE, listed(MILESTONE, **MAPS), evidence, 2, "kantata", CONFIG
        )

        assert (found.record.type, found.record.id, found.project_id) == ("milestone", "3", "10")
        assert found.amount == money("75000", "EUR")
        assert (found.due, found.position) == (date(2027, 5, 31), 2)
        assert (found.external_ref, found.eligible) == ("00k1/00o1", "eligible")
        assert found.invoiced_on == "9"
        assert (found.approved, found.approved_by, found.approved_at) == (True, "a@b.example", NOW)
        assert found.acceptance == "p.pdf"

    def test_one_that_nobody_noted_anything_on_has_empty_texts(self) -> None:
        bare = {**MILESTONE, "external_reference_ids": [], "invoice_ids": None}
        bare["date_to_invoice"] = None

        found = milestones.milestone_from(
            bare, listed(bare), milestones.Evidence(), 1, "kantata", CONFIG
        )

        assert (found.external_ref, found.eligible, found.invoiced_on) == ("", "", "")
        assert found.due is None

    @pytest.mark.parametrize("wrong", [{"amount_in_cents": None}, {"date_to_invoice": "soon"}])
    def test_a_row_of_another_form_breaks_the_contract(self, wrong: dict[str, Any]) -> None:
        row = {**MILESTONE, **wrong}
        with pytest.raises(ContractBroken):
            milestones.milestone_from(row, listed(row), milestones.Evidence(), 1, "k", CONFIG)

    @pytest.mark.parametrize(
        ("due", "approved"), [("2027-05-31", True), ("2027-06-01", False), (None, False)]
    )
    def test_a_date_approves_from_its_first_moment_in_utc(
        self, due: str | None, approved: bool
    ) -> None:
        found = milestones.by_date({**MILESTONE, "date_to_invoice": due}, NOW)
        assert found.approved is approved
        assert (found.at == datetime(2027, 5, 31, tzinfo=UTC)) is approved

    def test_the_last_completion_counts_whatever_order_the_trail_comes_in(self) -> None:
        trail: list[dict[str, Any]] = [
            {"id": "9", "state": "completed", "user_id": "3", "created_at": "2027-01-05T10:00:00Z"},
            {"id": "10", "state": "started", "user_id": "5", "created_at": "2027-01-06T10:00:00Z"},
            {"id": "7", "state": "completed", "user_id": "4", "created_at": "2027-01-02T10:00:00Z"},
        ]
        users = {"3": {"email_address": "Maya@Example.com"}, "4": {"email_address": "luca@x"}}
        for rows in (trail, trail[::-1]):
            found = milestones.by_completion(listed(*rows, users=users))
            assert (found.approved, found.by) == (True, "maya@example.com")
            assert found.at == datetime(2027, 1, 5, 10, tzinfo=UTC)

    def test_without_a_trail_it_is_approved_by_nobody_known(self) -> None:
        assert milestones.by_completion(listed()) == milestones.Evidence(approved=True)

    @pytest.mark.parametrize(
        ("value", "wanted", "approved"),
        [
            ({"display_value": "Yes", "value": ["7"]}, "yes", True),
            ({"display_value": "No", "value": ["8"]}, "yes", False),
            ({"value": "signed"}, "", True),
            ({"value": ["7"]}, "", False),
            ({"display_value": "", "value": ""}, "", False),
            ({}, "", False),
        ],
    )
    def test_a_field_approves_by_what_it_shows(
        self, value: dict[str, Any], wanted: str, approved: bool
    ) -> None:
        assert milestones.by_value(value, wanted).approved is approved

    def test_the_newest_file_of_each_task_is_named(self) -> None:
        posts: list[dict[str, Any]] = [
            {"id": "2", "story_id": "40", "created_at": "2027-01-02", "attachment_ids": ["5", "6"]},
            {"id": "1", "story_id": "40", "created_at": "2027-01-01", "attachment_ids": ["4"]},
            {"id": "3", "story_id": "40", "created_at": "2027-01-03", "attachment_ids": []},
            {"id": "4", "story_id": None, "created_at": "2027-01-03", "attachment_ids": ["4"]},
            {"id": "5", "story_id": "41", "created_at": "2027-01-03", "attachment_ids": ["9"]},
        ]
        files = {"4": {"filename": "old.pdf"}, "6": {"filename": "signed.pdf"}}

        found = milestones.newest_files([listed(*posts, attachments=files)])

        assert found == {"40": "signed.pdf", "41": "attachment/9"}

    @pytest.mark.parametrize(
        "rule",
        [
            {"approved_when": "custom_field"},
            {"acceptance": "custom_field"},
            {"approved_when": "somebody_said_so"},
            {"approved_field": "abc"},
        ],
    )
    def test_a_rule_that_names_no_field_is_refused(self, rule: dict[str, str]) -> None:
        with pytest.raises(ValidationError):
            MilestoneEvidence.model_validate(rule)


class TestMirrors:
    def test_ids_are_asked_once_each_over_all_reservations(self) -> None:
        entries = (
            ConfirmedEntries(reservation=DRAFT, entry_ids=("1", "2"), expense_ids=("8",)),
            ConfirmedEntries(reservation=DRAFT, entry_ids=("2", "3"), adjustment_ids=("9",)),
        )
        asked = mirror.asked_ids(request(entries=entries, milestone_ids=("4", "4")))
        assert asked == {
            "time_entry_ids": ("1", "2", "3"),
            "expense_ids": ("8",),
            "time_adjustment_ids": ("9",),
            "billing_milestone_ids": ("4",),
        }
        with pytest.raises(Invalid):
            mirror.asked_ids(request(milestone_ids=("4 or 1",)))

    @pytest.mark.parametrize(
        ("minutes", "rate", "unit", "currency", "worth"),
        [
            (7, 25_000, 100, "USD", "29.17"),
            (-7, 25_000, 100, "USD", "-29.17"),
            (30, 25_001, 100, "USD", "125.01"),
            (-30, 25_001, 100, "USD", "-125.01"),
            (7, 15_001, 1, "JPY", "1750"),
            (7, 80_000, 1000, "KWD", "9.333"),
        ],
    )
    def test_time_is_worth_minutes_by_rate_rounded_once_away_from_zero(
        self, minutes: int, rate: int, unit: int, currency: str, worth: str
    ) -> None:
        money_facts = {"currency": currency, "currency_base_unit": unit}
        entry = {"id": "1", "billable": True, "time_in_minutes": minutes, "rate_in_cents": rate}
        adjustment = {"id": "2", "billable": True, "time": minutes, "bill_rate_in_cents": rate}
        for name, row in (("time_entry_ids", entry), ("time_adjustment_ids", adjustment)):
            assert mirror.worth({name: [{**row, **money_facts}]}, currency) == money(
                worth, currency
            )

    def test_what_is_not_billable_is_worth_nothing_and_all_is_summed(self) -> None:
        usd = {"currency": "USD", "currency_base_unit": 100}
        found = {
            "time_entry_ids": [{"id": "1", "billable": False, **usd}],
            "expense_ids": [
                {"id": "2", "is_billable": True, "amount_in_cents": 1234, **usd},
                {"id": "3", "is_billable": False, "amount_in_cents": 5678, **usd},
            ],
            "billing_milestone_ids": [{"id": "4", "amount_in_cents": -34, **usd}],
        }
        assert mirror.worth(found, "USD") == money("12.00")
        assert mirror.worth({}, "JPY") == money("0", "JPY")

    def test_what_kantata_does_not_show_is_not_guessed(self) -> None:
        usd = {"id": "1", "currency": "USD", "currency_base_unit": 100, "billable": True}
        for name, row in (
            ("time_entry_ids", {**usd, "time_in_minutes": 60, "rate_in_cents": None}),
            ("expense_ids", {**usd, "amount_in_cents": None}),
        ):
            with pytest.raises(ContractBroken, match="does not show"):
                mirror.worth({name: [row]}, "USD")
        with pytest.raises(Rejected, match="in USD, the invoice in EUR"):
            mirror.worth({"time_entry_ids": [usd]}, "EUR")

    def test_the_draft_says_all_and_tells_nobody(self) -> None:
        asked = mirror.asked_ids(request(milestone_ids=("4",)))

        body = mirror.mirror_body(KEY, request(), asked, money("-0.50"), CONFIG)

        assert body == {
            "invoice": {
                "workspace_id": "10",
                "payment_schedule": 45,
                "invoice_date": "2026-11-30",
                "draft": True,
                "suppress_emails": True,
                "user_invoice_title": "INV-1042/B",
                "external_reference": {
                    "service_name": "dealthread-billing",
                    "service_model": "invoice",
                    "service_model_ref": "dt-1",
                    "status": "successful",
                },
                "billing_milestone_ids": ["4"],
                "additional_items": [
                    {
                        "notes": mirror.ITEM_NOTE,
                        "amount": "-0.50",
                        "taxable": False,
                        "workspace_id": "10",
                    }
                ],
            }
        }

    @pytest.mark.parametrize(
        ("amount", "currency", "sent"),
        [("1234567", "JPY", "1234567"), ("0.001", "KWD", "0.001"), ("1E+3", "USD", "1000")],
    )
    def test_a_difference_is_sent_in_main_units_with_the_currency_s_decimals(
        self, amount: str, currency: str, sent: str
    ) -> None:
        asked = mirror.asked_ids(request())
        body = mirror.mirror_body(KEY, request(), asked, money(amount, currency), CONFIG)
        (item,) = body["invoice"]["additional_items"]  # type: ignore[index]
        assert item["amount"] == sent

    def test_no_difference_makes_no_line_and_nothing_at_all_is_refused(self) -> None:
        some = mirror.asked_ids(request(milestone_ids=("4",)))
        body = mirror.mirror_body(KEY, request(), some, money("0"), CONFIG)
        assert "additional_items" not in body["invoice"]  # type: ignore[operator]
        with pytest.raises(Invalid):
            mirror.mirror_body(KEY, request(), mirror.asked_ids(request()), money("0"), CONFIG)

    def test_what_leaves_a_reservation_is_taken_off_its_lists_alone(self) -> None:
        row = {"id": "55", "time_entry_ids": ["1", "2"], "expense_ids": ["8"]}
        asked = mirror.asked_ids(
            request(entries=(ConfirmedEntries(reservation=DRAFT, entry_ids=("1", "77")),))
        )
        assert mirror.left_on(row, asked) == {
            "time_entry_ids": ["2"],
            "expense_ids": ["8"],
            "time_adjustment_ids": [],
            "billing_milestone_ids": [],
        }

    @pytest.mark.parametrize(
        ("off", "lines", "may_be"),
        [("0.02", 2, True), ("-0.02", 2, True), ("0.03", 2, False), ("0.01", 0, False)],
    )
    def test_only_a_unit_a_line_may_be_rounding(self, off: str, lines: int, may_be: bool) -> None:
        assert mirror.may_be_rounding(money(off), lines) is may_be

    def test_an_invoice_is_what_remains_and_what_was_paid(self) -> None:
        row = {
            "id": "9",
            "user_invoice_title": "INV-1",
            "draft": False,
            "balance_in_cents": 250,
            "currency": "KWD",
            "currency_base_unit": 1000,
        }
        found = mirror.invoice_from(row, [{"id": "1", "amount_in_cents": 750}], "kantata")
        assert (found.net, found.paid) == (money("1.000", "KWD"), money("0.750", "KWD"))
        assert (found.number, found.draft) == ("INV-1", False)
        with pytest.raises(ContractBroken):
            mirror.invoice_from({**row, "balance_in_cents": None}, [], "kantata")


class TestPayments:
    def test_references_are_whole_lines_of_the_message(self) -> None:
        message = "invoice: 55\nreference: PAY 1\nreference: reference: x\n reference: no"
        assert references_in({"message": message}) == ("PAY 1", "reference: x")
        assert references_in({"message": None}) == ()

    def test_a_reference_is_kept_on_one_line(self) -> None:
        assert one_line(" PAY\n1\tb ") == "PAY 1 b"
