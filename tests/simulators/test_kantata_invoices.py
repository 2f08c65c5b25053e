"""Kantata OX against its vendor page: invoices that claim, reckon and free; payments."""

from typing import Any

import pytest

from simulators.kit.control import ControlRefused
from tests.simulators.kantata_org import (
    NAME,
    Org,
    by_ref,
    make_control,
    make_org,
    make_stack,
    only,
    problem,
    refs,
    rows,
)

FIXTURES = (make_stack, make_control, make_org)
"""Pytest finds them by their being here."""


async def approved_work(org: Org, **fields: Any) -> tuple[Any, Any, Any]:
    """Return a project, an approved entry and an approved expense."""
    made = await org.project(**fields)
    entry = await org.log_time(made, user_id="4", time_in_minutes=7)
    expense = await org.spend(made, user_id="4")
    await org.approved(entry)
    await org.approved(expense, kind="expense_report")
    return made, entry, expense


def refused_fields(answer: Any) -> set[str]:
    return {error["field"] for error in answer["errors"]}


async def test_amounts_are_reckoned_line_by_line_from_minutes_and_rates(org: Org) -> None:
    made, entry, expense = await approved_work(org)
    unbilled = await org.log_time(made, user_id="4", billable=False)
    await org.approved(unbilled)
    adjustment = await org.make(
        "time_adjustments",
        "time_adjustment",
        workspace_id=made["id"],
        original_date="2026-10-05",
        time=-1,
        user_id="4",
    )
    milestone = await org.milestone(made, amount_in_cents=-500)
    draft = await org.invoice(
        made,
        time_entry_ids=[entry["id"], unbilled["id"]],
        expense_ids=[expense["id"]],
        time_adjustment_ids=[adjustment["id"]],
        billing_milestone_ids=[milestone["id"]],
        fixed_fee_items=[{"notes": "Phase 1", "amount": "25.50", "taxable": True}],
        additional_items=[{"notes": "Stamp", "amount": "1.00", "taxable": False}],
        tax_rate="19.0",
        suppress_emails=True,
        external_reference=refs("t2b-1", "dealthread-billing"),
    )
    # 7 min x 200.00/h = 23.33; -1 min = -3.33; 123.45; -5.00; 25.50: 163.95 and 19 % of it; 1.00
    assert draft["balance_in_cents"] == 16395 + 3115 + 100
    assert (draft["draft"], draft["status"], draft["due_date"] > draft["invoice_date"]) == (
        True,
        "new",
        True,
    )
    assert draft["time_adjustment_ids"] == [adjustment["id"]]
    found = await org.get(
        "invoices",
        external_reference_service_name="dealthread-billing",
        external_reference_service_model_refs="t2b-1",
        include="time_entries,fixed_fee_items,external_references",
    )
    assert only(found)["id"] == draft["id"]
    assert found["time_entries"][entry["id"]]["invoice_id"] == draft["id"]
    row = only(await org.get(f"time_adjustments/{adjustment['id']}"))
    assert (row["is_invoiced"], row["active_invoice_id"]) == (True, draft["id"])


async def test_currencies_without_cents_and_with_three_decimals(org: Org) -> None:
    for card, expected in (("8", 2800), ("9", 7000)):  # 24,000 yen and 60 dinar an hour
        made, entry, _ = await approved_work(org, rate_card_id=card)
        draft = await org.invoice(
            made,
            time_entry_ids=[entry["id"]],
            fixed_fee_items=[{"notes": "One", "amount": "1", "taxable": False}],
        )
        unit = draft["currency_base_unit"]
        assert draft["balance_in_cents"] == expected + unit


