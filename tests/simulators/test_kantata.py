"""Kantata OX against its vendor page: sign-in, envelope, references, projects."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.simulators.kantata_org import (
    FORM,
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
    titles,
)

FIXTURES = (make_stack, make_control, make_org)
"""Pytest finds them by their being here."""


# Sign-in.


async def test_a_missing_or_wrong_token_is_401_in_the_vendors_words(org: Org) -> None:
    body = {"errors": [{"type": "oauth", "message": "Invalid OAuth 2 Request"}]}
    for header in ("", "Bearer nonsense", "Bearer kp.x.0.abc", "Basic abc"):
        answer = await org.send("GET", "users/me", 401, headers={"Authorization": header})
        assert answer == body


async def test_the_personal_token_is_the_administrators(org: Org) -> None:
    me = only(await org.get("users/me"))
    assert (me["id"], me["email_address"]) == ("2", "integration@dealthread.example")
    await org.control.clock(org.account, advance_seconds=10 * 365 * 86400)
    await org.get("users/me")  # tokens never expire
    await org.control.patch_record(NAME, org.account, "users", "2", {"disabled": True})
    await org.get("users/me", 401)


async def test_a_code_is_exchanged_once_and_within_five_minutes(org: Org) -> None:
    client = {key: org.credentials[key] for key in ("client_id", "redirect_uri")}

    async def code() -> str:
        asked = {"response_type": "code", "state": "s1", **client}
        answer = await org.http.get("/oauth/authorize", params=asked)
        assert answer.status_code == 302
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        assert query["state"] == ["s1"]
        return query["code"][0]

    async def exchange(code: str, **changes: str) -> httpx.Response:
        secret = {"client_secret": org.credentials["client_secret"]}
        form = {"grant_type": "authorization_code", "code": code, **client, **secret, **changes}
        return await org.http.post("/oauth/token", data=form)

    fresh = await code()
    wrong = await exchange(fresh, client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    odd = await exchange(fresh, grant_type="password")
    assert (odd.status_code, odd.json()["error"]) == (400, "unsupported_grant_type")
    good = await exchange(fresh)
    assert good.json()["token_type"] == "bearer"
    again = await exchange(fresh)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    late = await code()
    await org.control.clock(org.account, advance_seconds=301)
    assert (await exchange(late)).json()["error"] == "invalid_grant"

    token = good.json()["access_token"]
    bearer = {"Authorization": f"bearer {token}"}
    assert only(await org.send("GET", "users/me", headers=bearer))["id"] == "2"
    form = {"token": token, "client_secret": org.credentials["client_secret"], **client}
    assert (await org.http.post("/oauth/revoke", data=form)).status_code == 200
    await org.send("GET", "users/me", 401, headers=bearer)


# The envelope.


async def test_results_keep_the_order_and_objects_are_keyed_by_string_id(org: Org) -> None:
    made = [await org.workspace(title=f"W{n}") for n in range(3)]
    answer = await org.get("workspaces.json", order="created_at:asc", include="primary_maven,nix")
    wanted = [{"key": "workspaces", "id": each["id"]} for each in made]
    assert (answer["count"], answer["results"]) == (3, wanted)
    assert answer["users"]["2"]["full_name"] == "Integration Admin"
    assert answer["meta"] == {"count": 3, "page_count": 1, "page_number": 1, "page_size": 20}
    shown = answer["workspaces"][made[0]["id"]]
    assert shown["id"] == made[0]["id"]
    assert shown["primary_maven_id"] == "2"
    assert "participant_ids" not in shown
    assert shown["created_at"].endswith("-07:00")


async def test_pages_limits_and_the_empty_list(org: Org) -> None:
    empty = await org.get("workspaces", include="participants")
    assert empty == {
        "count": 0,
        "results": [],
        "workspaces": {},
        "users": {},
        "meta": {"count": 0, "page_count": 0, "page_number": 0, "page_size": 20},
    }
    bulk = {"workspaces": [{"title": f"W{n}"} for n in range(7)]}
    assert titles(await org.post("workspaces", bulk)) == [f"W{n}" for n in range(7)]
    asked: dict[str, Any] = {"order": "title:asc"}
    page = await org.get("workspaces", page=2, per_page=3, **asked)
    assert titles(page) == ["W3", "W4", "W5"]
    assert page["meta"] == {"count": 7, "page_count": 3, "page_number": 2, "page_size": 3}
    beyond = await org.get("workspaces", page=9, per_page=3, **asked)
    assert (beyond["results"], beyond["count"]) == ([], 7)
    part = await org.get("workspaces", limit=2, offset=4, page=1, per_page=7, **asked)
    assert titles(part) == ["W4", "W5"]
    assert titles(await org.get("workspaces", limit=2, **asked)) == [f"W{n}" for n in range(7)]
    assert (await org.get("workspaces", per_page=5000))["meta"]["page_size"] == 200


async def test_only_drops_missing_ids_and_unknown_parameters_do_nothing(org: Org) -> None:
    first, second = await org.workspace(title="A"), await org.workspace(title="B")
    answer = await org.get("workspaces", only=f"{first['id']},999")
    assert titles(answer) == ["A"]
    await org.control.clock(org.account, advance_seconds=60)
    await org.put(f"workspaces/{first['id']}", {"workspace": {"description": "newer"}})
    unknown = await org.get("workspaces", frobnicate="1", order="nonsense:asc", include="moon")
    assert titles(unknown) == ["A", "B"]
    assert set(unknown) == {"count", "results", "workspaces", "meta"}
    assert titles(await org.get("workspaces", updated_after=second["created_at"])) == ["A"]
    assert titles(await org.get("workspaces", search="b")) == ["B"]
    bad = await org.get("workspaces", 400, created_after="soon")
    assert problem(bad) == ("syntax", None)


async def test_optional_fields_come_only_when_asked_for(org: Org) -> None:
    made = await org.workspace(budgeted=True, price=10)
    assert "budget_remaining" not in made
    path = f"workspaces/{made['id']}"
    shown = only(await org.get(path, optional_fields="budget_remaining"))
    assert shown["budget_remaining"] == "$10"


async def test_unknown_ids_paths_and_methods_are_404(org: Org) -> None:
    for path in ("workspaces/1", "workspaces/abc", "nothing", "users/me/shoes"):
        assert problem(await org.get(path, 404))[0] == "system"
    await org.post("users", {"user": {"full_name": "X"}}, 404)
    await org.post("rate_cards", {"rate_card": {}}, 404)
    assert (await org.http.get("/nowhere")).json()["errors"][0]["type"] == "system"


# Bodies.


async def test_malformed_bodies_and_missing_roots_are_400(org: Org) -> None:
    json_type = {"Content-Type": "application/json"}
    for content in ("{", "[1]", '{"title":"x"}', '{"workspace":1}', ""):
        answer = await org.send("POST", "workspaces", 400, content=content, headers=json_type)
        assert problem(answer)[0] == "syntax"
    text = {"Content-Type": "text/plain"}
    await org.send("POST", "workspaces", 400, content='{"workspace":{"title":"x"}}', headers=text)
    too_many = {"billing_milestones": [{"title": "x"}] * 101}
    await org.post("billing_milestones", too_many, 400)
    await org.post("workspace_groups", {"workspace_groups": [{"name": "no bulk here"}]}, 400)


async def test_rails_forms_are_read_with_nested_lists_and_typed_values(org: Org) -> None:
    form = (
        "workspace[title]=Acme+%26+Co&workspace[budgeted]=true&workspace[price]=1250.50"
        "&workspace[time_trackable]=0&workspace[approver_ids][]=2&workspace[approver_ids][]=3"
        "&workspace[custom_fields][][custom_field_id]=31&workspace[custom_fields][][value]=k-1"
        "&workspace[external_reference][service_name]=dealthread-saga"
        "&workspace[external_reference][service_model]=project"
        "&workspace[external_reference][service_model_ref]=k-1&workspace[due_date]="
    )
    made = only(await org.send("POST", "workspaces", content=form, headers=FORM))
    assert (made["title"], made["price_in_cents"]) == ("Acme & Co", 125050)
    assert (made["budgeted"], made["time_trackable"], made["due_date"]) == (True, False, None)
    (found,) = await by_ref(org, "workspaces", "k-1", include="approvers,custom_field_values")
    assert found["approver_ids"] == ["2", "3"]
    milestones = "&".join(
        f"billing_milestones[{n}][title]=M{n}&billing_milestones[{n}][amount_in_cents]={n}"
        f"&billing_milestones[{n}][workspace_id]={made['id']}"
        for n in range(3)
    )
    answer = await org.send("POST", "billing_milestones", content=milestones, headers=FORM)
    assert [row["amount_in_cents"] for row in rows(answer)] == [0, 1, 2]
    update = "workspace[title]=New"
    changed = await org.send("PUT", f"workspaces/{made['id']}", content=update, headers=FORM)
    assert only(changed)["title"] == "New"


async def test_the_same_field_twice_starts_the_next_object_of_a_form_list(org: Org) -> None:
    workspace = await org.workspace()
    form = (
        f"story[title]=P&story[story_type]=task&story[workspace_id]={workspace['id']}"
        "&story[sub_stories][][title]=A&story[sub_stories][][story_type]=task"
        "&story[sub_stories][][title]=B&story[sub_stories][][story_type]=issue"
    )
    params = {"include": "sub_stories"}
    answer = await org.send("POST", "stories", content=form, headers=FORM, params=params)
    parent = only(answer)
    below = [answer["stories"][id_] for id_ in parent["sub_story_ids"]]
    assert [(row["title"], row["state"]) for row in below] == [("A", "not started"), ("B", "new")]


# External references.


async def test_a_reference_inline_finds_its_subject_again(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    await org.workspace(title="Other", external_reference=refs("dt-2"))
    assert [row["id"] for row in await by_ref(org, "workspaces", "dt-1,dt-9")] == [made["id"]]
    assert await by_ref(org, "workspaces", "dt-9") == []
    await org.get("workspaces", 400, external_reference_service_model_ref="dt-1")
    many = ",".join(str(n) for n in range(201))
    await org.get("workspaces", 400, external_reference_service_model_refs=many)
    answer = await org.get(f"workspaces/{made['id']}", include="external_references")
    (reference,) = answer["external_references"].values()
    assert only(answer)["external_reference_ids"] == [reference["id"]]
    assert reference["subject_ref"] == {"key": "workspaces", "id": made["id"]}
    record = (await org.control.records(NAME, org.account, "workspaces", "dt-1"))[0]
    assert (record["id"], record["live"]) == (made["id"], True)


async def test_one_reference_per_subject_and_service(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    subject = {"subject_type": "Workspace", "subject_id": made["id"]}
    path = "external_references/create_or_update"
    erp = only(await org.post(path, {"external_reference": {**subject, **refs("P-1", "erp")}}))
    changed = only(await org.post(path, {"external_reference": {**subject, **refs("P-2", "erp")}}))
    assert (changed["id"], changed["service_model_ref"]) == (erp["id"], "P-2")
    listed = rows(await org.get("external_references", subject_type="Workspace"))
    assert sorted(row["service_model_ref"] for row in listed) == ["P-2", "dt-1"]
    # Not unique over subjects.
    await org.workspace(title="Twin", external_reference=refs("dt-1"))
    assert len(await by_ref(org, "workspaces", "dt-1")) == 2
    without: dict[str, Any] = {"without_external_reference_service_name": "erp"}
    assert titles(await org.get("workspaces", **without)) == ["Twin"]
    await org.delete(f"external_references/{erp['id']}")
    await org.delete(f"external_references/{erp['id']}", 404)
    assert len(rows(await org.get("workspaces", has_external_references="true"))) == 2
    await org.get("external_references", 400)
    await org.get("external_references", 400, subject_type="Moon")


async def test_a_reference_that_is_not_whole_creates_nothing(org: Org) -> None:
    body = {"workspace": {"title": "X", "external_reference": {"service_name": "s"}}}
    answer = await org.post("workspaces", body, 422)
    fields = {error["field"] for error in answer["errors"]}
    assert fields == {"external_reference.service_model", "external_reference.service_model_ref"}
    assert (await org.get("workspaces"))["count"] == 0
    unknown = {"external_reference": {"subject_type": "Story", "subject_id": "1", **refs("x")}}
    path = "external_references/create_or_update"
    assert problem(await org.post(path, unknown, 422)) == ("validation", "subject_id")


# Workspaces.


async def test_create_validates_and_names_every_field(org: Org) -> None:
    body = {
        "title": "",
        "budgeted": "perhaps",
        "start_date": "2026-02-30",
        "access_level": "secret",
        "rate_card_id": "99",
        "status_key": 1,
    }
    answer = await org.post("workspaces", {"workspace": body}, 422)
    assert {error["field"] for error in answer["errors"]} == set(body) - {"status_key"}
    assert {error["type"] for error in answer["errors"]} == {"validation"}
    for wrong in (
        {"budgeted": True},
        {"title": "x" * 256},
        {"price": "much"},
        {"status_key": 1},
        {"project_tracker_template_id": "1"},
        {"participations": [{"user_id": "77"}]},
    ):
        await org.post("workspaces", {"workspace": {"title": "T", **wrong}}, 422)
    assert (await org.get("workspaces"))["count"] == 0


async def test_the_rate_cards_currency_rules_and_yen_have_no_cents(org: Org) -> None:
    made = await org.workspace(
        budgeted=True, price="8000000", currency="USD", rate_card_id=8, primary_maven_id=3
    )
    assert (made["currency"], made["currency_base_unit"]) == ("JPY", 1)
    assert (made["price"], made["price_in_cents"]) == ("¥8,000,000", 8000000)
    assert (await org.workspace())["price"] == "TBD"
    path = f"workspaces/{made['id']}"
    answer = await org.get(path, include="participants")
    assert only(answer)["participant_ids"] == ["2", "3"]
    path = f"workspaces/{(await org.workspace(currency='EUR'))['id']}"
    assert only(await org.put(path, {"workspace": {"currency": "GBP"}}))["currency"] == "GBP"
    await org.milestone({"id": path.partition("/")[2]})
    refused = await org.put(path, {"workspace": {"currency": "EUR"}}, 422)
    assert problem(refused) == ("validation", "currency")


async def test_a_template_copies_its_stories_with_dates(org: Org) -> None:
    made = await org.workspace(
        project_tracker_template_id="77", project_template_start_date="2026-12-01"
    )
    found = rows(await org.get("stories", workspace_id=made["id"], order="created_at:asc"))
    assert len(found) == 8
    assert found[0]["title"] == "Discovery"
    assert (found[0]["start_date"], found[0]["due_date"]) == ("2026-12-01", "2026-12-22")
    assert {row["parent_id"] for row in found[1:3]} == {found[0]["id"]}
    again = {"workspace": {"project_tracker_template_id": "77"}}
    await org.put(f"workspaces/{made['id']}/apply_template", again)
    assert (await org.get("stories", workspace_id=made["id"]))["count"] == 16
    await org.put(f"workspaces/{made['id']}/apply_template", {"workspace": {}}, 422)


async def test_archived_workspaces_are_hidden_even_by_id(org: Org) -> None:
    made = await org.workspace(external_reference=refs("dt-1"))
    path = f"workspaces/{made['id']}"
    changed = only(await org.put(path, {"workspace": {"archived": True, "id": "5"}}))
    assert (changed["archived"], changed["id"]) == (True, made["id"])
    await org.get(path, 404)
    assert await by_ref(org, "workspaces", "dt-1") == []
    assert len(await by_ref(org, "workspaces", "dt-1", include_archived="true")) == 1
    assert only(await org.get(path, include_archived="true"))["archived"] is True
    assert (await org.get("workspaces", archived="true"))["count"] == 1
    await org.get("workspaces", 400, include_archived="perhaps")
    await org.put(path, {"workspace": {"archived": False}})
    await org.get(path)


@pytest.mark.parametrize("use", ["time", "expense", "invoice"])
async def test_a_used_workspace_is_not_deleted(org: Org, use: str) -> None:
    made = await org.workspace()
    if use == "time":
        row = ("time_entries", await org.log_time(made))
    elif use == "expense":
        given = {"date": "2026-12-01", "amount_in_cents": 5, "category": "Travel"}
        expense = await org.make("expenses", "expense", workspace_id=made["id"], **given)
        assert expense["is_billable"] is True
        row = ("expenses", expense)
    else:
        items = [{"notes": "x", "amount": "10.00"}]
        row = ("invoices", await org.invoice(made, additional_items=items))
    refused = await org.delete(f"workspaces/{made['id']}", 422)
    assert problem(refused)[0] == "validation"
    await org.delete(f"{row[0]}/{row[1]['id']}")
    await org.delete(f"workspaces/{made['id']}")


async def test_a_delete_takes_everything_below_with_it(org: Org) -> None:
    key = [{"custom_field_id": "31", "value": "dt-1"}]
    made = await org.workspace(
        project_tracker_template_id=78, external_reference=refs("dt-1"), custom_fields=key
    )
    await org.milestone(made)
    await org.delete(f"workspaces/{made['id']}")
    await org.delete(f"workspaces/{made['id']}", 404)
    left = [row for row in await org.control.records(NAME, org.account) if row["live"]]
    master = {
        *("rate_limits", "users", "custom_fields", "roles"),
        *("rate_card_sets", "rate_cards", "rate_card_versions", "rate_card_roles"),
        *("cost_rates", "expense_categories", "project_templates"),
    }
    assert {row["type"] for row in left} == master
    await org.workspace(custom_fields=key)  # the value is free again
