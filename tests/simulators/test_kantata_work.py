"""Kantata OX: custom fields, people, stories, milestones; faults, limits, accounts, seeds."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from simulators.kit import SimulatorStack
from simulators.kit.control import ControlRefused
from tests.simulators.kantata_org import (
    NAME,
    Org,
    by_ref,
    make_control,
    make_org,
    make_stack,
    only,
    open_org,
    problem,
    refs,
    rows,
    titles,
)

FIXTURES = (make_stack, make_control, make_org)
"""Pytest finds them by their being here."""


# Custom fields.


async def test_a_unique_custom_field_refuses_a_second_subject(org: Org) -> None:
    key = [{"custom_field_id": 31, "value": "dt-1"}]
    made = await org.workspace(custom_fields=key)
    body = {"workspace": {"title": "Twin", "custom_fields": key}}
    assert problem(await org.post("workspaces", body, 422)) == ("validation", "value")
    assert (await org.get("workspaces"))["count"] == 1
    await org.put(f"workspaces/{made['id']}", {"workspace": {"archived": True}})
    await org.post("workspaces", body, 422)  # an archived one counts too
    wrong = {"workspace": {"title": "X", "custom_fields": [{"custom_field_id": 32, "value": "x"}]}}
    assert problem(await org.post("workspaces", wrong, 422)) == ("validation", "custom_field_id")


async def test_custom_field_values_by_type(org: Org) -> None:
    made = await org.workspace()
    subject = {"subject_type": "Workspace", "subject_id": made["id"]}

    async def field(value_type: str) -> Any:
        given = {"name": value_type, "subject_type": "Workspace", "value_type": value_type}
        return await org.make("custom_fields", "custom_field", **given)

    single = await field("single")
    choice = await org.make(
        "custom_field_choices", "custom_field_choice", label="High", custom_field_id=single["id"]
    )
    good: dict[str, Any] = {
        "date": ("2026-01-31", "2026-01-31"),
        "number": (2.5, "2.5"),
        "currency": ([12345, "USD"], "$123.45"),
        "single": ([choice["id"]], "High"),
        "string": ("abc", "abc"),
    }
    bad: dict[str, Any] = {
        "date": "soon",
        "number": "two",
        "currency": [1, "EUX"],
        "single": ["1"],
        "string": "",
    }
    path = "custom_field_values"
    for value_type, (value, shown) in good.items():
        id_ = single["id"] if value_type == "single" else (await field(value_type))["id"]
        body = {**subject, "custom_field_id": id_, "value": bad[value_type]}
        assert problem(await org.post(path, {"custom_field_value": body}, 422))[1] == "value"
        body["value"] = value
        row = only(await org.post(path, {"custom_field_value": body}))
        assert (row["value"], row["display_value"], row["type"]) == (value, shown, value_type)
        assert (row["account_id"], row["setter_id"]) == ("1", "2")
        again = await org.post(path, {"custom_field_value": body}, 422)
        assert problem(again)[1] == "custom_field_id"
    await org.get(path, 400)
    listed = await org.get(path, subject_type="Workspace", with_subject_id=made["id"])
    assert listed["count"] == 5
    await org.put(f"{path}/{row['id']}", {"custom_field_value": {"value": "new"}})
    await org.delete(f"{path}/{row['id']}")
    await org.get(f"{path}/{row['id']}", 404)


# Clients and people.


async def test_workspaces_outlive_their_group(org: Org) -> None:
    made = await org.make("workspace_groups", "workspace_group", name="Acme", company=True)
    await org.make("workspace_groups", "workspace_group", name="Acme")  # names may repeat
    project = await org.workspace(primary_workspace_group_id=made["id"])
    answer = await org.get("workspaces", primary_workspace_group=made["id"])
    assert only(answer)["id"] == project["id"]
    shown = only(await org.get(f"workspace_groups/{made['id']}", include="workspaces"))
    assert shown["workspace_ids"] == [project["id"]]
    other = await org.workspace(title="Other")
    add = {"workspace_group": {"add_workspace_ids": [other["id"]]}}
    await org.put(f"workspace_groups/{made['id']}", add)
    assert (await org.get("workspaces", workspace_groups=made["id"]))["count"] == 2
    await org.delete(f"workspace_groups/{made['id']}")
    left = only(await org.get(f"workspaces/{project['id']}", include="workspace_groups"))
    assert (left["primary_workspace_group_id"], left["workspace_group_ids"]) == (None, [])
    await org.post("workspace_groups", {"workspace_group": {"company": True}}, 422)


async def test_users_are_found_by_mail_and_join_projects_once(org: Org) -> None:
    maya = only(await org.get("users", by_email_address="Maya.Chen@example.com"))
    assert (maya["id"], maya["disabled"]) == ("3", False)
    assert rows(await org.get("users", by_email_address="nobody@example.com")) == []
    made = await org.workspace(participations=[{"user_id": "3", "access": "admin"}])
    members = rows(await org.get("participations", workspace_id=made["id"], order="id:asc"))
    assert [(row["user_id"], row["access_level"]) for row in members] == [
        ("2", "collaborator"),
        ("3", "admin"),
    ]
    body = {"participation": {"workspace_id": made["id"], "user_id": "3"}}
    assert problem(await org.post("participations", body, 422))[1] == "user_id"
    await org.put(f"participations/{members[1]['id']}", {"participation": {"rate_in_cents": 12000}})
    entry = await org.log_time(made, user_id="3")
    assert entry["rate_in_cents"] == 12000
    await org.delete(f"participations/{members[1]['id']}", 422)
    shown = only(await org.get(f"workspaces/{made['id']}"))
    assert (shown["budget_used_in_cents"], shown["budget_used"]) == (18000, "$180")


# Stories.


async def test_nested_stories_are_one_write(org: Org) -> None:
    made = await org.workspace()
    below = [
        {"title": f"L{n}", "story_type": "task", "external_reference": refs(f"dt-l{n}")}
        for n in range(2)
    ]
    parent = await org.story(made, sub_stories=below, external_reference=refs("dt-p"))
    (found,) = await by_ref(org, "stories", "dt-l1")
    assert (found["parent_id"], found["root_id"]) == (parent["id"], parent["id"])
    assert (await org.get("stories", parents_only="true"))["count"] == 1
    assert (await org.get("stories", with_parent_id=parent["id"]))["count"] == 2
    below.append({"title": "no type"})
    body = {"title": "P", "story_type": "task", "workspace_id": made["id"], "sub_stories": below}
    refused = await org.post("stories", {"story": body}, 422)
    assert problem(refused)[1] == "sub_stories.story_type"
    assert (await org.get("stories"))["count"] == 3
    call = (await org.control.calls(NAME, org.account))[1]
    assert [effect["key"] for effect in call["effects"]] == ["dt-p", "dt-l0", "dt-l1"]


async def test_story_rules(org: Org) -> None:
    made, other = await org.workspace(tasks_default_non_billable=True), await org.workspace()
    story = await org.story(made)
    assert (story["billable"], story["state"]) == (False, "not started")
    path = f"stories/{story['id']}"
    done = only(await org.put(path, {"story": {"percentage_complete": 100}}))
    assert done["state"] == "completed"
    assert rows(await org.get("stories", uncompleted="true")) == []
    assert problem(await org.put(path, {"story": {"state": "fixed"}}, 422))[1] == "state"
    assert problem(await org.put(path, {"story": {"parent_id": story["id"]}}, 422))[1]
    for wrong in (
        {"title": "x" * 201},
        {"story_type": "epic"},
        {"workspace_id": "1"},
        {"workspace_id": other["id"], "parent_id": story["id"]},
        {"budget_estimate_in_cents": 1.5},
    ):
        body = {"title": "T", "story_type": "task", "workspace_id": made["id"], **wrong}
        assert problem(await org.post("stories", {"story": body}, 422))[0] == "validation"
    await org.put(path, {"story": {"archived": True}})
    await org.get(path, 404)
    assert (await org.get("stories", show_archived="true"))["count"] == 1


async def test_story_deletion_is_soft_takes_children_and_stops_once_time_is_logged(
    org: Org,
) -> None:
    made = await org.workspace()
    below = [{"title": "Below", "story_type": "task"}]
    parent = await org.story(made, sub_stories=below, external_reference=refs("dt-p"))
    (child,) = rows(await org.get("stories", with_parent_id=parent["id"]))
    entry = await org.log_time(made, story_id=child["id"])
    assert problem(await org.delete(f"stories/{parent['id']}", 422))[0] == "validation"
    await org.delete(f"time_entries/{entry['id']}")
    await org.delete(f"stories/{parent['id']}")
    await org.get(f"stories/{parent['id']}", 404)
    assert await by_ref(org, "stories", "dt-p") == []
    gone = rows(await org.get("stories", workspace_id=made["id"], show_deleted="true"))
    assert len(gone) == 2
    assert all(row["deleted_at"] for row in gone)


# Milestones, time, invoices.


async def test_billing_milestones_in_bulk_are_all_or_nothing(org: Org) -> None:
    made = await org.workspace(rate_card_id="6")
    good = {"title": "M", "amount_in_cents": 7500000, "workspace_id": made["id"]}
    several = [
        good,
        {**good, "amount_in_cents": "1.5"},
        {**good, "billing_type": "upon_completion"},
    ]
    refused = await org.post("billing_milestones", {"billing_milestones": several}, 422)
    assert [(e["index"], e["field"]) for e in refused["errors"]] == [
        (1, "amount_in_cents"),
        (2, "story_id"),
    ]
    assert (await org.get("billing_milestones"))["count"] == 0
    several = [{**good, "title": f"M{n}", "external_reference": refs(f"m{n}")} for n in range(3)]
    answer = await org.post("billing_milestones", {"billing_milestones": several})
    assert titles(answer) == ["M0", "M1", "M2"]
    assert {row["currency"] for row in rows(answer)} == {"EUR"}
    found = await by_ref(org, "billing_milestones", "m0,m2", workspace_id=made["id"])
    assert len(found) == 2
    path = f"billing_milestones/{found[0]['id']}"
    body = {"amount_in_cents": -5, "workspace_id": "1"}
    changed = only(await org.put(path, {"billing_milestone": body}))
    assert (changed["amount_in_cents"], changed["workspace_id"]) == (-5, made["id"])


async def test_time_needs_a_workspace_open_for_it(org: Org) -> None:
    made = await org.workspace(time_trackable=False)
    body: Any = {"workspace_id": made["id"], "date_performed": "2026-12-01", "time_in_minutes": 60}
    refused = await org.post("time_entries", {"time_entry": body}, 422)
    assert problem(refused) == ("validation", "workspace_id")
    with pytest.raises(ControlRefused, match="time tracking"):
        await org.control.put_record(NAME, org.account, "time_entries", {**body, "user_id": "3"})
    await org.put(f"workspaces/{made['id']}", {"workspace": {"time_trackable": True}})
    answer = await org.post("time_entries", {"time_entries": [body, {**body, "user_id": "4"}]})
    assert [row["user_id"] for row in rows(answer)] == ["2", "4"]
    assert {row["approved"] for row in rows(answer)} == {True}
    await org.post("time_entries", {"time_entry": {**body, "time_in_minutes": 1.5}}, 422)
    await org.post("time_entries", {"time_entry": {**body, "story_id": "1"}}, 422)
    ids = ",".join(row["id"] for row in rows(answer))
    await org.delete(f"time_entries?ids={ids},1", 404)
    assert (await org.get("time_entries", workspace_id=made["id"]))["count"] == 2
    await org.delete(f"time_entries?ids={ids}")


async def test_time_filters(org: Org) -> None:
    made = await org.workspace(require_time_approvals=True)
    user: Any = {"full_name": "Client", "email_address": "c@example.com", "account_id": "77"}
    client = await org.control.put_record(NAME, org.account, "users", user)
    await org.log_time(made, user_id=client["id"], date_performed="2026-11-30")
    entry = await org.log_time(made)
    assert entry["approved"] is False
    assert [row["id"] for row in rows(await org.get("time_entries"))] == [entry["id"]]
    assert (await org.get("time_entries", on_my_account="false"))["count"] == 2
    assert (await org.get("time_entries", approved="false"))["count"] == 0  # fires on any value
    november: dict[str, Any] = {
        "date_performed_between": "2026-11-01:2026-11-30",
        "on_my_account": "false",
    }
    assert (await org.get("time_entries", **november))["count"] == 1
    await org.get("time_entries", 400, date_performed_between="november")
    await org.put(f"workspaces/{made['id']}", {"workspace": {"archived": True}})
    assert (await org.get("time_entries"))["count"] == 0
    assert (await org.get("time_entries", from_archived_workspaces="true"))["count"] == 1


async def test_invoices_claim_their_items_and_free_them(org: Org) -> None:
    made = await org.workspace()
    entry, milestone = await org.log_time(made, rate_in_cents=10000), await org.milestone(made)
    items = {"time_entry_ids": [entry["id"]], "billing_milestone_ids": [milestone["id"]]}
    draft = await org.invoice(made, **items, user_invoice_number=1042)
    assert (draft["title"], draft["status"]) == ("Draft Invoice #1042", "new")
    assert (draft["balance_in_cents"], draft["expense_ids"]) == (15100, [])
    assert (await org.get("invoices/next_invoice_number")) == {"next_invoice_number": 1043}
    body = {"workspace_id": made["id"], "payment_schedule": 30, **items}
    twice = await org.post("invoices", {"invoice": body}, 422)
    assert {e["field"] for e in twice["errors"]} == set(items)
    await org.delete(f"billing_milestones/{milestone['id']}", 422)
    await org.delete(f"time_entries/{entry['id']}", 422)
    await org.put(f"time_entries/{entry['id']}", {"time_entry": {"notes": "x"}}, 422)
    assert (await org.get("time_entries", uninvoiced="true"))["count"] == 0
    path = f"invoices/{draft['id']}"
    await org.put(f"{path}/cancel", {}, 422)
    await org.put(path, {"invoice": {"time_entry_ids": []}})  # a list replaces the old one
    assert (await org.get("time_entries", uninvoiced="true"))["count"] == 1
    issued = only(await org.put(path, {"invoice": {"draft": False}}))
    assert issued["title"] == "Invoice #1042"
    await org.delete(path, 422)
    assert only(await org.put(f"{path}/cancel", {}))["status"] == "cancelled"
    await org.put(f"{path}/cancel", {}, 422)
    shown = only(await org.get(f"billing_milestones/{milestone['id']}"))
    assert (shown["invoice_id"], shown["invoice_ids"]) == (None, [draft["id"]])
    await org.delete(f"billing_milestones/{milestone['id']}")
    empty = {"workspace_id": made["id"], "payment_schedule": 30}
    assert problem(await org.post("invoices", {"invoice": empty}, 422))[1] == "base"


# Faults, limits, accounts, seeds.


@pytest.mark.parametrize(
    ("kind", "status", "type_", "created"),
    [
        ("reject", 422, "validation", 0),
        ("fail_before", 503, "system", 0),
        ("fail_after", 500, "system", 1),
        ("rate_limit", 429, "system", 0),
        ("expire_auth", 401, "oauth", 0),
    ],
)
async def test_faults_in_the_vendors_form(
    org: Org, kind: str, status: int, type_: str, created: int
) -> None:
    match: Any = {"method": "POST", "path": "/workspaces$", "key": "dt-1"}
    await org.control.add_fault(NAME, org.account, match, kind, retry_after=7)
    await org.workspace(title="Not met", external_reference=refs("dt-0"))
    body = {"workspace": {"title": "Met", "external_reference": refs("dt-1")}}
    response = await org.http.post("/api/v1/workspaces", json=body)
    assert response.status_code == status
    assert response.json()["errors"][0]["type"] == type_
    assert not {name for name in response.headers if "retry" in name or "limit" in name}
    assert len(await by_ref(org, "workspaces", "dt-1")) == created
    (fault,) = await org.control.faults(NAME, org.account)
    assert fault["hits"] == 1


async def test_dropped_held_and_stale(org: Org) -> None:
    control, account = org.control, org.account
    body = {"workspace": {"title": "X", "external_reference": refs("dt-1")}}
    for kind, count in (("drop_before", 0), ("drop_after", 1)):
        await control.add_fault(NAME, account, {"method": "POST"}, kind)
        with pytest.raises(httpx.TransportError):
            await org.http.post("/api/v1/workspaces", json=body)
        assert len(await by_ref(org, "workspaces", "dt-1")) == count
    fault = await control.add_fault(NAME, account, {"key": "dt-2"}, "hold")
    body["workspace"]["external_reference"] = refs("dt-2")
    late = asyncio.create_task(org.post("workspaces", body))
    await control.wait_for_fault(NAME, account, fault)
    await control.clear_faults(NAME, account)
    assert only(await late)["title"] == "X"
    await control.add_fault(NAME, account, {"key": "dt-3"}, "stale_search")
    made = await org.workspace(external_reference=refs("dt-3"))
    assert await by_ref(org, "workspaces", "dt-3") == []
    assert only(await org.get(f"workspaces/{made['id']}"))["id"] == made["id"]
    await control.release(NAME, account)
    assert len(await by_ref(org, "workspaces", "dt-3")) == 1


async def test_a_fault_on_a_child_is_met_by_the_key_of_its_project(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    options: Any = {"options": {"message": "No", "field": "amount", "html": True}}
    match: Any = {"method": "POST", "key": "dt-1", "path": "billing_milestones"}
    await org.control.add_fault(NAME, org.account, match, "reject", **options)
    await org.control.add_fault(NAME, org.account, {"method": "DELETE"}, "fail_before", **options)
    body = {"title": "M", "amount_in_cents": 1, "workspace_id": made["id"]}
    answer = await org.post("billing_milestones", {"billing_milestone": body}, 422)
    assert answer["errors"] == [{"type": "validation", "message": "No", "field": "amount"}]
    page = await org.http.delete(f"/api/v1/workspaces/{made['id']}")
    assert (page.status_code, page.headers["content-type"][:9]) == (503, "text/html")
    await org.delete(f"workspaces/{made['id']}")
    call = (await org.control.calls(NAME, org.account))[-1]
    assert (call["effect"], call["key"], call["status"]) == ("delete", "dt-1", 204)
    await org.control.add_fault(NAME, org.account, {}, "expire_auth", options={"revoke": True})
    await org.get("users/me", 401)
    await org.get("users/me", 401)  # revoked for good


async def test_limits_are_429_without_headers_and_end_with_the_minute(org: Org) -> None:
    await org.control.clock(org.account, freeze=True)
    limits: Any = {"POST workspaces": 1, "general": 2}
    await org.control.patch_record(NAME, org.account, "rate_limits", "1", limits)
    await org.post("workspaces", {"workspaces": [{"title": "A"}, {"title": "B"}]})
    answer = await org.post("workspaces", {"workspace": {"title": "C"}}, 429)
    assert problem(answer)[0] == "system"
    assert (await org.get("workspaces"))["count"] == 2  # no limit of its own is set for GET
    await org.get("users")
    await org.get("users")
    await org.get("users", 429)
    await org.control.clock(org.account, advance_seconds=61)
    await org.workspace(title="C")


async def test_people_act_by_the_same_rules(org: Org) -> None:
    control, account = org.control, org.account
    made = await control.put_record(NAME, account, "workspaces", {"title": "Hand-made"}, "dt-9")
    assert made["key"] == "dt-9"
    assert len(await by_ref(org, "workspaces", "dt-9")) == 1
    time_entry: Any = {
        "workspace_id": made["id"],
        "user_id": "3",
        "date_performed": "2026-12-02",
        "time_in_minutes": 30,
    }
    entry = await control.put_record(NAME, account, "time_entries", time_entry)
    with pytest.raises(ControlRefused, match="time entries"):
        await control.delete_record(NAME, account, "workspaces", made["id"])
    await control.delete_record(NAME, account, "time_entries", entry["id"])
    await control.patch_record(NAME, account, "workspaces", made["id"], {"archived": True})
    await org.get(f"workspaces/{made['id']}", 404)
    with pytest.raises(ControlRefused, match="no collection"):
        await control.put_record(NAME, account, "moons", {})


async def test_accounts_see_nothing_of_each_other(org: Org, stack: SimulatorStack) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    async with open_org(stack, org.control) as other:
        assert (await other.get("workspaces"))["count"] == 0
        await other.get(f"workspaces/{made['id']}", 404)
        assert await by_ref(other, "workspaces", "dt-1") == []


async def test_the_seeds_have_the_firms_master_data(org: Org) -> None:
    people = rows(await org.get("users", order="id:asc"))
    assert [(row["id"], row["email_address"]) for row in people] == [
        ("2", "integration@dealthread.example"),
        ("3", "maya.chen@example.com"),
        ("4", "luca.rossi@example.com"),
        ("5", "aiko.tanaka@example.com"),
        ("6", "priya.nair@example.com"),
        ("7", "jonas.weber@example.com"),
        ("8", "sam.okoro@example.com"),
    ]
    roles = {row["id"]: row["name"] for row in rows(await org.get("roles"))}
    assert roles == {"11": "Principal", "12": "Consultant", "13": "Engineer", "14": "Analyst"}
    assert [row["role_id"] for row in people[1:]] == ["11", "12", "12", "13", "11", "14"]
    templates = rows(await org.get("project_templates", order="id:asc"))
    assert [(row["id"], row["title"]) for row in templates] == [
        ("77", "Implementation"),
        ("78", "Advisory"),
        ("79", "Managed service"),
    ]
    cards = rows(await org.get("rate_cards", order="id:asc"))
    assert {row["id"]: row["currency"] for row in cards} == {
        "5": "USD",
        "6": "EUR",
        "7": "GBP",
        "8": "JPY",
        "9": "KWD",
    }
    fields = rows(await org.get("custom_fields", order="id:asc"))
    assert [(f["id"], f["subject_type"], f["unique_constraint"]) for f in fields] == [
        ("31", "Workspace", True),
        ("32", "WorkspaceGroup", True),
        ("33", "Story", True),
        ("34", "Workspace", False),
    ]
    started = time.monotonic()
    made: Any = await org.control.seed("bulk", count=1000, account=org.account)
    assert time.monotonic() - started < 1
    assert made[NAME]["templates"]["Advisory"] == "78"
    assert (await org.get("users"))["count"] == 7  # seeding twice adds nothing
    with pytest.raises(ControlRefused, match="standard, bulk, empty, time, time-small"):
        await org.control.seed("huge", account=org.account)