async def test_an_entry_is_on_one_invoice_at_a_time(org: Org) -> None:
    made, entry, expense = await approved_work(org)
    items = {"time_entry_ids": [entry["id"]], "expense_ids": [expense["id"]]}
    draft = await org.invoice(made, **items)
    body = {"workspace_id": made["id"], "payment_schedule": 30, "draft": True, **items}
    refused = await org.post("invoices", {"invoice": body}, 422)
    assert refused_fields(refused) == set(items)
    assert entry["id"] in refused["errors"][0]["message"]
    assert (await org.get("invoices"))["count"] == 1
    await org.delete(f"invoices/{draft['id']}")
    again = await org.invoice(made, **items)
    path = f"invoices/{again['id']}"
    await org.put(path, {"invoice": {"draft": False, "user_invoice_title": "INV-7"}})
    await org.post("invoices", {"invoice": body}, 422)
    await org.delete(path, 422)
    assert only(await org.put(f"{path}/cancel", {}))["status"] == "cancelled"
    third = await org.invoice(made, **items)
    assert third["time_entry_ids"] == [entry["id"]]
    assert only(await org.get(path))["time_entry_ids"] == [entry["id"]]  # stays to be seen
    await org.put(path, {"invoice": {"message": "x"}}, 422)


async def test_what_is_invoiced_is_neither_changed_nor_deleted_nor_unapproved(org: Org) -> None:
    made, entry, expense = await approved_work(org)
    items = {"time_entry_ids": [entry["id"]], "expense_ids": [expense["id"]]}
    draft = await org.invoice(made, **items)
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"time_in_minutes": 8}}, 422)
    await org.put(f"expenses/{expense['id']}", {"expense": {"amount_in_cents": 8}}, 422)
    for path in (f"time_entries/{entry['id']}", f"expenses/{expense['id']}"):
        await org.delete(path, 422)
        assert only(await org.get(path))["user_can_edit"] is False
    for kind, type_ in (("timesheet", "time_entries"), ("expense_report", "expenses")):
        (item,) = rows(await org.get(type_))
        sheet = {"id": item["active_submission_id"]}
        for action in ("reject", "cancel"):
            await org.resolve(sheet, action, 422, kind=kind)
    await org.delete(f"invoices/{draft['id']}")
    (item,) = rows(await org.get("time_entries", uninvoiced="true"))
    await org.resolve({"id": item["active_submission_id"]}, "reject")


async def test_only_approved_items_of_its_projects_go_on_an_invoice(org: Org) -> None:
    made, other = await org.project(), await org.project()
    entry, expense = await org.log_time(made), await org.spend(made)
    strange = await org.milestone(other)
    body: dict[str, Any] = {"payment_schedule": 30, "workspace_id": made["id"]}
    for items in (
        {"time_entry_ids": [entry["id"]]},
        {"expense_ids": [expense["id"]]},
        {"billing_milestone_ids": [strange["id"]]},
        {"time_entry_ids": ["1"]},
        {"fixed_fee_items": [{"notes": "x"}]},
    ):
        refused = await org.post("invoices", {"invoice": {**body, **items}}, 422)
        (field,) = refused_fields(refused)
        assert field.startswith(next(iter(items)))
    both = {"payment_schedule": 30, "workspace_ids": [made["id"], other["id"]]}
    invoice = await org.make("invoices", "invoice", **both, billing_milestone_ids=[strange["id"]])
    assert invoice["workspace_ids"] == [made["id"], other["id"]]
    assert (await org.get("invoices", workspace_id=other["id"]))["count"] == 1
    yen = await org.project(rate_card_id="8")
    mixed = {**both, "workspace_ids": [made["id"], yen["id"]]}
    items = {"additional_items": [{"notes": "x", "amount": "1"}]}
    refused = await org.post("invoices", {"invoice": {**mixed, **items}}, 422)
    assert problem(refused) == ("validation", "workspace_ids")


async def test_lists_replace_what_was_on_a_draft(org: Org) -> None:
    made, entry, expense = await approved_work(org)
    draft = await org.invoice(made, time_entry_ids=[entry["id"]], expense_ids=[expense["id"]])
    path = f"invoices/{draft['id']}"
    changed = only(await org.put(path, {"invoice": {"time_entry_ids": []}}))
    assert (changed["balance_in_cents"], changed["expense_ids"]) == (12345, [expense["id"]])
    assert (await org.get("time_entries", invoiced="1"))["count"] == 0
    in_it = await org.get("expenses", in_active_invoice_id=draft["id"])
    assert only(in_it)["id"] == expense["id"]


