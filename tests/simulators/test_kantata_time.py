"""Kantata OX against its vendor page: time, expenses, approval, locks, adjustments."""

from typing import Any

import pytest

from simulators.kit import SimulatorStack
from simulators.kit.control import Control, ControlRefused
from simulators.kit.records import RecordStore
from tests.simulators.kantata_org import (
    NAME,
    Org,
    make_control,
    make_org,
    make_stack,
    only,
    open_org,
    problem,
    refs,
    rows,
)

FIXTURES = (make_stack, make_control, make_org)
"""Pytest finds them by their being here."""


async def entry_of(org: Org, id_: str, **params: Any) -> Any:
    return only(await org.get(f"time_entries/{id_}", **params))


# Rates.


@pytest.mark.parametrize(
    ("card", "unit", "user", "rate", "cost"),
    [
        ("5", 100, "3", 25000, 9500),
        ("5", 100, "8", 12000, 4875),
        ("6", 100, "4", 18500, 6250),
        ("7", 100, "7", 20000, None),
        ("8", 1, "5", 24000, 7800),
        ("9", 1000, "6", 55000, None),
    ],
)
async def test_an_entry_takes_its_rates_from_the_card_and_the_person(
    org: Org, card: str, unit: int, user: str, rate: int, cost: int | None
) -> None:
    made = await org.project(rate_card_id=card)
    entry = await org.log_time(made, user_id=user)
    assert (entry["rate_in_cents"], entry["cost_rate_in_cents"]) == (rate, cost)
    assert entry["currency_base_unit"] == unit
    other = await org.log_time(made, user_id=user, role_id="14", rate_in_cents=7)
    assert (other["role_id"], other["rate_in_cents"]) == ("14", 7)


async def test_a_project_without_a_card_has_no_rate_and_a_participation_overrides(org: Org) -> None:
    made = await org.workspace()
    assert (await org.log_time(made, user_id="3"))["rate_in_cents"] == 0
    given = {"workspace_id": made["id"], "user_id": "3"}
    member = await org.make("participations", "participation", **given)
    path = f"participations/{member['id']}"
    changes = {"rate_in_cents": 31000, "cost_in_cents": 9900, "workspace_role_id": "13"}
    await org.put(path, {"participation": changes})
    entry = await org.log_time(made, user_id="3")
    got = (entry["rate_in_cents"], entry["cost_rate_in_cents"], entry["role_id"])
    assert got == (31000, 9900, "13")


# Approval.


async def test_a_timesheet_is_submitted_and_approved_once(org: Org) -> None:
    made = await org.project()
    first = await org.log_time(made, date_performed="2026-11-04", external_reference=refs("e-1"))
    second = await org.log_time(made, date_performed="2026-11-02", time_in_minutes=7)
    assert (first["approved"], first["active_submission_id"]) == (False, None)
    sheet = await org.submit(first, second, comment="please", external_reference=refs("s-1"))
    assert (sheet["status"], sheet["user_id"], sheet["comment"]) == ("pending", "2", "please")
    assert (sheet["start_date"], sheet["end_date"]) == ("2026-11-02", "2026-11-04")
    assert sheet["time_entry_ids"] == [first["id"], second["id"]]
    assert sheet["permissions"] == {"can_approve": True, "can_reject": True, "can_cancel": True}
    assert (await entry_of(org, first["id"]))["approved"] is False

    done = only(await org.resolve(sheet, "approve"))
    assert (done["status"], done["current_resolution_description"]) == ("approved", "approve it")
    assert done["current_resolution_creator_id"] == "2"
    answer = await org.get("time_entries", approved="true", include="active_submission,user")
    assert {row["id"] for row in rows(answer)} == {first["id"], second["id"]}
    assert answer["timesheet_submissions"][sheet["id"]]["status"] == "approved"
    twice = await org.resolve(sheet, "approve", 422)
    assert problem(twice) == ("validation", "status")
    for status, count in (("approved", 1), ("new", 0), ("pending", 0), ("rejected", 0)):
        assert (await org.get("timesheet_submissions", status=status))["count"] == count
    found = await org.get("time_entries", with_timesheet_id=sheet["id"])
    assert found["count"] == 2


@pytest.mark.parametrize("action", ["reject", "cancel"])
async def test_a_rejected_or_cancelled_sheet_is_final_and_frees_its_entries(
    org: Org, action: str
) -> None:
    made = await org.project()
    entry = await org.log_time(made)
    sheet = await org.approved(entry)
    done = only(await org.resolve(sheet, action))
    assert done["status"] == {"reject": "rejected", "cancel": "cancelled"}[action]
    assert done["time_entry_ids"] == [entry["id"]]
    freed = await entry_of(org, entry["id"])
    assert (freed["approved"], freed["active_submission_id"]) == (False, None)
    assert freed["recent_submission_id"] == sheet["id"]
    for again in ("approve", "reject", "cancel"):
        await org.resolve(sheet, again, 422)
    renewed = await org.submit(entry)
    assert renewed["id"] != sheet["id"]
    assert (await org.get("time_entries", in_active_submission="true"))["count"] == 1


async def test_submissions_name_what_does_not_belong_on_them(org: Org) -> None:
    made, other = await org.project(), await org.project()
    mine, hers = await org.log_time(made), await org.log_time(made, user_id="3")
    elsewhere = await org.log_time(other)
    await org.submit(elsewhere)
    for ids in ([mine["id"], hers["id"]], [elsewhere["id"]], [], ["1"]):
        body = {"workspace_id": made["id"], "line_item_ids": ids}
        refused = await org.post("timesheet_submissions", {"timesheet_submission": body}, 422)
        assert {error["field"] for error in refused["errors"]} == {"line_item_ids"}
    body = {"workspace_id": other["id"], "line_item_ids": [elsewhere["id"]]}
    await org.post("timesheet_submissions", {"timesheet_submission": body}, 422)
    assert (await org.get("timesheet_submissions"))["count"] == 1
    await org.delete(f"timesheet_submissions/{elsewhere['id']}", 404)


async def test_several_are_approved_or_none_and_the_answer_is_a_plain_list(org: Org) -> None:
    made = await org.project()
    sheets = [await org.submit(await org.log_time(made)) for _ in range(3)]
    ids = [sheet["id"] for sheet in sheets]
    await org.resolve(sheets[2], "reject")
    body: dict[str, Any] = {"resolution": {"submission_ids": ids, "description": "all"}}
    refused = await org.post("timesheet_approvals", body, 422)
    assert refused["errors"][0]["index"] == 2
    assert (await org.get("timesheet_submissions", status="pending"))["count"] == 2
    body["resolution"]["submission_ids"] = ids[:2]
    answer = await org.post("timesheet_approvals", body)
    assert [row["submission_id"] for row in answer["resolutions"]] == ids[:2]
    assert {row["status"] for row in answer["resolutions"]} == {"approved"}
    await org.post("timesheet_rejections", {"resolution": {"submission_ids": ["1"]}}, 404)
    await org.post("timesheet_rejections", {"resolution": {"submission_ids": []}}, 400)
    await org.post("timesheet_rejections", {}, 400)


async def test_who_may_approve(org: Org) -> None:
    made = await org.project(primary_maven_id="3")
    entry = await org.log_time(made, user_id="4")
    fields: Any = {"workspace_id": made["id"], "line_item_ids": [entry["id"]], "user_id": "4"}
    sheet = await org.control.put_record(NAME, org.account, "timesheet_submissions", fields)
    await org.as_user("4")  # a member of the account like any other
    refused = await org.resolve(sheet, "approve", 403)
    assert problem(refused)[0] == "system"
    await org.resolve(sheet, "cancel", 403)
    own = await org.log_time(made, user_id="4")
    assert own["user_id"] == "2"  # who may not log for others logs for himself, in silence
    shown = only(await org.get(f"timesheet_submissions/{sheet['id']}"))
    assert set(shown["permissions"].values()) == {False}
    await org.put(f"workspaces/{made['id']}", {"workspace": {"approver_ids": ["2"]}})
    await org.resolve(sheet, "approve")


async def test_an_approver_from_outside_joins_the_project_unless_it_is_private(org: Org) -> None:
    for level, joined in (("invitation", True), ("admins", False)):
        made = await org.project(access_level=level)
        sheet = await org.submit(await org.log_time(made, user_id="4"))
        change: Any = {"status": "approved", "acting_user_id": "3"}
        await org.control.patch_record(
            NAME, org.account, "timesheet_submissions", sheet["id"], change
        )
        members = rows(await org.get("participations", workspace_id=made["id"], user_id="3"))
        assert [row["access_level"] for row in members] == (["admin"] if joined else [])