async def test_payments_settle_an_invoice(org: Org) -> None:
    made, _, expense = await approved_work(org)
    draft = await org.invoice(made, expense_ids=[expense["id"]])
    path = f"invoices/{draft['id']}"
    body: dict[str, Any] = {"invoice_id": draft["id"], "amount_in_cents": 12000, "message": "R-1"}
    refused = await org.post("external_payments", {"external_payment": body}, 422)
    assert problem(refused) == ("validation", "invoice_id")  # a draft
    await org.put(path, {"invoice": {"draft": False}})
    # A payment that names an invoice is of the whole of it, whatever amount was sent.
    paid = only(await org.post("external_payments", {"external_payment": body}))
    assert (paid["message"], paid["workspace_id"]) == ("R-1", made["id"])
    assert paid["amount_in_cents"] == 12345
    shown = only(await org.get(path))
    assert (shown["balance_in_cents"], shown["status"]) == (0, "accepted payment")
    await org.post("external_payments", {"external_payment": body}, 422)
    await org.put(f"{path}/cancel", {}, 422)
    assert (await org.get("invoices", paid="true"))["count"] == 1
    assert (await org.get("invoices", pending="true"))["count"] == 0
    await org.delete(f"external_payments/{paid['id']}")
    assert only(await org.get(path))["status"] == "new"


async def test_a_payment_of_a_project_leaves_its_invoices_alone(org: Org) -> None:
    made, _, expense = await approved_work(org)
    issued = await org.invoice(made, expense_ids=[expense["id"]], draft=False)
    part = {"workspace_id": made["id"], "amount_in_cents": 100, "message": "on account"}
    paid = only(await org.post("external_payments", {"external_payment": part}))
    assert (paid["amount_in_cents"], paid["invoice_id"]) == (100, None)
    assert only(await org.get(f"invoices/{issued['id']}"))["balance_in_cents"] == 12345
    for wrong in ({"workspace_id": None}, {"amount_in_cents": 0}, {"amount_in_cents": -5}):
        await org.post("external_payments", {"external_payment": {**part, **wrong}}, 422)
    assert (await org.get("external_payments", invoice_id=issued["id"]))["count"] == 0


async def test_lists_of_invoices_are_filtered(org: Org) -> None:
    made = await org.project()
    items = [{"notes": "x", "amount": "1"}]
    first = await org.invoice(made, additional_items=items, invoice_date="2026-10-31")
    second = await org.invoice(
        made, additional_items=items, invoice_date="2026-11-30", draft=False, user_invoice_number=7
    )
    cases: tuple[tuple[dict[str, Any], Any], ...] = (
        ({"without_drafts": "true"}, second),
        ({"within_dates": "2026-10-01:2026-10-31"}, first),
        ({"user_invoice_number": "7"}, second),
    )
    for asked, wanted in cases:
        assert only(await org.get("invoices", **asked))["id"] == wanted["id"]
    assert await org.get("invoices/next_invoice_number") == {"next_invoice_number": 8}


async def test_people_invoice_by_hand_and_cancel(org: Org) -> None:
    control, account = org.control, org.account
    made, entry, _ = await approved_work(org)
    fields: Any = {
        "workspace_id": made["id"],
        "payment_schedule": 30,
        "time_entry_ids": [entry["id"]],
    }
    by_hand = await control.put_record(NAME, account, "invoices", fields, "hand-1")
    assert only(await org.get(f"invoices/{by_hand['id']}"))["user_id"] == "3"
    assert len(await by_ref(org, "invoices", "hand-1")) == 1
    minutes: Any = {"time_in_minutes": 1}
    with pytest.raises(ControlRefused, match="invoiced"):
        await control.patch_record(NAME, account, "time_entries", entry["id"], minutes)
    await control.patch_record(NAME, account, "invoices", by_hand["id"], {"status": "cancelled"})
    assert (await org.get("time_entries", uninvoiced="1"))["count"] == 1
    with pytest.raises(ControlRefused, match="active"):
        await control.patch_record(
            NAME, account, "invoices", by_hand["id"], {"status": "cancelled"}
        )