async def test_submitted_time_is_locked_and_an_edit_of_approved_time_unapproves_it(
    org: Org,
) -> None:
    made = await org.project()
    entry, other = await org.log_time(made), await org.log_time(made)
    sheet = await org.submit(entry, other)
    path = f"time_entries/{entry['id']}"
    body = {"time_entry": {"time_in_minutes": 91}}
    assert problem(await org.put(path, body, 422))[1] == "base"
    await org.delete(path, 422)
    await org.resolve(sheet, "approve")
    await org.delete(path, 422)
    await org.put(path, {"time_entry": {"time_in_minutes": 90}})  # nothing is changed by this
    assert (await entry_of(org, other["id"]))["approved"] is True
    changed = only(await org.put(path, body))
    assert (changed["time_in_minutes"], changed["approved"]) == (91, False)
    assert (await entry_of(org, other["id"]))["approved"] is False
    assert only(await org.get(f"timesheet_submissions/{sheet['id']}"))["status"] == "rejected"
    await org.delete(path)


# Locks and adjustments.


async def test_a_lock_ends_on_a_saturday_and_waits_for_approvals(org: Org) -> None:
    made = await org.project()
    entry = await org.log_time(made, date_performed="2026-11-06")
    late = await org.log_time(made, date_performed="2026-11-09")

    async def lock(day: str, expect: int = 200) -> Any:
        return await org.post("line_item_locks", {"line_item_lock": {"locked_to": day}}, expect)

    assert problem(await lock("2026-11-07", 422)) == ("validation", "locked_to")  # unapproved
    await org.approved(entry)
    await lock("2026-11-06", 422)
    locked = only(await lock("2026-11-07"))
    await lock("2026-11-07", 422)
    await lock("2026-10-31", 422)
    await org.delete(f"line_item_locks/{locked['id']}", 404)
    refused = await org.put(f"time_entries/{entry['id']}", {"time_entry": {"notes": "x"}}, 422)
    assert problem(refused)[1] == "date_performed"
    body = {"workspace_id": made["id"], "date_performed": "2026-11-07", "time_in_minutes": 5}
    await org.post("time_entries", {"time_entry": body}, 422)
    await org.put(f"time_entries/{late['id']}", {"time_entry": {"notes": "x"}})
    back = {"time_entry": {"date_performed": "2026-11-05"}}
    await org.put(f"time_entries/{late['id']}", back, 422)
    await org.spend(made, date="2026-11-03")  # time alone is locked


async def test_an_adjustment_corrects_time_and_keeps_it_from_changing(org: Org) -> None:
    made = await org.project()
    entry = await org.log_time(made, user_id="3", date_performed="2026-11-05")
    given: dict[str, Any] = {"workspace_id": made["id"], "original_date": "2026-11-05"}
    row = await org.make(
        "time_adjustments", "time_adjustment", user_id="3", time=-30, notes="typo", **given
    )
    assert (row["bill_rate_in_cents"], row["is_invoiced"]) == (25000, False)
    assert (row["time"], row["currency"], row["active_invoice_id"]) == (-30, "USD", None)
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"notes": "x"}}, 422)
    await org.delete(f"time_entries/{entry['id']}", 422)
    await org.delete(f"time_adjustments/{row['id']}")
    await org.delete(f"time_entries/{entry['id']}")


# Expenses.


async def test_expenses_are_approved_by_report(org: Org) -> None:
    made = await org.project(rate_card_id="6")
    expense = await org.spend(made, expense_category_id="61", reimbursable=True, receipt_id="9")
    assert (expense["category"], expense["expense_category_id"]) == ("Travel", "61")
    assert (expense["is_billable"], "billable" in expense) == (True, False)
    assert "approved" not in expense
    report = await org.submit(expense, kind="expense_report")
    assert (report["expense_ids"], report["line_item_total_in_cents"]) == ([expense["id"]], 12345)
    assert (await org.get("expenses", approved="1"))["count"] == 0
    assert (await org.resolve(report, "approve", kind="expense_report"))["count"] == 1
    assert (await org.get("expenses", approved="1", workspace_id=made["id"]))["count"] == 1
    await org.delete(f"expenses/{expense['id']}", 422)
    locked = refs("x-1", "dealthread-erp", locked=True)
    subject = {"subject_type": "Expense", "subject_id": expense["id"], **locked}
    await org.post("external_references/create_or_update", {"external_reference": subject})
    await org.resolve(report, "reject", 422, kind="expense_report")
    body = {"resolution": {"submission_ids": [report["id"]]}}
    answer = await org.post("expense_report_cancellations", body)
    assert answer["resolutions"][0]["status"] == "cancelled"


async def test_an_expense_in_another_currency_is_converted(org: Org) -> None:
    made = await org.project(rate_card_id="5")
    foreign = {"source_value": "100.00", "source_currency": "EUR"}
    expense = await org.spend(made, amount_in_cents=1, foreign_exchange_amount=foreign)
    assert (expense["amount_in_cents"], expense["currency"]) == (10850, "USD")
    assert expense["foreign_exchange_amount"] == foreign
    base = {"workspace_id": made["id"], "date": "2026-11-04"}
    wrong = {"source_value": "1", "source_currency": "XXX"}
    for body, field in (
        ({"category": "Travel"}, "amount_in_cents"),
        ({"amount_in_cents": 5}, "category"),
        ({"category": "Travel", "foreign_exchange_amount": wrong}, "foreign_exchange_amount"),
    ):
        refused = await org.post("expenses", {"expense": {**base, **body}}, 422)
        assert problem(refused) == ("validation", field)


async def test_a_submission_is_found_by_its_reference(org: Org) -> None:
    made = await org.project()
    sheet = await org.submit(await org.log_time(made), external_reference=refs("s-1"))
    report = await org.submit(await org.spend(made), kind="expense_report")
    subject = {"subject_type": "Submission", "subject_id": report["id"], **refs("r-1")}
    await org.post("external_references/create_or_update", {"external_reference": subject})
    for name, ref, id_ in (
        ("timesheet", "s-1", sheet["id"]),
        ("expense_report", "r-1", report["id"]),
    ):
        found = await org.get(
            f"{name}_submissions",
            external_reference_service_name="dealthread-saga",
            external_reference_service_model_refs=ref,
        )
        assert [row["id"] for row in rows(found)] == [id_]
    listed = rows(await org.get("external_references", subject_type="Submission"))
    keys = {row["subject_ref"]["key"] for row in listed}
    assert keys == {"timesheet_submissions", "expense_report_submissions"}


# People.


async def test_people_log_submit_approve_and_take_back(org: Org) -> None:
    control, account = org.control, org.account
    made = await org.project()
    time_entry: Any = {
        "workspace_id": made["id"],
        "user_id": "4",
        "date_performed": "2026-11-04",
        "time_in_minutes": 45,
    }
    entry = await control.put_record(NAME, account, "time_entries", time_entry)
    fields: Any = {"workspace_id": made["id"], "line_item_ids": [entry["id"]], "user_id": "4"}
    sheet = await control.put_record(NAME, account, "timesheet_submissions", fields)
    kind = "timesheet_submissions"
    with pytest.raises(ControlRefused, match="not allowed"):
        change: Any = {"status": "approved", "acting_user_id": "4"}
        await control.patch_record(NAME, account, kind, sheet["id"], change)
    await control.patch_record(NAME, account, kind, sheet["id"], {"status": "approved"})
    shown = only(await org.get(f"{kind}/{sheet['id']}"))
    assert (shown["status"], shown["current_resolution_creator_id"]) == ("approved", "3")
    gone: Any = {"status": "rejected", "description": "wrong task"}
    await control.patch_record(NAME, account, kind, sheet["id"], gone)
    shown = only(await org.get(f"{kind}/{sheet['id']}"))
    assert (shown["status"], shown["resolution_description"]) == ("rejected", "wrong task")
    with pytest.raises(ControlRefused, match="already rejected"):
        await control.patch_record(NAME, account, kind, sheet["id"], {"status": "approved"})
    minutes: Any = {"time_in_minutes": 60}
    await control.patch_record(NAME, account, "time_entries", entry["id"], minutes)
    assert (await entry_of(org, entry["id"]))["time_in_minutes"] == 60


async def test_an_invitation_makes_a_participant_and_sends_a_mail(org: Org) -> None:
    made = await org.project()
    path = f"workspaces/{made['id']}/invite"
    body: Any = {"invitation": {"email_address": "Luca.Rossi@example.com", "subject": "Join"}}
    assert only(await org.post(path, body))["user_id"] == "4"
    assert problem(await org.post(path, body, 422)) == ("validation", "email_address")
    body["invitation"] = {"email_address": "client@example.com", "invitee_role": "buyer"}
    answer = await org.post(path, body, include="user")
    guest = only(answer)
    assert (guest["role"], answer["users"][guest["user_id"]]["account_id"]) == ("buyer", "2")
    await org.post(path, {"invitation": {"email_address": "nobody"}}, 422)
    await org.post(path, {}, 400)
    await org.get(path, 404)


# Scenarios.


async def test_the_small_time_scenario_is_as_the_firm_has_it(
    stack: SimulatorStack, control: Control
) -> None:
    async with open_org(stack, control) as org:
        await control.seed("time-small", count=10, seed=7, account=org.account, vendor=NAME)
        await control.seed("time-small", count=10, seed=7, account=org.account, vendor=NAME)
        projects = rows(await org.get("workspaces", order="id:asc", include="external_references"))
        assert [row["id"] for row in projects] == [str(5001 + n) for n in range(10)]
        shapes = [row["description"] for row in projects[:5]]
        assert shapes == [f"shape={s}" for s in ("tm", "fixed", "retainer", "managed", "mixed")]
        assert [row["currency"] for row in projects[:4]] == ["USD", "EUR", "GBP", "JPY"]
        found = await org.get(
            "workspaces",
            external_reference_service_name="dealthread-erp",
            external_reference_service_model_refs="7004",
        )
        assert only(found)["id"] == "5004"
        entries = rows(await org.get("time_entries", approved="true", per_page=200))
        assert len(entries) == 190
        assert sum(not row["billable"] for row in entries) == 10
        assert {row["story_id"][-1] for row in entries if not row["billable"]} == {"3"}
        assert only(await org.get("stories", only="100032"))["title"] == "Travel"
        yen = [row for row in entries if row["workspace_id"] == "5004"]
        assert {row["rate_in_cents"] for row in yen if row["user_id"] == "5"} == {24000}
        assert (await org.get("expenses", approved="true"))["count"] == 10
        sheets = await org.get("timesheet_submissions", status="approved", per_page=200)
        assert sum(len(row["time_entry_ids"]) for row in rows(sheets)) == 190
        entry = entries[0]["id"]
        await org.put(f"time_entries/{entry}", {"time_entry": {"notes": "x"}})
        assert (await entry_of(org, entry))["approved"] is False


async def test_lists_by_id_project_sheet_and_invoice_never_walk_through_all_entries(
    stack: SimulatorStack, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_org(stack, control) as org:
        made: Any = await control.seed("time", count=3, account=org.account, vendor=NAME)
        totals = {name: made[NAME][name] for name in ("projects", "time_entries", "expenses")}
        assert totals == {"projects": 3, "time_entries": 1425, "expenses": 75}
        page = await org.get("time_entries", workspace_id="5002", per_page=200)
        assert (page["count"], len(page["results"])) == (475, 200)
        ids = [result["id"] for result in page["results"]]
        invoice = await org.invoice({"id": "5002"}, time_entry_ids=ids)
        walked: list[str] = []
        whole = RecordStore.list

        def watched(self: RecordStore, type: str, search: bool = False) -> Any:  # noqa: A002
            walked.append(type)
            return whole(self, type, search)

        monkeypatch.setattr(RecordStore, "list", watched)
        asked: tuple[tuple[dict[str, Any], int | None], ...] = (
            ({"workspace_id": "5002"}, 475),
            ({"workspace_id": "5001,5002", "uninvoiced": "1", "approved": "1"}, 750),
            ({"only": ",".join(ids)}, 200),
            ({"in_active_invoice_id": invoice["id"]}, 200),
            ({"with_timesheet_id": rows(page)[0]["active_submission_id"]}, None),
        )
        for params, count in asked:
            answer = await org.get("time_entries", per_page=200, **params)
            assert count in (None, answer["count"])
            assert answer["count"] > 0
        assert not {"time_entries", "timesheet_submissions", "invoices"} & set(walked)
        await org.get("time_entries")
        assert "time_entries" in walked
